"""One client's subscriptions, and what each of its requests leads to (dossier 3, 9.3). Pure."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Literal

import msgspec

from feedhandler.bybit import topics as grammar
from feedhandler.bybit.products import args_characters
from feedhandler.sim import operations
from feedhandler.sim.exchange import Exchange
from feedhandler.sim.venue import STATUS, stream_of


class Settings(msgspec.Struct):
    """How the venue behaves where the dossier leaves it open or a test wants it otherwise; changed while it runs."""

    ack_delay_ms: float = 1.0
    """Mean delay of an acknowledgement; each draws between half and one and a half times this."""
    snapshot_first: float = 0.2
    """How often the first data come before the acknowledgement (dossier 3.5)."""
    time_factor: float = 1.0
    """Multiplies the time-outs, so that a test need not wait for them."""
    idle_cut_s: float = 61.0
    """A connection without subscription and message is cut after this (dossier 2.3)."""
    silence_cut_s: float = 600.0
    """A connection without ping is cut after this (dossier 2.3)."""
    cut_without_ping: Literal["quiet", "always"] = "quiet"
    """``quiet``: only where no data were pushed either; ``always``: also where data flow."""
    option_ping_s: float = 0.0
    """On option, a connection not pinged for this long is cut (dossier 9.2); 0 = as everywhere."""
    characters_text: str = operations.DEFAULT_CHARACTERS_TEXT
    """Words for a breach of the 21,000 characters (nobody has recorded the venue's)."""
    cuts_on_characters: bool = False
    """True: a breach of the 21,000 characters ends the connection instead (dossier 9.3)."""
    keeps_characters: bool = False
    """True: unsubscribing does not give characters back (dossier 12, open question 1)."""
    auth_close_s: float = 0.5
    """A connection is cut this long after an ``auth`` was refused (dossier 3.1); below 0 it stays open."""
    conn_id_form: Literal["xid", "uuid", "hex"] = "xid"
    """What a new connection's id looks like: as today, as public ones did until 2025, or as option and private ones
    did (dossier 2.1). To a client it is opaque."""
    plain_private_topics: bool = False
    """True: what comes for ``order.linear`` calls itself ``order``. No recording shows which it is (dossier 6)."""
    write_limit_bytes: int = 16 * 1024 * 1024
    """A client that leaves more than this unread is cut: the venue skips nothing within a connection (dossier 9.5)."""


class Outcome(msgspec.Struct):
    """What a request led to."""

    op: str
    reply: bytes
    added: list[str] = []
    removed: list[str] = []
    refused: str = ""
    """The words of the refusal, topic taken out: what statistics count by."""
    violations: list[str] = []
    """Limits that the client broke with this request."""
    authorizes: bool = False
    """True: once answered, the connection may ask for more (``auth``)."""
    ends: bool = False
    """True: the connection is to be cut a little later."""


class Session:
    """The subscriptions of one connection."""

    id_key = "req_id"
    """What a request's own id is called."""
    characters_limit = operations.CHARACTERS_LIMIT
    """Characters of args that the connection may have."""

    def __init__(
        self,
        product: str,
        conn_id: str,
        exchange: Exchange,
        settings: Settings,
        recorded: Collection[str] = (),
        veto: Callable[[], str] = lambda: "",
    ) -> None:
        """Begin without subscriptions.

        ``recorded`` are topics of a replayed file: accepted whatever the grammar says. ``veto`` is asked at each
        subscribe request and returns the words to refuse it with, or ``""``.
        """
        self.product = product
        self.conn_id = conn_id
        self.topics: dict[str, None] = {}
        """Subscribed, in order."""
        self.args_characters = 0
        self.requests = 0
        self.largest_request_args = 0
        self.counts: Counter[str] = Counter()
        """Requests by op."""
        self.is_authorized = True
        """Set by whoever sends the answer to an ``auth`` that was right; public sockets need none."""
        self._exchange = exchange
        self._settings = settings
        self._recorded = recorded
        self._veto = veto

    def handle(self, payload: bytes, now_ns: int) -> Outcome:
        """Answer one frame of the client."""
        self.requests += 1
        try:
            request = operations.parse(payload, self.id_key)
        except operations.Undecodable as error:
            return self._refused(operations.Request("", None, None), str(error), "Failed to decode incoming data")
        self.counts[request.op] += 1
        if request.op == "ping":
            return Outcome("ping", operations.pong(self.product, self.conn_id, request.req_id, now_ns))
        if request.op not in ("subscribe", "unsubscribe"):
            return self._other(request, payload, now_ns)
        if text := self._barred():
            return self._refused(request, text, text)
        return self._subscription(request)

    def _other(self, request: operations.Request, payload: bytes, now_ns: int) -> Outcome:
        """Answer an operation that has nothing to do with topics; public sockets know none."""
        del payload, now_ns
        return self._refused(request, operations.INVALID_OP, operations.INVALID_OP)

    def _barred(self) -> str:
        """Return the venue's words where nothing may be subscribed yet; public sockets need no authorization."""
        return ""

    def _subscription(self, request: operations.Request) -> Outcome:
        args = request.args or []
        self.largest_request_args = max(self.largest_request_args, len(args))
        if request.op == "unsubscribe":
            return self._unsubscribe(request, args)
        veto = self._veto()
        if self.product in operations.BY_TOPIC:
            return self._by_topic(request, args, veto)
        return self._refused(request, veto, "veto") if veto else self._whole(request, args)

    def _whole(self, request: operations.Request, args: list[str]) -> Outcome:
        """All or nothing: the first offender rejects the request and is the only one named (dossier 3.4)."""
        if self.product == "spot" and len(args) > operations.SPOT_ARGS_LIMIT:
            return self._refused(request, operations.ARGS_SIZE, operations.ARGS_SIZE, "spot_args")
        if self.args_characters + args_characters(args) > self.characters_limit:
            return self._refused(request, self._settings.characters_text, "args characters", "args_characters")
        if not args:
            return self._refused(request, operations.handler_not_found(""), "error:handler not found")
        for topic in args:
            if text := self.refusal(topic):
                return self._refused(request, text, text.partition(",topic:")[0].partition(" :[")[0])
        fresh: dict[str, None] = {}
        for topic in args:
            if topic in self.topics or topic in fresh:
                text = operations.already_subscribed(topic)
                return self._refused(request, text, "error:already subscribed")
            fresh[topic] = None
        self._add(args)
        reply = operations.acknowledge(self.product, request.op, self.conn_id, request.req_id)
        return Outcome(request.op, reply, added=args)

    def _by_topic(self, request: operations.Request, args: list[str], veto: str) -> Outcome:
        """Each topic for itself (dossier 3.2)."""
        succeeded: list[str] = []
        failed: list[str] = []
        violations: list[str] = []
        characters = self.args_characters
        for topic in args:
            more = args_characters([topic])
            if self.product == "option" and len(self.topics) + len(succeeded) >= operations.OPTION_TOPICS_LIMIT:
                violations.append("option_topics")
                failed.append(topic)
            elif characters + more > self.characters_limit:
                violations.append("args_characters")
                failed.append(topic)
            elif veto or topic in self.topics or topic in succeeded or self.refusal(topic):
                failed.append(topic)
            else:
                succeeded.append(topic)
                characters += more
        self._add(succeeded)
        return Outcome(
            request.op,
            operations.command_response(self.conn_id, succeeded, failed),
            added=succeeded,
            refused="failTopics" if failed else "",
            violations=sorted(set(violations)),
        )

    def _unsubscribe(self, request: operations.Request, args: list[str]) -> Outcome:
        removed = [topic for topic in dict.fromkeys(args) if topic in self.topics]
        for topic in removed:
            del self.topics[topic]
        if not self._settings.keeps_characters:
            self.args_characters -= args_characters(removed)
        if self.product in operations.BY_TOPIC:
            reply = operations.command_response(self.conn_id, args, [])
        else:
            reply = operations.acknowledge(self.product, request.op, self.conn_id, request.req_id)
        return Outcome(request.op, reply, removed=removed)

    def refusal(self, topic: str) -> str:
        """Return the venue's words against a topic; ``""`` = it is accepted."""
        if topic in self._recorded:
            return ""
        if self.product == STATUS:
            return "" if self._exchange.serves(self.product, topic) else operations.handler_not_found(topic)
        stream_name, symbol = grammar.split(topic)
        stream = stream_of(self.product, stream_name)
        if stream is None:
            # Option and spread accept depths and candles that they do not serve, and stay silent (dossier 3.2, 9.3).
            is_silent = (
                self.product in operations.BY_TOPIC
                and stream_name.startswith(("orderbook.", "kline."))
                and self._exchange.instrument(self.product, symbol) is not None
            )
            return "" if is_silent else operations.handler_not_found(topic)
        if self._exchange.lists(self.product, stream, symbol):
            return ""
        return operations.invalid_symbol(topic) if self.product == "spot" else operations.handler_not_found(topic)

    def _add(self, args: list[str]) -> None:
        self.topics.update(dict.fromkeys(args))
        self.args_characters += args_characters(args)

    def _refused(self, request: operations.Request, text: str, kind: str, *violations: str) -> Outcome:
        reply = operations.refuse(self.product, request.op, text, self.conn_id, request.req_id)
        return Outcome(request.op, reply, refused=kind, violations=list(violations))
