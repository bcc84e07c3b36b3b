"""The README does what it says: its snippets run, its commands exist, its links lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from servers import server_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def importstats_lines():
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("importstats ")]


def run(command, folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder in which the README's first command was run, with a smaller and quicker job."""
    folder = tmp_path_factory.mktemp("readme")
    done = run(["importstats", "demo", "--files", "40", "--seconds", "6"], folder)
    assert done.returncode == 0, done.stderr
    for name in ("overview.png", "report.html", "store/_importstats.json"):
        assert (folder / "importstats-demo" / name).stat().st_size > 20
        assert name.split("/")[0] in done.stdout
    return folder


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_each_python_snippet_runs(demo, number, monkeypatch):
    monkeypatch.chdir(demo)
    exec(compile(blocks("python")[number], f"README snippet {number}", "exec"), {})


def test_the_sql_finds_the_slowest_files(demo, monkeypatch):
    monkeypatch.chdir(demo)
    [query] = blocks("sql")
    assert len(duckdb.sql(query).fetchall()) == 5


def test_every_command_runs_against_a_server(tmp_path):
    with server_of("small_and_quick", seconds=25) as server:
        for line in importstats_lines():
            words = shlex.split(line.replace("449839014328146740", server.job_ids[0]))
            if words[1] == "demo":  # Has a test of its own above.
                continue
            done = run(words, tmp_path, MILVUS_URI=server.uri, MILVUS_TOKEN="root:Milvus")
            assert done.returncode == 0, f"{line}: {done.stderr}"


def test_every_relative_link_leads_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_exit_codes_are_those_of_the_command_line():
    from importstats.cli import outcomes

    table = {
        int(code)
        for cell in re.findall(r"^\| ([\d, ]+) \|", README, re.M)
        for code in cell.split(",")
    }
    ours = {
        value
        for name, value in vars(outcomes).items()
        if re.match(r"EXIT_[A-Z_]+$", name) and isinstance(value, int)
    }
    assert table == {0, 130, 143, *outcomes.EXIT_CODES.values(), *ours}
