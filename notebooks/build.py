"""Run the notebooks' sources and write the notebooks with their outputs.

    python notebooks/build.py [NAME ...]

runs ``NAME.py`` (all sources, if none is named) from top to bottom in a new kernel, in UTC, and
writes ``NAME.ipynb`` beside it. What is the same for everybody stays the same: cells are numbered,
and no time, path or version of this machine is kept.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

import jupytext
import nbformat
from nbclient import NotebookClient

HERE: Final = Path(__file__).parent
KERNEL: Final = {"display_name": "Python 3", "language": "python", "name": "python3"}


def names() -> list[str]:
    """The notebooks that there are."""
    return sorted(path.stem for path in HERE.glob("[0-9]*.py"))


def source(name: str) -> nbformat.NotebookNode:
    """The notebook of a source, without outputs."""
    notebook = jupytext.read(HERE / f"{name}.py")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
    notebook.metadata = nbformat.from_dict(
        {
            "jupytext": {"formats": "ipynb,py:percent"},
            "kernelspec": KERNEL,
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat_minor = 5
    return notebook


def executed(name: str) -> nbformat.NotebookNode:
    """The notebook of a source, with the outputs that it has now.

    Raises
    ------
    CellExecutionError
        A cell fails.
    """
    notebook = source(name)
    # Times are shown in the reader's zone, which must not depend on who runs this.
    environment = {**os.environ, "TZ": "UTC"}
    client = NotebookClient(
        notebook,
        timeout=120,
        record_timing=False,
        coalesce_streams=True,  # What is printed comes in pieces of any length.
        resources={"metadata": {"path": str(HERE)}},
    )
    client.execute(env=environment)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main() -> None:
    """Build what the command line names."""
    for name in sys.argv[1:] or names():
        started = time.monotonic()
        notebook = executed(name)
        nbformat.validate(notebook)
        nbformat.write(notebook, HERE / f"{name}.ipynb")
        print(f"{name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
