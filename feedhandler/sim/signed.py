"""Sessions that begin with ``auth``: the private socket and the one for orders (dossier 1.3, 3.1, 7). Pure."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final

from feedhandler.sim import authentication, operations
from feedhandler.sim.exchange import Exchange
from feedhandler.sim.private import family_of, mixed
from feedhandler.sim.publication import MS
from feedhandler.sim.session import Outcome, Session, Settings
from feedhandler.sim.venue import PRIVATE, TRADE

DEFAULT_ACTIVE_S: Final = 600.0
SHORTEST_ACTIVE_S: Final = 30.0
LONGEST_ACTIVE_S: Final = 600.0
SWEEP_S: Final = 30.0
"""The venue looks for idle connections this often, so a cut comes up to this much late (dossier 1.3)."""

_ACTIVE: Final = re.compile(r"(?:^|&)max_active_time=(\d+)(s|m)(?:&|$)")


def active_time_s(query: str) -> float:
    """Return how long a connection may be idle: ``max_active_time`` of the URL's query, 10 minutes without.

    A value that the venue does not offer leaves it at the default; nobody has recorded what it really does.
    """
    match = _ACTIVE.search(query)
    if match is None:
        return DEFAULT_ACTIVE_S
    asked_s = float(match[1]) * (60 if match[2] == "m" else 1)
    return asked_s if SHORTEST_ACTIVE_S <= asked_s <= LONGEST_ACTIVE_S else DEFAULT_ACTIVE_S


class PrivateSession(Session):
    """The subscriptions of one private connection; until it `is_authorized`, all but ``auth`` and ``ping`` is refused."""

    characters_limit = 10**9  # the 21,000 characters are the public connections' (dossier 2.4)

    def __init__(
        self,
        conn_id: str,
        exchange: Exchange,
        settings: Settings,
        recorded: Collection[str] = (),
        veto: Callable[[], str] = lambda: "",
        *,
        keys: Mapping[str, str],
        auth_veto: Callable[[], str] = lambda: "",
        product: str = PRIVATE,
    ) -> None:
        """Begin without authorization.

        ``keys`` are secrets by API key. ``auth_veto`` is asked at each ``auth`` and returns the words to refuse it
        with though it be right, or ``""``.
        """
        super().__init__(product, conn_id, exchange, settings, recorded, veto)
        self.is_authorized = False
        self._keys = keys
        self._auth_veto = auth_veto

    def refusal(self, topic: str) -> str:
        """Return the venue's words against a topic; ``""`` = it is accepted."""
        is_known = topic in self._recorded or family_of(topic) is not None
        return "" if is_known else operations.handler_not_found(topic)

    def _other(self, request: operations.Request, payload: bytes, now_ns: int) -> Outcome:
        if request.op != operations.AUTH:
            return super()._other(request, payload, now_ns)
        args = authentication.arguments(payload)
        text = self._auth_veto() or authentication.objection(self._keys, args, now_ns // MS)
        if text:
            outcome = self._refused(request, text, f"auth: {text}")
            outcome.ends = True
            return outcome
        reply = operations.acknowledge(self.product, request.op, self.conn_id, request.req_id)
        return Outcome(request.op, reply, authorizes=True)

    def _barred(self) -> str:
        return "" if self.is_authorized else authentication.NOT_AUTHORIZED

    def _whole(self, request: operations.Request, args: list[str]) -> Outcome:
        offender = mixed(args)
        if offender is not None and not any(map(self.refusal, args)):
            return self._refused(request, operations.mixed_topics(offender), "error:mixed topics")
        return super()._whole(request, args)


class TradeSession(PrivateSession):
    """The socket for orders: ``auth`` and ``ping`` as the venue answers them; orders are refused, for none are taken."""

    id_key = "reqId"

    def __init__(
        self,
        conn_id: str,
        exchange: Exchange,
        settings: Settings,
        *,
        keys: Mapping[str, str],
        auth_veto: Callable[[], str] = lambda: "",
    ) -> None:
        """Begin without authorization."""
        super().__init__(conn_id, exchange, settings, keys=keys, auth_veto=auth_veto, product=TRADE)

    def _other(self, request: operations.Request, payload: bytes, now_ns: int) -> Outcome:
        if request.op == operations.AUTH and self.is_authorized:
            return self._refused(request, operations.ALREADY_AUTHORIZED, operations.ALREADY_AUTHORIZED)
        if request.op != operations.AUTH and (text := self._barred()):
            return self._refused(request, text, text)
        return super()._other(request, payload, now_ns)

    def _subscription(self, request: operations.Request) -> Outcome:
        return self._refused(request, operations.INVALID_OP, operations.INVALID_OP)
