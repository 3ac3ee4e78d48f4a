"""What a value of the past is worth: two independent things must speak for it before it is confirmed.

A checksum of one byte (dlt645.md 2) does not see two hit bits that cancel out: so one of 70 blocks is false at 5 % of byte errors,
one of 190,000 at the field's 0.1 %, more of the long answers of a curve. One of 500 (1,400,000) even agrees in itself, with as much
too much in one rate as too little in another. With a neighbour that it must be in step with, a single count is left to be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from gateway.domain.readings import Billing, Bound, Quality, Registers, agree, confirms_itself, in_step, turned_over


def past_quality(past: Registers, billing: Billing | None, bound: Bound) -> Quality:
    """What a value is worth that came for the first time; the same value once more is what confirms it otherwise.

    confirmed: a block that agrees in itself and is in step with the registers that are billed. suspect: one that contradicts itself
    or them, unless the register was renewed or went over its top in between, which nobody knows of a moment of the past.
    """
    if len(past.wh) > 1 and not confirms_itself(past.wh, bound.count_wh, bound.capacity_wh):
        return Quality.SUSPECT
    if billing is None or billing.confirmed is None:
        return Quality.SINGLE
    first, second = sorted((past, billing.confirmed), key=lambda registers: registers.at_ms)
    if not _may_follow(first, second, bound):
        return Quality.SINGLE if billing.renewals or turned_over(first, second, bound) else Quality.SUSPECT
    return Quality.CONFIRMED if in_step(first, second, bound.count_wh) else Quality.SINGLE


def contradicted(points: Iterable[Registers], bound: Bound) -> set[int]:
    """The moments (UTC ms) of points of one curve that a neighbour contradicts; nobody knows which of the two is wrong."""
    ordered = sorted(points, key=lambda point: point.at_ms)
    return {
        point.at_ms
        for first, second in pairwise(ordered)
        if not _may_follow(first, second, bound) and turned_over(first, second, bound) is None
        for point in (first, second)
    }


def _may_follow(first: Registers, second: Registers, bound: Bound) -> bool:
    """By those registers that both have: a curve has fewer than the bill."""
    both = first.wh.keys() & second.wh.keys()
    one, other = (Registers(each.at_ms, {name: each.wh[name] for name in both}) for each in (first, second))
    return agree(one, other, bound) is None
