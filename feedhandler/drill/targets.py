"""Whom a fault hits: a worker, connection and topic that the configuration really has. Pure."""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from feedhandler.bybit import topics as grammar
from feedhandler.bybit.products import PRODUCTS, Nature
from feedhandler.config.model import WorkerPlan
from feedhandler.drill import faults
from feedhandler.drill.faults import Fault

LEVEL_1: Final = "orderbook.1."


class Link(msgspec.Struct, frozen=True):
    """One of the feed's connections, as the venue sees it."""

    number: int
    product: str
    topics: frozenset[str]


class Target(msgspec.Struct, frozen=True):
    """Whom a fault hits."""

    worker: str
    product: str
    links: tuple[Link, ...] = ()
    """Connections that are hit."""
    topic: str = ""
    symbol: str = ""

    @property
    def where(self) -> str:
        """What the scorecard says of it."""
        return " ".join(word for word in (self.worker, self.topic or self.symbol) if word)


def links_of(plan: WorkerPlan, links: Sequence[Link], plans: Sequence[WorkerPlan]) -> list[Link]:
    """Return the connections of a worker; none where another worker's might look the same."""
    return [link for link in links if [other for other in plans if _may_have(other, link)] == [plan]]


def _may_have(plan: WorkerPlan, link: Link) -> bool:
    known = {*plan.topics, plan.connection.canary}
    return plan.product == link.product and link.topics <= known and not link.topics.isdisjoint(plan.topics)


def books(plan: WorkerPlan, avoided: Collection[str] = ()) -> list[str]:
    """Return the books with deltas of a worker, those first that are pushed most often."""

    def interval_ms(topic: str) -> int:
        stream = PRODUCTS[plan.product].stream(grammar.split(topic)[0])
        return stream.interval_ms if stream is not None else 1000

    found = [
        topic
        for topic in plan.topics
        if grammar.nature(plan.product, topic) is Nature.BOOK and topic not in _avoided_topics(plan, avoided)
    ]
    return sorted(found, key=interval_ms)


def _avoided_topics(plan: WorkerPlan, avoided: Collection[str]) -> set[str]:
    """Return the topics of a worker among ``avoided`` subjects."""
    return {topic for topic in plan.topics if f"{plan.endpoint}.{topic}" in avoided}


def choose(
    fault: Fault, number: int, plans: Sequence[WorkerPlan], links: Sequence[Link], avoided: Collection[str] = ()
) -> Target | str:
    """Return a target, each ``number`` another where there are several; or say why there is none.

    ``avoided`` are subjects that are not as they should be at present.
    """
    candidates = {
        faults.CONNECTION: _connections,
        faults.LEVEL_1: _with_level_1,
        faults.ACCOUNT: _with_account,
        faults.BOOK: _with_book,
        faults.SYMBOL: _symbols,
        faults.WORKER: _workers,
        faults.EVERYTHING: _everything,
    }[fault.needs](plans, links, avoided)
    if not candidates:
        return _WHY[fault.needs]
    return candidates[number % len(candidates)]


_WHY: Final = {
    faults.CONNECTION: "no connection of the configuration can be told from the others",
    faults.LEVEL_1: "no connection has a level-1 book, which alone is promised to speak every 3 s",
    faults.ACCOUNT: "the configuration has no private endpoint",
    faults.BOOK: "the configuration has no order book with deltas",
    faults.SYMBOL: "no symbol is carried by one worker alone, beside others",
    faults.WORKER: "the configuration has no worker",
    faults.EVERYTHING: "the configuration has no worker",
}


def _connections(plans: Sequence[WorkerPlan], links: Sequence[Link], avoided: Collection[str]) -> list[Target]:
    found = []
    for plan in plans:
        own = links_of(plan, links, plans)
        wanted = set(plan.topics) - _avoided_topics(plan, avoided)
        # The connection with the liveliest book shows most; of two lines either will do.
        liveliest = [link for topic in books(plan, avoided)[:1] for link in own if topic in link.topics]
        found += [
            Target(plan.worker, plan.product, (link,))
            for link in liveliest or [link for link in own if link.topics & wanted][:1]
        ]
    return found


def _with_level_1(plans: Sequence[WorkerPlan], links: Sequence[Link], avoided: Collection[str]) -> list[Target]:
    return [
        target
        for target in _connections(plans, links, avoided)
        if any(topic.startswith(LEVEL_1) for topic in target.links[0].topics)
    ]


def _with_account(plans: Sequence[WorkerPlan], links: Sequence[Link], avoided: Collection[str]) -> list[Target]:
    return [target for target in _connections(plans, links, avoided) if target.product == "private"]


def _with_book(plans: Sequence[WorkerPlan], links: Sequence[Link], avoided: Collection[str]) -> list[Target]:
    return [
        Target(plan.worker, plan.product, (link,), topic)
        for plan in plans
        for topic in books(plan, avoided)[:1]
        for link in links_of(plan, links, plans)
        if topic in link.topics
    ]


def _symbols(plans: Sequence[WorkerPlan], links: Sequence[Link], avoided: Collection[str]) -> list[Target]:
    found = []
    for plan in plans:
        own = links_of(plan, links, plans)
        preferred = [symbol for topic in books(plan, avoided)[:1] if (symbol := symbol_of(plan.product, topic))]
        here = dict.fromkeys(symbol for topic in plan.topics if (symbol := symbol_of(plan.product, topic)))
        for symbol in here:
            carriers = [
                other
                for other in plans
                if other.product == plan.product
                and any(symbol_of(other.product, topic) == symbol for topic in other.topics)
            ]
            hit = tuple(
                link
                for link in own
                if any(symbol_of(plan.product, topic) == symbol for topic in link.topics & set(plan.topics))
            )
            # Other faults go on meanwhile with the liveliest book's symbol.
            if carriers == [plan] and hit and symbol not in preferred and len(here) > 1:
                found.append(Target(plan.worker, plan.product, hit, symbol=symbol))
    return found


def _workers(plans: Sequence[WorkerPlan], links: Sequence[Link], avoided: Collection[str]) -> list[Target]:
    return [
        Target(plan.worker, plan.product, tuple(links_of(plan, links, plans)))
        for plan in plans
        if set(plan.topics) - _avoided_topics(plan, avoided)
    ]


def _everything(plans: Sequence[WorkerPlan], links: Sequence[Link], avoided: Collection[str]) -> list[Target]:
    del links, avoided
    return [Target("", "")] if plans else []


def symbol_of(product: str, topic: str) -> str:
    """Return the symbol that a topic is of; ``""`` where it is of a pool or a base coin."""
    name, symbol = grammar.split(topic)
    stream = PRODUCTS[product].stream(name)
    return symbol if stream is not None and stream.by == "symbol" else ""
