"""Reasons: the wording of servers has kinds, and what is not known is not guessed at."""

import pytest

from importstats.analysis.reasons import (
    REASON_KINDS,
    REASON_PATTERNS,
    advice_on_reason,
    culprit_in,
    kind_of_reason,
    normalised_reason,
)

# As servers compose them from the texts of internal/util/importutilv2, internal/datacoord and
# pkg/util/merr; names and numbers are made up.
SERVER_SAYS = {
    "cancelled": ["aborted by user", "import job was cancelled"],
    "missing": [
        "collection 444 dropped",
        "collection not found[database=sales][collection=clues]",
        "database not found[database=sales]",
        "can't find collection[database=default][collection=clues]",
    ],
    "privilege": [
        "PrivilegeImport: permission deny to reader in the `default` database",
        "failed to read the file 'a.parquet', error: Access Denied.: importing data failed",
        "failed to read the file 'in/null/a.npy', error: IO permission denied[key=a.npy]",
    ],
    "timeout": ["import timeout"],
    "quota": [
        "quota exceeded[reason=disk quota exceeded, please allocate more resources]",
        "memory limit exceeded[predict=9][limit=8]",
        "write /var/lib/milvus/x: no space left on device",
        "The number of jobs has reached the limit, please try again later.",
        "The max number of import files should not exceed 1024, but got 2000",
    ],
    "data": [
        "failed to get file size of 'b/1.parquet', error:NoSuchKey(key=b/1.parquet): importing "
        "data failed",
        "new parquet reader failed, err=parquet: could not retrieve footer offset: The specified "
        "key does not exist.: importing data failed",
        "expected dim '128' for field 'v' with type 'FloatVector', got dim '64': importing data "
        "failed",
        "expected type 'Int64' for field 'dim', got type 'string' with value '503'",
        "schema not equal, err=field 'x' type mis-match, milvus data type 'Int64', arrow data "
        "type get 'utf8'",
        "the field 'extra' is not defined in schema",
        "value of field 'x' is missed",
        "the primary key 'id' is auto-generated, no need to provide",
        "value length 600 exceeds max_length 500",
        "array capacity 9 exceeds max_capacity 8",
        "imported rows are not aligned, field 'a' with '3' rows, field 'b' with '4' rows",
        "field 'x' is not nullable, but the file has null",
        "invalid JSON format, each row should be a key-value map",
        "error: cannot read s3://b/part-17.parquet: unexpected EOF",
        "too many input paths for binlog import. Valid paths length should be one or two, but got "
        "paths:[  ]: importing data failed",
        "non-positive count is not allowed",
        "no insert binlogs to import",
        "parquet file too small, size=4, path=a/1.parquet",
        'strconv.ParseInt: parsing "500.5": invalid syntax',
    ],
    "transient": [
        "read tcp 10.0.0.1:1->10.0.0.2:9000: connection reset by peer",
        "failed to read the file 'a.parquet', error: dial tcp: i/o timeout",
        "context deadline exceeded",
        "node not found[node=7]",
        "IO failed[key=a/1.parquet]: SlowDown: Please reduce your request rate. status code: 503",
        "rpc error: code = Unavailable desc = transport is closing",
        "service not ready[DataNode=7]",
        "unexpected status: 502 Bad Gateway",
    ],
    "unknown": [
        "importing data failed",
        "the moon is in the wrong house",
        "segment 500 is odd",
        "cannot find import task with id 9",
        'file: id:7 paths:"network/memory/null/timeout.parquet"',
    ],
}


@pytest.mark.parametrize(
    ("kind", "reason"), [(kind, text) for kind, texts in SERVER_SAYS.items() for text in texts]
)
def test_what_servers_say_is_of_a_kind(kind, reason):
    assert kind_of_reason(reason) == kind
    assert advice_on_reason(reason).endswith(".")


def test_every_kind_but_unknown_has_a_pattern_and_is_tried():
    assert {each.kind for each in REASON_PATTERNS} == set(REASON_KINDS) - {"unknown"}
    assert set(SERVER_SAYS) == set(REASON_KINDS)


def test_no_reason_is_not_a_kind_of_its_own():
    assert kind_of_reason(None) == kind_of_reason("") == "unknown"
    assert "logs" in advice_on_reason(None)


@pytest.mark.parametrize(
    ("reason", "file"),
    [
        ('error: bad: importing data failed, file: id:7 paths:"a/7.parquet"', "a/7.parquet"),
        ("failed to read the file 'b/2.npy', error: x", "b/2.npy"),
        ("error:NoSuchKey(key=b/1.parquet)", "b/1.parquet"),
        ("parquet file too small, size=4, path=a/1.parquet", "a/1.parquet"),
        ("import timeout", None),
        (None, None),
    ],
)
def test_the_culprit_is_in_the_text(reason, file):
    assert culprit_in(reason) == file


def test_causes_are_alike_where_only_numbers_and_paths_differ():
    first = normalised_reason("importing data failed: cannot read s3://b/x 1.parquet (id 449)")
    other = normalised_reason("importing data failed: cannot read s3://c/y 22.parquet (id 8)")
    assert first == other
