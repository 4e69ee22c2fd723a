"""An account kept whole: from its private streams, and by REST after each hole that a status tells of.

Bybit sends no snapshot of an account and repeats nothing, so what happened while nobody listened is only to be had by
REST. Its rows overlap with those of the streams: orders count by id and time, executions once by id.

python -m feedhandler.examples.account --config deploy/config.toml --rest https://api.bybit.com
"""

import argparse
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import feedhandler
from feedhandler import wire

TOPICS = ("order", "execution", "position", "wallet")
MARKETS = ({"category": "linear", "settleCoin": "USDT"}, {"category": "spot"})
"""What the account trades; REST is asked for each by itself."""
OPEN = ("New", "PartiallyFilled", "Untriggered")
LONGEST_MS = 7 * 24 * 3600 * 1000
"""The venue takes no longer time in one request for executions."""
MARGIN_MS = 5000
"""Added to both ends of a hole: the venue's clock is not ours."""


class Rest:
    """The venue's private REST, signed. The key needs to read only."""

    def __init__(self, url: str, key: str, secret: str) -> None:
        self._url = url
        self._key = key
        self._secret = secret

    def rows(self, path: str, **query: Any) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield each row of the answer, page by page, and the venue's time of it in ms."""
        while True:
            text, sent_ms = urllib.parse.urlencode(query), str(time.time_ns() // 1_000_000)
            signed = hmac.new(self._secret.encode(), f"{sent_ms}{self._key}5000{text}".encode(), hashlib.sha256)
            headers = {
                "X-BAPI-API-KEY": self._key,
                "X-BAPI-TIMESTAMP": sent_ms,
                "X-BAPI-RECV-WINDOW": "5000",
                "X-BAPI-SIGN": signed.hexdigest(),
            }
            request = urllib.request.Request(f"{self._url}{path}?{text}", headers=headers)  # noqa: S310 - the user's URL
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
                answer = json.load(response)
            if answer["retCode"]:
                raise RuntimeError(f"{path}: {answer['retMsg']}")
            for row in answer["result"]["list"]:
                yield row, answer["time"]
            if not (cursor := answer["result"].get("nextPageCursor")):
                return
            query["cursor"] = cursor


class Account:
    """What the account has and did, from whichever side it was heard first."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, ...], dict[str, Any]] = {}
        """Orders, positions and coins as they are now, and every execution: by family and id."""
        self._times_ms: dict[tuple[str, ...], int] = {}

    def take(self, family: str, row: dict[str, Any], time_ms: int) -> None:
        """Keep a row, unless it was heard already, or something later. ``time_ms``: the message's, or the answer's."""
        if family == "wallet":
            for coin in row["coin"]:
                self._keep(("coin", coin["coin"]), coin, time_ms)
        elif family == "execution":
            self._keep((family, row["execId"]), row, int(row["execTime"]))
        elif family == "order":
            self._keep((family, row["orderId"]), row, int(row["updatedTime"]))
        else:
            self._keep((family, row["symbol"], str(row["positionIdx"])), row, int(row["updatedTime"]))

    def _keep(self, key: tuple[str, ...], row: dict[str, Any], time_ms: int) -> None:
        known_ms = self._times_ms.get(key, -1)
        if time_ms > known_ms or (time_ms == known_ms and key[0] != "execution"):
            self.rows[key], self._times_ms[key] = row, time_ms
            print(*key, row.get("orderStatus") or row.get("execQty") or row.get("size") or "", flush=True)

    def reconcile(self, rest: Rest, from_ns: int, to_ns: int) -> None:
        """Load by REST what the account is now, and what it did between two times (Unix ns). May be repeated."""
        begin_ms, end_ms = from_ns // 1_000_000 - MARGIN_MS, to_ns // 1_000_000 + MARGIN_MS
        for market in MARKETS:
            category = market["category"]
            for from_ms in range(begin_ms, end_ms, LONGEST_MS):
                to_ms = min(from_ms + LONGEST_MS, end_ms)
                for row, time_ms in rest.rows(
                    "/v5/execution/list", category=category, startTime=from_ms, endTime=to_ms, limit=100
                ):
                    self.take("execution", row, time_ms)
            # Those that were open when the hole began, and are no more, are asked for one by one.
            gone = {key[1] for key, row in self.rows.items() if key[0] == "order" and self._is_open(row, category)}
            for row, time_ms in rest.rows("/v5/order/realtime", **market, openOnly=0, limit=50):
                self.take("order", row, time_ms)
                gone.discard(row["orderId"])
            for order_id in sorted(gone):
                for row, time_ms in rest.rows("/v5/order/realtime", category=category, orderId=order_id):
                    self.take("order", row, time_ms)
            if category != "spot":
                for row, time_ms in rest.rows("/v5/position/list", **market, limit=200):
                    self.take("position", row, time_ms)
        for row, time_ms in rest.rows("/v5/account/wallet-balance", accountType="UNIFIED"):
            self.take("wallet", row, time_ms)

    @staticmethod
    def _is_open(row: dict[str, Any], category: str) -> bool:
        # Rows of REST do not name their category; asking in the wrong one for an order gives nothing, and no harm.
        return row["orderStatus"] in OPEN and row.get("category", category) == category


def main() -> None:
    """Follow the account until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="the feed's configuration; default: the feed in the default runtime directory")
    parser.add_argument("--runtime", help="or its runtime directory")
    parser.add_argument("--endpoint", default="private", help="the private endpoint's name")
    parser.add_argument("--rest", required=True, help="REST of the same network and site: https://api.bybit.com")
    options = parser.parse_args()
    rest = Rest(options.rest, os.environ["BYBIT_API_KEY"], os.environ["BYBIT_API_SECRET"])
    account, holes = Account(), []
    with feedhandler.Subscriber(options.config, runtime=options.runtime) as feed:
        subjects = [f"{options.endpoint}.{topic}" for topic in TOPICS]
        feed.subscribe(*subjects)
        for record in feed:
            if record.kind == wire.UPDATE:
                message = json.loads(record.payload)
                for row in message["data"]:
                    account.take(record.topic, row, message["creationTime"])
            elif record.kind == wire.STATUS:
                status = record.decode()
                print(record.subject, status.state, status.reason, flush=True)
                if status.state == wire.LIVE:
                    # At the start there is no hole, but nothing is known: the state alone is loaded.
                    holes.append((status.blind_from_ns or record.received_ns, status.blind_to_ns or record.received_ns))
                # Only once every topic is live: what happens from here on is on the streams.
                if holes and all(feed.state(subject) == wire.LIVE for subject in subjects):
                    account.reconcile(rest, min(begin for begin, _ in holes), max(end for _, end in holes))
                    holes.clear()
                    print("reconciled", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
