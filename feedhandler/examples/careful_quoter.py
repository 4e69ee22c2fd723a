"""A strategy that quotes only while its book is live, and says why when it does not. It prints; it sends no orders.

python -m feedhandler.examples.careful_quoter --config feedhandler/examples/feed.toml
"""

import argparse
import sys
import time

import feedhandler

HALF_WIDTH = 0.0005
"""The quotes stand this fraction of the price away from the middle."""


def main() -> None:
    """Quote until the time is over, or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="the feed's configuration; default: the feed in the default runtime directory")
    parser.add_argument("--runtime", help="or its runtime directory")
    parser.add_argument("--subject", default="linear.orderbook.50.BTCUSDT", help="the book to quote on")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long; default: until Ctrl-C")
    options = parser.parse_args()
    end_s = time.monotonic() + options.seconds
    said = ""
    quoted_s = 0.0
    with feedhandler.Subscriber(options.config, runtime=options.runtime) as feed:
        book = feed.book(options.subject)
        while (now_s := time.monotonic()) < end_s:
            # A record moves the book or changes its state; both are looked at before anything is done.
            feed.receive(timeout_s=0.1)
            mid = book.mid if book.is_live else None
            if mid is None:
                doubt = f"the book is {book.state}" if not book.is_live else "one side of the book is empty"
                doubt += f", {book.reason}" if book.reason else ""
                if said != doubt:
                    print(f"no quotes: {doubt}", flush=True)
                said = doubt
            elif said != "quoting" or now_s - quoted_s >= 1:
                said, quoted_s = "quoting", now_s
                bid, ask = mid * (1 - HALF_WIDTH), mid * (1 + HALF_WIDTH)
                print(f"quoting {bid:,.2f} / {ask:,.2f} on update {book.update_id}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
