"""Who carries what, as the feed's directory (``feed.json``) has it. Pure: no I/O, no clock."""

from collections.abc import Iterator
from typing import Final

from feedhandler.client.interest import Interest, nearest
from feedhandler.client.links import link_name
from feedhandler.runtime import FeedDirectory

_MOST_HINTS: Final = 20


class Placement:
    """One version of the directory, arranged for look-up."""

    def __init__(self, directory: FeedDirectory) -> None:
        self._workers = {link_name(name, worker.generation): worker for name, worker in directory.workers.items()}
        self._hints = _MOST_HINTS
        self.carried: dict[str, str] = {
            f"{worker.endpoint}.{topic}": link for link, worker in self._workers.items() for topic in worker.topics
        }
        """Link by subject."""
        self.products: dict[str, str] = {worker.endpoint: worker.product for worker in directory.workers.values()}
        """Product by endpoint; ``""`` where the directory does not say."""

    def links(self, interest: Interest) -> dict[str, tuple[str, str]]:
        """Return endpoint and address of every worker that may carry what was subscribed to, by the link's name."""
        return {
            link: (worker.endpoint, _connectable(worker.addresses))
            for link, worker in self._workers.items()
            if worker.addresses and interest.concerns(worker.endpoint)
        }

    def matching(self, prefix: str) -> Iterator[str]:
        """Yield the subjects that begin with ``prefix``."""
        return (subject for subject in self.carried if subject.startswith(prefix))

    def unassigned(self, subject: str) -> str:
        """Say in words that nobody carries a subject, with the nearest that somebody does."""
        # Each search may take tens of ms; whoever has more wrong subjects than this has the wrong configuration.
        near = nearest(subject, self.carried) if self._hints else ""
        self._hints -= bool(self._hints)
        return f"nobody carries {subject}" + (f"; the nearest that is carried: {near}" if near else "")


def _connectable(addresses: list[str]) -> str:
    """Return the one address to connect to: two would bring every record twice. On this machine ipc is the quickest."""
    chosen = next((address for address in addresses if address.startswith("ipc://")), addresses[0])
    return chosen.replace("//0.0.0.0:", "//127.0.0.1:").replace("//*:", "//127.0.0.1:")
