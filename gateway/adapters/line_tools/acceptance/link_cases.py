"""Cases of the link layer: what is answered, what is met with silence, how long an answer may be (dlt645.md 2, 3 and 4)."""

from __future__ import annotations

from gateway.adapters.line_tools.acceptance.case import BOTH, Broken, Case, Figure, NotRun, Seen
from gateway.adapters.line_tools.acceptance.subject import SILENT_MS, Subject
from protocols.bcd import decode_bcd, decode_digits, encode_digits
from protocols.dlt645 import codes
from protocols.dlt645.codes import Err
from protocols.dlt645.frames import BROADCAST, OFFSET, Dialect, Frame, encode
from protocols.dlt645.freeze_time import FreezeTime
from protocols.dlt645.master import Freeze, Read, ReadAddress
from protocols.dlt645.question import credentials
from protocols.errors import Refused

LONGEST_ANSWER, LONGEST_WRITE = 200, 50
PAUSE_MS = 400
"""Within Tb, 500 ms, which a receiver must bear between two characters."""

LONG_RECORDS = ("03300201", "03300501", "03300801", "03300202", "06000002", "06010002")
"""Records that are longer than one answer: demand reset (202 bytes), day tables (682), holidays (1016), load profile."""

NO_SUCH = "FFFFFFFF"
ANSWER = "DL/T 645-2007, data link layer: response (dlt645.md 2)"
SILENT = "DL/T 645-2007, data link layer: error control (dlt645.md 2)"
ADDRESS = "DL/T 645-2007, data link layer: address field (dlt645.md 2)"
CODES = "DL/T 645-2007, control codes (dlt645.md 3)"
ERRORS = "DL/T 645-2007, error word ERR (dlt645.md 4)"
DATA = "DL/T 645-2007, data field: 33H offset (dlt645.md 2)"
TB = "DL/T 645-2007, data link layer: Tb (dlt645.md 2)"
LENGTH = "DL/T 645-2007, length field: reads 200, writes 50 (dlt645.md 2)"


async def _read(meter: Subject) -> Seen:
    answer = await meter.alive()
    digits = decode_bcd(answer.data)
    if len(answer.data) != 4 or digits is None:
        raise Broken(f"{meter.energy} came as {answer.data.hex().upper()}, not as 8 decimal digits")
    return Seen(f"{meter.energy} is {digits / 100:.2f} kWh, from {answer.address}")


async def _no_preamble(meter: Subject) -> Seen:
    heard = await meter.ask(meter.question(preamble=0))
    if not heard.answers():
        raise Broken("no answer to a question without FE in front")
    return Seen("answered")


async def _noise_before(meter: Subject) -> Seen:
    heard = await meter.ask(b"\x00\x68\xff" + meter.question())
    if not heard.answers():
        raise Broken("no answer to a question behind noise and a false start")
    return Seen("answered")


async def _bad_checksum(meter: Subject) -> Seen:
    wrong = bytearray(meter.question())
    wrong[-2] = wrong[-2] + 1 & 0xFF
    await meter.silence(bytes(wrong), "a wrong checksum")
    return Seen(f"silent for {SILENT_MS} ms, then answered a right question")


async def _bad_end(meter: Subject) -> Seen:
    await meter.silence(meter.question()[:-1] + b"\x17", "a frame that ends with 17")
    return Seen("silent, then answered a right question")


async def _foreign(meter: Subject) -> Seen:
    other = f"{(int(meter.address) + 1) % 10**12:012d}"
    heard = await meter.ask(meter.question(other), alone=False, first_ms=SILENT_MS)
    if any(frame.address == other for frame in heard.answers()):
        raise NotRun(f"there is a meter {other} on this line")
    if not heard.silent:
        raise Broken(f"{len(heard.data)} bytes came back to a question to {other}: {heard.data.hex().upper()}")
    await meter.alive()
    return Seen(f"silent to {other}")


async def _answer_bit(meter: Subject) -> Seen:
    control = (codes.READ if meter.dialect is Dialect.V2007 else codes.READ_1997) | 0x80
    await meter.silence(encode(Frame(meter.address, control, encode_digits(meter.energy))), "what looks like an answer")
    return Seen("silent")


async def _broadcast_read(meter: Subject) -> Seen:
    await meter.silence(encode(Frame(BROADCAST, codes.READ, encode_digits(meter.energy))), "a read of the broadcast address")
    return Seen("silent")


async def _broadcast_freeze(meter: Subject) -> Seen:
    before = await meter.known("05010001")
    await meter.silence(Freeze(FreezeTime()).start(), "a broadcast freeze")
    after = await meter.known("05010001")
    if after is None:
        return Seen("silent; whether it froze cannot be read (05010001)")
    if before is not None and before.data == after.data:
        return Seen(f"silent; the time of the last freeze is the same as before: {decode_digits(after.data)}")
    return Seen(f"silent, and frozen at {decode_digits(after.data)}")


async def _truncated(meter: Subject) -> Seen:
    question = meter.question()
    await meter.silence(question[:-4], "half a frame")
    return Seen("silent to half a frame, then answered a whole one")


async def _slow_question(meter: Subject) -> Seen:
    question = meter.question()
    heard = await meter.probe.ask_in_parts(question[:9], PAUSE_MS, question[9:])
    meter.keep(heard)
    if not heard.answers():
        raise Broken(f"no answer to a question with a pause of {PAUSE_MS} ms inside")
    return Seen("answered", (Figure("pause in the question", PAUSE_MS, "ms", meter.precision.bound_ms),))


async def _wildcard(meter: Subject) -> Seen:
    pattern = meter.address[-2:].rjust(12, "A")
    heard = await meter.ask(Read(pattern, meter.energy).start(), alone=False)
    addresses = {frame.address for frame in heard.answers()}
    if heard.garbled or len(addresses) > 1:
        raise NotRun("other meters of this line answer to the same abbreviated address")
    if addresses != {meter.address}:
        raise Broken(f"{pattern} was answered by {', '.join(addresses) or 'nobody'}, not with the real address")
    return Seen(f"{pattern} was answered with the real address")


async def _read_address(meter: Subject) -> Seen:
    heard = await meter.ask(ReadAddress().start(), alone=False)
    frames = heard.answers()
    if heard.garbled or len(frames) > 1:
        raise NotRun("other meters of this line answer too")
    if not frames or frames[0].is_error or decode_digits(frames[0].data) != meter.address:
        raise Broken(f"answered with {frames[0].data.hex().upper()}" if frames else "no answer")
    return Seen(f"told {meter.address}")


async def _unknown_identifier(meter: Subject) -> Seen:
    try:
        answer = await meter.read(NO_SUCH)
    except Refused as refused:
        if len(refused.code) != 1 or not refused.code[0] & Err.NO_DATA:
            raise Broken(str(refused)) from None
        return Seen(str(refused))
    raise Broken(f"{NO_SUCH} was answered with {answer.data.hex().upper()}")


async def _short_question(meter: Subject) -> Seen:
    heard = await meter.ask(encode(Frame(meter.address, codes.READ, b"\x00\x00\x01")), first_ms=SILENT_MS)
    answers = heard.answers()
    if any(not frame.is_error for frame in answers):
        raise Broken("an identifier of 3 bytes was answered as if it were whole")
    await meter.alive()
    return Seen(("refused" if answers else "silent") + ", then answered a right question")


async def _wrap(meter: Subject) -> Seen:
    di = "0001FF00"
    question = Read(meter.address, di).start()
    wrapped = (0xFF + OFFSET) & 0xFF
    assert wrapped in question, "the identifier's FF travels as 32"
    answer = await meter.known(di)
    if answer is None:
        raise NotRun(f"the meter does not have {di}")
    return Seen(f"{di}, whose FF travels as {wrapped:02X}, was answered with {len(answer.items)} values")


async def _follow_up(meter: Subject) -> Seen:
    for di in LONG_RECORDS:
        answer = await _long(meter, di)
        if answer is not None:
            return Seen(answer)
    raise NotRun(f"the meter has no record longer than {LONGEST_ANSWER} bytes ({', '.join(LONG_RECORDS)})")


async def _long(meter: Subject, di: str) -> str | None:
    """What a record in several frames showed; None when the meter does not have it, or in one frame. Raises Broken."""
    exchange = Read(meter.address, di, count=9) if di.startswith("06") else Read(meter.address, di)
    heard = await meter.ask(exchange.start())
    answers = heard.answers()
    if not answers or answers[0].is_error or not answers[0].more:
        return None
    answer = await meter.run(lambda: Read(meter.address, di, count=9) if di.startswith("06") else Read(meter.address, di))
    try:
        await _wrong_sequence(meter, di)
    except Refused as refused:
        return f"{di}: {len(answer.data)} bytes in several frames, in order; SEQ 200 was {refused}"
    raise Broken(f"{di}: a follow-up with SEQ 200 was not refused")


async def _wrong_sequence(meter: Subject, di: str) -> None:
    heard = await meter.ask(encode(Frame(meter.address, codes.READ_NEXT, encode_digits(di) + b"\xc8")))
    for frame in heard.answers():
        if frame.is_error:
            raise Refused(frame.data, codes.error_flags(frame.function, frame.data))


async def _write_length(meter: Subject) -> Seen:
    """To an identifier that no meter has, so that nothing can change. Counted where the password is refused."""
    whole = await _written(meter, LONGEST_WRITE)
    if whole is None:
        raise Broken(f"no answer to a write of {LONGEST_WRITE} bytes")
    if whole[:1] and whole[0] & Err.PASSWORD:
        return Seen(f"{LONGEST_WRITE} bytes: refused for the password; one more is not tried with it")
    longer = await _written(meter, LONGEST_WRITE + 1)
    await meter.alive()
    said = "was met with silence" if longer is None else f"was refused with {longer.hex().upper()}"
    return Seen(f"{LONGEST_WRITE} bytes: refused with {whole.hex().upper()}; one more {said}; then answered a right question")


async def _written(meter: Subject, length: int) -> bytes | None:
    """The error word to a write of so many bytes; None for silence. Raises Broken where it is taken, NotRun to spare the meter."""
    password = meter.right_password()
    meter.may_be_refused()
    level = 4 if password.level is None else password.level
    head = encode_digits(NO_SUCH) + credentials(level, password.digits, meter.options.operator)
    heard = await meter.ask(encode(Frame(meter.address, codes.WRITE, head.ljust(length, b"\0"))), first_ms=SILENT_MS)
    frame = next((frame for frame in heard.answers() if frame.function == codes.WRITE), None)
    if frame is None:
        return None
    if not frame.is_error:
        raise Broken(f"a write of {length} bytes to {NO_SUCH}, which no meter has, was accepted")
    if frame.data[:1] and frame.data[0] & Err.PASSWORD:
        meter.refused_once()
    return frame.data


async def _length(meter: Subject) -> Seen:
    if not meter.heard:
        raise NotRun("nothing was answered")
    if meter.longest > LONGEST_ANSWER:
        raise Broken(f"an answer had {meter.longest} bytes")
    figure = Figure("longest answer", meter.longest, "B")
    return Seen(f"the longest of {len(meter.heard)} answers had {meter.longest} bytes", (figure,))


CASES = (
    Case("link.read", ANSWER, "A right question", "answer with its own address and 8 digits", _read, dialects=BOTH),
    Case("link.no-preamble", ANSWER, "A question without FE in front", "answer", _no_preamble, dialects=BOTH),
    Case("link.noise", ANSWER, "A question behind noise and a false start", "answer", _noise_before, dialects=BOTH),
    Case("link.checksum", SILENT, "A wrong checksum", "silence, afterwards as ever", _bad_checksum, dialects=BOTH),
    Case("link.end", SILENT, "A wrong end", "silence, afterwards as ever", _bad_end, dialects=BOTH),
    Case("link.truncated", SILENT, "Half a frame", "silence, afterwards as ever", _truncated, dialects=BOTH),
    Case("link.answer-bit", SILENT, "Another meter's answer", "silence", _answer_bit, dialects=BOTH),
    Case("link.foreign", ADDRESS, "Another meter's address", "silence", _foreign, dialects=BOTH),
    Case("link.broadcast-read", ADDRESS, "A read of the broadcast address", "silence", _broadcast_read),
    Case("link.broadcast-freeze", ADDRESS, "A broadcast freeze (16)", "obeyed in silence", _broadcast_freeze),
    Case("link.wildcard", ADDRESS, "An abbreviated address", "answer with the real address", _wildcard, dialects=BOTH),
    Case("link.read-address", CODES, "Reading the address", "answer with it", _read_address),
    Case("link.pause", TB, "A pause inside a question", "answer", _slow_question, dialects=BOTH),
    Case("link.unknown", ERRORS, "An unknown identifier", "D1, bit 1", _unknown_identifier),
    Case("link.short", CODES, "An identifier of 3 bytes", "refusal or silence", _short_question),
    Case("link.wrap", DATA, "Bytes that wrap", "answer with the same identifier", _wrap),
    Case("link.follow-up", CODES, "A record in several frames", "all parts, in order", _follow_up),
    Case("link.write-length", LENGTH, "Writes of 50 and of 51 bytes", "an answer; no acceptance; as ever", _write_length),
    Case("link.length", LENGTH, "Length of answers", "at most 200 bytes", _length, dialects=BOTH),
)
