"""Topics of the private socket, and the messages on them (dossier 6). Pure."""

from typing import Final

import msgspec

from feedhandler.bybit.products import PRODUCTS
from feedhandler.sim.account import News
from feedhandler.sim.market import Fill, Market
from feedhandler.sim.publication import MS, Publication
from feedhandler.sim.venue import PRIVATE

STREAMS: Final = {stream.name: stream for stream in PRODUCTS[PRIVATE].streams}

TOLD: Final = frozenset(("order", "execution", "execution.fast", "position", "wallet", "greeks"))
"""Families of which something comes. The others are accepted and silent: the account does nothing of their kind."""

_ID_FIRST: Final = frozenset(("position", "wallet", "greeks"))
"""Families whose messages begin with ``id``; the others begin with ``topic`` (dossier 6)."""


def family_of(topic: str) -> tuple[str, str] | None:
    """Split a topic into family and category (``""`` = all in one); None where there is no such topic."""
    if topic in STREAMS:
        return (topic, "") if STREAMS[topic].alone else None
    family, _, category = topic.rpartition(".")
    return (family, category) if family in STREAMS and category in STREAMS[family].words else None


def mixed(topics: list[str]) -> str | None:
    """Return the first topic that asks for a part of what another asks for as a whole, or the other way round."""
    seen: dict[str, bool] = {}
    for topic in topics:
        found = family_of(topic)
        if found is None:
            continue
        family, category = found
        if seen.setdefault(family, bool(category)) != bool(category):
            return topic
    return None


class PrivateStream(Publication):
    """One private topic: the account's news of its family and category, at once. Nobody gets anything of the past."""

    def __init__(self, topic: str) -> None:
        super().__init__(PRIVATE, topic, [])
        found = family_of(topic)
        if found is None or found[0] not in TOLD:
            raise LookupError(f"nothing comes on {topic}")
        self._family, self._category = found

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Markets do not move it; the account does."""
        del market, fills
        return False

    def publish(self, now_ns: int) -> list[bytes]:
        """Return nothing: there is no push interval."""
        del now_ns
        return []

    def message(self, news: News, now_ns: int, *, is_plain: bool = False) -> bytes | None:
        """Return the message of ``news``, or None where it is not for this topic.

        ``is_plain``: it goes by the name of its family, whatever category was subscribed.
        """
        if news.family != self._family or self._category not in ("", news.category):
            return None
        begin = f'"topic":"{self._family if is_plain else self.topic}"'
        if self._family in _ID_FIRST:
            begin = f'"id":"{news.id}",{begin}'
        elif news.id:
            begin = f'{begin},"id":"{news.id}"'
        return f'{{{begin},"creationTime":{now_ns // MS},"data":'.encode() + msgspec.json.encode(news.items) + b"}"
