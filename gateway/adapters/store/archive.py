"""Accounts and meters: what is installed, who pays, and the state the rules keep about it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from sqlalchemy import Integer, bindparam, select

from gateway.adapters.store import schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.statements import Part, Row, Statement, upsert
from gateway.domain.credit import CreditPolicy, CreditState, Standing
from gateway.domain.debt_terms import DebtTerms
from gateway.domain.limits import LimitMemory, LimitPhase, LimitState, LoadLimit
from gateway.domain.meters import Account, Authority, Contact, Meter, Protect, SwitchKind
from gateway.domain.notices import Reach
from gateway.domain.price_list import Terms

_accounts = select(schema.account)
_one_account = _accounts.where(schema.account.c.id == bindparam("account"))
ACCOUNTS = Statement(_accounts.order_by(schema.account.c.id))
ACCOUNTS_AFTER = Statement(
    _accounts.where(schema.account.c.id > bindparam("account"))
    .order_by(schema.account.c.id)
    .limit(bindparam("most", type_=Integer))
)
LIMITS_DUE = Statement(
    select(schema.account.c.id)
    .where(schema.account.c.limit_due_ms.is_not(None), schema.account.c.limit_due_ms <= bindparam("now_ms"))
    .order_by(schema.account.c.limit_due_ms)
    .limit(bindparam("most", type_=Integer))
)
ACCOUNT = Statement(_one_account)
ACCOUNT_LOCKED = Statement(_one_account.with_for_update())
SAVE_ACCOUNT = upsert(schema.account)

_meters = select(schema.meter)
METERS = Statement(_meters.order_by(schema.meter.c.id))
METER = Statement(_meters.where(schema.meter.c.id == bindparam("meter")))
METERS_ON = Statement(_meters.where(schema.meter.c.line == bindparam("line")).order_by(schema.meter.c.id))
METERS_OF = Statement(_meters.where(schema.meter.c.account == bindparam("account")).order_by(schema.meter.c.id))
SAVE_METER = upsert(schema.meter)

PARSED = 4096
"""Rows whose values are kept: accounts and meters are read several times with every payment and reading and seldom change."""


class Archive(Part):
    """The archive's share of a transaction."""

    def accounts(self) -> Sequence[Account]:
        return [_account(row) for row in self._session.rows(ACCOUNTS)]

    def accounts_after(self, account: str, limit: int) -> Sequence[Account]:
        return [_account(row) for row in self._session.rows(ACCOUNTS_AFTER, account=account, most=limit)]

    def account(self, account: str) -> Account | None:
        row = self._session.row(ACCOUNT_LOCKED if self._session.writing else ACCOUNT, account=account)
        return None if row is None else _account(row)

    def limits_due(self, now_ms: int, limit: int) -> Sequence[str]:
        return [str(row[0]) for row in self._session.rows(LIMITS_DUE, now_ms=now_ms, most=limit)]

    def save_account(self, account: Account) -> None:
        limit = account.limit
        self._session.change(
            SAVE_ACCOUNT,
            id=account.id,
            holder=account.holder,
            currency=account.currency,
            tariff=account.tariff,
            policy=_policy_text(account.policy),
            load_limit=None if limit is None else encode(limit),
            agreement=account.agreement,
            never_cut=account.never_cut,
            protect_until_ms=account.protect_until_ms,
            closed=account.closed,
            credit=account.credit,
            warned_ms=account.warned_ms,
            limit_phase=account.limit_state.phase,
            limit_since_ms=account.limit_state.since_ms,
            limit_spent=account.limit_state.spent,
            limit_seen_ms=account.limit_state.seen_ms,
            terms=encode(account.terms),
            priced_since=account.priced_since,
            debt=None if account.debt is None else encode(account.debt),
            authority=account.authority,
            standing=encode(account.standing),
            protect=encode(account.protect),
            limit_memory=encode(account.limit_memory),
            reach=encode(account.reach),
            filed=account.filed,
            limit_due_ms=account.limit_memory.due_ms,
        )

    def meters(self) -> Sequence[Meter]:
        return [_meter(row) for row in self._session.rows(METERS)]

    def meter(self, meter: str) -> Meter | None:
        row = self._session.row(METER, meter=meter)
        return None if row is None else _meter(row)

    def meters_of(self, account: str) -> Sequence[Meter]:
        return [_meter(row) for row in self._session.rows(METERS_OF, account=account)]

    def meters_on(self, line: str) -> Sequence[Meter]:
        return [_meter(row) for row in self._session.rows(METERS_ON, line=line)]

    def save_meter(self, meter: Meter) -> None:
        self._session.change(
            SAVE_METER,
            id=meter.id,
            line=meter.line,
            address=meter.address,
            protocol=meter.protocol,
            profile=meter.profile,
            account=meter.account,
            point=meter.point,
            switch=meter.switch,
            switch_line=meter.switch_line,
            feedback=meter.feedback,
            cut_with_account=meter.cut_with_account,
            settle_ms=meter.settle_ms,
            max_power_w=meter.max_power_w,
            count_wh=meter.count_wh,
            desired=meter.desired,
            observed=meter.observed,
            observed_ms=meter.observed_ms,
            cut_reasons=encode(meter.cut_reasons),
            capacity_wh=meter.capacity_wh,
            ratio=str(meter.ratio),
            filed=meter.filed,
        )


@lru_cache(maxsize=PARSED)
def _account(row: Row) -> Account:
    ident, holder, currency, tariff, policy, limit, agreement, never_cut, protect_until_ms, closed, *state = row
    credit, warned_ms, phase, since_ms, spent, seen_ms, terms, priced_since, debt, *more = state
    authority, standing, protect, limit_memory, reach, filed, _ = more
    return Account(
        ident,
        holder,
        currency,
        tariff,
        _policy(policy),
        None if limit is None else _limit(limit),
        agreement,
        bool(never_cut),
        protect_until_ms,
        bool(closed),
        CreditState(credit),
        warned_ms,
        LimitState(LimitPhase(phase), since_ms, spent, seen_ms),
        decode(terms, Terms),
        priced_since,
        None if debt is None else decode(debt, DebtTerms),
        Authority(authority),
        decode(standing, Standing),
        decode(protect, Protect),
        decode(limit_memory, LimitMemory),
        decode(reach, Reach),
        bool(filed),
    )


@lru_cache(maxsize=PARSED)
def _meter(row: Row) -> Meter:
    ident, line, address, protocol, profile, account, point, switch, switch_line, feedback, with_account, *rest = row
    settle_ms, max_power_w, count_wh, desired, observed, observed_ms, cut_reasons, capacity_wh, ratio, filed = rest
    return Meter(
        ident,
        line,
        address,
        protocol,
        profile,
        account,
        point,
        SwitchKind(switch),
        switch_line,
        bool(feedback),
        bool(with_account),
        settle_ms,
        max_power_w,
        count_wh,
        capacity_wh,
        Fraction(ratio),
        Contact(desired),
        Contact(observed),
        observed_ms,
        decode(cut_reasons, tuple[str, ...]),
        bool(filed),
    )


@lru_cache(maxsize=256)
def _policy(text: str) -> CreditPolicy:
    return decode(text, CreditPolicy)


@lru_cache(maxsize=256)
def _policy_text(policy: CreditPolicy) -> str:
    return encode(policy)


@lru_cache(maxsize=256)
def _limit(text: str) -> LoadLimit:
    return decode(text, LoadLimit)
