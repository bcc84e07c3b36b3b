"""The simulated server over a real socket: its paths and its dialects."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import requests
from posting import IMPORT, JOB, Post, still

from importstats.errors import JobNotFoundError, UnauthorizedError
from importstats.simulator import (
    DIALECTS,
    ClusterSpec,
    FileSpec,
    JobSpec,
    SimulatorServer,
)
from importstats.sources.answers import parse_job_page, parse_response

# Paths and dialects.


def test_describe_reports_a_job_from_start_to_end(post: Post) -> None:
    with still() as server:
        seen = []
        for _ in range(40):
            answer = post(server, "describe", jobId=server.job_ids[0])
            assert answer.status_code == 200
            assert answer.headers["Content-Type"].startswith("application/json")
            data = parse_response(answer.content).data
            seen.append((data.state, data.progress, len(data.details)))
            server.advance(10)
    states = [state for state, _, _ in seen]
    assert list(dict.fromkeys(states)) == ["Pending", "Importing", "Completed"]
    assert seen[-1] == ("Completed", 100.0, 6)
    assert seen[0][2] == 0


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "cloud-v1"])
def test_each_dialect_has_its_paths(name: str, post: Post) -> None:
    dialect = DIALECTS[name]
    with still(dialect=name) as server:
        server.advance(60)
        for path in ("describe", "get_progress", "getProgress", "commit", "nonsense"):
            answer = post(server, path, jobId=server.job_ids[0])
            known = f"{IMPORT}/{path}" in dialect.describe_paths
            known |= path == "commit" and dialect.two_phase
            assert answer.status_code == (200 if known else 404)
        data = parse_response(
            post(server, dialect.describe_paths[0].split("/")[-1], jobId=server.job_ids[0]).content
        ).data
        assert data.state == "Importing"
        assert len(data.details) == 6
        jobs = parse_job_page(post(server, "list").content).records
        assert [(job.job_id, job.state) for job in jobs] == [(server.job_ids[0], "Importing")]
        assert jobs[0].progress == data.progress


def test_releases_before_2_4_14_have_no_describe() -> None:
    for name in ("2.4.0-rc.1", "2.4.0", "2.4.4", "2.4.12"):
        assert [path.split("/")[-1] for path in DIALECTS[name].describe_paths] == ["get_progress"]
    for name in ("2.4", "2.5", "3.0"):
        paths = [path.split("/")[-1] for path in DIALECTS[name].describe_paths]
        assert paths == ["describe", "get_progress"]


#: What each server answers about the same two files a minute after their job was made.
GOLDEN = {
    "2.4.0": (
        '{"code":200,"data":{"collectionName":"products","completeTime":"","details":'
        '[{"fileName":"id:449839014328146740 paths:\\"in/\\u0026.parquet\\" ","fileSize":1000000,'
        '"completeTime":"TIME","progress":100,"state":"Completed","importedRows":1000,'
        '"totalRows":1000},{"fileName":"id:449839014328146742 paths:\\"x.npy\\" paths:\\"y.npy\\" '
        '",'
        '"fileSize":9000000000,"completeTime":"","progress":0,"state":"InProgress",'
        '"importedRows":0,"totalRows":9000000}],"fileSize":9001000000,"jobId":"ID","progress":40,'
        '"state":"Importing"}}'
    ),
    "2.5": (
        '{"code":0,"data":{"collectionName":"products","completeTime":"","details":'
        '[{"fileName":"[in/\\u0026.parquet]","fileSize":1000000,"completeTime":"TIME",'
        '"progress":100,"state":"Completed","importedRows":1000,"totalRows":1000},'
        '{"fileName":"[x.npy y.npy]","fileSize":9000000000,"completeTime":"","progress":0,'
        '"state":"InProgress","importedRows":0,"totalRows":9000000}],"fileSize":9001000000,'
        '"importedRows":1000,"jobId":"ID","progress":40,"state":"Importing","totalRows":9001000}}'
    ),
    "2.6": (
        '{"code":0,"data":{"collectionName":"products","completeTime":"","createTime":"TIME",'
        '"details":[{"fileName":"[in/\\u0026.parquet]","fileSize":1000000,"completeTime":"TIME",'
        '"progress":100,"state":"Completed","importedRows":1000,"totalRows":1000},'
        '{"fileName":"[x.npy y.npy]","fileSize":9000000000,"completeTime":"","progress":0,'
        '"state":"InProgress","importedRows":0,"totalRows":9000000}],"fileSize":9001000000,'
        '"importedRows":1000,"jobId":"ID","progress":40,"state":"Importing","totalRows":9001000}}'
    ),
    "cloud-v2": (
        '{"code":0,"data":{"collectionName":"products","completeTime":"","details":'
        '[{"fileName":"in/\\u0026.parquet","fileSize":1000000,"completeTime":"TIME",'
        '"progress":100,"reason":"","state":"Completed","importedRows":1000,"totalRows":1000},'
        '{"fileName":"x.npy,y.npy","fileSize":9000000000,"completeTime":"","progress":0,'
        '"reason":"","state":"InProgress","importedRows":0,"totalRows":9000000}],'
        '"fileName":"in/\\u0026.parquet","fileSize":9001000000,"importedRows":1000,'
        '"jobId":"job-ID","progress":40,"reason":"","state":"Importing","totalRows":9001000},'
        '"message":""}'
    ),
    "cloud-v2-no-rows": (
        '{"code":0,"data":{"collectionName":"products","completeTime":"","details":'
        '[{"fileName":"in/\\u0026.parquet","fileSize":1000000,"completeTime":"TIME",'
        '"progress":100,"reason":"","state":"Completed"},'
        '{"fileName":"x.npy,y.npy","fileSize":9000000000,"completeTime":"","progress":0,'
        '"reason":"","state":"InProgress"}],'
        '"fileName":"in/\\u0026.parquet","fileSize":9001000000,'
        '"jobId":"job-ID","progress":40,"reason":"","state":"Importing","totalRows":9001000},'
        '"message":""}'
    ),
    "cloud-v1": (
        '{"code":200,"data":{"collectionName":"products","completeTime":null,"details":'
        '[{"fileName":"in/\\u0026.parquet","fileSize":1000000,"completeTime":"TIME",'
        '"readyPercentage":1.0,"errorMessage":null},'
        '{"fileName":"x.npy,y.npy","fileSize":9000000000,"completeTime":null,'
        '"readyPercentage":0.0,"errorMessage":null}],"errorMessage":null,'
        '"fileName":"in/\\u0026.parquet","fileSize":9001000000,"jobId":"job-ID",'
        '"readyPercentage":0.4},"message":""}'
    ),
}


TWO_FILES = JobSpec(
    collection_name="products",
    files=(
        FileSpec(("in/&.parquet",), 10**6, 1000),
        FileSpec(("x.npy", "y.npy"), 9 * 10**9, 9 * 10**6),
    ),
    max_task_bytes=1,
    noise=0.0,
)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_answers(name: str, session: requests.Session) -> None:
    dialect = DIALECTS[name]
    cluster = ClusterSpec(shuffled_details=False)
    job = replace(TWO_FILES, preimport_bytes_per_s=1e9)
    with SimulatorServer(cluster, [job], acceleration=0, dialect=name) as server:
        server.advance(60)
        fields = {"jobId": server.job_ids[0]}
        url = server.uri + dialect.describe_paths[0]
        if dialect.method == "GET":
            answer = session.get(url, params=fields, timeout=10)
        else:
            answer = session.post(url, json=fields, timeout=10)
    printed = answer.text.replace(server.job_ids[0].removeprefix("job-"), "ID")
    printed = re.sub(r'(?<=Time":")[^"]+', "TIME", printed)
    assert printed == GOLDEN[name]


def test_v1_is_a_get(session: requests.Session, post: Post) -> None:
    with still(dialect="cloud-v1", cluster_id="in01", token="key") as server:
        server.advance(7200)
        job_id = server.job_ids[0]

        def get(call: str, token: str = "key", **query: str) -> requests.Response:
            headers = {"Authorization": f"Bearer {token}"}
            url = f"{server.uri}/v1/vector/collections/import/{call}"
            return session.get(url, params=query, headers=headers, timeout=10)

        data = get("get", jobId=job_id, clusterId="in01").json()["data"]
        assert data["readyPercentage"] == 1
        assert data["completeTime"]
        assert "state" not in data
        listed = get("list", clusterId="in01").json()
        assert listed["code"] == 200
        [task] = listed["data"]["tasks"]
        assert (task["jobId"], task["state"]) == (job_id, "ImportCompleted")
        # An error with the number of success, as text.
        refused = get("get", token="wrong", jobId=job_id, clusterId="in01").json()
        assert refused == {"code": "0", "message": "The token is illegal."}
        assert get("get", jobId=job_id, clusterId="other").json()["code"] == 80002
        assert post(server, "describe", jobId=job_id).status_code == 404


def test_get_is_not_found(session: requests.Session) -> None:
    with still() as server:
        answer = session.get(server.uri + IMPORT + "/describe", timeout=10)
        assert (answer.status_code, answer.text) == (404, "404 page not found")
        answer = session.post(server.uri + IMPORT + "/describe", data=b"{", timeout=10)
        assert answer.json()["code"] == 1801
        answer = session.post(server.uri + IMPORT + "/nonsense", data=b"{", timeout=10)
        assert answer.status_code == 404


# Errors.


def test_unknown_jobs_and_databases(post: Post) -> None:
    with still() as server:
        job_id = server.job_ids[0]
        answer = post(server, "describe", jobId="123")
        assert answer.status_code == 200
        assert answer.json() == {
            "code": 2101,
            "message": "import job does not exist, jobID=123: importing data failed",
        }
        with pytest.raises(JobNotFoundError, match="123"):
            parse_response(answer.content)
        # Ids are unique in the cluster, so the database does not matter.
        assert post(server, "describe", jobId=job_id, db="nowhere").json()["code"] == 0
        listed = post(server, "list", collectionName="products", db="nowhere")
        assert listed.json() == {"code": 800, "message": "database not found[database=nowhere]"}
        listed = post(server, "list", collectionName="nothing")
        assert listed.json() == {
            "code": 100,
            "message": "collection not found[database=default][collection=nothing]",
        }
    with still(dialect="2.5") as server:
        assert post(server, "describe", jobId="123").json()["code"] == 2100


def test_requests_are_typed(post: Post) -> None:
    def message(field: str, kind: str, wanted: str) -> dict[str, object]:
        return {
            "code": 1801,
            "message": "can only accept json format request, error: json: cannot unmarshal "
            f"{kind} into Go struct field {field} of type {wanted}",
        }

    with still(dialect="3.0") as server:
        good = {"collectionName": "products", "files": [["a.parquet"]]}
        for call in ("describe", "commit", "abort"):
            answer = post(server, call, jobId=int(server.job_ids[0]))
            assert answer.status_code == 200
            assert answer.json() == message("JobIDReq.jobId", "number", "string")
            assert post(server, call).json()["code"] == 1802
            assert "'JobID'" in post(server, call).json()["message"]
        for files, kind, wanted in (
            (["a.parquet"], "string", "[]string"),
            ("a.parquet", "string", "[][]string"),
            ([[1]], "number", "string"),
        ):
            answer = post(server, "create", **{**good, "files": files})
            assert answer.json() == message("ImportReq.files", kind, wanted)
        answer = post(server, "create", **good, options={"timeout": 300})
        assert answer.json() == message("ImportReq.options", "number", "string")
        answer = post(server, "create", **{**good, "collectionName": 7})
        assert answer.json() == message("ImportReq.collectionName", "number", "string")
        assert post(server, "create", files=[["a.json"]]).json()["code"] == 1802
        assert post(server, "create", collectionName="products").json()["code"] == 1802
        assert post(server, "list", collectionName=["a"]).json()["code"] == 1801
        assert len(parse_job_page(post(server, "list").content).records) == 1


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([["a.txt"]], "unexpected file type, files=[a.txt]"),
        ([["a"]], "unexpected file type, files=[a]"),
        ([["a.npy", "b.json"]], "inconsistency in file types, (a.npy) vs (b.json)"),
        ([["a.parquet", "b.parquet"]], "for Parquet import, accepts only one file"),
        ([["a.csv", "b.csv"]], "for CSV import, accepts only one file"),
        (
            [["a.json"]] * 1025,
            "The max number of import files should not exceed 1024, but got 1025",
        ),
    ],
)
def test_files_that_cannot_be_imported_are_refused(
    files: list[list[str]], why: str, post: Post
) -> None:
    with still() as server:
        answer = post(server, "create", collectionName="products", files=files).json()
        assert answer == {"code": 2100, "message": f"{why}: importing data failed"}


def test_unknown_collections_are_refused(post: Post) -> None:
    with still(collections=["images", "stage.faces"]) as server:
        files = [["a.json"]]
        assert post(server, "create", collectionName="images", files=files).json()["code"] == 0
        other = post(server, "create", collectionName="faces", files=files)
        assert other.json()["code"] == 100
        staged = post(server, "create", collectionName="faces", db="stage", files=files)
        assert staged.json()["code"] == 0
        away = post(server, "create", collectionName="faces", db="nowhere", files=files)
        assert away.json()["code"] == 800
        none = post(server, "create", collectionName="images", files=[[]]).json()
        assert none == {"code": 1100, "message": "import request is empty: invalid parameter"}


def test_a_forgotten_job_is_unknown(post: Post) -> None:
    with SimulatorServer(ClusterSpec(retention_s=60), [JOB], acceleration=0) as server:
        server.advance(3600)
        with pytest.raises(JobNotFoundError):
            parse_response(post(server, "describe", jobId=server.job_ids[0]).content)
        assert parse_job_page(post(server, "list").content).records == []
    with still(dialect="2.4.8") as server:
        data = parse_response(post(server, "get_progress", jobId="123").content).data
        assert (data.state, data.reason) == ("Failed", "import job does not exist, jobID=123")


def test_up_to_2_4_4_an_unknown_id_crashes_the_coordinator(post: Post) -> None:
    with still(dialect="2.4.4") as server:
        known = server.job_ids[0]
        assert post(server, "get_progress", jobId=known).json()["code"] == 0
        assert post(server, "get_progress", jobId="123").json()["code"] == 1
        for call, body in (("get_progress", {"jobId": known}), ("list", {})):
            crashed = post(server, call, **body)
            assert (crashed.status_code, crashed.json()["code"]) == (200, 1)
            assert "service not ready" in crashed.json()["message"]
        server.advance(30)
        assert post(server, "get_progress", jobId=known).json()["code"] == 0


@pytest.mark.parametrize(
    ("dialect", "status", "code"), [("2.6", 401, 1800), ("cloud-v2", 200, 80001)]
)
def test_tokens(dialect: str, status: int, code: int, post: Post) -> None:
    with still(dialect=dialect, token="root:Milvus") as server:
        job_id = server.job_ids[0]
        for wrong in (None, "root:other"):
            answer = post(server, "describe", token=wrong, jobId=job_id)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            with pytest.raises(UnauthorizedError):
                parse_response(answer.content)
        right = post(server, "describe", token="root:Milvus", jobId=job_id)
        assert right.json()["code"] == 0
        server.faults.refuse_token = True
        refused = post(server, "describe", token="root:Milvus", jobId=job_id)
        assert refused.json()["code"] == code
    with still(token="secret", unauthorized_status=200) as server:
        assert post(server, "list").status_code == 200
        assert "secret" not in repr(server)


def test_a_missing_privilege_is_of_a_collection_and_before_2_6_7_of_a_database(post: Post) -> None:
    other = replace(JOB, collection_name="images", db_name="stage")
    with SimulatorServer(ClusterSpec(), [JOB, other], acceleration=0) as server:
        server.access.denied_collections.add("images")
        allowed, denied = server.job_ids
        assert post(server, "describe", jobId=allowed).json()["code"] == 0
        answer = post(server, "describe", jobId=denied)
        assert (answer.status_code, answer.json()["code"]) == (403, 65535)
        assert "permission deny" in answer.json()["message"]
        assert "`stage`" in answer.json()["message"]
        # The list leaves such jobs out and does not say so.
        assert [j.job_id for j in parse_job_page(post(server, "list").content).records] == [allowed]
        listed = post(server, "list", collectionName="images", db="stage")
        assert listed.status_code == 403
    with SimulatorServer(ClusterSpec(), [JOB, other], acceleration=0, dialect="2.6.6") as server:
        server.access.denied_databases.add("default")
        for job_id in server.job_ids:
            assert post(server, "describe", jobId=job_id).status_code == 403
            assert post(server, "describe", jobId=job_id, db="stage").json()["code"] == 0
        assert post(server, "list").status_code == 403


def test_the_cloud_wants_its_cluster_id(post: Post) -> None:
    with still(dialect="cloud-v2", cluster_id="in01-x") as server:
        job_id = server.job_ids[0]
        assert post(server, "describe", jobId=job_id).json()["code"] != 0
        assert post(server, "describe", jobId=job_id, clusterId="in01-x").json()["code"] == 0


# Lists.


def test_milvus_ignores_pages_and_the_cloud_does_not(post: Post) -> None:
    small = replace(JOB, files=JOB.files[:1])
    with SimulatorServer(ClusterSpec(), [small] * 23, acceleration=0) as server:
        for page in (1, 2, 99):
            answer = post(server, "list", pageSize=10, currentPage=page)
            assert len(parse_job_page(answer.content).records) == 23
    with SimulatorServer(ClusterSpec(), [small] * 23, acceleration=0, dialect="cloud-v2") as server:
        pages = [
            parse_job_page(post(server, "list", pageSize=10, currentPage=page).content).records
            for page in (1, 2, 3, 4)
        ]
        assert [len(page) for page in pages] == [10, 10, 3, 0]
        assert [job.job_id for page in pages for job in page] == server.job_ids
        assert post(server, "list", pageSize=-1).json()["code"] != 0


def test_list_without_a_collection_is_of_all_databases(post: Post) -> None:
    other = replace(JOB, collection_name="images", db_name="stage")
    with SimulatorServer(ClusterSpec(), [JOB, other], acceleration=0) as server:
        ids = [
            sorted(
                job.job_id for job in parse_job_page(post(server, "list", **body).content).records
            )
            for body in (
                {},
                {"db": "stage"},
                {"dbName": "nowhere"},
                {"collectionName": "products"},
                {"collectionName": "images", "db": "stage"},
            )
        ]
        first, second = server.job_ids
        assert ids == [[first, second]] * 3 + [[first], [second]]
        assert post(server, "list", collectionName="images").json()["code"] == 100


def test_milvus_lists_in_any_order(post: Post) -> None:
    small = replace(JOB, files=JOB.files[:1])
    with SimulatorServer(ClusterSpec(), [small] * 12, acceleration=0) as server:
        orders = {
            tuple(job.job_id for job in parse_job_page(post(server, "list").content).records)
            for _ in range(5)
        }
    assert len(orders) == 5
    assert len({frozenset(order) for order in orders}) == 1


# Create, commit, abort.


def test_create_starts_a_job_of_the_posted_files(post: Post) -> None:
    sizes = []
    for _ in range(2):
        with SimulatorServer(ClusterSpec(), acceleration=0, seed=5, collections=["c"]) as server:
            job_id = post(
                server, "create", collectionName="c", files=[["a.parquet"], ["x.npy", "y.npy"]]
            ).json()["data"]["jobId"]
            server.advance(3600)
            data = parse_response(post(server, "describe", jobId=job_id).content).data
            assert (data.state, data.collection_name) == ("Completed", "c")
            assert {d.file_name for d in data.details} == {"[a.parquet]", "[x.npy y.npy]"}
            sizes.append([d.file_size for d in data.details])
    assert sizes[0] == sizes[1]


def test_a_created_job_is_like_the_template(post: Post) -> None:
    template = replace(JOB, wrong_totals=True)
    with SimulatorServer(
        ClusterSpec(), acceleration=0, template=template, collections=["c"]
    ) as server:
        created = post(server, "create", collectionName="c", files=[["a.json"], ["b.json"]])
        server.advance(3600)
        job_id = created.json()["data"]["jobId"]
        data = parse_response(post(server, "describe", jobId=job_id).content).data
        assert {d.total_rows for d in data.details} == {data.total_rows}


def test_two_phase_commit(post: Post) -> None:
    with SimulatorServer(ClusterSpec(), acceleration=0, dialect="3.0", collections=["c"]) as server:
        body = {"collectionName": "c", "files": [["a.json"]], "options": {"auto_commit": "false"}}
        first, second = (post(server, "create", **body).json()["data"]["jobId"] for _ in "ab")
        by_itself = post(server, "create", collectionName="c", files=[["a.json"]]).json()
        by_itself = by_itself["data"]["jobId"]

        def state(job_id: str) -> str | None:
            return parse_response(post(server, "describe", jobId=job_id).content).data.state

        for call in ("commit", "abort"):
            refused = post(server, call, jobId=by_itself)
            assert (refused.status_code, refused.json()["code"]) == (200, 2100)
        assert post(server, "commit", jobId=first).json()["code"] == 2100
        server.advance(3600)
        assert (state(first), state(second)) == ("Uncommitted", "Uncommitted")
        assert state(by_itself) == "Completed"
        assert post(server, "commit", jobId=first).json() == {"code": 0, "data": {}}
        assert state(first) == "Committing"
        assert post(server, "abort", jobId=first).json()["code"] == 2100
        assert post(server, "abort", jobId=second).json() == {"code": 0, "data": {}}
        assert state(second) == "Uncommitted"  # it takes effect a little later
        server.advance(10)
        assert (state(first), state(second)) == ("Completed", "Failed")
        with pytest.raises(JobNotFoundError):
            parse_response(post(server, "commit", jobId="1").content)
