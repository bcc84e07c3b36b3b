"""The command for shells: ``completion``."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the script with which a shell completes commands and options."""
    from importstats.cli.entry import app

    print(app.generate_completion(shell=shell), end="")
