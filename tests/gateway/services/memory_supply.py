"""The share of the store in memory that permissions, people, notices and the like have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.domain.approvals import Approval, ApprovalState, AuditRow
from gateway.domain.audit_chain import chain
from gateway.domain.findings import Finding, FindingKind
from gateway.domain.ledger import GENESIS
from gateway.domain.meters import Meter
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.notices import Notice, NoticeState
from gateway.domain.people import Person
from gateway.domain.permissions import CutPermission
from gateway.domain.wallets import Delivery, Wallet
from gateway.services.ports import Duplicate, Unavailable

ALONE_MS = 15 * 60 * 1000


@dataclass
class MemorySupply:
    """`ports.Tx` on dictionaries and lists, as far as these go. unwritable: reasons why the audit log takes nothing more."""

    kept_permissions: list[CutPermission] = field(default_factory=list)
    kept_spent: list[tuple[str, str, str, int]] = field(default_factory=list)
    kept_approvals: dict[str, Approval] = field(default_factory=dict)
    kept_people: dict[str, Person] = field(default_factory=dict)
    audit_log: list[AuditRow] = field(default_factory=list)
    kept_notices: list[Notice] = field(default_factory=list)
    kept_findings: dict[tuple[str, str], Finding] = field(default_factory=dict)
    kept_calendars: dict[str, NoCutCalendar] = field(default_factory=dict)
    kept_wallets: dict[str, Wallet] = field(default_factory=dict)
    kept_deliveries: dict[str, Delivery] = field(default_factory=dict)
    kept_meters: dict[str, Meter] = field(default_factory=dict)
    unwritable: set[str] = field(default_factory=set)

    def add_permission(self, permission: CutPermission) -> CutPermission:
        stored = replace(permission, number=len(self.kept_permissions) + 1)
        self._check_permission(stored)
        self.kept_permissions.append(stored)
        return stored

    def permission(self, number: int) -> CutPermission | None:
        return self.kept_permissions[number - 1] if 0 < number <= len(self.kept_permissions) else None

    def save_permission(self, permission: CutPermission) -> None:
        known = self.permission(permission.number)
        if known is None:
            raise LookupError(f"permission {permission.number} was never added")
        self._check_permission(permission)
        if replace(known, until_ms=permission.until_ms, withdrawn_ms=permission.withdrawn_ms) != permission:
            raise ValueError("what a permission is about never changes")
        self.kept_permissions[permission.number - 1] = permission

    @staticmethod
    def _check_permission(permission: CutPermission) -> None:
        if permission.until_ms < permission.given_ms:
            raise ValueError(f"check: no permission looks like {permission}")

    def permissions(self, limit: int, account: str | None = None) -> Sequence[CutPermission]:
        return [each for each in reversed(self.kept_permissions) if account is None or each.account == account][:limit]

    def spend(self, budget: str, key: str, meter: str, at_ms: int) -> None:
        if not budget or at_ms < 0:
            raise ValueError("check: a cut is spent out of a budget, at a moment")
        self.kept_spent.append((budget, key, meter, at_ms))

    def spent(self, budget: str, key: str | None, since_ms: int) -> Sequence[tuple[str, int]]:
        found = [(m, at) for b, k, m, at in self.kept_spent if b == budget and (key is None or k == key) and at > since_ms]
        return sorted(found, key=lambda each: each[1])

    def unspend(self, budget: str, key: str, meter: str) -> None:
        last = max((n for n, it in enumerate(self.kept_spent) if it[:3] == (budget, key, meter)), default=None)
        self.kept_spent = [it for n, it in enumerate(self.kept_spent) if n != last]

    def forget_spent(self, before_ms: int) -> None:
        self.kept_spent = [each for each in self.kept_spent if each[3] >= before_ms]

    def add_approval(self, approval: Approval) -> None:
        if approval.id in self.kept_approvals:
            raise Duplicate(f"approval {approval.id} is there already")
        self._check_approval(approval)
        self.kept_approvals[approval.id] = approval

    def approval(self, approval: str) -> Approval | None:
        return self.kept_approvals.get(approval)

    def save_approval(self, approval: Approval) -> None:
        known = self.kept_approvals.get(approval.id)
        if known is None:
            raise LookupError(f"approval {approval.id} was never added")
        self._check_approval(approval)
        decided = (approval.state, approval.decided_by, approval.decided_ms, approval.reason)
        state, decided_by, decided_ms, reason = decided
        if known.state is not ApprovalState.ASKED:
            raise ValueError("an approval is decided once")
        if replace(known, state=state, decided_by=decided_by, decided_ms=decided_ms, reason=reason) != approval:
            raise ValueError("what was asked never changes")
        self.kept_approvals[approval.id] = approval

    @staticmethod
    def _check_approval(approval: Approval) -> None:
        """Approved by somebody else in time, or by whoever asked after a quarter of an hour."""
        by, at_ms = approval.decided_by, approval.decided_ms
        named = approval.state in (ApprovalState.ASKED, ApprovalState.EXPIRED) or (by is not None and at_ms is not None)
        alone = by == approval.asked_by and (at_ms or 0) < approval.asked_ms + ALONE_MS
        late = (at_ms or 0) >= approval.expires_ms
        approved = approval.state is ApprovalState.APPROVED
        waits = approval.state is ApprovalState.ASKED and (by is not None or at_ms is not None)
        if not named or waits or (approved and (alone or late)) or approval.expires_ms <= approval.asked_ms:
            raise ValueError(f"check: no approval looks like {approval}")

    def approvals(self, limit: int, *, asked: bool = False) -> Sequence[Approval]:
        found = [each for each in self.kept_approvals.values() if not asked or each.state is ApprovalState.ASKED]
        return found[::-1][:limit]

    def count_asked(self, most: int, act: str = "", by: str = "") -> int:
        waiting = [each for each in self.kept_approvals.values() if each.state is ApprovalState.ASKED]
        return min(most, sum(not by or (each.act, each.asked_by) == (act, by) for each in waiting))

    def people(self) -> Sequence[Person]:
        return [self.kept_people[name] for name in sorted(self.kept_people)]

    def person(self, name: str) -> Person | None:
        return self.kept_people.get(name)

    def person_by_token(self, token_hash: str) -> Person | None:
        return next((each for each in self.people() if token_hash and each.token_hash == token_hash), None)

    def save_person(self, person: Person) -> None:
        other = self.person_by_token(person.token_hash)
        if other is not None and other.name != person.name:
            raise ValueError("check: a token belongs to one person")
        self.kept_people[person.name] = person

    def add_audit(self, at_ms: int, who: str, act: str, subject: str, data: Mapping[str, str]) -> AuditRow:
        for reason in self.unwritable:
            raise Unavailable(reason)
        self.audit_log.append(chain(self.audit_end(), at_ms, who, act, subject, data))
        return self.audit_log[-1]

    def audit_rows(self, after: int, limit: int) -> Sequence[AuditRow]:
        return self.audit_log[after : after + limit]

    def audit_end(self) -> tuple[int, str]:
        return (self.audit_log[-1].number, self.audit_log[-1].hash) if self.audit_log else (0, GENESIS)

    def add_notice(self, notice: Notice) -> Notice:
        stored = replace(notice, number=len(self.kept_notices) + 1)
        self.kept_notices.append(stored)
        return stored

    def notice(self, number: int) -> Notice | None:
        return self.kept_notices[number - 1] if 0 < number <= len(self.kept_notices) else None

    def save_notice(self, notice: Notice) -> None:
        if self.notice(notice.number) is None:
            raise LookupError(f"notice {notice.number} was never added")
        self.kept_notices[notice.number - 1] = notice

    def due_notices(self, now_ms: int, limit: int, channel: str | None = None) -> Sequence[Notice]:
        queued = [each for each in self.kept_notices if each.state is NoticeState.QUEUED and channel in (None, each.channel)]
        due = [each for each in queued if each.next_ms <= now_ms]
        return sorted(due, key=lambda each: (each.next_ms, each.number))[:limit]

    def notices(self, account: str | None, since_ms: int, limit: int, state: NoticeState | None = None) -> Sequence[Notice]:
        found = [each for each in self.kept_notices if each.created_ms >= since_ms and account in (None, each.account)]
        found = [each for each in found if state in (None, each.state)]
        return sorted(found, key=lambda each: (each.created_ms, each.number), reverse=True)[:limit]

    def notice_counts(self, since_ms: int) -> Mapping[tuple[str, NoticeState], int]:
        return Counter((each.channel, each.state) for each in self.kept_notices if each.created_ms >= since_ms)

    def finding(self, kind: FindingKind, subject: str) -> Finding | None:
        return self.kept_findings.get((kind, subject))

    def findings(self) -> Sequence[Finding]:
        return [self.kept_findings[key] for key in sorted(self.kept_findings)]

    def save_finding(self, finding: Finding) -> None:
        self.kept_findings[finding.kind, finding.subject] = finding

    def drop_finding(self, kind: FindingKind, subject: str) -> None:
        self.kept_findings.pop((kind, subject), None)

    def no_cut_calendar(self, calendar: str) -> NoCutCalendar | None:
        return self.kept_calendars.get(calendar)

    def no_cut_calendars(self) -> Sequence[NoCutCalendar]:
        return [self.kept_calendars[key] for key in sorted(self.kept_calendars)]

    def save_no_cut_calendar(self, calendar: NoCutCalendar) -> None:
        self.kept_calendars[calendar.id] = calendar

    def drop_no_cut_calendar(self, calendar: str) -> None:
        self.kept_calendars.pop(calendar, None)

    def wallet(self, meter: str) -> Wallet | None:
        return self.kept_wallets.get(meter)

    def save_wallet(self, wallet: Wallet) -> None:
        if wallet.count < 0:
            raise ValueError(f"check: no wallet looks like {wallet}")
        self.kept_wallets[wallet.meter] = wallet

    def add_delivery(self, delivery: Delivery) -> None:
        if delivery.id in self.kept_deliveries:
            raise Duplicate(f"delivery {delivery.id} is there already")
        self._check_delivery(delivery)
        self.kept_deliveries[delivery.id] = delivery

    def delivery(self, delivery: str) -> Delivery | None:
        return self.kept_deliveries.get(delivery)

    def save_delivery(self, delivery: Delivery) -> None:
        known = self.kept_deliveries.get(delivery.id)
        if known is None or not known.open:
            raise LookupError(f"delivery {delivery.id} has ended, or was never added")
        self._check_delivery(delivery)
        self.kept_deliveries[delivery.id] = delivery

    def _check_delivery(self, delivery: Delivery) -> None:
        if delivery.micro <= 0 or delivery.micro % 10_000 or delivery.count == 0:
            raise ValueError(f"check: no delivery looks like {delivery}")
        key = (delivery.meter, delivery.epoch, delivery.count)
        for other in self.kept_deliveries.values():
            twice = (other.meter, other.epoch, other.count) == key and other.id != delivery.id
            if twice and {other.state, delivery.state} == {"in_meter"} and other.act == delivery.act == "top_up":
                raise Duplicate(f"unique: count {delivery.count} of meter {delivery.meter} is another purchase")

    def open_deliveries(self, *, line: str | None = None, meter: str | None = None) -> Sequence[Delivery]:
        return [
            d for d in self.kept_deliveries.values()
            if d.open and meter in (None, d.meter) and (line is None or self.kept_meters[d.meter].line == line)
        ]  # fmt: skip

    def deliveries(self, limit: int, account: str | None = None) -> Sequence[Delivery]:
        return [d for d in reversed(self.kept_deliveries.values()) if account in (None, d.account)][:limit]

    def wallets(self, line: str | None = None) -> Sequence[Wallet]:
        return [
            self.kept_wallets[key] for key in sorted(self.kept_wallets)
            if line is None or self.kept_meters[key].line == line
        ]  # fmt: skip
