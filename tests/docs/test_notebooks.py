"""The notebooks: that they run, say what they said, and are what their sources make.

Deselect them, which run for a minute or two, with ``pytest -m "not notebooks"``.
"""

from __future__ import annotations

import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="the notebooks need the extra notebooks")
pytest.importorskip("jupytext", reason="the notebooks need the extra notebooks")

import nbformat

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
BUILD = runpy.run_path(str(NOTEBOOKS / "build.py"))
NAMES = BUILD["names"]()

pytestmark = pytest.mark.notebooks


def stored(name: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def checked_texts(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What the cells tagged ``check`` say, by the number of the cell."""
    return {
        cell.id: "".join(map(plain_text, cell.outputs))
        for cell in notebook.cells
        if "check" in cell.metadata.get("tags", [])
    }


def plain_text(output: nbformat.NotebookNode) -> str:
    return output.text if output.output_type == "stream" else output.data["text/plain"]


def test_there_are_six():
    assert len(NAMES) == 6
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == NAMES


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_says_what_it_said(name):
    run = BUILD["executed"](name)
    assert checked_texts(run) == checked_texts(stored(name))
    assert checked_texts(run), "a notebook without a cell tagged check is not compared"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_what_its_source_makes(name):
    def cells(notebook):
        return [
            (cell.id, cell.cell_type, cell.source, cell.metadata.get("tags", []))
            for cell in notebook.cells
        ]

    kept, made = stored(name), BUILD["source"](name)
    assert cells(kept) == cells(made), f"run: python notebooks/build.py {name}"
    assert kept.metadata == made.metadata


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_with_its_outputs_and_nothing_of_a_machine(name):
    notebook = stored(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any("execution" in cell.metadata for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert kinds <= {"text/plain", "text/html", "image/png"}, "static outputs only"
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    for path in (str(ROOT), str(Path.home()), sys.prefix, "/tmp"):
        assert path not in text


def test_every_plot_is_a_picture():
    without = [
        (name, cell.id)
        for name in NAMES
        for cell in stored(name).cells
        if cell.cell_type == "code" and re.search(r"plots\.plot_|\.plot\(", cell.source)
        if not any("image/png" in output.get("data", {}) for output in cell.outputs)
    ]
    assert without == []


@pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None,
    reason="needs pyspark and a Java runtime",
)
@pytest.mark.timeout(300)
def test_the_spark_code_gives_what_polars_gives():
    notebook = stored("06_bring_your_own")
    markdown = next(cell.source for cell in notebook.cells if "SparkSession" in cell.source)
    code = re.search(r"```python\n(.*?)```", markdown, re.DOTALL)[1]
    polars = next(cell for cell in notebook.cells if "scan_parquet" in cell.source)
    path = ROOT / "data" / "many_jobs"
    answer = subprocess.run(
        [sys.executable, "-c", f"path = {str(path)!r}\n{code}"],
        check=True,
        capture_output=True,
        text=True,
    )
    spark = re.findall(r"\|\s*(\w+)\|\s*(\d+)\|", answer.stdout)
    assert spark == re.findall(r"(\w+)\s+(\d+)$", plain_text(polars.outputs[0]), re.MULTILINE)
    assert len(spark) == 3
