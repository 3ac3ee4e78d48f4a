"""What /metrics says of banks on ISO 8583 lines. Labels are partners of the configuration, MTIs and codes of their tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.adapters.http.status import PartnerStatus

TURNED_AWAY = ("stranger", "full", "tls", "handshakes", "certificate")
"""Every reason is there from the start, so that an alarm on its rise has a zero to rise from."""

SILENCE = "none"
"""Instead of a code of field 39, where nothing was answered."""


def partner_metrics(partners: Sequence[PartnerStatus]) -> Iterator[Metric]:
    """Of each partner since the start."""
    name = "wattgate_iso8583"
    messages = CounterMetricFamily(f"{name}_messages", "Messages by what was answered", labels=["partner", "mti", "code"])
    bad = CounterMetricFamily(f"{name}_bad_macs", "Messages whose MAC was wrong or missing", labels=["partner"])
    sessions = GaugeMetricFamily(f"{name}_sessions", "Connections that are open", labels=["partner"])
    calls = CounterMetricFamily(f"{name}_calls", "Connections that were taken", labels=["partner"])
    away = CounterMetricFamily(f"{name}_turned_away", "Connections that were refused", labels=["partner", "reason"])
    echo = GaugeMetricFamily(f"{name}_echo_age_seconds", "Since the last echo; absent before the first", labels=["partner"])
    signed_on = GaugeMetricFamily(f"{name}_signed_on", "1 while payments are taken from it", labels=["partner"])
    keys = CounterMetricFamily(f"{name}_keys", "Keys of MACs that it sent, by what became of them", labels=["partner", "became"])
    lost = GaugeMetricFamily(f"{name}_keys_lost", "1 while its MACs fail since the restore of a backup", labels=["partner"])
    for each in partners:
        for (mti, code), count in sorted(each.messages.items()):
            messages.add_metric([each.partner, mti, code or SILENCE], count)
        bad.add_metric([each.partner], each.bad_macs)
        sessions.add_metric([each.partner], each.sessions)
        calls.add_metric([each.partner], each.calls)
        for reason in TURNED_AWAY:
            away.add_metric([each.partner, reason], each.turned_away.get(reason, 0))
        if each.echo_age_s is not None:
            echo.add_metric([each.partner], each.echo_age_s)
        signed_on.add_metric([each.partner], int(each.signed_on))
        lost.add_metric([each.partner], int(each.keys_lost))
        for became, count in sorted(each.keys.items()):
            keys.add_metric([each.partner, became], count)
    yield from (messages, bad, sessions, calls, away, echo, signed_on, keys, lost)
