"""Nothing is lost on the way: 200,000 frames as fast as they can be read, to two plain subscribers."""

import functools
import json
from pathlib import Path

from support.feed import Ear, Feed, breaks, is_data, wait_until
from support.simulator import Simulator

from feedhandler import wire

FRAMES = 200_000
TOPICS = [f"orderbook.50.COIN{number}USDT" for number in range(50)]


def message(topic: str, kind: str, update_id: int) -> str:
    """Return a book message in the venue's shape."""
    price = 100 + update_id % 50
    return (
        f'{{"topic":"{topic}","type":"{kind}","ts":1790000000000,"data":{{"s":"{topic[13:]}",'
        f'"b":[["{price}.5","{update_id}"]],"a":[["{price + 60}.5","{update_id}"]],"u":{update_id},"seq":{update_id * 7}}},'
        f'"cts":1790000000000}}\n'
    )


def update_id(record: wire.Record) -> int:
    found: int = json.loads(record.payload)["data"]["u"]
    return found


def has_end(ear: Ear, last: int) -> bool:
    """Say whether the last frame of each topic has come."""
    # Only some statuses may come behind them.
    tail = [record for record in ear.records[-4 * len(TOPICS) :] if is_data(record)]
    return len({record.subject for record in tail if update_id(record) == last}) == len(TOPICS)


def test_200000_frames_as_fast_as_they_are_read_reach_two_subscribers_whole(tmp_path: Path) -> None:
    """Two SUBs each get every frame, each subject's sequence without a break and its payloads in order."""
    each = FRAMES // len(TOPICS)
    file = tmp_path / "frames.jsonl"
    with file.open("w") as out:
        out.writelines(message(topic, "snapshot", 1) for topic in TOPICS)
        out.writelines(message(topic, "delta", update_id) for update_id in range(2, each + 1) for topic in TOPICS)
    with Simulator("--replay", str(file), "--pace", "fast") as venue:
        config = f"""
            network = "sim"
            [endpoints.linear]
            product = "linear"
            url = "{venue.url_of("linear")}"
            topics = {json.dumps(TOPICS)}
        """
        feed = Feed(tmp_path, config)
        address = feed.address("linear")
        with Ear([address]) as one, Ear([address]) as two, feed:
            for ear in (one, two):
                wait_until(functools.partial(has_end, ear, each), "the last frames", 60)
                assert not breaks(ear.records)
                # On a busy machine an ear may come a moment late: it begins with an image, and misses nothing from there.
                update_ids: dict[str, int] = {}
                for record in ear.records:
                    if record.kind > wire.UPDATE:
                        continue
                    if is_data(record) and record.subject in update_ids:
                        assert update_id(record) == update_ids[record.subject] + 1
                    update_ids[record.subject] = max(update_id(record), update_ids.get(record.subject, 0))
                assert update_ids == dict.fromkeys((f"linear.{topic}" for topic in TOPICS), each)
                assert sum(map(is_data, ear.records)) > FRAMES // 2
