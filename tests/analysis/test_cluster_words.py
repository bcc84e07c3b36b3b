"""Words of clusters: how many of what, and who holds slots."""

import pandas as pd
import pytest
from clusters import HOUR, NODE, build, state

from importstats.analysis.cluster_words import (
    listed_text,
    number,
    setting_text,
    slots_held,
    wait_verb,
)
from importstats.text import plural


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, ("0 tasks", "0 segments", "wait")),
        (1, ("1 task", "1 segment", "waits")),
        (2, ("2 tasks", "2 segments", "wait")),
        (1000, ("1,000 tasks", "1,000 segments", "wait")),
    ],
)
def test_a_count_has_its_noun_and_its_verb(count, words):
    assert (plural(count, "task"), plural(count, "segment"), wait_verb(count)) == words


@pytest.mark.parametrize(
    ("parts", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_parts_are_listed_as_one_says_them(parts, text):
    assert listed_text(parts) == text


@pytest.mark.parametrize(
    ("value", "found"), [(None, None), (float("nan"), None), (pd.NA, None), (0, 0.0), ("2", 2.0)]
)
def test_a_missing_number_is_none(value, found):
    assert number(value) == found


def test_a_setting_is_named_with_its_value_if_that_is_known():
    now = state(9, settings=[(0, 9, {"name": "a.b", "value": "2"})])
    assert setting_text(now, "a.b") == "a.b (now 2)"
    assert setting_text(now, "a.c") == "a.c"


def plan(name, what, kind="MixCompaction"):
    return {"plan_id": name, "kind": kind, "state": what}


@pytest.mark.parametrize(
    ("nodes", "held"),
    [
        ([NODE], {"compaction": 1, "index": 2}),
        # Index nodes of their own build indexes, and data nodes have their slots to themselves.
        ([NODE, (0, HOUR, {"node_id": "i", "kind": "indexnode"})], {"compaction": 0, "index": 0}),
        ([], {"compaction": 0, "index": 0}),
    ],
)
def test_builds_and_compactions_that_sort_nothing_hold_slots_where_roles_are_merged(nodes, held):
    plans = [
        (0, HOUR, plan("1", "executing")),
        (0, HOUR, plan("2", "pipelining")),
        (0, HOUR, plan("3", "executing", "SortCompaction")),
    ]
    builds = [
        (0, HOUR, build(name, what))
        for name, what in (("1", "InProgress"), ("2", "InProgress"), ("3", "Unissued"))
    ]
    assert slots_held(state(HOUR, nodes=nodes, compactions=plans, builds=builds)) == held
