"""Families: the worlds that clusters and jobs are drawn from.

A family says how large files are, how fast nodes are, how much durations scatter, and which
releases run. What is fitted on some families can be scored on another one, whose parameters come
from other distributions:

====================  ==============================================================================
family                its world
====================  ==============================================================================
``steady_cluster``    A few equal nodes, files of a size, narrow rows, an index that takes half as
                      long as the import; nothing varies much.
``elastic_cloud``     Many small uneven nodes, heavy-tailed files of wide rows, an index that takes
                      twice as long as the import; load changes all the time, durations scatter,
                      neighbours are noisy, one job in four has tasks that go back.
``shared_warehouse``  Many fast nodes, large jobs of uneven files, index and import alike, much
                      sorting; load changes by the hour and with the time of day.
``gpu_indexed``       One to four large nodes, even files, an index built in a tenth of the import.
``disk_archive``      Slow nodes, many files of narrow rows, an index that takes four times as long
                      as the import; nodes of 2.4 and 2.5.
``equal_shards``      Equal files, which end together, in waves.
====================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Family:
    """Distributions that jobs and clusters are drawn from; pairs are ends of a range."""

    name: str
    #: Each is as likely as the others.
    releases: tuple[str, ...]
    #: Number of files in a job, log-uniform.
    files: tuple[int, int]
    #: Median bytes of all files, log-normal with sigma 1.3.
    median_bytes: float
    #: Log-uniform.
    bytes_per_row: tuple[float, float]
    #: Size in memory over size on disk, log-uniform, the same for all files of a job.
    memory_factor: tuple[float, float]
    #: Median of a file's rate, log-normal with sigma 0.8.
    import_bytes_per_s: float
    #: Median time in index building, and in sorting, over the time in importing; log-normal with
    #: sigma 0.9.
    index_share: float
    sort_share: float
    #: Uniform, as in the next six.
    nodes: tuple[int, int]
    cores: tuple[int, int]
    slots: tuple[int, int]
    index_nodes: tuple[int, int]
    index_slots: tuple[int, int]
    noise: tuple[float, float]
    shards: tuple[int, int]
    #: Chance that a few of the job's tasks go back, whatever its shape.
    retry_chance: float
    #: Sigma of log-normal file sizes, or tail index of Pareto-distributed ones.
    size_sigma: tuple[float, float] = (0.0, 0.0)
    tail_index: tuple[float, float] | None = None
    #: Sigma of the nodes' log-normal speeds.
    speed_sigma: float = 0.0
    #: How long a load factor lasts; ``None`` for a constant load.
    load_step_s: tuple[float, float] | None = None
    #: Share of the speed that is lost at the busiest time of the day.
    day_swing: float = 0.0
    #: Chance that a node has a noisy neighbour for a part of the time.
    neighbours: float = 0.0


FAMILIES: Final[Mapping[str, Family]] = {
    family.name: family
    for family in (
        Family(
            name="steady_cluster",
            releases=("2.5", "2.6.4", "2.6", "3.0"),
            files=(4, 400),
            median_bytes=150e9,
            size_sigma=(0.2, 0.8),
            bytes_per_row=(300, 8e3),
            memory_factor=(1.0, 1.5),
            import_bytes_per_s=15e6,
            index_share=0.5,
            sort_share=0.15,
            nodes=(1, 6),
            cores=(2, 8),
            slots=(8, 16),
            index_nodes=(1, 4),
            index_slots=(1, 4),
            noise=(0.02, 0.15),
            shards=(1, 2),
            retry_chance=0.0,
        ),
        Family(
            name="elastic_cloud",
            releases=("2.5", "2.6", "3.0"),
            files=(20, 1500),
            median_bytes=50e9,
            tail_index=(1.2, 3.0),
            bytes_per_row=(2e3, 60e3),
            memory_factor=(1.0, 4.0),
            import_bytes_per_s=6e6,
            index_share=2.0,
            sort_share=0.05,
            nodes=(2, 16),
            cores=(2, 4),
            slots=(4, 16),
            index_nodes=(1, 8),
            index_slots=(1, 2),
            speed_sigma=0.3,
            load_step_s=(120.0, 2400.0),
            day_swing=0.2,
            neighbours=0.3,
            noise=(0.1, 0.6),
            shards=(1, 8),
            retry_chance=0.25,
        ),
        Family(
            name="shared_warehouse",
            releases=("2.4", "2.6.4", "2.6"),
            files=(10, 1000),
            median_bytes=400e9,
            size_sigma=(0.8, 1.6),
            bytes_per_row=(1e3, 12e3),
            memory_factor=(1.0, 3.0),
            import_bytes_per_s=30e6,
            index_share=1.0,
            sort_share=0.4,
            nodes=(4, 32),
            cores=(4, 16),
            slots=(8, 32),
            index_nodes=(2, 16),
            index_slots=(1, 4),
            speed_sigma=0.15,
            load_step_s=(600.0, 7200.0),
            day_swing=0.5,
            neighbours=0.15,
            noise=(0.05, 0.4),
            shards=(2, 4),
            retry_chance=0.1,
        ),
        Family(
            name="gpu_indexed",
            releases=("2.6", "3.0"),
            files=(8, 200),
            median_bytes=80e9,
            size_sigma=(0.1, 0.4),
            bytes_per_row=(2e3, 16e3),
            memory_factor=(1.0, 1.2),
            import_bytes_per_s=40e6,
            index_share=0.1,
            sort_share=0.3,
            nodes=(1, 4),
            cores=(8, 16),
            slots=(16, 32),
            index_nodes=(1, 2),
            index_slots=(1, 2),
            noise=(0.02, 0.1),
            shards=(1, 4),
            retry_chance=0.02,
        ),
        Family(
            name="disk_archive",
            releases=("2.4.12", "2.4", "2.5"),
            files=(50, 2000),
            median_bytes=300e9,
            tail_index=(1.5, 4.0),
            bytes_per_row=(400, 4e3),
            memory_factor=(1.5, 6.0),
            import_bytes_per_s=10e6,
            index_share=4.0,
            sort_share=0.2,
            nodes=(1, 8),
            cores=(2, 4),
            slots=(4, 16),
            index_nodes=(1, 4),
            index_slots=(1, 2),
            speed_sigma=0.1,
            load_step_s=(300.0, 3600.0),
            neighbours=0.1,
            noise=(0.05, 0.3),
            shards=(1, 8),
            retry_chance=0.15,
        ),
        Family(
            name="equal_shards",
            releases=("2.4", "2.5", "2.6"),
            files=(16, 500),
            median_bytes=120e9,
            size_sigma=(0.0, 0.02),
            bytes_per_row=(1e3, 8e3),
            memory_factor=(1.0, 3.0),
            import_bytes_per_s=15e6,
            index_share=0.8,
            sort_share=0.2,
            nodes=(1, 8),
            cores=(4, 16),
            slots=(8, 16),
            index_nodes=(1, 4),
            index_slots=(1, 4),
            speed_sigma=0.05,
            day_swing=0.1,
            neighbours=0.05,
            noise=(0.01, 0.1),
            shards=(1, 4),
            retry_chance=0.05,
        ),
    )
}
