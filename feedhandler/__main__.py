"""``python -m feedhandler`` is the console script ``feedhandler``."""

from feedhandler.cli import main

main()
