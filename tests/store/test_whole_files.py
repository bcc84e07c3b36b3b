"""Files that are read at once, and listings of a store that is compacted meanwhile."""

from __future__ import annotations

from stored_snapshots import numbered

from importstats.simulator import simulate_job
from importstats.store import SnapshotStore, files, listing
from importstats.store.files import Files


def test_a_file_reads_the_same_at_once_or_column_by_column_and_in_any_order(tmp_path, monkeypatch):
    store = SnapshotStore(tmp_path)
    snapshots = list(simulate_job("small_and_quick", seed=3).snapshots())
    store.append(snapshots[: len(snapshots) // 2])
    store.append(snapshots[len(snapshots) // 3 :])
    at_once = store.jobs(), store.details(runs=True), store.details()
    backwards = store.jobs().column_names[::-1]
    assert store.jobs(columns=backwards).equals(at_once[0].select(backwards), check_metadata=True)
    (path,) = {path.parent for path in tmp_path.glob("jobs/*/*/*")}
    source, system = Files(tmp_path, None).source(str(next(path.iterdir()).relative_to(tmp_path)))
    assert (source.size() > 0, system) == (True, None)
    monkeypatch.setattr(files, "_SMALL_BYTES", 0)
    for before, now in zip(
        at_once, (store.jobs(), store.details(runs=True), store.details()), strict=True
    ):
        assert now.equals(before, check_metadata=True)


def test_a_segment_that_goes_between_two_listings_has_its_job_listed_again(tmp_path, monkeypatch):
    store = SnapshotStore(tmp_path)
    for second in range(3):
        store.append([numbered(second), numbered(second, job="8")])
    found = listing.Listing(Files(tmp_path, None))
    whole = found.of_jobs(None, None)
    paths, lists = found._paths, []

    def compacted_meanwhile(folders):
        lists.append(paths(folders))
        if len(lists) == 1:
            store.compact(final=True, job="7")
        return lists[-1]

    monkeypatch.setattr(found, "_paths", compacted_meanwhile)
    merged = found.of_jobs(None, None)
    assert {job.job: len(segments) for job, segments in whole.items()} == {"7": 3, "8": 3}
    assert {job.job: [each.level for each in segments] for job, segments in merged.items()} == {
        "7": [1],
        "8": [0, 0, 0],
    }
    assert len(lists) == 4
