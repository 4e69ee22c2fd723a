"""The spreads of 20 symbols: a table that moves on a terminal, a line for each symbol and second otherwise.

python -m feedhandler.examples.spread_monitor --config feedhandler/examples/feed.toml
"""

import argparse
import sys
import time
from typing import Any

import feedhandler

BASES = "BTC ETH SOL XRP DOGE BNB ADA SUI LINK AVAX LTC BCH DOT TRX TON HYPE NEAR ENA MNT AAVE"
CLEAR = "\x1b[H\x1b[2J"


def row(symbol: str, book: Any) -> str:
    """Return one line of the table: a number only where it is true at this moment, the reason where it is not."""
    if not book.is_live:
        return f"{symbol:10}  {book.state}" + (f": {book.reason}" if book.reason else "")
    if book.best_bid is None or book.best_ask is None:
        return f"{symbol:10}  one side is empty"
    bid, ask = book.best_bid[0], book.best_ask[0]
    return f"{symbol:10}  {bid:>14,.8g}  {ask:>14,.8g}  {(ask - bid) / book.mid * 1e4:8.3f} bp"


def main() -> None:
    """Watch until the time is over, or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="the feed's configuration; default: the feed in the default runtime directory")
    parser.add_argument("--runtime", help="or its runtime directory")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long; default: until Ctrl-C")
    options = parser.parse_args()
    terminal = sys.stdout.isatty()
    end_s = time.monotonic() + options.seconds
    next_s = time.monotonic() + 1
    with feedhandler.Subscriber(options.config, runtime=options.runtime) as feed:
        books = {f"{base}USDT": feed.book(f"linear.orderbook.50.{base}USDT") for base in BASES.split()}
        while time.monotonic() < end_s:
            feed.receive(timeout_s=0.1)  # each record that is received moves its book
            if time.monotonic() >= next_s:
                next_s += 0.5 if terminal else 1
                print(CLEAR if terminal else "", *(row(*item) for item in books.items()), sep="\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
