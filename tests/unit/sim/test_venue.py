"""Where the simulated Bybit's sockets are."""

from feedhandler.sim.venue import PATHS, stream_of


def test_paths() -> None:
    """Dossier 1.2."""
    assert PATHS == {
        "/v5/public/spot": "spot",
        "/v5/public/linear": "linear",
        "/v5/public/inverse": "inverse",
        "/v5/public/option": "option",
        "/v5/public/spread": "spread",
        "/v5/public/misc/status": "status",
        "/v5/private": "private",
        "/v5/trade": "trade",
    }


def test_streams_are_those_of_the_product() -> None:
    """Spread serves one depth."""
    assert stream_of("spread", "orderbook.25") is not None
    assert stream_of("spread", "orderbook.50") is None
