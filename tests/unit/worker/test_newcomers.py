"""Newcomers get status, image and kept records, a slice at a time, and share what comes at the same time."""

import asyncio
import time
from typing import cast

from support.lane import Rig, message

from feedhandler import wire
from feedhandler.worker.newcomers import AGAIN_S, Newcomers
from feedhandler.worker.publisher import Publisher

ORDER = "order"
PATIENCE_S = 10.0


class Inbox:
    """In the publisher's place: hands out the subscriptions put into it."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def subscriptions(self) -> list[bytes]:
        waiting, self.waiting = self.waiting, []
        return waiting


def account(records: int) -> Rig:
    """A feed that has kept so many records of an event topic."""
    rig = Rig("private", retain=records)
    rig.start(ORDER)
    for number in range(records):
        rig.come(message(ORDER, "", [{"orderId": str(number)}]))
    rig.take()
    return rig


async def until_told(rig: Rig, newcomers: Newcomers, records: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while len(rig.records) < records and time.monotonic() < deadline_s:
        newcomers.look()
        await asyncio.sleep(0)


def test_newcomer_gets_the_status_and_then_what_is_kept() -> None:
    """Both flagged as repeated; the records under their own numbers, oldest first."""
    rig = account(3)

    async def join() -> None:
        inbox = Inbox()
        newcomers = Newcomers(rig.feed, cast("Publisher", inbox))
        inbox.waiting.append(b"private.order\0")
        await until_told(rig, newcomers, 4)

    asyncio.run(join())
    told = rig.take()
    assert [record.kind for record in told] == [wire.STATUS, wire.UPDATE, wire.UPDATE, wire.UPDATE]
    assert {record.flags for record in told} == {wire.REPEATED}
    last = rig.route(ORDER).sequence
    assert [record.sequence for record in told] == [last, last - 2, last - 1, last]


def test_many_kept_records_leave_the_loop_its_turns() -> None:
    """They are cut into slices, so that live data never wait long for a newcomer."""
    rig = account(20_000)
    turns = 0

    async def join() -> None:
        nonlocal turns
        inbox = Inbox()
        newcomers = Newcomers(rig.feed, cast("Publisher", inbox))
        inbox.waiting.append(b"private.")
        newcomers.look()
        deadline_s = time.monotonic() + PATIENCE_S
        while len(rig.records) < 20_001 and time.monotonic() < deadline_s:
            turns += 1
            await asyncio.sleep(0)

    asyncio.run(join())
    assert len(rig.take()) == 20_001
    # Ten times quicker than any machine could publish them, it would still be two slices.
    assert turns > 2


def test_a_record_that_comes_between_two_slices_is_not_repeated() -> None:
    """What is kept is what was there when the newcomer came."""
    rig = account(5_000)

    async def join() -> None:
        inbox = Inbox()
        newcomers = Newcomers(rig.feed, cast("Publisher", inbox))
        inbox.waiting.append(b"private.order\0")
        newcomers.look()
        rig.come(message(ORDER, "", [{"orderId": "new"}]))
        await until_told(rig, newcomers, 5_002)

    asyncio.run(join())
    told = [record for record in rig.take() if record.kind == wire.UPDATE]
    assert len(told) == 5_001
    assert [record.flags & wire.REPEATED for record in told].count(0) == 1
    assert len({record.sequence for record in told}) == 5_001


def test_newcomers_of_one_moment_share_an_answer() -> None:
    """Answers on one subject are at least `AGAIN_S` apart."""
    rig = account(1)

    async def join() -> list[float]:
        inbox = Inbox()
        newcomers = Newcomers(rig.feed, cast("Publisher", inbox))
        inbox.waiting += [b"private.order\0", b"private."]
        newcomers.look()
        first_s = time.perf_counter()
        assert len(rig.records) == 1
        inbox.waiting.append(b"private.order\0")
        await until_told(rig, newcomers, 4)
        return [first_s, time.perf_counter()]

    first_s, second_s = asyncio.run(join())
    assert [record.kind for record in rig.take()] == [wire.STATUS, wire.UPDATE] * 2
    assert second_s - first_s >= AGAIN_S * 0.9
