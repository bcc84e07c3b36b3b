"""More cases of each kind, built from the facts of further public reports; names are made up."""

import pandas as pd
import pytest
from replays import Replay, minutes

from importstats import check_rows, diagnose, eta
from importstats.errors import PrivilegeError, ServerError, UnauthorizedError
from importstats.sources.answers import parse_response

CREATED = {"createTime": "2026-05-18T08:00:00Z"}


def job(state, progress, rows=None, total=None, files=(), **more):
    """The data of an answer; a file is (name, state, progress, rows) or has a reason as well."""
    details = [
        {
            "fileName": name,
            "fileSize": 100_000_000,
            "state": file_state,
            "progress": done,
            "importedRows": file_rows,
            "totalRows": 1000,
            "completeTime": "",
            **({"reason": reason[0]} if reason else {}),
        }
        for name, file_state, done, file_rows, *reason in files
    ]
    counts = {} if rows is None else {"importedRows": rows, "totalRows": total}
    return {
        "jobId": "454366314212367666",
        "collectionName": "clues",
        "state": state,
        "progress": progress,
        "details": details,
        **counts,
        **more,
    }


def replay(*answers):
    return Replay(minutes(*answers))


def test_a_restore_without_its_privilege():
    """zilliztech/milvus-backup#1183: a role that may import, and not import binlogs."""
    message = "privilege not permitted[user=restorer][privilege=ImportBinlog][database=sales]"
    with pytest.raises(PrivilegeError) as caught:
        parse_response({"code": 1401, "message": message})
    assert "MILVUS_TOKEN" not in str(caught.value)


def test_a_restore_that_applies_deletes_for_hours_is_no_hang():
    """milvus-io/milvus#41574: 18 hours for 78 GB, most of it for delete logs."""
    files = [("[b/insert_log/1/2/3 b/delta_log/1/2/3]", "InProgress", 0, 0)]
    waiting = [(5 * n, job("Importing", 40, 0, 1000, files)) for n in range(1, 60)]
    case = replay((0, job("Pending", 0, 0, 0)), *waiting)
    assert case.severity("restore") == "info"
    assert "critical" not in case.findings["severity"].astype("str").tolist()
    assert "delete logs are applied" in case.texts
    assert "import again" not in case.texts


def test_a_reason_that_only_the_files_have():
    """milvus-io/pymilvus#1927: the key is missing, in the text of the file."""
    reason = "failed to get file size of 'b/1.parquet', error:NoSuchKey(key=b/1.parquet)"
    files = [("[b/1.parquet]", "Failed", 0, 0, reason), ("[b/2.parquet]", "Failed", 0, 0, reason)]
    case = replay((0, job("Importing", 20, 0, 0)), (1, job("Failed", 0, 0, 0, files, reason="")))
    found = case.findings.loc["failed"]
    assert "NoSuchKey" in found["message"]
    assert '"kind": "data"' in found["evidence"]
    assert '"culprit": "b/1.parquet"' in found["evidence"]
    assert "under exactly these paths" in found["advice"]
    assert "NoSuchKey" in case.headline


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        # milvus-io/milvus#40571
        (
            "new parquet reader failed, err=parquet: could not retrieve footer offset: The "
            "specified key does not exist.: importing data failed",
            "under exactly these paths",
        ),
        # milvus-io/milvus#37838
        ("alloc id failed, err=context deadline exceeded", "It may pass by itself"),
        # milvus-io/milvus#17425
        (
            "Import task queue max size is 32, currently there are 32 tasks is pending.",
            "Import few",
        ),
        # milvus-io/milvus#47762
        ("too many input paths for binlog import. Valid paths length should be one", "cannot be r"),
        # milvus-io/milvus#43683: none that is known, so it is quoted
        ("For L0 import, the collection is loaded: release it first", "logs of the data coord"),
    ],
)
def test_reasons_of_reports_have_advice_of_their_kind(reason, advice):
    case = replay((0, job("Importing", 30, 0, 0)), (1, job("Failed", 0, 0, 0, reason=reason)))
    found = case.findings.loc["failed"]
    assert advice in found["advice"]
    assert reason[:60] in found["message"]
    assert "leaves no visible rows" in found["advice"]


def test_an_abort_without_a_reason():
    """milvus-io/milvus#50483: an aborted job looks like any that failed."""
    waiting = job("Uncommitted", 99, 1000, 1000, **CREATED)
    case = replay((0, waiting), (10, waiting), (11, job("Failed", 0, 0, 0, **CREATED)))
    message = case.findings.loc["failed", "message"]
    assert message.startswith("Failed in Uncommitted with 1,000 of 1,000 rows written")
    assert "somebody aborted it, or its time (option `timeout`) ran out" in message
    assert "aborts imports" in case.findings.loc["failed", "advice"]


def test_a_completed_job_that_its_timeout_fails():
    """milvus-io/milvus#45767: up to 2.6.6 completed jobs are failed by their timeout, too."""
    done = job("Completed", 100, 1000, 1000, completeTime="2026-05-18T08:01:00Z")
    case = replay((0, job("Importing", 85, 1000, 1000)), (1, done), (60, job(
        "Failed", 0, 0, 0, reason="import timeout"
    )))  # fmt: skip
    assert case.phases == ["IndexBuilding", "Completed"]
    assert case.severity("rows_dropped") == "critical"
    assert "Count the rows" in case.findings.loc["rows_dropped", "advice"]
    assert "completed at 2026-05-18 08:01:00 UTC" in case.headline


def test_sorting_that_is_slow():
    """milvus-io/milvus#39952: stuck at 70, where the stats tasks were slow."""
    stands = [(n, job("Importing", 70, 1000, 1000, **CREATED)) for n in range(3, 200)]
    case = replay((0, job("Importing", 55, 500, 1000, **CREATED)), *stands)
    assert case.phases[-1] == "Sorting"
    assert case.severity("waiting_for_sorting") == "warning"
    assert "stats" in case.findings.loc["waiting_for_sorting", "advice"]
    assert "stalled" not in case.findings.index


def test_a_pending_job_behind_one_that_failed():
    """milvus-io/milvus#32195: after a failed import the next ones are never started."""
    case = replay(*[(n, job("Pending", 0, 0, 0)) for n in range(90)])
    assert case.severity("waits_to_start") == "warning"
    assert "Pending for 1 h 29 min" in case.headline
    early = diagnose(case.jobs.head(5))
    assert early["severity"].tolist() == ["info"]
    ahead = case.jobs.assign(job_id="454366314212367600", state="Importing", progress_pct=50.0)
    busy = diagnose(case.jobs, history=ahead)
    assert busy["severity"].tolist() == ["info"]
    assert "1 job of its cluster" in busy["message"].item()


def test_an_index_pause_is_judged_by_earlier_jobs():
    """zilliztech/milvus-backup#987: an hour without progress is no failure of itself."""
    usual = [(n, job("Importing", 80, 1000, 1000)) for n in range(1, 6)]
    before = replay((0, job("Importing", 60, 700, 1000)), *usual, (6, job(
        "Completed", 100, 1000, 1000
    ))).jobs.assign(job_id="1")  # fmt: skip
    slow = replay(
        (100, job("Importing", 60, 700, 1000)),
        *[(100 + n, job("Importing", 80, 1000, 1000)) for n in range(1, 31)],
    )
    assert diagnose(slow.jobs)["severity"].tolist() == ["info"]
    found = diagnose(slow.jobs, history=before)
    assert found["severity"].tolist() == ["warning"]
    assert "earlier jobs of its collection: 5 min" in found["message"].item()


def test_nodes_that_go_down_again_and_again_support_no_eta():
    """milvus-io/milvus#43387: data nodes killed for their memory, over and over."""
    work = [(f"[{n}.parquet]", "InProgress", 0, 0) for n in range(8)]
    lost = [(f"[{n}.parquet]", "Pending", 0, 0) for n in range(8)]
    turns = [
        (2 * n, job("Importing", 40, 0, 8000, work if n % 6 else lost, **CREATED))
        for n in range(90)
    ]
    case = replay(*turns)
    assert "node_restarted" in case.warned
    assert pd.isna(case.eta["eta_p90"])


def test_an_error_message_without_data_is_an_error():
    """milvus-io/milvus#35530: code 0 says that the request was taken, no more."""
    with pytest.raises(UnauthorizedError):
        parse_response({"code": 0, "message": "The token is illegal."})
    with pytest.raises(ServerError):
        parse_response({"code": 0, "message": "the job queue is out of order"})


def test_an_error_message_of_cloud_v1_is_a_failure():
    """milvus-io/pymilvus#1927, as Zilliz Cloud's first API says it: no state at all."""
    data = {"jobId": "job-9", "fileName": "x", "readyPercentage": 0.5}
    case = replay(
        (0, {**data, "errorMessage": None}), (1, {**data, "errorMessage": "no such bucket"})
    )
    assert case.phases == ["Importing", "Failed"]
    assert "no such bucket" in case.headline


def test_import_v3_builds_its_index_from_60_on():
    """milvus-io/milvus#53334: another scale behind a switch; all rows are in at 66."""
    case = replay(
        (0, job("Importing", 30, 500, 1000, **CREATED)),
        (1, job("Importing", 66, 1000, 1000, **CREATED)),
    )
    assert case.phases == ["Resharding", "IndexBuilding"]
    assert case.findings.index.tolist() == ["waiting_for_index"]


def test_rows_and_progress_that_no_release_has():
    """milvus-io/milvus#31221: numbers of a server can be wrong; a phase is not made of them."""
    case = replay((0, job("Importing", 55, 500, 1000)), (1, job("Importing", 85, 300, 1000)))
    assert case.warned == {"unexplained_progress"}
    assert "300 of 1,000 rows" in case.headline


@pytest.mark.parametrize(("progress", "total"), [(40, 500), (70, 0)])
def test_delete_logs_alone_count_no_rows(progress, total):
    """milvus-io/milvus#33157: the deletes of a backup are imported as jobs of their own."""
    files = [("[b/delta_log/1/2]", "InProgress", 0, 0), ("[b/delta_log/3/4]", "Pending", 0, 0)]
    stands = [(n, job("Importing", progress, 0, total, files)) for n in range(60)]
    done = [(name, "Completed", 0, 0) for name, *_ in files]
    case = replay(*stands, (60, job("Completed", 100, 0, 0, done, fileSize=200)))
    assert case.phases == ["Importing", "Completed"]
    assert case.warned == set()
    assert "only_deletes" in case.findings.index
    assert replay(*stands).warned <= {"no_free_slot"}


def test_a_job_that_completes_with_fewer_rows():
    """milvus-io/milvus#43387: completed, and rows are missing; milvus-io/milvus#49541: too many."""
    files = [("[in/a.parquet]", "Completed", 100, 1000), ("[in/b.parquet]", "Completed", 100, 900)]
    case = replay((0, job("Completed", 100, 1900, 1900, files)))
    found = diagnose(case.jobs, case.details, expected={"a.parquet": 1000, "b.parquet": 1000})
    assert found["finding"].tolist() == ["rows_differ"]
    assert "1,900 of 2,000 expected rows; 1 of its files differ" in found["message"].item()
    assert "a second time" in found["advice"].item()
    assert diagnose(case.jobs, case.details, expected=1900).empty
    assert diagnose(case.jobs, case.details, expected=1800)["finding"].tolist() == ["rows_differ"]
    checked = check_rows(case.details, {"in/a.parquet": 1000, "c.parquet": 5})
    assert checked["verdict"].tolist() == ["more", "equal", "unknown", "not listed"]


@pytest.mark.parametrize(
    ("name", "rows", "severity"),
    [
        ("[in/a.parquet]", 1900, None),
        ("[in/a.parquet]", 1899, "warning"),
        ("[in/a.parquet]", 0, "warning"),
        ("[b/insert_log/4/5, b/delta_log/4/5]", 1899, "info"),
        ("[b/delta_log/4/5]", 0, None),
    ],
)
def test_a_job_that_completes_with_fewer_rows_than_its_files_hold(name, rows, severity):
    """milvus-io/milvus#43387: the server's own numbers differ, so nobody has to expect any."""
    case = replay((0, job("Completed", 100, rows, 1900, [(name, "Completed", 100, rows)])))
    found = case.findings
    assert ("completed_short" in found.index) == (severity is not None)
    if severity is not None:
        assert case.severity("completed_short") == severity
        shown = "0" if rows == 0 else "1,899"
        assert (
            f"Completed with {shown} of the 1,900 rows" in found.loc["completed_short", "message"]
        )


def test_an_eta_of_a_completed_job_is_its_end():
    """milvus-io/milvus#45766: whatever the server says of it later."""
    done = job("Completed", 100, 10, 10, completeTime="2026-05-18T08:00:50Z")
    later = job("Failed", 0, 0, 0, reason="collection 444 dropped", completeTime="")
    case = replay((0, job("Importing", 80, 10, 10)), (1, done), (10, later))
    assert set(eta(case.jobs)["eta_p50"].iloc[1:]) == {pd.Timestamp("2026-05-18T08:00:50Z")}
