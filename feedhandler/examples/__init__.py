"""Examples to run as python -m feedhandler.examples.NAME."""
