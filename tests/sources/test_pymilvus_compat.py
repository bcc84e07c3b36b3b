"""pymilvus' own functions work against the simulated server."""

from __future__ import annotations

import pytest

from importstats.simulator import ClusterSpec, SimulatorServer
from importstats.sources.answers import parse_job_page, parse_response

bulk_writer = pytest.importorskip("pymilvus.bulk_writer", exc_type=ImportError)
exceptions = pytest.importorskip("pymilvus.exceptions")

TOKEN = "root:Milvus"


def server_of(dialect: str, **options: object) -> SimulatorServer:
    return SimulatorServer(
        ClusterSpec(),
        dialect=dialect,
        token=TOKEN,
        acceleration=0,
        seed=2,
        collections=["products"],
        **options,
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", ["2.5", "2.6", "3.0"])
def test_a_milvus_import_from_start_to_end(dialect: str) -> None:
    with server_of(dialect) as server:
        created = bulk_writer.bulk_import(
            url=server.uri,
            api_key=TOKEN,
            collection_name="products",
            files=[["in/1.parquet"], ["in/2.parquet"], ["x.npy", "y.npy"]],
        )
        job_id = created.json()["data"]["jobId"]
        states = []
        for _ in range(60):
            answer = bulk_writer.get_import_progress(url=server.uri, job_id=job_id, api_key=TOKEN)
            states.append(answer.json()["data"]["state"])
            server.advance(10)
        assert list(dict.fromkeys(states)) == ["Pending", "Importing", "Completed"]
        data = parse_response(answer.content).data
        assert data.imported_rows == data.total_rows
        assert len(data.details) == 3
        listed = bulk_writer.list_import_jobs(
            url=server.uri, api_key=TOKEN, collection_name="products"
        )
        (job,) = parse_job_page(listed.content).records
        assert (job.job_id, job.state, job.progress) == (job_id, "Completed", 100)


def test_a_cloud_import() -> None:
    with server_of("cloud-v2", cluster_id="in01-abc") as server:
        urls = [["s3://bucket/1.parquet"], ["s3://bucket/2.parquet"]]
        ids = [
            bulk_writer.bulk_import(
                url=server.uri,
                api_key=TOKEN,
                cluster_id="in01-abc",
                collection_name="products",
                **files,
            ).json()["data"]["jobId"]
            for files in (
                {"object_urls": urls},
                {"data_paths": urls, "volume_name": "volume"},
                {"object_url": "s3://bucket/"},
            )
        ]
        server.advance(3600)
        progress = bulk_writer.get_import_progress(
            url=server.uri, job_id=ids[0], cluster_id="in01-abc", api_key=TOKEN
        )
        data = parse_response(progress.content).data
        assert data.state == "Completed"
        assert {d.file_name for d in data.details} == {path for (path,) in urls}
        pages = [
            bulk_writer.list_import_jobs(
                url=server.uri,
                api_key=TOKEN,
                cluster_id="in01-abc",
                page_size=2,
                current_page=page,
            )
            for page in (1, 2)
        ]
        assert [job.job_id for page in pages for job in parse_job_page(page.content).records] == ids


def test_databases_and_errors() -> None:
    with server_of("2.6") as server:
        with pytest.raises(exceptions.MilvusException, match="401"):
            bulk_writer.list_import_jobs(url=server.uri, api_key="root:wrong")
        with pytest.raises(exceptions.MilvusException, match="does not exist"):
            bulk_writer.get_import_progress(url=server.uri, job_id="1", api_key=TOKEN)
        with pytest.raises(exceptions.MilvusException, match="database not found"):
            bulk_writer.list_import_jobs(
                url=server.uri, api_key=TOKEN, db_name="stage", collection_name="products"
            )
        with pytest.raises(exceptions.MilvusException, match="collection not found"):
            bulk_writer.bulk_import(
                url=server.uri, api_key=TOKEN, collection_name="c", files=[["a.parquet"]]
            )
        for files, why in (([], "request is empty"), ([["a.txt"]], "unexpected file type")):
            with pytest.raises(exceptions.MilvusException, match=why):
                bulk_writer.bulk_import(
                    url=server.uri, api_key=TOKEN, collection_name="products", files=files
                )
