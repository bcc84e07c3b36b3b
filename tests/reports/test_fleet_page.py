"""The page of a fleet: every job is in it, and every link leads to the page of that job."""

import io
import re

from rich.console import Console

from importstats.fleets import fleet
from importstats.reports.fleet_page import write_fleet
from importstats.show.terminal import print_fleet
from importstats.simulator import simulate_job
from importstats.store import SnapshotStore


def a_store(folder):
    """A store with a job that has ended and one that has not, their ids, and its last time."""
    store = SnapshotStore(folder / "store")
    ids, last = [], []
    for seed, share in ((1, 1.0), (2, 0.5)):
        snapshots = list(simulate_job("steady", files=4, seed=seed, poll_every_s=60).snapshots())
        store.append(snapshots[: max(int(share * len(snapshots)), 2)])
        ids.append(snapshots[0].job_id)
        last.append(snapshots[max(int(share * len(snapshots)), 2) - 1].observed_at)
    return store, ids, last[-1]


def test_every_job_is_linked_to_its_own_page(tmp_path):
    store, ids, _ = a_store(tmp_path)
    assert write_fleet(fleet(store, scheduler="synchronous"), store, tmp_path / "index.html") == 2
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', page)
    assert sorted(name for _, name in links) == sorted(ids)
    for link, name in links:
        own = (tmp_path / link).read_text(encoding="utf-8")
        assert f"Import job <code>{name}</code>" in own
    assert "<script" not in page
    assert "--paper: #ffffff" in page
    assert "prefers-color-scheme: dark" in page
    assert "1 lost, 1 completed" in page
    assert page.count("<td>was ") == 1, "what a job does that nobody hears of is not known"


def test_lost_and_failed_jobs_stand_first_and_are_marked(tmp_path):
    store, (done, lost), _ = a_store(tmp_path)
    failed = list(simulate_job("failing", files=4, seed=3, poll_every_s=60).snapshots())
    store.append(failed)
    write_fleet(fleet(store, scheduler="synchronous"), store, tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert '<p class="headline">1 lost, 1 failed, 1 completed</p>' in page
    rows = re.findall(r"<tr(?: class=\"(\w+)\")?><th scope=\"row\"><a [^>]+>(\d+)", page)
    assert rows == [("warning", lost), ("critical", failed[0].job_id), ("", done)]
    numbers = re.findall(r'<th scope="col" class="number">(\w+)', page)
    assert numbers == ["done", "rows", "rate", "took"]
    assert page.count('<td class="number">') == 3 * len(numbers)


def test_what_a_fleet_is_asked_for_is_there_in_a_narrow_terminal(tmp_path):
    store, (_, running), at = a_store(tmp_path)
    console = Console(width=60, file=io.StringIO())
    print_fleet(console, fleet(store, scheduler="synchronous", at=at))
    text = console.file.getvalue()
    heading, line = text[text.index("running now") :].splitlines()[1:3]
    assert heading.split() == ["job", "phase", "ETA"]
    assert line.startswith(running)
