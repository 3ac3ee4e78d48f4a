"""What an account's load limit holds at, and what comes next."""

from __future__ import annotations

from gateway.domain.limit_shown import LimitShown, ParameterShown
from gateway.services.allowed_load import allowed_now, draw_now, month_use
from gateway.services.ports import Site, Tx
from gateway.services.watch_malignant import local_day, zone_of
from gateway.services.write_limits import settings_of


def show_limit(tx: Tx, account_id: str, site: Site, now_ms: int) -> LimitShown | None:
    """None for an account without a limit. Raises LookupError."""
    account = tx.account(account_id)
    if account is None:
        raise LookupError(f"account {account_id} is not known here")
    limit, state, memory = account.limit, account.limit_state, account.limit_memory
    if limit is None:
        return None
    may, draw = allowed_now(tx, account, limit, site, now_ms), draw_now(tx, account, limit, site, now_ms)
    month = month_use(tx, account, now_ms) if limit.month is not None else None
    today = memory.day == local_day(now_ms, zone_of(limit, site))
    settings = [found for meter in tx.meters_of(account_id) if (found := settings_of(tx, meter.id)) is not None]
    return LimitShown(
        account=account_id,
        policy=limit.policy,
        phase=state.phase.value,
        by=memory.by.value if state.open else None,
        since_ms=state.since_ms,
        spent=state.spent,
        left=max(limit.recloses - state.spent, 0),
        next_ms=memory.due_ms,
        limit_w=limit.itself.power_w,
        limit_ma=limit.itself.current_ma,
        allowed_w=may.power_w,
        allowed_ma=may.current_ma,
        off=may.off and now_ms >= memory.excused_ms,
        power_w=draw.power_w,
        current_ma=draw.current_ma,
        over_itself=draw.beyond(limit.itself),
        month_wh=month[3] if month is not None else None,
        month_amount_wh=limit.month.energy_wh if limit.month is not None else None,
        malignant=limit.malignant.mode.value if limit.malignant is not None else None,
        advisory=limit.malignant is not None,
        restores_today=memory.restores if today else 0,
        set_by_people=memory.by_people,
        changed_ms=memory.changed_ms,
        parameters=[
            ParameterShown(each.meter, one.name, one.value, one.state.value, one.said)
            for each in settings
            for one in each.parameters
        ],
    )
