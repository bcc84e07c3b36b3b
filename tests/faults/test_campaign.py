"""Whatever happens to a collector: what it acknowledged is in the store, once."""

import pytest
from campaign import COUNTED, LASTING, TRIALS, SkipTrialError, weather

EXIT_CODES = {
    "token_refused": 4,
    "job_forgotten": 9,
    "disk_full": 6,
    "disk_read_only": 6,
    "permission_lost": 6,
    "two_collectors": 143,
    "terminated": 143,
    "killed": -9,
    "compaction_killed": 143,
}
SAYS = {
    "token_refused": "refused the token",
    "job_forgotten": "no answer: the server does not know this import job",
    "names_do_not_resolve": "Name or service not known",
    "disk_full": "no space left",
    "disk_read_only": "read-only",
    "permission_lost": "permission denied",
}


def check(outcome):
    assert outcome.acknowledged > 0
    assert (outcome.lost, outcome.duplicated) == (0, 0), outcome


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", TRIALS)
def test_nothing_acknowledged_is_lost(name):
    try:
        outcome = TRIALS[name]()
    except SkipTrialError as reason:
        pytest.skip(str(reason))
    check(outcome)
    assert outcome.exit_code == EXIT_CODES.get(name)
    assert SAYS.get(name, "") in outcome.message


@pytest.mark.timeout(300)
def test_one_collector_lives_through_every_fault_of_a_server():
    seen = []
    for outcome in weather():
        check(outcome)
        seen.append(outcome.fault)
    assert seen == [*COUNTED, *LASTING]
