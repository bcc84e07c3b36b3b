"""What the commands asked for most often do not import: a start takes as long as its imports."""

import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest

from importstats.cli import entry
from importstats.simulator import simulate_job
from importstats.store import SnapshotStore

#: What only few commands need, each of them slow to import.
HEAVY = {
    *("matplotlib", "jinja2", "IPython", "ipywidgets", "scipy", "dask", "polars", "duckdb", "grpc"),
    *("pyarrow.dataset", "pyarrow.flight", "pygments", "markdown_it", "rich.markdown", "asyncio"),
    *("http.client", "http.server", "importstats.collect", "importstats.simulator"),
    *("importstats.plots", "importstats.reports", "importstats.fleets", "importstats.show.job"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    SnapshotStore(folder).append(simulate_job("steady", files=3, seed=1).snapshots())
    return folder


def imported(*arguments):
    """The modules that a call imports, as Python itself lists them."""
    command = [sys.executable, "-X", "importtime", "-m", "importstats", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_the_help_imports_no_data_library():
    found = imported("--help")
    assert "cyclopts" in found
    assert found & {*HEAVY, "pandas", "numpy", "pyarrow", "msgspec", "importstats.store"} == set()


def test_a_summary_imports_only_what_reads_and_prints_a_table(store):
    found = imported("summary", store)
    assert {"pandas", "pyarrow.parquet"} <= found
    assert found & HEAVY == set()


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
@pytest.mark.parametrize(
    ("call", "frozen", "steps"),
    [
        (["completion", "bash"], 0, ["disable", "freeze", "enable", "enable"]),
        (["completion", "bash"], 7, ["disable", "enable", "enable"]),
        (["--help"], 0, ["disable", "enable"]),
        (["no-command"], 0, ["disable", "freeze", "enable", "enable"]),
    ],
)
def test_no_garbage_is_looked_for_until_a_command_is_imported(call, frozen, steps, monkeypatch):
    done = []
    noted = {name: partial(done.append, name) for name in ("disable", "freeze", "enable")}
    monkeypatch.setattr(entry, "gc", SimpleNamespace(get_freeze_count=lambda: frozen, **noted))
    monkeypatch.setattr(sys, "argv", ["importstats", *call])
    with pytest.raises(SystemExit):
        entry.main()
    assert done == steps
