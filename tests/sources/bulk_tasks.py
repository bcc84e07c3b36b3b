"""Tasks as the gRPC service of Milvus up to 2.3 sends them."""

from __future__ import annotations

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from importstats.sources.bulk_insert import progress_response
from importstats.sources.messages import ImportProgressDetail

Task = milvus_pb2.GetImportStateResponse


def make_task(state: str | int = "ImportStarted", **infos: str) -> Task:
    """A task as a 2.3.5 server was seen to send it."""
    return Task(
        id=470689105287515686,
        state=state,
        collection_id=470689105287315669,
        create_ts=1795536485,
        infos=[
            common_pb2.KeyValuePair(key=key, value=value)
            for key, value in {
                "files": "in/2/id.npy,in/2/vector.npy",
                "collection": "c1",
                "partition": "_default",
                "failed_reason": "",
                **infos,
            }.items()
        ],
    )


def with_rows(task: Task, row_count: int) -> Task:
    task.row_count = row_count
    return task


def detail_of(task: Task) -> ImportProgressDetail:
    [detail] = progress_response("451", [task]).data.details
    return detail
