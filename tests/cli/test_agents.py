"""``importstats mcp``: the SDK's own client, over pipes, reads a store and cannot change it."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from mcp import Client, StdioServerParameters

import importstats
from importstats.store import datasets

STORE = datasets.path("many_jobs")
EAST, WEST = "http://milvus-east:19530", "http://milvus-west:19530"


def asked(*calls):
    """The tools that a server of the store offers, and its answers to calls."""

    async def talk():
        words = ["-m", "importstats", "mcp", str(STORE)]
        async with Client(StdioServerParameters(command=sys.executable, args=words)) as client:
            tools = (await client.list_tools()).tools
            return tools, [await client.call_tool(name, given) for name, given in calls]

    return asyncio.run(talk())


@pytest.fixture(scope="module")
def frames():
    jobs = importstats.load_jobs(STORE)
    return jobs, importstats.load_details(STORE, runs=True)


@pytest.fixture(scope="module")
def answers(frames):
    """One server's answers to every call of these tests: it takes a second to start."""
    job = {"job_id": str(frames[0]["job_id"].iloc[0])}
    tools, found = asked(
        ("jobs", {}),
        ("jobs", {"source": WEST}),
        ("summary", job),
        ("diagnose", job),
        ("report", {**job, "form": "json"}),
        ("report", job),
        ("report", {"job_id": "nope"}),
        ("jobs", {"source": "http://elsewhere:1"}),
    )
    return tools, found, job["job_id"]


def content(answer):
    assert not answer.is_error, answer.content
    return answer.structured_content["result"] if answer.structured_content else None


def test_every_tool_says_that_it_only_reads(answers):
    tools, _, _ = answers
    assert [tool.name for tool in tools] == ["jobs", "summary", "diagnose", "report"]
    assert all(tool.annotations.read_only_hint for tool in tools)
    assert all(len(tool.description) > 40 for tool in tools)


def test_jobs_are_listed_the_latest_first_and_by_server(answers, frames):
    _, (every, west, *_), _ = answers
    listed = content(every)
    assert len(listed) == frames[0].groupby(["source_uri", "job_id"]).ngroups
    assert [row["started_at"] for row in listed] == sorted(
        (row["started_at"] for row in listed), reverse=True
    )
    assert {row["source_uri"] for row in content(west)} == {WEST}
    assert set(listed[0]) >= {"job_id", "state", "phase", "rows", "duration_s"}


def test_the_answers_are_those_of_the_package(answers, frames):
    _, (_, _, summary, findings, data, text, *_), job_id = answers
    jobs, details = (frame[frame["job_id"] == job_id] for frame in frames)
    [row] = importstats.summary(jobs).to_dict("records")
    answered = summary.structured_content
    assert (answered["rows"], answered["duration_s"]) == (row["rows"], row["duration_s"])
    report = json.loads(content(data))
    assert report["job"]["job_id"] == job_id
    found = importstats.diagnose(jobs, details, at=datetime.now(UTC))
    assert [each["finding"] for each in content(findings)] == list(found["finding"].astype(str))
    assert content(text).startswith(f"# Import job `{job_id}`\n")


def test_what_cannot_be_answered_is_said_in_one_line(answers):
    _, (*_, unknown, elsewhere), _ = answers
    for answer, words in ((unknown, "holds no snapshot of job nope"), (elsewhere, "elsewhere:1")):
        [said] = answer.content
        assert answer.is_error
        assert words in said.text
        assert "\n" not in said.text


def test_without_the_extra_it_names_it(tmp_path):
    (tmp_path / "mcp.py").write_text("raise ModuleNotFoundError('no mcp', name='mcp')\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
         f"sys.argv = ['importstats', 'mcp', {str(STORE)!r}]; "
         "from importstats.cli import main; main()"],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "importstats: error: importstats mcp needs mcp; install importstats with the extra mcp: "
        "pip install '.[mcp]' in its source folder\n"
    )
