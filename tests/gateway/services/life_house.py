"""What a person does to the accounts and meters of a house, as the use cases know it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from gateway.domain.life import (
    Act,
    ChangeCt,
    ChangeMeter,
    CloseAccount,
    Installed,
    Kwh,
    MoveMeters,
    OpenAccount,
    RefundRest,
)
from gateway.domain.meters import Account, Meter
from gateway.domain.readings import TOTAL
from gateway.services.acts import Answer
from gateway.services.change_ct import change_ct
from gateway.services.change_meter import change_meter
from gateway.services.close_account import close_account
from gateway.services.move_meter import move_meters
from gateway.services.open_account import open_account
from gateway.services.ports import Site, Tx
from gateway.services.refund_rest import pay_refund, refund_rest, void_refund
from tests.gateway.services.house import House, account, yuan


def act(ident: str = "R-1", by: str = "li", second: str | None = None, **said: object) -> Act:
    """By li, for a reason; its content is what is said beside."""
    return Act(ident, by, "so it was", repr(sorted(said.items())), f"operator:{by}", second)


def kwh(total: str | int | None) -> Kwh | None:
    """A total register in kWh, or in Wh as a whole number; None: as it was read."""
    if total is None:
        return None
    return {TOTAL: Decimal(total) if isinstance(total, str) else Decimal(total).scaleb(-3)}


def shown(total: str | int) -> Kwh:
    found = kwh(total)
    assert found is not None
    return found


def do(house: House, usecase: Callable[[Tx, Site, int], Answer]) -> Answer:
    return house.do(lambda tx: usecase(tx, house.site, house.now_ms))


def opened(
    house: House,
    *meters: tuple[Meter, str | int | None],
    of: Account | None = None,
    opening: str = "0",
    receipt: str | None = "K-1",
    debt: str = "0",
    by: Act | None = None,
) -> Answer:
    """A customer comes, by default A-9, to these meters with what their displays show."""
    owner = of or account("A-9", filed=False)
    installed = tuple(Installed(meter, kwh(total)) for meter, total in meters)
    micro, owed = yuan(opening), yuan(debt)
    order = OpenAccount(by or act(account=owner.id), owner, {"id": "P-9"}, installed, micro, owed, receipt)
    return do(house, lambda tx, site, now_ms: open_account(tx, order, site, now_ms))


def closed(house: House, ident: str, *meters: tuple[Meter, str | int | None], by: Act | None = None, **changes: object) -> Answer:
    installed = tuple(Installed(meter, kwh(total)) for meter, total in meters)
    order = CloseAccount(by or act(close=ident), ident, installed, **changes)  # type: ignore[arg-type]
    return do(house, lambda tx, site, now_ms: close_account(tx, order, site, now_ms))


def moved(house: House, *meters: tuple[Meter, str | int | None], by: Act | None = None) -> Answer:
    order = MoveMeters(by or act(), tuple(Installed(meter, kwh(total)) for meter, total in meters))
    return do(house, lambda tx, site, now_ms: move_meters(tx, order, site, now_ms))


def exchanged(house: House, meter: Meter, last: str | int, first: str | int, by: Act | None = None) -> Answer:
    order = ChangeMeter(by or act(), meter, shown(last), shown(first))
    return do(house, lambda tx, site, now_ms: change_meter(tx, order, site, now_ms))


def other_ct(house: House, meter: Meter, at: str | int, by: Act | None = None) -> Answer:
    order = ChangeCt(by or act(), meter, shown(at))
    return do(house, lambda tx, site, now_ms: change_ct(tx, order, site, now_ms))


def refunded(house: House, ident: str, amount: str | None = None, by: Act | None = None) -> Answer:
    order = RefundRest(by or act(), ident, "counter", None if amount is None else yuan(amount))
    return do(house, lambda tx, site, now_ms: refund_rest(tx, order, site, now_ms))


def paid_out(house: House, refund: str, by: Act | None = None, receipt: str = "K-9") -> Answer:
    return do(house, lambda tx, site, now_ms: pay_refund(tx, by or act("R-paid", "wang"), refund, receipt, site, now_ms))


def given_back(house: House, refund: str, by: Act | None = None) -> Answer:
    return do(house, lambda tx, site, now_ms: void_refund(tx, by or act("R-void", "wang"), refund, site, now_ms))
