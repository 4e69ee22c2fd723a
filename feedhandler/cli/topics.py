"""``feedhandler topics``: what can be subscribed, how often it comes, and what a newcomer gets."""

import difflib
import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, get_args

import click

from feedhandler import wire
from feedhandler.bybit.products import HOSTS, KLINE_INTERVALS, PRODUCTS, Nature, Product, Stream
from feedhandler.bybit.topics import example
from feedhandler.config.model import ProductName


class Published(NamedTuple):
    """What becomes of a topic's records."""

    kinds: tuple[int, ...]
    has_image: bool
    newcomer: str
    """What whoever joins late gets."""


PUBLISHED: Final = {
    Nature.BOOK: Published((wire.SNAPSHOT, wire.DELTA), has_image=True, newcomer="image: the book"),
    Nature.MERGED: Published((wire.SNAPSHOT, wire.DELTA), has_image=True, newcomer="image: the fields, merged"),
    Nature.LATEST: Published((wire.SNAPSHOT,), has_image=True, newcomer="image: the last one"),
    Nature.EVENT: Published((wire.UPDATE,), has_image=False, newcomer="nothing of the past"),
    Nature.DELTAS: Published((wire.DELTA,), has_image=False, newcomer="nothing: its snapshot is at Bybit's REST"),
}
_RETAINED: Final = Published((wire.UPDATE,), has_image=False, newcomer="the last records, repeated")
_SILENT: Final = Published((), has_image=False, newcomer="nothing: it has no messages")
_HEADINGS: Final = ("topic", "pushed", "kind", "a newcomer gets", "example")


@click.command(
    epilog="Example: feedhandler topics linear, then one of them in a configuration's streams or topics.",
)
@click.argument("product", required=False, metavar="[PRODUCT]")
@click.option("--json", "as_json", is_flag=True, help="Print for a program: a list of products with their streams.")
def command(product: str | None, *, as_json: bool) -> None:
    """Show what can be subscribed, of PRODUCT or of all products.

    For each stream: how often Bybit pushes it at most, the kinds of its records, what whoever joins late gets, and a
    topic of it. What follows a stream's name in capitals stands for what your topic names, in braces for one of those
    words; in square brackets it may be left out.
    """
    if product is not None and product not in PRODUCTS:
        near = difflib.get_close_matches(product.lower(), PRODUCTS, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(PRODUCTS)}."
        raise click.UsageError(f'there is no product "{product}"; {hint}')
    shown = list(PRODUCTS.values()) if product is None else [PRODUCTS[product]]
    if as_json:
        click.echo(json.dumps([_for_programs(one) for one in shown], indent=2))
    else:
        click.echo("\n\n".join("\n".join(_for_people(one)) for one in shown))


def _for_programs(product: Product) -> dict[str, Any]:
    return {
        "product": product.name,
        "path": product.path,
        "configurable": product.name in get_args(ProductName),
        "streams": [
            {
                "stream": stream.name,
                "topic": _form(stream),
                "by": stream.by,
                "words": stream.words,
                "interval_ms": stream.interval_ms,
                "kinds": _kinds(published),
                "image": published.has_image,
                "newcomer": published.newcomer,
                "example": example(product.name, stream),
            }
            for stream in product.streams
            for published in [_published(product, stream)]
        ],
    }


def _for_people(product: Product) -> Iterator[str]:
    yield f"{click.style(product.name, bold=True)}: {HOSTS['mainnet']}{product.path}"
    klines = [stream for stream in product.streams if stream.name.startswith("kline.")]
    # The intervals of candles differ in nothing else: one row does for all.
    streams = [stream for stream in product.streams if stream not in klines[1:]]
    rows = [
        (
            "kline.INTERVAL.SYMBOL" if stream in klines else _form(stream),
            _interval(stream) if published.kinds else "never",
            ", ".join(_kinds(published)) or "none",
            published.newcomer,
            example(product.name, stream),
        )
        for stream in streams
        for published in [_published(product, stream)]
    ]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    for row in (_HEADINGS, *rows):
        yield "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    if klines:
        yield f"  INTERVAL: minutes, or days, weeks, months: {', '.join(KLINE_INTERVALS)}"


def _form(stream: Stream) -> str:
    if not stream.by:
        return stream.name
    rest = ",".join(stream.words) or stream.by.upper()
    if len(stream.words) > 1:
        rest = f"{{{rest}}}"
    return f"{stream.name}[.{rest}]" if stream.alone else f"{stream.name}.{rest}"


def _interval(stream: Stream) -> str:
    ms = stream.interval_ms
    return "at once" if ms == 0 else f"every {ms / 1000:g} s" if ms >= 1000 else f"every {ms} ms"


def _published(product: Product, stream: Stream) -> Published:
    if stream.name == "dcp":
        return _SILENT
    return _RETAINED if product.name == "private" else PUBLISHED[stream.nature]


def _kinds(published: Published) -> list[str]:
    return [wire.KIND_NAMES[kind] for kind in published.kinds]
