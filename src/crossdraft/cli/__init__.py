"""cli: one thin file per command. The only room that prints.

Commands import their rooms when they run, so that `crossdraft --help` stays quick.
"""

from crossdraft.cli.app import main

__all__ = ["main"]
