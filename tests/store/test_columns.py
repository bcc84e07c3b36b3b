"""The columns of an answer: what is read from its bytes is what the parser would have given."""

import datetime as dt
import decimal
import enum
import json
import string

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importstats.errors import ImportStatsError
from importstats.simulator import simulate_job
from importstats.simulator.dialects import DIALECTS
from importstats.simulator.wire import describe_answer, encode
from importstats.sources.answers import parse_response
from importstats.store.columns import read_columns
from importstats.store.frames import flatten_details, flatten_jobs
from importstats.store.schema import DETAIL_VALUES, detail_columns

NAMES = ["fileName", "fileSize", "state", "progress", "importedRows", "totalRows", "completeTime",
         "reason"]  # fmt: skip
OTHER_NAMES = ["shard", "a b", "data", "details", "é", "}", "extra", "(extra)", "errorMessage",
               "readyPercentage", "fileName"]  # fmt: skip
TEXTS = st.sampled_from(
    ["", "[a/1.parquet]", "[x.npy y.npy]", "[a b.csv]", "Importing", "2026-05-18T02:57:13+02:00",
     "2026-05-18T02:57:13Z", "soon", "},{", "}]", "null", "7", "日本語", "\U0001f980", "\u2028\x7f"]
) | st.text(max_size=6)  # fmt: skip
NUMBERS = st.sampled_from([0, 1, 7, 100, 101, 10**17, 2**63 - 1, 2**63, 2**64, 10**30, -1]) | (
    st.integers(0, 100)
)
ODD = st.sampled_from([None, True, False, 0.0, -0.0, 12.0, 12.5, 1e300, "12", [], {}, ["a", "b"]])


@st.composite
def answers_of_one_pattern(draw):
    """An answer whose details are printed alike, but for a few."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=8))
    names += draw(st.lists(st.sampled_from(OTHER_NAMES), unique=True, max_size=2))
    is_text = {"fileName", "state", "completeTime", "reason"}
    values = {
        name: TEXTS if name in is_text or (name not in NAMES and draw(st.booleans())) else NUMBERS
        for name in names
    }
    detail = st.fixed_dictionaries(values)
    details = draw(st.lists(detail, min_size=1, max_size=5))
    for _ in range(draw(st.sampled_from([0, 0, 1]))):
        odd = draw(st.sampled_from(details))
        odd[draw(st.sampled_from(NAMES + OTHER_NAMES))] = draw(ODD | TEXTS | NUMBERS)
    job = draw(st.sampled_from([{}, {"jobId": "7", "progress": 55}, {"jobId": 7, "shard": 3}]))
    after = draw(st.sampled_from([{}, {"state": "Importing"}, {"x": [{"fileName": "b"}]}]))
    return {"code": 0, "data": {**job, "details": details, **after}}


@st.composite
def printed(draw):
    """An answer as text: most often compact, seldom with escapes or damage."""
    answer = draw(answers_of_one_pattern())
    separators = draw(st.sampled_from([(",", ":"), (",", ":"), (",", ":"), (", ", ": ")]))
    is_ascii = draw(st.sampled_from([False, False, False, True]))
    body = json.dumps(answer, separators=separators, ensure_ascii=is_ascii)
    return body.encode("utf-8", "surrogatepass")


def check(answer):
    """Whether the answer was read, which it must have been as the parser reads it."""
    read = read_columns(answer)
    if read is None:
        return False
    expected = parse_response(answer)
    columns = detail_columns(expected.data.details)
    assert list(read.columns) == DETAIL_VALUES
    for name in DETAIL_VALUES:
        assert read.columns[name].equals(columns[name]), name
        read.columns[name].validate(full=True)
    expected.data.details = []
    assert read.response == expected
    return True


def error_or(work, answer):
    """What some work makes of an answer, or its error."""
    try:
        return work(answer)
    except ImportStatsError as error:
        return error


def check_frame(answer):
    """The frames, or the error, are those of the careful way: values, dtypes, order, categories."""
    read = error_or(parse_response, answer)
    for flatten in (flatten_details, flatten_jobs):
        quick = error_or(flatten, answer)
        if isinstance(read, ImportStatsError):
            assert (type(quick), str(quick)) == (type(read), str(read))
        else:
            pd.testing.assert_frame_equal(quick, flatten(read), check_exact=True)


@settings(max_examples=100)
@given(printed())
def test_bytes_are_read_as_the_parser_reads_them(body):
    if check(body):
        check_frame(body)


@settings(max_examples=100)
@given(answers_of_one_pattern())
def test_objects_are_read_as_the_parser_reads_them(answer):
    if check(answer):
        check_frame(answer)


@pytest.mark.parametrize("value", ["a", 'say "x"\\', "\n\x00", 7, -7, 2**63 - 1, "日本"], ids=repr)
def test_unknown_fields_of_objects_are_kept_as_the_parser_keeps_them(value):
    detail = {"fileName": "a", "z": value, "b c": value, 'q"': "é", "importedRows": 5}
    assert check({"code": 0, "data": {"jobId": "7", "details": [detail, detail]}})


@pytest.mark.parametrize(
    "details",
    [
        [{"fileName": "a"}, {"fileName": "\ud800"}],
        [{"fileName": "a", 7: "x"}],
        [{"fileName": "a"}, {"fileSize": 7}],
        [{"fileName": "a"}, {}],
        [{"fileName": "a"}, {"fileName": None}],
        [{"fileName": "a"}, 7],
        [{"importedRows": -1}],
        [{"importedRows": 2**63}],
        [{"shard": 2**64}],
        [{"shard": 1}, {"shard": "1"}],
        [{"errorMessage": "a"}],
        [],
    ],
)
def test_objects_that_take_a_judgment_are_left_to_the_parser(details):
    answer = {"code": 0, "data": {"jobId": "7", "details": details}}
    assert read_columns(answer) is None
    check_frame(answer)


LETTERS = st.sampled_from([*string.printable.encode(), 0, 0x1F, 0x7F, 0xC3, 0xA9, 0xED, 0xFF])
PLAIN = (
    '{"code":0,"data":{"jobId":"7","state":"Importing","progress":55,"details":['
    '{"fileName":"[é.npy]","fileSize":20,"progress":5,"shard":3,"completeTime":null,"reason":""},'
    '{"fileName":"[b.npy]","fileSize":31,"progress":5,"shard":4,"completeTime":null,"reason":"x"},'
    '{"fileName":"[c.npy]","fileSize":0,"progress":50,"shard":5,"completeTime":null,"reason":""}'
    ']},"message":""}'
).encode()


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 3), st.lists(LETTERS, max_size=2)),
        min_size=1,
        max_size=2,
    )
)
def test_a_damaged_answer_is_read_as_the_parser_reads_it(damages):
    assert check(PLAIN)
    body = PLAIN
    for place, length, letters in damages:
        body = body[:place] + bytes(letters) + body[place + length :]
    if check(body):
        check_frame(body)


# They escape quotes in names, or send other fields.
LEFT_TO_THE_PARSER = {"2.4.0-rc.1", "2.4.0", "2.4.4", "cloud-v1"}


@pytest.fixture(scope="module")
def running():
    simulation = simulate_job("steady", files=4, seed=3, poll_every_s=60)
    return next(p.state for p in simulation.polls if p.state and (p.state.progress or 0) >= 55)


@pytest.mark.parametrize("name", DIALECTS)
def test_what_servers_send_is_read(name, running):
    body = encode(describe_answer(running, DIALECTS[name]))
    assert check(body) == (name not in LEFT_TO_THE_PARSER)


class State(enum.Enum):
    RUNNING = "InProgress"


@pytest.mark.parametrize(
    "value",
    [State.RUNNING, decimal.Decimal("1.5"), dt.date(2026, 5, 18), b"a", 1.0, True],
    ids=repr,
)
@pytest.mark.parametrize("name", ["fileName", "shard", "fileSize"])
def test_values_that_json_does_not_have_are_left_to_the_parser(name, value):
    answer = {"code": 0, "data": {"jobId": "7", "details": [{"fileName": "a", name: value}]}}
    assert read_columns(answer) is None
    check_frame(answer)


@pytest.mark.parametrize(
    "details",
    [
        '{"fileName":"a","fileName":"b"}',
        '{"fileName":"a\\u0062"}',
        '{"fileSize":01}',
        '{"fileSize":0x1}',
        '{"fileSize":1234567890123456789}',
        '{"fileSize":-1}',
        '{"fileSize":"1"}',
        '{"fileSize":1.0}',
        '{"progress":101}',
        '{"state":7}',
        '{"completeTime":"soon"}',
        '{"errorMessage":"a"}',
        '{"readyPercentage":1}',
        '{"shard":null}',
        '{"shard":{"a":1}}',
        '{"fileName":"a"},{"fileSize":7}',
        '{"fileName":"a"}, {"fileName":"b"}',
        '{"fileName":"a"},{"fileName":"b"} ',
        '{"fileName":"a"},{"fileName":null}',
        '{"fileName":"a"},7',
        '{"fileName":"a"},{}',
        "{}",
        "",
    ],
)
def test_what_takes_a_judgment_is_left_to_the_parser(details):
    body = f'{{"code":0,"data":{{"jobId":"7","details":[{details}]}}}}'
    assert read_columns(body) is None
    check_frame(body)


@pytest.mark.parametrize(
    "body",
    [
        '{"code":0,"data":{"jobId":"7","x":{"details":[{"state":"a"}]}}}',
        '{"code":0,"data":{"jobId":"7","details":[{"state":"a"}],"details":[]}}',
        '{"code":0,"data":{"jobId":"7","details":[],"details":[{"state":"a"}]}}',
        '{"code":0,"details":[{"state":"a"}],"data":{"jobId":"7"}}',
        '{"code":100,"message":"no","data":{"jobId":"7","details":[{"state":"a"}]}}',
        '{"code":0,"data":{"jobId":"7","details":[{"state":"a"}]}',
        '{"code":0,"data":{"jobId":"7","details":[{"state":"a"}',
        '"details":[{"state":"a"}]',
    ],
)
def test_only_the_jobs_own_list_is_read(body):
    assert read_columns(body) is None
    check_frame(body)
