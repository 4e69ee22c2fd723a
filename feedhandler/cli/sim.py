"""``feedhandler sim``: the simulated Bybit alone."""

from feedhandler.sim.main import command

__all__ = ["command"]
