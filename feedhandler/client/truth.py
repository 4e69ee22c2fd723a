"""What a strategy is told, and when: every subject, every way to a worker, every subscription. Pure.

Messages and events go in, with the time; records come out (`Truth.outbox`, or at once from `Truth.on_message`), and
what must be done to the sockets (`Truth.actions`).
"""

import struct
from collections import deque
from collections.abc import Container, Iterable
from typing import Final

import msgspec

from feedhandler import wire
from feedhandler.client.asking import Asking
from feedhandler.client.counters import Counters
from feedhandler.client.handover import PATIENCE_S, Handover
from feedhandler.client.interest import Interest, endpoint_of, is_control, is_prefix, nearest
from feedhandler.client.links import LOST, SILENT, UP, Link, Links, worker_of
from feedhandler.client.placement import Placement
from feedhandler.client.record import UNASSIGNED, UNKNOWN, Record, decode_status
from feedhandler.client.track import Track, View
from feedhandler.runtime import FeedDirectory
from feedhandler.wire import DOWN, ENDED, IMAGE, REJECTED, REPEATED, SIMULATED, STATUS

NO_FEED_S: Final = 1.0
"""How long a feed may be missing before it is said: one that is being restarted is not missing."""

_unpack: Final = wire.HEADER.unpack_from
_VERSION: Final = wire.VERSION
_PAYLOAD: Final = 1 + wire.HEADER.size


class _Origin(msgspec.Struct):
    """All that is wanted of a heartbeat, whatever else it may count."""

    network: str


_decode_origin: Final = msgspec.json.Decoder(_Origin).decode


class Truth:
    """Everything a subscriber knows.

    ``where`` names the feed for messages (the path of ``feed.json``, or the addresses). ``network``: data of any other
    is refused. ``max_age_s``: a backlog older than this is thrown away.
    """

    def __init__(self, where: str, *, network: str | None = None, max_age_s: float | None = None) -> None:
        self.outbox: deque[Record] = deque()
        """Records to hand out, in order, before anything that comes later."""
        self._links = Links()
        self.links = self._links.by_name
        self.actions = self._links.actions
        """What must be done to the sockets, in order."""
        self.counters = Counters()
        self.malformed = ""
        """Why the last message that was not of the wire format was not."""
        self.interest = Interest()
        self._where = where
        self._network = network
        self._max_age_ns = int(max_age_s * 1e9) if max_age_s is not None else None
        self._tracks: dict[bytes, Track] = {}
        self._prefix_tracks: dict[str, Track] = {}
        """Stand for prefixes that match nothing that is carried."""
        self._placement: Placement | None = None
        self._alive = False
        """The directory is there, and its supervisor lives."""
        self._no_feed = f"no feed at {where}"
        """Said of every subject where there is none."""
        self._fixed = False
        """The addresses were given: there is no directory."""
        self._feed_seen_s: float | None = None
        self._asking = Asking(self._links, self.interest)
        self._handovers: dict[Track, Handover] = {}
        """Subjects on their way to another worker."""
        self._now_ns = 0
        self._now_s = 0.0
        self._oldest_ns = 0
        self._discarding = 0
        """Links whose backlog is being thrown away."""
        # Flags that need a second look.
        self._special = IMAGE | REPEATED | (SIMULATED if network not in (None, "sim") else 0)

    # Time.

    def advance(self, now_ns: int, now_s: float) -> None:
        """Set the time: Unix ns for what is stamped, a monotonic clock's s for deadlines."""
        self._now_ns = now_ns
        self._now_s = now_s
        if self._max_age_ns is not None:
            # While a backlog is thrown away nothing takes the short way.
            self._oldest_ns = now_ns if self._discarding else now_ns - self._max_age_ns

    def tick(self, busy: Container[str]) -> None:
        """Judge silence and unanswered requests; ``busy`` are the workers of whom not everything was read yet."""
        gone = self._feed_is_gone(busy)
        # Where there is no feed at all, that is said of every subject.
        for link in self._links.fallen_silent(self.links if gone else busy, self._now_s):
            self._lose(link, link.silence)
        if gone:
            for track in self.tracks():
                if not self._fixed or track.outside is None:
                    track.impose(UNKNOWN, self._no_feed, self._now_ns)
        for track in self._asking.pursue(busy, self._now_s):
            self._tell_unanswered(track)
        for track, handover in list(self._handovers.items()):
            if handover.is_due(self._now_s):
                self._go_over(track, handover)
        for link in list(self._links):
            self._watch_leaving(link)

    def _feed_is_gone(self, busy: Container[str]) -> bool:
        # A program that was busy itself has still to read what a worker said.
        heard = any(link.state == UP or link.name in busy for link in self._links)
        if self._alive or heard or self._feed_seen_s is None:
            self._feed_seen_s = self._now_s
        return self._now_s - self._feed_seen_s > NO_FEED_S

    # Messages.

    def on_message(self, link: Link, message: bytes) -> Record | None:
        """Take a message; return its record where that is all there is to it, else see `outbox`."""
        zero = message.find(b"\0")
        try:
            track = self._tracks[message[:zero]]
            version, kind, flags, line, epoch, sequence, received_ns, published_ns = _unpack(message, zero + 1)
        except (KeyError, struct.error):
            self._on_first(link, message)
            return None
        record = Record(
            track.subject,
            kind,
            flags,
            line,
            epoch,
            sequence,
            received_ns,
            published_ns,
            message[zero + _PAYLOAD :],
            track.product,
        )
        if (
            sequence == track.next_sequence
            and epoch == track.epoch
            and kind < STATUS
            and version == _VERSION
            and not flags & self._special
            and published_ns >= self._oldest_ns
        ):
            track.sequence = sequence
            track.next_sequence = sequence + 1
            track.last = record
            if track.view is not None:
                track.view.take(record)
                if not track.view.loaded:
                    self._asking.expect(track, self._now_s)
            return record
        if version != _VERSION:
            self._on_first(link, message)
        else:
            self._on_record(link, track, record)
        return None

    def _on_first(self, link: Link, message: bytes) -> None:
        """A subject not met before, a heartbeat or notice, or a message that is not of the format."""
        try:
            parsed = wire.parse(message)
            if parsed.kind == wire.HEARTBEAT and self._network is not None:
                link.network = _decode_origin(parsed.payload).network
        except ValueError as error:
            self._count_malformed(error)
            return
        if self.interest.matches(parsed.subject):
            record = Record(*parsed, product=self._product(parsed.subject))
            if record.kind > STATUS:
                self.outbox.append(record)
            else:
                self._on_record(link, self._track(record.subject), record)

    def _count_malformed(self, error: ValueError) -> None:
        self.counters.malformed += 1
        self.malformed = str(error)

    def _on_record(self, link: Link, track: Track, record: Record) -> None:
        handover = self._handover(link, track, record)
        if handover is not None and handover.successor.link == link.name:
            track = handover.successor
        try:
            if (self._network is not None and self._refuses(link, track, record)) or self._is_stale(
                link, track, record
            ):
                return
            if handover is None:
                self._on_followed(link, track, record)
            elif track is handover.successor:
                handover.take(record, self._now_ns)
            elif link.name != track.link:
                self.counters.old_epoch += 1  # of a worker that had it in between
            elif record.epoch == handover.successor.epoch:
                # ZeroMQ has connected the old link to the same address again: the old worker is gone.
                self.counters.duplicates += 1
                handover.end_old(self._now_ns, self._now_s)
            else:
                handover.take_old(record, self._now_ns, self._now_s)
        except ValueError as error:  # a status that is none
            self._count_malformed(error)
            return
        if handover is not None:
            followed = self._tracks[record.subject.encode()]
            if handover.is_due(self._now_s):
                self._go_over(followed, handover)
                return
            if handover.successor.state == ENDED:
                self._stay(followed)  # the old worker goes on
                return
        if track.state == ENDED:
            self._place(track)
        elif track.needs_recovery:
            if track not in self._asking:
                self._asking.ask(track, self._now_s)
        elif track.wants_image or not track.is_answered:
            self._asking.expect(track, self._now_s)

    def _handover(self, link: Link, track: Track, record: Record) -> Handover | None:
        """Return the way to another worker that a subject is on, or begins with this record; None where it is on none."""
        handover = self._handovers.get(track)
        if handover is not None and link.name == track.link and record.epoch > handover.successor.epoch:
            self._stay(track)  # the old worker itself began anew, later
            return None
        if handover is not None and (
            link.name in (track.link, handover.successor.link) or record.epoch <= handover.successor.epoch
        ):
            return handover
        if record.epoch > track.epoch and link.name != track.link and track.is_followed:
            self._stay(track)
            handover = self._handovers[track] = Handover(track, link.name, self.counters, self._now_s)
        return handover

    def _go_over(self, track: Track, handover: Handover) -> None:
        """The old worker was heard to its end: go on with the new one."""
        del self._handovers[track]
        self._asking.end(handover.successor)
        self.counters.handovers += handover.go_over(self._now_ns)
        if track.needs_recovery or track.wants_image:
            self._asking.ask(track, self._now_s)

    def _stay(self, track: Track) -> None:
        """Take a subject off its way to another worker."""
        handover = self._handovers.pop(track, None)
        if handover is not None:
            self._asking.end(handover.successor)
            track.stay()

    def _on_followed(self, link: Link, track: Track, record: Record) -> None:
        if record.epoch > track.epoch and track.link == link.name and track.is_followed:
            # Another epoch is another process. A program that was busy reads this before it hears of the connection.
            link.replaced = True
            self._lose(link, f"connection to {link} lost")
        if record.epoch == track.epoch and not self._may_change(link, track, record):
            self.counters.duplicates += 1
            return
        if record.epoch >= track.epoch:
            track.link = link.name
        track.on_record(record, self._now_ns)

    def _may_change(self, link: Link, track: Track, record: Record) -> bool:
        """Say whether a subject may be followed over this link from now on, that has records of the epoch it is in."""
        followed = self.links.get(track.link or "")
        if followed is None or followed is link or followed.state != UP or not track.is_followed:
            return True
        # Two ways to one worker: each has everything, and one may be read before the other.
        numbered = not record.flags & (IMAGE | REPEATED)
        return followed.leaving_s is not None and record.sequence <= track.sequence + numbered

    def _is_stale(self, link: Link, track: Track, record: Record) -> bool:
        """Say whether a record belongs to a backlog that is thrown away."""
        if not link.discard_before_ns:
            if self._max_age_ns is None or record.published_ns >= self._now_ns - self._max_age_ns:
                return False
            # Not only what is too old: else a strategy that far behind would be at the edge of its age ever after.
            link.discard_before_ns = self._oldest_ns = self._now_ns
            self._discarding += 1
        if record.published_ns >= link.discard_before_ns:
            self._end_discarding(link)
            return False
        self.counters.discarded += 1
        link.skipped[track] = link.skipped.get(track, 0) + track.skip(record)
        return True

    def _refuses(self, link: Link, track: Track, record: Record) -> bool:
        """Say whether a record is of another network than asked for, or of one not known yet."""
        if record.kind == STATUS:
            link.network = decode_status(record.payload).network
        if record.flags & SIMULATED and self._network != "sim":
            said = "simulated or replayed data"
        elif link.network is None:
            self.counters.refused += 1  # the worker's answer, on its way, will say
            return True
        elif link.network != self._network:
            said = f"data of network {link.network}"
        else:
            return False
        self.counters.refused += 1
        track.link = link.name
        track.impose(REJECTED, f"{said} refused: this subscriber takes {self._network} only", self._now_ns)
        return True

    def _end_discarding(self, link: Link) -> None:
        if not link.discard_before_ns:
            return
        link.discard_before_ns = 0
        self._discarding -= 1
        skipped, link.skipped = link.skipped, {}
        age = f"{(self._max_age_ns or 0) / 1e9:g} s"
        for track, missed in skipped.items():
            if missed:
                said = f"{missed} record{'s' * (missed > 1)} missed: a backlog older than {age} was thrown away"
                track.end_skipping(missed, said, self._now_ns)
            if not track.is_answered:
                self._asking.ask(track, self._now_s)

    # Links.

    def on_heard(self, link: Link) -> None:
        """Something came from a worker since the last time."""
        was_silent = link.state == SILENT
        link.hear(self._now_s)
        if was_silent:
            for track in self._tracks.values():
                if track.link == link.name and track.outside == (DOWN, link.silence):
                    track.release(self._now_ns)

    def on_drained(self, link: Link, connected: Iterable[bool] = ()) -> None:
        """Everything that came from a worker has been taken in, and that happened to its connection since the last time."""
        self._end_discarding(link)
        for stands in connected:
            if link.name not in self.links:
                break  # left for good
            if stands:
                self.on_connected(link)
            else:
                self.on_disconnected(link)
        link.replaced = False

    def on_connected(self, link: Link) -> None:
        """The connection to a worker stands; ZeroMQ has told it all filters again."""
        link.hear(self._now_s)
        self._asking.expect_soon(link, self._now_s)

    def on_disconnected(self, link: Link) -> None:
        """The connection to a worker broke."""
        if link.state in (UP, SILENT):
            link.state = LOST
            link.lost_s = self._now_s
            link.network = None
            if link.leaving_s is not None:
                self._leave(link)
            elif not link.replaced:
                self._lose(link, f"connection to {link} lost")
            link.replaced = False

    def on_refused(self, link: Link, why: str) -> None:
        """A worker is not for this user, by its file permissions: said at once, and tried on."""
        if self._fixed:
            self._no_feed = f"no feed at {self._where}: {why}"
        self._lose(link, f"cannot connect to {link}: {why}")

    def _lose(self, link: Link, reason: str) -> None:
        if reason != link.silence or not link.trouble:
            link.trouble = reason
        for track in self._tracks.values():
            handover = self._handovers.get(track)
            if handover is not None and handover.successor.link == link.name:
                if handover.over_s is None:
                    self._stay(track)
                else:
                    self._go_over(track, handover)  # nobody else has it
                handover = None
            if track.link != link.name or track.state in (ENDED, UNASSIGNED):
                continue
            if handover is not None:
                handover.end_old(self._now_ns, self._now_s)  # the other worker has it
                continue
            if reason == link.silence and track.outside is not None and track.outside[0] == DOWN:
                continue  # for another reason, which the end of the silence does not end
            track.impose(DOWN, reason, self._now_ns)
            self._place(track)
            # Its records end this; where none come although the connection stands again, it is asked for.
            self._asking.expect_anew(track, self._now_s)

    # What the strategy wants.

    def subscribe(self, text: str) -> None:
        """Take a subject or prefix up; raise `SubjectError` where it cannot be meant."""
        added = self.interest.add(text)
        if added is None:
            return
        self._open_links()
        for link in self._links:
            self._links.tell(link, added)
            if self._fixed and (endpoint := endpoint_of(text)):
                self._links.tell(link, f"{endpoint}.heartbeat.".encode())
        if is_prefix(text):
            self._expand(text)
        elif not is_control(text):
            self._place(self._track(text))

    def unsubscribe(self, text: str) -> None:
        """Give a subject or prefix up."""
        removed = self.interest.remove(text)
        if removed is None:
            return
        for link in self._links:
            self._links.untell(link, removed)
        self._prefix_tracks.pop(text, None)
        keys = list(self._tracks) if is_prefix(text) else [text.encode()]
        for key in keys:
            track = self._tracks.get(key)
            if track is not None and not self.interest.matches(track.subject):
                self._stay(track)
                del self._tracks[key]
                track.detach()
                self._asking.end(track)

    def track(self, subject: str) -> Track | None:
        """Return what is known of a subject, None where it was never asked for."""
        return self._tracks.get(subject.encode()) or self._prefix_tracks.get(subject)

    def tracks(self) -> list[Track]:
        """Return every subject known, and every prefix that matches nothing."""
        return [*self._tracks.values(), *self._prefix_tracks.values()]

    def _track(self, subject: str) -> Track:
        track = self._tracks.get(subject.encode())
        if track is None:
            track = self._tracks[subject.encode()] = Track(subject, self.outbox, self.counters)
            track.product = self._product(subject)
            for prefix in [prefix for prefix in self._prefix_tracks if subject.startswith(prefix.removesuffix("*"))]:
                del self._prefix_tracks[prefix]
            self._asking.expect_anew(track, self._now_s)
        return track

    def _product(self, subject: str) -> str:
        return self._placement.products.get(endpoint_of(subject), "") if self._placement is not None else ""

    # Answers.

    def attach(self, subject: str, view: View) -> None:
        """Keep a view of a subject that is subscribed to."""
        track = self._tracks[subject.encode()]
        track.attach(view)
        if track.wants_image:
            self._asking.ask(track, self._now_s)  # its snapshot has gone by

    def _tell_unanswered(self, track: Track) -> None:
        # With fixed addresses this is how a misspelt subject shows; a subject of the directory will be answered.
        if self._fixed:
            track.impose(UNASSIGNED, self._unanswered(track.subject), self._now_ns)
        else:
            track.impose(
                UNKNOWN, f"worker {worker_of(track.link or '')} does not answer for {track.subject}", self._now_ns
            )

    def _unanswered(self, subject: str) -> str:
        near = nearest(subject, (track.subject for track in self._tracks.values() if track.is_answered))
        return f"nobody at {self._where} carries {subject}" + (f"; the nearest seen: {near}" if near else "")

    # Where the workers are.

    def set_addresses(self, addresses: Iterable[str]) -> None:
        """Connect to these and no others: there is no directory."""
        self._fixed = True
        for address in addresses:
            self._links.open(address, "", address, self.interest.filters.values(), self._now_s)

    def set_directory(self, directory: FeedDirectory | None, *, alive: bool, trouble: str = "") -> None:
        """Take the feed's directory as it now is, None while there is none; ``alive`` says if its supervisor is.

        ``trouble``: why it cannot be read, where it is there.

        A supervisor that seems dead may live in another process namespace, so its workers are tried all the same.
        """
        if alive and not self._alive:
            self._links.expect(self._now_s)
        self._alive = alive
        self._no_feed = f"no feed at {self._where}" + (f": {trouble}" if trouble else "")
        self._placement = Placement(directory) if directory is not None else None
        if self._placement is None:
            return
        self._open_links()
        for track in self._tracks.values():
            track.product = self._product(track.subject)
            self._place(track)
        for text in self.interest.filters:
            if is_prefix(text):
                self._expand(text)

    def _open_links(self) -> None:
        if self._placement is None:
            return
        wanted = self._placement.links(self.interest)
        for link in list(self._links):
            if link.name in wanted and wanted[link.name] == (link.endpoint, link.address):
                link.leaving_s = None
            elif link.name not in wanted and link.state == UP and self._is_followed(link):
                # Its topics go to others, or end: it will say so, and what it says before is still wanted.
                link.leaving_s = link.leaving_s or self._now_s
            else:
                self._leave(link)
        for name, (endpoint, address) in wanted.items():
            if name not in self._links.by_name:
                self._links.open(name, endpoint, address, self.interest.filters.values(), self._now_s)

    def _is_followed(self, link: Link) -> bool:
        return any(track.link == link.name and track.is_followed for track in self._tracks.values())

    def _watch_leaving(self, link: Link) -> None:
        """Close the way to a worker that the directory names no more, when there is nothing more to hear."""
        if link.leaving_s is None:
            return
        others = [other for other in self._links if other is not link and other.address == link.address]
        if others and not any(other.state == UP for other in others):
            link.leaving_s = self._now_s  # its successor is not there yet
        if self._now_s - link.leaving_s > PATIENCE_S or not self._is_followed(link):
            self._leave(link)

    def _leave(self, link: Link) -> None:
        """Close the way to a worker that the directory names no more."""
        self._end_discarding(link)
        if link.state == UP:
            for track in self._tracks.values():
                to = self._successor_of(link, track)
                if to is not None:
                    track.link = to.name
                    self._asking.ask(track, self._now_s)
            self._lose(link, f"{link} left")
        else:
            self._lose(link, f"connection to {link} lost")
        self._links.close(link)

    def _successor_of(self, link: Link, track: Track) -> Link | None:
        """Return another link to the process that this one reaches: it did before the directory spoke of that process."""
        if self._placement is None or track.link != link.name or not track.is_followed or track in self._handovers:
            return None
        to = self.links.get(self._placement.carried.get(track.subject, ""))
        same = to is not None and to is not link and to.state == UP and to.address == link.address
        return to if same else None

    def _place(self, track: Track) -> None:
        """Hold a subject against the directory."""
        if self._fixed:
            if len(self._links.by_name) == 1:
                (track.link,) = self._links.by_name
            return
        if self._placement is None:
            return
        worker = self._placement.carried.get(track.subject)
        if worker is not None:
            if track.is_followed and track.link in self.links:
                return  # while its old worker speaks of it, that is where its records come from
            track.link = worker
            link = self.links.get(worker)
            if link is not None and link.trouble and not track.is_answered and track.outside is None:
                track.impose(DOWN, link.trouble, self._now_ns)
            elif track.outside is not None and track.outside[0] == UNASSIGNED:
                track.impose(UNKNOWN, f"worker {worker_of(worker)} carries it now; not heard yet", self._now_ns)
        elif not track.is_answered or track.state in (ENDED, DOWN):
            track.impose(UNASSIGNED, self._placement.unassigned(track.subject), self._now_ns)

    def _expand(self, text: str) -> None:
        """Follow every subject that a prefix matches from the start, so that none is missed in silence."""
        if self._placement is None:
            if not self._fixed:
                self._prefix_tracks.setdefault(text, Track(text, self.outbox, self.counters))
            return
        found = False
        for subject in self._placement.matching(text.removesuffix("*")):
            found = True
            self._place(self._track(subject))
        if found or is_control(text):
            return
        track = self._prefix_tracks.setdefault(text, Track(text, self.outbox, self.counters))
        track.impose(UNASSIGNED, f"nothing that is carried begins with {text.removesuffix('*')}", self._now_ns)
