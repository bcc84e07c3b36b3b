"""Eleven kinds of installations. Pairs are ends of a range; drawn log-uniformly unless said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Range = tuple[float, float]


@dataclass(frozen=True)
class Family:
    """What clusters, collections and jobs of one kind are drawn from.

    Attributes
    ----------
    releases
        Of which each cluster has one.
    nodes, cores, slots
        Data nodes of a cluster, cores of each, tasks handed to each at once.
    files, job_gib
        Of a collection's usual job.
    sizes
        ``equal``, ``lognormal`` or ``pareto``, and its spread: relative, sigma, or tail index.
    memory_factor
        Bytes in memory over bytes on disk.
    row_bytes
        Bytes of a row on disk.
    stream_mib_s, streams
        What one file is read at, and how many a node can read at that speed.
    overhead_s
        Fixed time of each file.
    file_noise
        Sigma of the log of how much slower a file is than its size says (uniform).
    sort_s_per_gib, index_s_per_gib
        What one worker needs.
    index_workers
        Of a cluster.
    job_noise, index_noise
        Sigma of the log of what a whole job's import and index take more than usual (uniform).
    day_dip, neighbours
        How much slower it is at day; share of the time with a noisy neighbour (uniform).
    queue_share, back_share, grow_share, change_share
        Chance that a job queues, that a task goes back, that nodes are added within a job, that a
        campaign has another index or cluster from some job on.
    polls_s
        Of which a collection has one; a job gets a slower one if it would have too many.
    gap_share, late_share
        Chance that a recording has a gap, or begins late.
    job_spread
        Sigma of the log of the sizes of a collection's jobs (uniform).
    """

    releases: tuple[str, ...]
    nodes: tuple[int, int]
    cores: tuple[int, ...]
    slots: tuple[int, ...]
    files: Range
    job_gib: Range
    sizes: tuple[str, Range]
    memory_factor: Range
    row_bytes: Range
    stream_mib_s: Range
    streams: Range
    overhead_s: Range
    file_noise: Range
    sort_s_per_gib: Range
    index_s_per_gib: Range
    index_workers: tuple[int, int]
    job_noise: Range = (0.05, 0.2)
    index_noise: Range = (0.05, 0.2)
    day_dip: Range = (0.0, 0.3)
    neighbours: Range = (0.0, 0.2)
    queue_share: float = 0.07
    back_share: float = 0.0
    grow_share: float = 0.0
    change_share: float = 0.15
    polls_s: tuple[int, ...] = (10, 30, 60)
    gap_share: float = 0.1
    late_share: float = 0.1
    job_spread: Range = (0.05, 0.4)
    node_spread: Range = (0.0, 0.1)


FAMILIES: Final[dict[str, Family]] = {
    # One machine of the first 2.4 releases; 70 stands for as long as the index takes.
    "standalone": Family(
        ("2.4.5",),
        (1, 1),
        (4, 8, 16),
        (8, 16),
        (3, 60),
        (1, 60),
        ("lognormal", (0.2, 0.9)),
        (1.0, 2.0),
        (400, 6000),
        (4, 25),
        (2, 6),
        (0.3, 3),
        (0.05, 0.25),
        (8, 20),
        (10, 80),
        (1, 3),
        polls_s=(5, 10, 30),
        queue_share=0.05,
        back_share=0.005,
    ),
    # Seconds to minutes; polled every second or two.
    "tiny": Family(
        ("2.5.10", "2.6.3", "2.6.19"),
        (1, 2),
        (4, 8),
        (8, 16),
        (1, 20),
        (0.01, 3),
        ("lognormal", (0.1, 0.6)),
        (1.0, 2.5),
        (300, 8000),
        (20, 120),
        (2, 6),
        (0.2, 2),
        (0.05, 0.3),
        (2, 8),
        (4, 40),
        (1, 4),
        polls_s=(1, 2, 5),
        queue_share=0.05,
        late_share=0.05,
        change_share=0.1,
    ),
    # 2.4.13 and later, by day and by night.
    "retail": Family(
        ("2.4.17",),
        (2, 6),
        (8, 16),
        (8, 16),
        (20, 400),
        (20, 400),
        ("lognormal", (0.3, 1.0)),
        (1.2, 3.0),
        (600, 10_000),
        (4, 20),
        (2, 6),
        (1, 6),
        (0.1, 0.35),
        (8, 20),
        (10, 90),
        (2, 8),
        day_dip=(0.2, 0.5),
        neighbours=(0.1, 0.4),
        back_share=0.01,
        queue_share=0.1,
        node_spread=(0.0, 0.25),
    ),
    # Wide vectors, an index on disk that takes longer than all else.
    "media": Family(
        ("2.5.10",),
        (3, 8),
        (16, 32),
        (16,),
        (30, 500),
        (50, 800),
        ("lognormal", (0.1, 0.6)),
        (1.0, 1.4),
        (3000, 16_000),
        (5, 25),
        (3, 8),
        (0.5, 4),
        (0.05, 0.2),
        (3, 10),
        (40, 150),
        (4, 16),
        index_noise=(0.1, 0.25),
        queue_share=0.1,
        back_share=0.003,
    ),
    # Many equal files on many nodes, with neighbours.
    "adverts": Family(
        ("2.6.3", "2.6.19"),
        (6, 16),
        (8, 16),
        (4, 8, 16),
        (200, 3000),
        (50, 1000),
        ("equal", (0.0, 0.05)),
        (1.5, 4.0),
        (300, 2000),
        (5, 25),
        (2, 6),
        (0.5, 5),
        (0.1, 0.4),
        (2, 8),
        (5, 50),
        (4, 24),
        neighbours=(0.3, 0.6),
        back_share=0.005,
        grow_share=0.15,
        node_spread=(0.1, 0.3),
        polls_s=(10, 30, 60, 120),
    ),
    # A few very large files beside many small ones.
    "genomes": Family(
        ("2.5.10", "3.0.1"),
        (2, 6),
        (8, 16, 32),
        (8, 16),
        (20, 600),
        (30, 500),
        ("pareto", (1.1, 2.0)),
        (1.0, 2.0),
        (500, 20_000),
        (5, 25),
        (2, 6),
        (1, 8),
        (0.1, 0.4),
        (3, 10),
        (10, 120),
        (2, 10),
        back_share=0.02,
        queue_share=0.12,
        job_spread=(0.2, 0.6),
        gap_share=0.15,
    ),
    # Thousands of files, up to a day.
    "warehouse": Family(
        ("2.6.3", "3.0.1"),
        (8, 24),
        (16, 32),
        (8, 16),
        (3000, 18_000),
        (1500, 9000),
        ("lognormal", (0.1, 0.7)),
        (1.0, 3.0),
        (400, 4000),
        (1.5, 5),
        (4, 10),
        (2, 10),
        (0.1, 0.3),
        (2, 8),
        (10, 70),
        (8, 48),
        day_dip=(0.1, 0.4),
        neighbours=(0.1, 0.4),
        back_share=0.003,
        grow_share=0.25,
        queue_share=0.1,
        polls_s=(60, 120, 300),
        node_spread=(0.05, 0.2),
        change_share=0.1,
    ),
    # A quick index, built on graphics cards.
    "graphics": Family(
        ("3.0.1",),
        (2, 8),
        (16, 32),
        (8, 16),
        (16, 300),
        (40, 600),
        ("equal", (0.0, 0.1)),
        (1.0, 1.2),
        (1000, 8000),
        (10, 40),
        (3, 8),
        (0.3, 2),
        (0.02, 0.12),
        (1, 5),
        (4, 15),
        (2, 8),
        day_dip=(0.0, 0.1),
        neighbours=(0.0, 0.1),
        queue_share=0.05,
        job_noise=(0.02, 0.1),
        polls_s=(5, 10, 30),
    ),
    # Import V3: rows are hashed first, then written.
    "resharded": Family(
        ("v3",),
        (3, 10),
        (8, 16),
        (8, 16),
        (20, 800),
        (20, 600),
        ("lognormal", (0.2, 0.8)),
        (1.0, 3.0),
        (500, 8000),
        (6, 30),
        (3, 8),
        (0.5, 4),
        (0.1, 0.3),
        (2, 6),
        (10, 80),
        (3, 12),
        back_share=0.004,
        grow_share=0.1,
    ),
    # Slow machines asked by cron, with gaps.
    "edge": Family(
        ("2.4.17", "2.5.10", "2.6.3"),
        (1, 3),
        (2, 4, 8),
        (2, 4, 8),
        (5, 150),
        (5, 150),
        ("lognormal", (0.2, 1.0)),
        (1.0, 2.5),
        (400, 6000),
        (2, 10),
        (1, 4),
        (1, 10),
        (0.15, 0.45),
        (5, 20),
        (20, 200),
        (1, 3),
        neighbours=(0.2, 0.6),
        day_dip=(0.1, 0.5),
        queue_share=0.1,
        back_share=0.02,
        polls_s=(60, 120, 300),
        gap_share=0.4,
        late_share=0.3,
        job_noise=(0.1, 0.3),
    ),
    # Nodes that come and go, campaigns that change under way.
    "elastic": Family(
        ("2.6.19", "3.0.1"),
        (2, 12),
        (4, 8),
        (2, 4, 8),
        (20, 1500),
        (10, 400),
        ("pareto", (1.4, 3.0)),
        (1.0, 3.0),
        (600, 20_000),
        (6, 30),
        (2, 5),
        (0.5, 5),
        (0.15, 0.45),
        (2, 8),
        (15, 100),
        (2, 16),
        neighbours=(0.2, 0.6),
        back_share=0.01,
        grow_share=0.4,
        change_share=0.5,
        queue_share=0.12,
        job_noise=(0.1, 0.25),
        index_noise=(0.1, 0.3),
        node_spread=(0.1, 0.35),
        job_spread=(0.2, 0.6),
    ),
}
