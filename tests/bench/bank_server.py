"""The banks' listener for the benchmark: over a store, or over a use case that answers without one."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.adapters.http.bank import BankApi, BankTerms, BankUseCases
from gateway.adapters.http.bank_gate import BankGate, Banks, KnownBank, KnownKey
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.server import Listener
from gateway.adapters.identity import identity_of
from gateway.adapters.store import Store
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.credit import CreditPolicy
from gateway.domain.meters import Account, Contact, Meter, SwitchKind
from gateway.domain.nonces import Claim
from gateway.domain.records import Payment
from gateway.domain.requests import TopUp
from gateway.services.apply_topup import MOST_BALANCE_MICRO, masked
from gateway.services.ports import Site, TopUpOutcome, TopUpVerdict, Tx
from gateway.services.spend_nonce import spend
from gateway.services.take_topup import taking
from protocols.bank.signatures import BankKey
from tests.gateway.price_lists import flat


async def serve(what: str, folder: Path, now_ms: int, url: str, keys: Mapping[str, BankKey], accounts: int) -> None:
    """Prints its port and answers until it is killed. what: `store`, or `nothing`."""
    identity = identity_of(folder)
    known = {kid: KnownKey("bank", key) for kid, key in keys.items()}
    banks = Banks(url=url, banks={"bank": KnownBank(PartnerTerms("bank"))}, keys=known)
    site = Site("bench", "Asia/Shanghai", clock_trusted=True, banks={"bank": PartnerTerms("bank")}, seal=identity.seal)
    store = Store.open(str(folder / "bench.db"))
    store.write_now(lambda tx: _street(tx, accounts))

    async def pay(topup: TopUp, claim: Claim | None) -> TopUpOutcome:
        return await store.write(taking(topup, claim, lambda: site, lambda: now_ms))

    receipt = '{"receipt_no":"' + "x" * 400 + '"}'

    async def say(topup: TopUp, claim: Claim | None) -> TopUpOutcome:
        paid = Payment(
            topup.identity, topup.account, topup.amount_micro, topup.currency, "", "", "", "posted", now_ms,
            receipt=receipt, entry=1, receipt_jws=identity.seal(receipt),
        )  # fmt: skip
        return TopUpOutcome(TopUpVerdict.POSTED, paid)

    async def spent(claim: Claim) -> None:
        await store.write(lambda tx: spend(tx, claim, now_ms))

    gate = BankGate(lambda: banks, lambda: now_ms, spend=spent, identity=identity)
    app = new_application("bench", "0")
    cases = BankUseCases(pay if what == "store" else say, store.read)
    app.include_router(BankApi(cases, BankTerms(MOST_BALANCE_MICRO, masked), gate, lambda: now_ms).router())
    listener = Listener(app, "127.0.0.1", 0)
    gc.collect()
    gc.freeze()
    print(listener.port, flush=True)
    await listener.serve()


def _street(tx: Tx, accounts: int) -> None:
    tx.save_price_list(flat(500_000))
    for n in range(accounts):
        tx.save_account(Account(f"A-{n}", f"Holder {n}", "CNY", "flat", CreditPolicy(0)))
        meter = Meter(f"m{n}", "bus", str(n), "dlt645-2007", "x", f"A-{n}", f"p{n}", SwitchKind.INTERNAL, "bus")
        tx.save_meter(replace(meter, max_power_w=10**9, observed=Contact.CLOSED, desired=Contact.CLOSED))  # as its polls show
