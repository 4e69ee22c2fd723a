"""feedhandler keeps strategies fed with Bybit V5 streams: checked, sequenced, and never blind without being told."""

__version__ = "0.1.0"
