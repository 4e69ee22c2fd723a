"""Everything in one process: no feed to run, no ZeroMQ. Trades, and where the book's middle was.

feedhandler sim --port 9001                                                    # in another terminal
python -m feedhandler.examples.direct ws://127.0.0.1:9001/v5/public/linear     # or wss://stream.bybit.com/…
"""

import argparse
import asyncio
import sys

import feedhandler
from feedhandler import topics, wire


async def follow(url: str, symbol: str) -> None:
    """Print what comes, for ever."""
    async with feedhandler.connect(url) as client:
        await client.subscribe(topics.orderbook(50, symbol), topics.trades(symbol))
        book = client.book(topics.orderbook(50, symbol))
        async for record in client:
            if record.kind == wire.STATUS:
                status = record.decode()
                print(f"{record.topic} is {status.state} {status.reason}", flush=True)
            elif record.kind == wire.UPDATE:
                middle = f"{book.mid:,.2f}" if book.is_live else "unknown"
                for trade in record.decode().data:
                    print(f"{trade.side:4} {trade.size:>12,.6g} at {trade.price:,.2f}, middle {middle}", flush=True)


async def main() -> None:
    """Follow until the time is over, or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the venue's socket")
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--seconds", type=float, help="how long; default: until Ctrl-C")
    options = parser.parse_args()
    try:
        async with asyncio.timeout(options.seconds):
            await follow(options.url, options.symbol)
    except TimeoutError:
        return


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except feedhandler.FeedError as error:
        sys.exit(f"direct: {error}")
    except KeyboardInterrupt:
        sys.exit(0)
