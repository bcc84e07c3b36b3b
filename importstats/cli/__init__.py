"""The command line: ``importstats demo``, ``watch``, ``collect``, ``snapshot`` and the rest."""

from importstats.cli.entry import app, main

__all__ = ["app", "main"]
