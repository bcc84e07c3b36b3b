"""The table of what can be found: which kinds the headline has as mere information."""

from importstats.analysis.finding_kinds import FINDING_KINDS


def test_what_explains_a_job_is_in_the_headline_as_information_too():
    assert sorted(kind.name for kind in FINDING_KINDS if kind.explains) == [
        "builds_go_on",
        "collection_dropped",
        "commit_hangs",
        "index_build_fails",
        "index_queue",
        "long_index_build",
        "no_data_node",
        "no_free_slot",
        "no_slot",
        "node_slower",
        "only_deletes",
        "progress_unreadable",
        "quota_near",
        "reason_given",
        "restore",
        "sort_queued",
        "waiting_for_index",
        "waiting_for_sorting",
        "waits_for_commit",
        "waits_to_start",
    ]


def test_severities_are_the_mildest_first():
    rank = ["info", "warning", "critical"]
    for kind in FINDING_KINDS:
        assert list(kind.severities) == sorted(set(kind.severities), key=rank.index), kind.name
