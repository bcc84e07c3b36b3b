"""Real numpy files, inserted in bulk into a real server and watched to the end."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc
from serve import TOKEN, RealServer

from importstats.sources.grpc import GrpcImportClient
from importstats.sources.snapshot import Snapshot

DIMENSION = 128
COLLECTION = "documents"
AUTHORIZATION = [("authorization", base64.b64encode(TOKEN.encode()).decode())]
ENDED = ("Completed", "Failed")


@dataclass(frozen=True)
class FileSet:
    """One import file: the numpy files ``id.npy`` and ``vector.npy`` in a directory.

    ``ids`` other than ``rows``, or another ``dimension`` than the collection's, make it bad.
    """

    name: str
    rows: int
    dimension: int = DIMENSION
    ids: int | None = None

    def write(self, directory: Path, first_id: int) -> None:
        """Random vectors, block by block, so that memory does not grow with the file."""
        folder = directory / self.name
        folder.mkdir(parents=True)
        ids = self.rows if self.ids is None else self.ids
        np.save(folder / "id.npy", np.arange(first_id, first_id + ids))
        vectors = np.lib.format.open_memmap(
            folder / "vector.npy", "w+", np.float32, (self.rows, self.dimension)
        )
        random = np.random.default_rng(first_id)
        for start in range(0, self.rows, 50_000):
            block = vectors[start : start + 50_000]
            block[:] = random.random(block.shape, np.float32)
        vectors.flush()


class BulkInsert:
    """A collection on a real server, and the bulk inserts into it."""

    def __init__(self, server: RealServer, collection: str = COLLECTION) -> None:
        self.server = server
        self.collection = collection
        self.milvus = MilvusClient(server.uri, token=TOKEN)
        schema = self.milvus.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
        self.milvus.create_collection(collection, schema=schema)

    def insert(self, file_sets: list[FileSet]) -> str:
        """Write the files and hand them to the server: one task a set. The job id of them all."""
        first_id = 0
        for file_set in file_sets:
            file_set.write(self.server.directory / "data" / "in", first_id)
            first_id += file_set.rows
        with grpc.insecure_channel(self.server.uri.removeprefix("http://")) as channel:
            service = milvus_pb2_grpc.MilvusServiceStub(channel)
            tasks = [self._insert(service, file_set) for file_set in file_sets]
        return ",".join(map(str, tasks))

    def _insert(self, service: milvus_pb2_grpc.MilvusServiceStub, file_set: FileSet) -> int:
        # The server takes a relative path as relative to its working directory.
        files = [f"data/in/{file_set.name}/{field}.npy" for field in ("id", "vector")]
        request = milvus_pb2.ImportRequest(collection_name=self.collection, files=files)
        answer = service.Import(request, metadata=AUTHORIZATION)
        [task] = answer.tasks
        return task

    def count(self) -> int:
        """The server's own count, by a query over an indexed and loaded collection."""
        self.build_index("FLAT")
        self.milvus.load_collection(self.collection)
        [row] = self.milvus.query(
            self.collection,
            filter="id >= 0",
            output_fields=["count(*)"],
            consistency_level="Strong",
        )
        return row["count(*)"]

    def build_index(self, index_type: str, **parameters: int) -> None:
        """Have an index built for what is there and for all that comes."""
        index = self.milvus.prepare_index_params()
        index.add_index("vector", index_type=index_type, metric_type="L2", params=parameters)
        self.milvus.create_index(self.collection, index)


def watch(client: GrpcImportClient, job_id: str, every_s: float) -> Iterator[Snapshot]:
    """Poll until the job has ended; the last snapshot is that of the end."""
    while True:
        snapshot = client.snapshot(job_id)
        yield snapshot
        if snapshot.response is not None and snapshot.response.data.state in ENDED:
            return
        time.sleep(every_s)
