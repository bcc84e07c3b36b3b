"""The page of a fleet: every job is in it, and every link leads to the page of that job."""

import re

from importstats.fleets import fleet
from importstats.reports.fleet_page import write_fleet
from importstats.simulator import simulate_job
from importstats.store import SnapshotStore


def test_every_job_is_linked_to_its_own_page(tmp_path):
    store = SnapshotStore(tmp_path / "store")
    ids = []
    for seed, share in ((1, 1.0), (2, 0.5)):
        snapshots = list(simulate_job("steady", files=4, seed=seed, poll_every_s=60).snapshots())
        store.append(snapshots[: max(int(share * len(snapshots)), 2)])
        ids.append(snapshots[0].job_id)
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
