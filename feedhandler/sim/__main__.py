"""``python -m feedhandler.sim``."""

from feedhandler.sim.main import command

command(prog_name="feedhandler sim")
