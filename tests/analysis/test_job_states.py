"""States of jobs, whatever case a server writes them in."""

import pandas as pd

from importstats.analysis.job_states import States

JOBS = pd.DataFrame({"state": ["Importing", None, "FAILED", "None", "importing"]})


def test_states_are_distinguished_in_any_case_and_a_missing_one_is_none():
    state = States.from_jobs(JOBS)
    assert [state.names[place] for place in state.places] == [
        "importing",
        "",
        "failed",
        "",
        "importing",
    ]
    assert state.is_in(["importing"]).tolist() == [True, False, False, False, True]
    assert state.is_in([""]).tolist() == [False, True, False, True, False]
    assert state.is_in([]).tolist() == [False] * 5


def test_a_state_without_a_value_has_the_one_for_others():
    state = States.from_jobs(JOBS)
    assert state.coded({"failed": 3, "": 1}, otherwise=7).tolist() == [7, 1, 3, 1, 7]
