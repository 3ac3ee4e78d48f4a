"""What is wrong with a line, in one sentence: judged from what was asked on it and what came back (`wattgate doctor`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.adapters.line_tools.place import Place, Setting
from gateway.adapters.line_tools.probe import Heard, starts_well
from protocols.dlt645.codes import dialect_of, error_flags
from protocols.dlt645.frames import ANY, Dialect, Frame, covers

LATEST_MS = 500
"""Td (dlt645.md 2)."""


class Finding(StrEnum):
    """What it is; the sentence says it for people."""

    GOOD = "good"
    LINE = "line"
    REFUSED = "refused"
    LATE = "late"
    NO_PREAMBLE = "preamble"
    OTHER_SETTING = "setting"
    OTHER_DIALECT = "dialect"
    OTHER_ADDRESS = "address"
    SEVERAL = "several"
    PARITY = "parity"
    GARBAGE = "garbage"
    NOISE = "noise"
    OTHER_MASTER = "master"
    ECHO = "echo"
    MODBUS = "modbus"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The finding, and the sentence."""

    finding: Finding
    sentence: str

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return self.finding is Finding.GOOD


@dataclass(frozen=True, slots=True)
class Trial:
    """One question and what came back. address: 12 digits, or AA x 6 for anybody."""

    setting: Setting
    dialect: Dialect
    preamble: int
    address: str
    heard: Heard
    byte_us: float

    @property
    def answers(self) -> list[Frame]:
        """Frames that answer this question, refusals too; of either dialect."""
        frames = self.heard.answers()
        return [f for f in frames if "AA" in f.address or covers(self.address, f.address)]

    @property
    def delay_ms(self) -> int:
        """From the end of the question to the beginning of the answer."""
        first = self.heard.first
        if first is None:
            return 0
        return max(0, round(first.at_us - self.heard.left_us - len(first.data) * self.byte_us) // 1000)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was tried. unasked: what came before we asked; wanted: the address that was named, None for anybody."""

    place: Place
    wanted: str | None
    dialect: Dialect | None
    unasked: Heard
    trials: Sequence[Trial]
    modbus: str | None = None


def conclude(seen: Evidence) -> Verdict:
    """The first rule that explains what was seen."""
    for rule in _RULES:
        if verdict := rule(seen):
            return verdict
    return Verdict(Finding.SILENCE, _nobody(seen))


def within_limits(place: Place, verdict: Verdict) -> Verdict:
    """The verdict, with what could not be tried where a gateway has the line."""
    if place.through is None or verdict.good:
        return verdict
    said = verdict.sentence.removesuffix(".")
    text = f"{said}; only the line's own setting was tried, for a gateway has it: stop it to try speeds and parities."
    return Verdict(verdict.finding, text)


def answered(trials: Sequence[Trial], wanted: str | None) -> Trial | None:
    """The first trial that was answered by the wanted meter, or by anybody."""
    return next((t for t in trials if t.answers and (wanted is None or t.address == wanted)), None)


def _answered(seen: Evidence) -> Verdict | None:
    """The meter answers: at the given setting, in the given dialect, in time, without a refusal?"""
    trial = answered(seen.trials, seen.wanted)
    if trial is None:
        return None
    frame, place = trial.answers[0], seen.place
    who = f"meter {frame.address}" if "AA" not in frame.address else "a meter that does not tell its address"
    said = dialect_of(frame) or trial.dialect
    if place.settable and trial.setting != place.setting:
        return Verdict(Finding.OTHER_SETTING, f"{who} answers at {trial.setting}, not at {place.setting}: set the line to that.")
    if seen.dialect and said is not seen.dialect:
        return Verdict(Finding.OTHER_DIALECT, f"{who} answers in {said}, not in {seen.dialect}: choose another profile.")
    if not trial.preamble:
        return Verdict(Finding.NO_PREAMBLE, f"{who} answers only without the preamble FE: set preamble = 0 in its profile.")
    if frame.is_error:
        why = ", ".join(error_flags(frame.function, frame.data, said)) or "without a known reason"
        return Verdict(Finding.REFUSED, f"{who} answers {place.how}, but refuses to tell its energy: {why}.")
    if trial.delay_ms > LATEST_MS:
        return Verdict(Finding.LATE, f"{who} answers only after {trial.delay_ms} ms, the standard allows {LATEST_MS}: wait longer.")
    if others := seen.unasked.requests():
        return Verdict(Finding.OTHER_MASTER, f"{who} answers, but somebody else asks on this line too ({others[0].address}).")
    if trial.address == ANY and (trial.heard.garbled or len({f.address for f in trial.answers}) > 1):
        return Verdict(Finding.SEVERAL, f"{who} answers, and others at the same time: name one with --address, or use scan.")
    return Verdict(Finding.GOOD, _good(seen, trial, who, said))


def _good(seen: Evidence, trial: Trial, who: str, said: Dialect) -> str:
    notes = ["; we hear our own bytes back, which the gateway copes with"] if trial.heard.echoed else []
    bare = next((t for t in seen.trials if not t.preamble and t.address == trial.address), None)
    if bare is not None and not bare.answers:
        notes.append("; it needs the preamble FE")
    delay = f" after {trial.delay_ms} ms" if trial.byte_us else ""
    return f"{who} answers {seen.place.how} in {said}{delay}{''.join(notes)}: nothing is wrong."


def _other_address(seen: Evidence) -> Verdict | None:
    trial = next((t for t in seen.trials if t.address == ANY and (t.answers or t.heard.garbled)), None)
    if seen.wanted is None or trial is None or any(t.heard.garbled for t in seen.trials if t.address == seen.wanted):
        return None
    who = ", ".join(sorted({f.address for f in trial.answers})) or "several meters at once"
    setting = f" at {trial.setting}" if seen.place.settable else ""
    return Verdict(Finding.OTHER_ADDRESS, f"nobody has the address {seen.wanted} here, but {who} answered{setting}.")


def _garbled(seen: Evidence) -> Verdict | None:
    """Garbage that is the same each time is a setting, garbage that differs is several who talk, or noise."""
    garbled = [t for t in seen.trials if t.heard.garbled]
    if not garbled:
        return None
    same = [t for t in garbled if t.setting == garbled[0].setting and t.heard.question == garbled[0].heard.question]
    repeated = len(same) > 1 and len({t.heard.data for t in same}) == 1
    where = f"at {garbled[0].setting}" if seen.place.settable else "here"
    if repeated and all(starts_well(t.heard.data) for t in same):
        text = f"bytes come back {where} that begin like an answer and then break: the parity is wrong, meters want 8E1."
        return Verdict(Finding.PARITY, text)
    if repeated:
        return Verdict(Finding.GARBAGE, f"the same bytes come back {where} each time, but no frame: the speed or parity is wrong.")
    if garbled[0].address == ANY:
        text = f"several meters answer at once {where}: name one with --address, or find them with scan."
        return Verdict(Finding.SEVERAL, text)
    return Verdict(Finding.GARBAGE, f"bytes come back {where}, but other ones each time: noise, or two meters with one address.")


def _unasked(seen: Evidence) -> Verdict | None:
    if others := seen.unasked.requests():
        text = f"somebody else asks on this line ({others[0].address}) and nobody answers us: only one may ask."
        return Verdict(Finding.OTHER_MASTER, text)
    if seen.unasked.silent:
        return None
    count = len(seen.unasked.data)
    text = f"{count} bytes came without a question, and nobody answers: noise, a missing termination, or somebody at another speed."
    return Verdict(Finding.NOISE, text)


def _modbus(seen: Evidence) -> Verdict | None:
    if seen.modbus is None:
        return None
    return Verdict(Finding.MODBUS, f"nobody speaks DL/T 645 here, but a Modbus device answers: {seen.modbus}.")


def _echo(seen: Evidence) -> Verdict | None:
    if not any(t.heard.echoed for t in seen.trials):
        return None
    text = "we hear only ourselves: the adapter works and no meter answers; look at its power, at A and B, and at the address."
    return Verdict(Finding.ECHO, text)


def _nobody(seen: Evidence) -> str:
    whom = f"meter {seen.wanted}" if seen.wanted else "nobody"
    verb = "does not answer" if seen.wanted else "answers"
    if seen.place.settable:
        speeds = sorted({t.setting.baud for t in seen.trials})
        parities = sorted({t.setting.parity for t in seen.trials})
        tried = f"at {', '.join(map(str, speeds))} baud (parity {', '.join(parities)})"
        return f"{whom} {verb} {tried}, in either dialect: look at power, at A and B (swapped?), and at the address."
    hint = "look at the speed and parity of the serial server (8E1), at power, at A and B, and at the address"
    return f"{whom} {verb} in either dialect: {hint}."


_RULES: tuple[Callable[[Evidence], Verdict | None], ...] = (_answered, _other_address, _garbled, _unasked, _modbus, _echo)
