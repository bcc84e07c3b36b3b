"""The demo of why, as a command with its whole output."""

import io
import re
import sys

import pytest
import warm
from rich.console import Console

from importstats import MissingExtraError, load_builds, load_tasks
from importstats.cli.demo_why import show_causes

SAID = """\
A simulated cluster imports 8 files (job JOB) beside another job and compactions.
What the management port says about it, each time it changes:
"""


def test_the_demo_names_one_cause_after_the_other(tmp_path):
    # The other demo came first, as in the README.
    (tmp_path / "importstats-demo" / "store").mkdir(parents=True)
    (tmp_path / "importstats-demo" / "store" / "_importstats.json").write_text(
        '{"importstats_store": "1.0"}'
    )
    done = warm.run("demo", "--why", cwd=tmp_path, TZ="UTC")
    assert (done.returncode, done.stderr) == (0, "")
    said = re.sub(r"\d{18}", "JOB", done.stdout)
    head, _, rest = said.partition("\n\n")
    assert head + "\n" == SAID
    looks, _, tail = rest.rpartition("\n\nstore ")
    causes = [
        r"\d tasks of the job wait for a slot of a data node, .*: job JOB has 8 tasks at work",
        r"8 segments of the job wait to be sorted, .* while 4 other compactions are at work",
        r"The index build of segment JOB keeps failing: .*: no space left on device",
        r"Completed at 08:\d\d:\d\d UTC after 2\d min",
    ]
    places = [re.search(cause, looks).start() for cause in causes]
    assert places == sorted(places)
    assert tail.splitlines()[1] == "report  importstats-demo-why/why.html  (as of the last wait)"
    page = (tmp_path / "importstats-demo-why" / "why.html").read_text()
    assert "keeps failing" in page
    store = tmp_path / "importstats-demo-why" / "store"
    assert load_tasks(store)["job_id"].nunique() == 2
    assert len(load_builds(store))


def test_an_earlier_demo_is_not_overwritten(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "_importstats.json").write_text('{"importstats_store": "1.0"}')
    done = warm.run("demo", "--why", "--out", tmp_path)
    assert done.returncode == 6
    assert done.stderr.startswith(f"importstats: error: {tmp_path} holds an earlier demo")


def test_a_missing_extra_is_named_before_anything_is_shown(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client.parser", None)
    shown = io.StringIO()
    with pytest.raises(MissingExtraError, match=r"reading metrics needs .* extra prometheus"):
        show_causes(tmp_path, seed=6, console=Console(file=shown))
    assert shown.getvalue() == ""
