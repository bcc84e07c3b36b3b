"""Two jobs compared: the verdict is what the numbers say, and the Markdown is safe to paste."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
import warm

from importstats.analysis.side_by_side import compare_two_jobs
from importstats.reports.versus import versus_markdown
from importstats.simulator import simulate_job
from importstats.store import SnapshotStore


def job(job_id, minutes, **columns):
    """A job that was so many minutes in each phase, seen every 30 s."""
    progress = {"Pending": 5.0, "Importing": 55.0, "IndexBuilding": 83.0}
    states = [(phase, progress[phase]) for phase, m in minutes.items() for _ in range(2 * m)]
    states.append(("Completed", 100.0))
    start = datetime(2026, 5, 18, 8, tzinfo=UTC)
    times = [start + timedelta(seconds=30 * place) for place in range(len(states))]
    return pd.DataFrame(
        {
            "source_uri": "u", "job_id": job_id, "collection_name": "books",
            "snapshot_id": range(len(states)),
            "observed_at": pd.Series(times).astype("datetime64[us, UTC]"),
            "state": [s if s in ("Pending", "Completed") else "Importing" for s, _ in states],
            "progress_pct": [value for _, value in states],
            "imported_rows": [0 if s == "Pending" else 900 if p > 70 else 500 for s, p in states],
            "total_rows": 900, "detail_count": 3, "file_size_bytes": 9000, **columns,
        }
    )  # fmt: skip


def test_the_verdict_names_the_slower_job_and_its_phase_whichever_comes_first():
    fast = job("7", {"Pending": 2, "Importing": 20, "IndexBuilding": 10})
    slow = job("8", {"Pending": 2, "Importing": 21, "IndexBuilding": 30})
    for pair in ((fast, slow), (slow, fast)):
        found = compare_two_jobs(*pair)
        times = found.phases.set_index("phase")
        whole = times["difference_s"].abs().sum()
        share = times.loc["IndexBuilding", "difference_s"] / times["difference_s"].sum()
        assert whole == abs(times["difference_s"].sum())
        assert found.verdict.startswith("job 8 took 1.7 times as long as job 7 (")
        assert found.verdict.endswith(f"{100 * share:.0f} % of the difference in IndexBuilding")


def test_jobs_that_took_as_long_are_said_to():
    same = compare_two_jobs(job("7", {"Importing": 20}), job("8", {"Importing": 20}))
    assert "took about as long as" in same.verdict


def test_a_job_of_one_snapshot_is_no_comparison():
    one = job("7", {"Importing": 20}).head(1)
    assert compare_two_jobs(one, job("8", {"Importing": 20})).verdict.startswith(
        "nothing to compare"
    )


def test_what_was_not_seen_is_unknown_and_what_was_seen_in_part_is_the_least():
    whole = job("7", {"Pending": 2, "Importing": 20, "IndexBuilding": 10})
    late = job("8", {"Pending": 2, "Importing": 20, "IndexBuilding": 10}).iloc[14:]
    text = versus_markdown(compare_two_jobs(whole, late), ("job 7", "job 8"))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[4:8]]
    assert [row[0] for row in cells] == [
        "Pending", "Importing", "IndexBuilding", "all seen whole in both"
    ]  # fmt: skip
    assert cells[0][2:] == ["unknown", "unknown"]
    assert cells[1][2:] == ["at least 14 min 45 s", "unknown"]
    assert cells[2][1:] == ["10 min", "10 min", "0 s"]
    assert cells[3][1:] == ["10 min", "10 min", "0 s"]


@pytest.mark.parametrize("name", ["a|b", "<img src=x>", "**b**", "`x`", "[a](http://x)", "@all"])
def test_no_name_becomes_markdown(name):
    found = compare_two_jobs(
        job(name, {"Importing": 20}, collection_name=name), job("8", {"Importing": 5})
    )
    text = versus_markdown(found, (f"job {name}", "job 8"))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows[:3]}) == 1
    assert "<img" not in text.replace("\\<", "")
    assert "@all" not in text


def test_the_command_compares_two_jobs_of_a_store(tmp_path):
    store = SnapshotStore(tmp_path / "store")
    ids = []
    for seed in (1, 2):
        snapshots = list(simulate_job("steady", files=5, seed=seed, poll_every_s=60).snapshots())
        store.append(snapshots)
        ids.append(snapshots[0].job_id)
    done = warm.run("compare", *ids, "-s", store.uri)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("**Job ")
    assert lines[2].split("|")[1].strip() == "phase"
    assert any("Importing" in line for line in lines)
    assert any(line.startswith("| after the last file") for line in lines)
    missing = warm.run("compare", ids[0], "nine", "-s", store.uri)
    assert missing.returncode == 5
    assert missing.stderr == f"importstats: error: {store.uri} holds no snapshot of job nine\n"
