"""Causes: one reason in many words is one cause, and the file that it names is to blame."""

import pandas as pd

from importstats.analysis.causes import failure_causes


def failed(**reasons):
    return pd.DataFrame(
        {
            "file": list(reasons),
            "state": "Failed",
            "reason": pd.array(list(reasons.values()), "str"),
        }
    )


def test_a_reason_that_names_another_file_is_the_same_cause():
    text = 'error: EOF, file: id:{} paths:"in/{}"'
    reasons = {f"in/{place}": text.format(place, 3) for place in range(5)}
    [cause] = failure_causes(failed(**reasons)).to_dict("records")
    assert cause["cause"] == 'error: EOF, file: id:N paths:"FILE"'
    assert (cause["files"], cause["culprits"]) == (5, ["in/3"])
    assert cause["examples"][0] == "in/3"


def test_a_name_without_its_folder_is_recognised_and_a_part_of_a_word_is_not():
    table = failure_causes(failed(**{"in/a": "cannot read a: EOF", "in/b": "a band is missing"}))
    assert table["cause"].tolist() == ["cannot read FILE: EOF", "FILE band is missing"]
    assert failure_causes(failed(**{"in/a": "abandon"}))["culprits"].tolist() == [[]]


def test_any_path_of_a_set_names_it_but_a_bare_word_does_not():
    names = [f"in/{place}/id.npy +1" for place in range(3)]
    for path in ("in/1/id.npy", "in/1/vector.npy", "/in/1/vector.npy"):
        table = failure_causes(failed(**dict.fromkeys(names, f'no rows, paths:"{path}"')))
        assert table["culprits"].tolist() == [["in/1/id.npy +1"]]
        assert table["cause"].str.contains("FILE").all()
    for reason in ("id.npy is empty", "in/9/id.npy is empty"):
        assert failure_causes(failed(**dict.fromkeys(names, reason)))["culprits"].tolist() == [[]]
    root = failed(**{"id.npy +1": "the file is empty"})
    assert failure_causes(root)["culprits"].tolist() == [[]]


def test_of_two_sets_in_one_folder_only_the_first_path_says_which():
    names = ["in/a.npy +1", "in/b.npy +1"]
    reasons = {"in/a.npy": [["in/a.npy +1"]], "in/c.npy": [[]]}
    for path, culprits in reasons.items():
        table = failure_causes(failed(**dict.fromkeys(names, f"cannot read {path}")))
        assert table["culprits"].tolist() == culprits


def test_files_without_a_reason_are_one_cause():
    table = failure_causes(failed(**{"in/a": None, "in/b": None}))
    assert table["cause"].isna().all()
    assert table["files"].tolist() == [2]


def test_nothing_failed():
    assert failure_causes(failed(a="x").assign(state="Completed")).empty


def test_the_most_frequent_cause_comes_first_and_of_equal_ones_the_first_that_was_seen():
    table = failure_causes(failed(a="x", b="y", c="y", d="z"))
    assert table["cause"].tolist() == ["y", "x", "z"]
    assert table["files"].tolist() == [2, 1, 1]
    assert table["examples"].tolist() == [["b", "c"], ["a"], ["d"]]


def test_the_cause_of_most_files_comes_first():
    table = failure_causes(failed(**{"in/a": "one", "in/b": "two", "in/c": "two"}))
    assert table["cause"].tolist() == ["two", "one"]
    assert table["files"].tolist() == [2, 1]
    assert table.index.tolist() == [0, 1]
