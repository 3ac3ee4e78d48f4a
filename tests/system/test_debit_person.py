"""Direct debits that a person must look at, from the terminal: the finding, what is done about it, and that it stays done."""

from __future__ import annotations

from pathlib import Path

from tests.system.processes import wattgate
from tests.system.test_bank_lines import BANK, BankStand

DAY, SERIAL = "2026-11-21", "DD-20261121-000001"


async def test_a_bank_that_contradicts_itself_is_shown_until_somebody_resolves_it(tmp_path: Path) -> None:
    stand, back = BankStand(tmp_path), tmp_path / "back.txt"

    async def debit(*words: object) -> tuple[int, str]:
        ran = await wattgate("debit", *words, "-c", stand.config)
        return ran.code, ran.out + ran.err

    async def result(code: str) -> tuple[int, str]:
        back.write_text(f"DD-icbc-20261121|20261121|1|3000\n1|{SERIAL}|3000|{code}|\n")
        return await debit("result", BANK, back, "--day", DAY)

    try:
        await stand.gateway.start()
        terms = ("--bank", BANK, "--account", "A-1", "--payer", "6222020", "--below", "30.00", "--upto", "50.00")
        assert (await debit("sign", "M-1", *terms))[0] == (await debit("batch", BANK, DAY, "--out", tmp_path / "out.txt"))[0] == 0
        assert await debit("open") == (0, "no debit waits for a person\n")
        assert await result("E51") == (0, f"{back}: 1 failed\n")
        code, said = await result("0000")
        assert code == 1 and "a person must look at 1 of them; `wattgate debit open` says what stays open" in said
        code, said = await debit("open")
        told = f"icbc debit {SERIAL} of 30.00 CNY: the bank took it now, and said the opposite before, account A-1, since "
        assert code == 0 and said.startswith(told)
        assert (await debit("resolve", BANK, SERIAL, "--reason", ""))[0] == 1
        assert await debit("resolve", BANK, SERIAL, "--reason", "paid back, transfer 7781") == (0, f"{SERIAL}: resolved\n")
        assert await debit("open") == (0, "no debit waits for a person\n")
        code, said = await debit("resolve", BANK, SERIAL, "--reason", "again")
        assert (code, said) == (1, f"{SERIAL}: debit {SERIAL} of bank icbc needs nobody\n")
    finally:
        await stand.gateway.kill()
