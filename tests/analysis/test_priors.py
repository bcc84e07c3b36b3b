"""Priors: what is shipped, and what of another release is refused."""

import json

import numpy as np
import pytest

from importstats.analysis.forecast.priors import (
    PHASES,
    VARIABLES,
    Priors,
    parse_priors,
    shipped_priors,
)


def test_priors_are_numbers_of_each_phase_and_of_bytes():
    shipped = shipped_priors()
    assert (*PHASES, "bytes") == VARIABLES
    assert shipped.mean.shape == (len(VARIABLES),)
    for shared in (shipped.fleet, shipped.cluster, shipped.collection, shipped.job):
        assert shared.shape == (len(VARIABLES), len(VARIABLES))
    assert shipped.pace_variance.shape == (len(PHASES),)
    assert shipped_priors() is shipped


def test_priors_are_written_with_four_decimals_and_read_as_they_were_written():
    one = np.array([[0.123456]])
    text = Priors(np.array([1.00004]), one, one, one, one, np.array([2.0])).to_json()
    assert json.loads(text)["mean"] == [1.0]
    assert json.loads(text)["job"] == [[0.1235]]
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    again = parse_priors(text)
    assert again.cluster.tolist() == [[0.1235]]
    assert again.pace_variance.dtype == np.float64


@pytest.mark.parametrize("phases", [[], ["Importing"], [*PHASES, "Other"], PHASES[::-1]])
def test_priors_of_other_phases_are_refused(phases):
    text = json.dumps({**json.loads(shipped_priors().to_json()), "phases": phases})
    with pytest.raises(ValueError, match="these priors are of another release: fit them anew"):
        parse_priors(text)
