"""A bank's day over HTTP: its file, the difference book, two people, the close (contract.md 3)."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from hashlib import sha256
from io import FileIO
from pathlib import Path

import httpx2
import pytest

from gateway.adapters.http import bank_days_api, bank_spool
from gateway.adapters.http.bank_gate import KnownBank
from gateway.adapters.http.bank_spool import FileResponse, spool_out
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.day_file import HEADER
from gateway.domain.differences import DayBook
from gateway.services import approve, two_people
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.adapters.http.paying import BANKS, PAY, TOPUPS, URL, SignedBank, verified
from tests.gateway.adapters.http.street import Street
from tests.gateway.adapters.http.test_bank import assert_problem, balance
from tests.gateway.adapters.http.test_bank_books import ARRIVED, BACK, GIVE

DAY = "/bank/v1/reconciliations/2026-11-21"
CSV = {"content-type": "text/csv"}
AT = "2026-11-21T11:59:30+08:00"


def line(serial: str, amount: str = "50.00", account: str = "A-1", kind: str = "topup", original: str = "") -> str:
    return f"{serial},{account},{amount},CNY,{kind},{original},{AT},,"


def file_of(lines: Sequence[str], trailer: str | None = None) -> bytes:
    cents = 0
    for each in lines:
        fields = each.split(",")
        cents += int(fields[2].replace(".", "")) * (1 if fields[4] == "topup" else -1)
    total = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
    return "\n".join([HEADER, *lines, trailer or f"#{len(lines)},{total}", ""]).encode()


async def send(bank: httpx2.AsyncClient, body: bytes, query: str = "") -> httpx2.Response:
    return await bank.post(DAY + query, content=body, headers=CSV)


@pytest.fixture
async def paid(bank: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """S-1 of 50.00, S-2 of 30.00 and reversed, S-3 of 20.00."""
    for serial, amount in (("S-1", "50.00"), ("S-2", "30.00"), ("S-3", "20.00")):
        assert (await bank.post(TOPUPS, json={**PAY, "serial": serial, "amount": amount})).status_code == 201
    assert (await bank.post(f"{TOPUPS}/S-2/reversal", json={**BACK, "amount": "30.00"})).status_code == 200
    return bank


RIGHT = [line("S-1"), line("S-2", "30.00"), line("R-1", "30.00", kind="reversal", original="S-2"), line("S-3", "20.00")]


async def test_a_day_that_agrees_is_closed_when_it_is_asked_for(paid: httpx2.AsyncClient, street: Street) -> None:
    first = await send(paid, file_of(RIGHT))
    told = first.json()
    assert (first.status_code, told["matched"], told["net_sum"], told["differences"], told["closed"]) == (
        200,
        4,
        "70.00",
        [],
        False,
    )
    closed = (await send(paid, file_of(RIGHT[::-1]), "?close=true")).json()
    assert (closed["version"], closed["closed"]) == (2, True)
    assert_problem(await send(paid, file_of(RIGHT)), 409, "day_closed")
    back = await paid.post(f"{TOPUPS}/S-1/reversal", json=BACK)
    assert_problem(back, 409, "day_closed")
    book = (await paid.get(DAY)).json()
    assert (book["version"], book["state"], book["closed"]) == (2, "done", True)
    assert street.store.read_now(verify_ledger)[1] is None


async def test_our_own_file_reconciles_with_us(paid: httpx2.AsyncClient) -> None:
    statement = await paid.get(f"{DAY}/statement")
    assert statement.headers["content-type"].startswith("text/csv")
    assert statement.text.splitlines()[0] == HEADER and statement.text.splitlines()[-1] == "#4,70.00"
    told = (await send(paid, statement.content)).json()
    assert (told["matched"], told["open"], told["differences"]) == (4, 0, [])


async def test_a_long_statement_is_the_same_page_by_page(paid: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await paid.get(f"{DAY}/statement")
    monkeypatch.setattr(bank_days_api, "AT_ONCE", 0)
    monkeypatch.setattr(bank_days_api, "LINES", 1)
    assert (await paid.get(f"{DAY}/statement")).content == whole.content


@pytest.mark.parametrize(
    ("lines", "kind", "serial"),
    [
        ([*RIGHT, line("S-9")], "missing_here", "S-9"),
        (RIGHT[:3], "missing_at_bank", "S-3"),
        ([*RIGHT[:3], line("S-3", "20.01")], "amount", "S-3"),
        ([*RIGHT[:3], line("S-3", "20.00", "A-2")], "account", "S-3"),
        ([*RIGHT, line("S-1")], "duplicate_in_file", "S-1"),
        ([RIGHT[0], RIGHT[1], RIGHT[3]], "reversed_on_one_side", "R-1"),
        ([*RIGHT, line("R-3", "20.00", kind="reversal", original="S-3")], "reversed_on_one_side", "R-3"),
        ([*RIGHT, line("S-9", "-1.00")], "bad_line", None),
    ],
)
async def test_each_kind_of_difference(paid: httpx2.AsyncClient, lines: list[str], kind: str, serial: str | None) -> None:
    trailer = "#5,70.00" if kind == "bad_line" else None
    told = (await send(paid, file_of(lines, trailer))).json()
    assert [(each["kind"], each["serial"], each["state"]) for each in told["differences"]] == [(kind, serial, "open")]
    assert (told["kinds"], told["open"]) == ({kind: 1}, 1)
    problem = assert_problem(await paid.post(f"{DAY}?close=true"), 409, "differences_open")
    assert problem["reconciliation"]["kinds"] == {kind: 1}  # type: ignore[index]


async def test_a_line_of_another_day(paid: httpx2.AsyncClient) -> None:
    tomorrow = {**PAY, "serial": "S-4", "accounting_date": "2026-11-22"}
    assert (await paid.post(TOPUPS, json=tomorrow)).status_code == 201
    [found] = (await send(paid, file_of([*RIGHT, line("S-4")]))).json()["differences"]
    assert (found["kind"], found["accounting_date_here"]) == ("other_day", "2026-11-22")


async def test_the_last_line_is_held_against_the_file(paid: httpx2.AsyncClient) -> None:
    for trailer in ("#5,70.00", "#4,70.01", "#4,-70.00"):
        [found] = (await send(paid, file_of(RIGHT, trailer))).json()["differences"]
        assert found["kind"] == "totals", trailer


@pytest.mark.parametrize(
    "body", [b"", b"serial,account\n#0,0.00\n", file_of(RIGHT)[:-9], file_of(RIGHT).replace(b"#4,70.00\n", b"")]
)
async def test_what_is_no_day_file(paid: httpx2.AsyncClient, body: bytes) -> None:
    assert_problem(await send(paid, body), 422, "invalid", "body")


async def test_a_file_that_is_no_csv(paid: httpx2.AsyncClient) -> None:
    assert_problem(await paid.post(DAY, json={}), 415, "media_type")
    assert_problem(await paid.get(DAY), 404, "not_found")
    assert_problem(await paid.get("/bank/v1/reconciliations/2026-11-31"), 422, "invalid", "accounting_date")


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
async def test_the_first_and_the_last_day_have_one_neighbour(paid: httpx2.AsyncClient, day: str) -> None:
    """A slip in the address is answered like every other day on which nothing was paid."""
    answer = await paid.post(f"/bank/v1/reconciliations/{day}", content=file_of([line("S-9")]), headers=CSV)
    assert (answer.status_code, answer.json()["kinds"]) == (200, {"missing_here": 1})


async def test_a_long_file_is_a_job(paid: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_days_api, "AT_ONCE", 4)
    assert (await send(paid, file_of(RIGHT))).status_code == 200, "its header and its last line are no lines of it"
    answer = await send(paid, file_of([*RIGHT, line("S-9")]))
    told = answer.json()
    assert (answer.status_code, told["state"], told["differences"]) == (202, "running", [])
    for _ in range(20_000):
        polled = (await paid.get(told["poll"])).json()
        if polled["state"] != "running":
            break
        await asyncio.sleep(0.001)
    assert (polled["state"], polled["kinds"], polled["job"]) == ("done", {"missing_here": 1}, told["job"])


def agree(street: Street, approval: str) -> str | None:
    acts = two_people.ACTS
    return street.store.write_now(
        lambda tx: approve.approve(tx, approval, "operator:wang", street.site, street.now_ms, acts)
    ).refused


async def resolved(bank: httpx2.AsyncClient, street: Street, action: str, number: int = 1) -> dict[str, object]:
    """Asked by the bank, approved by a person here."""
    path = f"{DAY}/differences/{number}/resolution"
    asked = await bank.post(path, json={"action": action, "reason": "agreed by phone"})
    assert (asked.status_code, asked.json()["state"]) == (202, "asked"), asked.json()
    again = await bank.post(path, json={"action": action, "reason": "agreed by phone"})
    assert again.status_code == 202  # the same one cannot agree with himself
    assert agree(street, asked.json()["resolution"]["approval"]) is None
    done = await bank.post(path, json={"action": action, "reason": "agreed by phone"})
    assert (done.status_code, done.json()["state"]) == (200, "resolved")
    return done.json()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("lines", "action", "left"),
    [
        ([*RIGHT, line("S-9")], "book", "140.00"),
        ([*RIGHT, line("S-9")], "ignore", "90.00"),
        (RIGHT[:3], "reverse", "70.00"),
        ([*RIGHT[:3], line("S-3", "20.01")], "book", "90.01"),
        ([*RIGHT[:3], line("S-3", "20.01")], "reverse", "70.00"),
        ([*RIGHT[:3], line("S-3", "20.00", "A-2")], "book", "70.00"),
        ([RIGHT[0], RIGHT[1], RIGHT[3]], "book", "120.00"),
        ([*RIGHT, line("R-3", "20.00", kind="reversal", original="S-3")], "reverse", "70.00"),
        ([*RIGHT, line("S-1")], "ignore", "90.00"),
    ],
)
async def test_what_two_people_decide_is_done_and_the_day_can_be_closed(
    paid: httpx2.AsyncClient, street: Street, lines: list[str], action: str, left: str
) -> None:
    """With the same file again nothing is left that nobody decided, and what was booked or undone agrees with it."""
    assert (await send(paid, file_of(lines), "?close=true")).status_code == 409
    await resolved(paid, street, action)
    assert balance(street) == int(left.replace(".", "")) * 10_000
    again = (await send(paid, file_of(lines), "?close=true")).json()
    if (action, left) == ("reverse", "70.00") and line("S-3", "20.01") in lines:
        assert again["reconciliation"]["kinds"] == {"missing_here": 1}  # ours is gone, and theirs is not booked: it is said anew
    else:
        assert again["closed"] is True, again
    assert street.store.read_now(verify_ledger)[1] is None


async def test_what_cannot_be_done_about_a_difference(paid: httpx2.AsyncClient, street: Street) -> None:
    await send(paid, file_of([*RIGHT, line("S-9", account="A-9")]))
    path = f"{DAY}/differences/1/resolution"
    assert_problem(await paid.post(path, json={"action": "reverse", "reason": "x"}), 422, "invalid", "action")
    assert_problem(await paid.post(path, json={"action": "lose", "reason": "x"}), 422, "invalid", "action")
    assert_problem(await paid.post(f"{DAY}/differences/2/resolution", json={"action": "book", "reason": "x"}), 404, "not_found")
    asked = await paid.post(path, json={"action": "book", "reason": "x"})
    why = agree(street, asked.json()["resolution"]["approval"])
    assert why == "account A-9 is not known here: nothing can be booked to it"
    other = await paid.post(path, json={"action": "ignore", "reason": "the bank gives it back"})
    assert agree(street, other.json()["resolution"]["approval"]) is None
    assert (await send(paid, file_of([*RIGHT, line("S-9", account="A-9")]), "?close=true")).json()["closed"] is True


async def test_a_day_is_not_closed_over_what_came_since(paid: httpx2.AsyncClient) -> None:
    assert (await send(paid, file_of(RIGHT))).json()["open"] == 0
    await paid.post(TOPUPS, json={**PAY, "serial": "S-5"})
    problem = assert_problem(await paid.post(f"{DAY}?close=true"), 409, "differences_open")
    assert "+1 lines were booked" in str(problem["detail"])


async def test_a_pair_that_was_nothing_here_is_nothing_there(paid: httpx2.AsyncClient) -> None:
    """A payment that never came and its reversal, and one that was refused: the bank's file has both lines."""
    await paid.post(f"{TOPUPS}/S-7/reversal", json=BACK)
    await paid.post(TOPUPS, json={**PAY, "serial": "S-8", "account": "A-9"})
    pairs = [line("S-7"), line("R-7", kind="reversal", original="S-7"), line("S-8"), line("R-8", kind="reversal", original="S-8")]
    told = (await send(paid, file_of([*RIGHT, *pairs]))).json()
    assert (told["differences"], told["matched"], told["net_sum"]) == ([], 8, "70.00")


async def test_a_signed_file_is_held_against_its_digest(street: Street) -> None:
    """Also where it is read from disk."""
    terms = PartnerTerms("north")
    street.banks = replace(BANKS, banks={"north": KnownBank(terms)})
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(street.bank()), base_url=URL) as http:
        north = SignedBank(street, http)
        assert (await north.pay()).status_code == 201
        body = file_of([line("S-1")])
        headers = {**north.sign("POST", DAY, body), "content-type": "text/csv"}
        other = await http.post(DAY, content=body.replace(b"50.00", b"51.00"), headers=headers)
        assert_problem(other, 401, "bad_signature")
        told = (await http.post(DAY, content=body, headers=headers)).json()
        assert (told["matched"], told["differences"]) == (1, [])
        assert_problem(await http.post(DAY, content=body, headers=headers), 401, "bad_signature")  # its nonce is used up


async def test_a_long_statement_is_signed_as_a_whole(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    street.banks = BANKS
    monkeypatch.setattr(bank_days_api, "AT_ONCE", 0)
    path = f"{DAY}/statement"
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(street.bank()), base_url=URL) as http:
        north = SignedBank(street, http)
        assert (await north.pay()).status_code == 201
        answer = await north.ask(path)
    assert answer.text.splitlines()[-1] == "#1,50.00" and answer.headers["content-length"] == str(len(answer.content))
    covered = verified(answer, path, street.identity.key.public_key(), street.identity.kid)
    assert {'"content-digest"', '"@status"', '"signature";req'} <= covered


async def test_a_long_statement_takes_disk_and_no_memory(tmp_path: Path) -> None:
    async def parts() -> AsyncIterator[str]:
        page = "".join(f"S-{each:06d},A-{each},50.00,CNY,topup,,{AT},app,\n" for each in range(2000))
        for _ in range(200):
            yield page

    tracemalloc.start()
    try:
        file = await spool_out(parts(), tmp_path / "uploads")
        answer = FileResponse(file, {}, "text/csv")
        digest, size = sha256(), 0
        async for chunk in answer.body_iterator:
            assert isinstance(chunk, bytes)
            digest.update(chunk)
            size += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (file.lines, size) == (400_000, int(answer.headers["content-length"])) and size > 20_000_000
    assert answer.content_digest == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert peak < 4_000_000 and file.file.closed


async def test_a_long_statement_that_cannot_be_kept_is_asked_for_again(
    paid: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bank_days_api, "AT_ONCE", 0)
    with monkeypatch.context() as full:
        full.setattr(bank_spool, "_nameless", lambda folder: FileIO("/dev/full", "wb"))
        assert_problem(await paid.get(f"{DAY}/statement"), 503, "unavailable")
    with monkeypatch.context() as busy:
        busy.setattr(bank_days_api, "MOST_WRITING", 0)
        assert_problem(await paid.get(f"{DAY}/statement"), 503, "unavailable")
    assert (await paid.get(f"{DAY}/statement")).status_code == 200
    assert [*(tmp_path / "uploads").iterdir()] == [], "no file stays behind"


async def test_a_job_that_a_restart_ended_says_so(paid: httpx2.AsyncClient, street: Street) -> None:
    street.store.write_now(lambda tx: tx.save_day_book(DayBook("demo", "2026-11-21", 1, "running", street.now_ms)))
    told = (await paid.get(DAY)).json()
    assert (told["state"], told["note"]) == ("failed", "the gateway was restarted meanwhile: upload the file again")
    assert (await send(paid, file_of(RIGHT))).json()["version"] == 2


async def test_what_a_bank_may_not_do(street: Street) -> None:
    street.banks = replace(BANKS, banks={"north": KnownBank(PartnerTerms("north"), frozenset({"query"}))})
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(street.bank()), base_url=URL) as http:
        north = SignedBank(street, http)
        headers = {**north.sign("POST", DAY, file_of([])), "content-type": "text/csv"}
        assert_problem(await http.post(DAY, content=file_of([]), headers=headers), 403, "forbidden")
        assert_problem(await north.send("POST", f"{TOPUPS}/S-1/reversal", json.dumps(BACK).encode()), 403, "forbidden")
        for path in ("refunds", "settlements"):
            body = json.dumps(GIVE if path == "refunds" else ARRIVED).encode()
            assert_problem(await north.send("POST", f"/bank/v1/{path}", body), 403, "forbidden")
