"""Where a store is, as pyarrow is asked for it."""

import pytest

from importstats.store.files import _tuned

OPTION = "allow_delayed_open=true"


@pytest.mark.parametrize(
    ("uri", "asked"),
    [
        ("s3://b/p", f"s3://b/p?{OPTION}"),
        ("s3://b/p?region=x", f"s3://b/p?region=x&{OPTION}"),
        ("s3://b/p?allow_delayed_open=false", "s3://b/p?allow_delayed_open=false"),
        ("gs://b/p", "gs://b/p"),
    ],
)
def test_a_tiny_object_of_s3_is_sent_in_one_request(uri, asked):
    assert _tuned(uri) == asked
