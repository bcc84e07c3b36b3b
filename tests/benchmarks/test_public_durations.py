"""What users have reported in public lies inside what the worlds make.

Durations from milvus issues 50452 and 50593; every parameter lies in the range of a family.
"""

import numpy as np
import pytest
from worlds.families import FAMILIES
from worlds.fleet import MIB
from worlds.job import Cluster, Files, Setting, run_job
from worlds.nodes import Node
from worlds.pace import Pace
from worlds.scales import GIB, SCALES


def inside(value, ends):
    return ends[0] <= value <= ends[1]


def made(family, *, nodes, files, total_bytes, total_rows, stream_mib_s, streams, **cluster):
    """A calm job on a cluster whose parameters are checked against its family's ranges."""
    ranges = FAMILIES[family]
    assert inside(nodes, ranges.nodes)
    assert inside(stream_mib_s, ranges.stream_mib_s)
    assert inside(streams, ranges.streams)
    assert inside(cluster["index_s_per_gib"], ranges.index_s_per_gib)
    assert inside(cluster["index_workers"], ranges.index_workers)
    size = np.full(files, total_bytes // files)
    machines = tuple(Node(16, 64, streams) for _ in range(nodes))
    steady = Pace(np.array([0.0]), np.array([1.0]))
    return run_job(
        Files(
            size, size * 1.2, np.full(files, total_rows // files), np.ones(files), np.zeros(files)
        ),
        Cluster(
            nodes=machines,
            scale=SCALES["2.6.3"],
            stream_bytes_per_s=stream_mib_s * MIB,
            file_overhead_s=1.0,
            read_factor=3.0,
            sort_workers=4 * nodes,
            sort_s_per_gib=4.0,
            segment_bytes=GIB,
            shards=4,
            **cluster,
        ),
        Setting(2.0, 0.0, steady, steady, 0.0, 0.0, 0.1, 1, 0.8),
    )


def test_a_billion_rows_on_four_nodes_take_hours():
    run = made(
        "media",
        nodes=4,
        files=250,
        total_bytes=512 * 10**9,
        total_rows=10**9,
        stream_mib_s=5.0,
        streams=4.0,
        index_workers=6,
        index_s_per_gib=60.0,
    )
    assert inside(run.end_s / 3600, (2.75, 4.43))


def test_ten_million_wide_rows_take_minutes():
    run = made(
        "graphics",
        nodes=4,
        files=40,
        total_bytes=10**7 * 1024 * 4,
        total_rows=10**7,
        stream_mib_s=14.0,
        streams=5.0,
        index_workers=4,
        index_s_per_gib=6.0,
    )
    assert inside(run.end_s, (274, 392))


def test_sixty_files_end_long_before_their_job():
    run = made(
        "media",
        nodes=8,
        files=60,
        total_bytes=60 * 8_250_000 * 110,
        total_rows=60 * 8_250_000,
        stream_mib_s=12.0,
        streams=4.0,
        index_workers=16,
        index_s_per_gib=60.0,
    )
    last_file = run.phase("Sorting")[0]
    assert run.end_s == pytest.approx(500, rel=0.15)
    assert inside(run.end_s - last_file, (237, 377))
