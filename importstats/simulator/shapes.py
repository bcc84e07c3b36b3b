"""Named kinds of jobs, and families of parameters to draw them from.

A *shape* says what is special about a job (its index building dominates, a node is slow). A
*family* says how the world around it looks: how large files are, how fast nodes, how much durations
scatter. Every seed draws another job of the same shape and family. What is fitted on some families
can be scored on another, whose parameters are drawn from other distributions:

====================  ==============================================================================
family                in a word
====================  ==============================================================================
``steady_cluster``    A few equal nodes, files of a size, narrow rows, an index that takes half as
                      long as the import; nothing varies much.
``elastic_cloud``     Many small uneven nodes with few slots, heavy-tailed files of wide rows, an
                      index that takes twice as long as the import; load changes all the time,
                      durations scatter, one job in four has retries.
``shared_warehouse``  Many fast nodes, large jobs of uneven files, index and import alike, much
                      sorting; load changes by the hour.
``gpu_indexed``       One to four large nodes, even files, an index built in a tenth of the import.
``disk_archive``      Slow slots, many files of narrow rows, an index that takes four times as long
                      as the import.
====================  ==============================================================================

:data:`FAMILIES` has the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from importstats.arrays import Floats
from importstats.simulator.specs import (
    GIB,
    MIB,
    RELEASES,
    Arrival,
    ClusterSpec,
    FileSpec,
    JobSpec,
    Restart,
)

_HOUR_S: Final = 3600.0
StragglerKind = Literal["big", "slow", "retried", "stuck"]


@dataclass(frozen=True, slots=True)
class Family:
    """Distributions that jobs and clusters are drawn from; pairs are ends of a range.

    Attributes
    ----------
    name : str
    files : (int, int)
        Files in a job, log-uniform.
    median_bytes : float
        Of the bytes of all files, log-normal with sigma 1.3.
    tail_index : (float, float) or None
        Pareto tail index of file sizes; ``None`` for log-normal sizes with `size_sigma`.
    size_sigma : (float, float)
    bytes_per_row : (float, float)
        Log-uniform.
    import_bytes_per_s : float
        Median of a slot's rate, log-normal with sigma 0.8.
    index_share, sort_share : float
        Median of the time in index building and sorting over that in importing, log-normal with
        sigma 0.9.
    nodes, slots, index_nodes, index_slots : (int, int)
        Uniform.
    speed_sigma : float
        Of the log-normal speeds of nodes.
    load_step_s : (float, float) or None
        How long a load factor lasts; ``None`` for a constant load.
    noise : (float, float)
        Uniform.
    shards : (int, int)
    retry_chance : float
        Chance that a job has a few retried tasks whatever its shape.
    """

    name: str
    files: tuple[int, int]
    median_bytes: float
    tail_index: tuple[float, float] | None
    size_sigma: tuple[float, float]
    bytes_per_row: tuple[float, float]
    import_bytes_per_s: float
    index_share: float
    sort_share: float
    nodes: tuple[int, int]
    slots: tuple[int, int]
    index_nodes: tuple[int, int]
    index_slots: tuple[int, int]
    speed_sigma: float
    load_step_s: tuple[float, float] | None
    noise: tuple[float, float]
    shards: tuple[int, int]
    retry_chance: float


FAMILIES: Final[Mapping[str, Family]] = {
    family.name: family
    for family in (
        Family(
            name="steady_cluster",
            files=(4, 400),
            median_bytes=150e9,
            tail_index=None,
            size_sigma=(0.2, 0.8),
            bytes_per_row=(300, 8e3),
            import_bytes_per_s=15e6,
            index_share=0.5,
            sort_share=0.15,
            nodes=(1, 6),
            slots=(2, 8),
            index_nodes=(1, 4),
            index_slots=(1, 4),
            speed_sigma=0.0,
            load_step_s=None,
            noise=(0.02, 0.15),
            shards=(1, 2),
            retry_chance=0.0,
        ),
        Family(
            name="elastic_cloud",
            files=(20, 1500),
            median_bytes=50e9,
            tail_index=(1.2, 3.0),
            size_sigma=(0.0, 0.0),
            bytes_per_row=(2e3, 60e3),
            import_bytes_per_s=6e6,
            index_share=2.0,
            sort_share=0.05,
            nodes=(2, 16),
            slots=(1, 3),
            index_nodes=(1, 8),
            index_slots=(1, 2),
            speed_sigma=0.3,
            load_step_s=(120.0, 2400.0),
            noise=(0.1, 0.6),
            shards=(1, 8),
            retry_chance=0.25,
        ),
        Family(
            name="shared_warehouse",
            files=(10, 1000),
            median_bytes=400e9,
            tail_index=None,
            size_sigma=(0.8, 1.6),
            bytes_per_row=(1e3, 12e3),
            import_bytes_per_s=30e6,
            index_share=1.0,
            sort_share=0.4,
            nodes=(4, 32),
            slots=(1, 4),
            index_nodes=(2, 16),
            index_slots=(1, 4),
            speed_sigma=0.15,
            load_step_s=(600.0, 7200.0),
            noise=(0.05, 0.4),
            shards=(2, 4),
            retry_chance=0.1,
        ),
        Family(
            name="gpu_indexed",
            files=(8, 200),
            median_bytes=80e9,
            tail_index=None,
            size_sigma=(0.1, 0.4),
            bytes_per_row=(2e3, 16e3),
            import_bytes_per_s=40e6,
            index_share=0.1,
            sort_share=0.3,
            nodes=(1, 4),
            slots=(4, 16),
            index_nodes=(1, 2),
            index_slots=(1, 2),
            speed_sigma=0.0,
            load_step_s=None,
            noise=(0.02, 0.1),
            shards=(1, 4),
            retry_chance=0.02,
        ),
        Family(
            name="disk_archive",
            files=(50, 2000),
            median_bytes=300e9,
            tail_index=(1.5, 4.0),
            size_sigma=(0.0, 0.0),
            bytes_per_row=(400, 4e3),
            import_bytes_per_s=10e6,
            index_share=4.0,
            sort_share=0.2,
            nodes=(1, 8),
            slots=(1, 4),
            index_nodes=(1, 4),
            index_slots=(1, 2),
            speed_sigma=0.1,
            load_step_s=(300.0, 3600.0),
            noise=(0.05, 0.3),
            shards=(1, 8),
            retry_chance=0.15,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class _Draw:
    """The random generator of one shape, with the ranges it is asked for."""

    rng: np.random.Generator
    family: Family
    files: int | None

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def log_uniform(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def log_normal(self, median: float, sigma: float) -> float:
        return median * math.exp(sigma * float(self.rng.standard_normal()))

    def file_count(self, low: int, high: int) -> int:
        return self.files if self.files is not None else round(self.log_uniform(low, high))

    def some(self, count: int, share: float) -> list[int]:
        """At least one and about `share` of `count` indices."""
        picked = max(1, min(count, round(count * share)))
        return sorted(self.rng.choice(count, picked, replace=False).tolist())


def make_shape(
    name: str, *, files: int | None = None, seed: int = 0, family: str = "steady_cluster"
) -> tuple[ClusterSpec, JobSpec]:
    """Draw a cluster and a job of a shape.

    Parameters
    ----------
    name : str
        A key of :data:`SHAPES`.
    files : int, optional
        Number of files, drawn if not given.
    seed : int
    family : str
        A key of :data:`FAMILIES`.

    Raises
    ------
    ValueError
        There is no such shape or family.

    Examples
    --------
    >>> cluster, job = make_shape("few_big_files", seed=3)
    >>> len(job.files) <= 8
    True
    """
    if name not in SHAPES:
        raise ValueError(f"no shape {name!r}; there are {', '.join(SHAPES)}")
    if family not in FAMILIES:
        raise ValueError(f"no family {family!r}; there are {', '.join(FAMILIES)}")
    if files is not None and files < 1:
        raise ValueError("an import job has at least one file")
    entropy = [seed, list(SHAPES).index(name), list(FAMILIES).index(family)]
    return SHAPES[name](_Draw(np.random.default_rng(entropy), FAMILIES[family], files))


def with_stragglers(
    job: JobSpec, kinds: Sequence[StragglerKind], *, count: int = 1, seed: int = 0
) -> JobSpec:
    """The job with `count` stragglers of each kind, as far as it has plain files to make them of.

    ``big`` makes a file 3 to 8 times as large as the largest, ``slow`` makes it take 4 to 10
    times as long as its size says, ``retried`` has its task start again 2 to 5 times, and
    ``stuck`` has it hang for 10 to 60 minutes. A file is at most one of them, and a file that
    shares its task with others holds them up as well.

    Examples
    --------
    >>> _, job = make_shape("steady", files=10)
    >>> slowed = with_stragglers(job, ["slow"], count=2)
    >>> sum(file.slowdown > 1 for file in slowed.files)
    2
    """
    rng = np.random.default_rng([seed, len(job.files)])
    plain = [index for index, file in enumerate(job.files) if _is_plain(file)]
    picked = rng.permutation(plain).tolist()[: count * len(kinds)]
    files = list(job.files)
    largest = max(file.size_bytes for file in files)
    for turn, index in enumerate(picked):
        file, kind = files[index], kinds[turn % len(kinds)]
        if kind == "big":
            factor = largest * rng.uniform(3, 8) / max(1, file.size_bytes)
            size, rows = round(file.size_bytes * factor), round(file.rows * factor)
            files[index] = replace(file, size_bytes=size, rows=rows)
        elif kind == "slow":
            files[index] = replace(file, slowdown=float(rng.uniform(4, 10)))
        elif kind == "retried":
            files[index] = replace(file, retries=int(rng.integers(2, 6)))
        else:
            files[index] = replace(file, stuck_s=float(rng.uniform(600, 3600)))
    return replace(job, files=tuple(files))


def _is_plain(file: FileSpec) -> bool:
    return file.slowdown == 1 and not file.retries and not file.stuck_s and not file.error


def _sizes(draw: _Draw, count: int, total_bytes: float) -> Floats:
    family = draw.family
    if family.tail_index is not None:
        raw = 1 + draw.rng.pareto(draw.uniform(*family.tail_index), count)
    else:
        raw = draw.rng.lognormal(0.0, draw.uniform(*family.size_sigma), count)
    return np.asarray(raw / raw.sum() * total_bytes)


def _files(draw: _Draw, sizes: Floats) -> tuple[FileSpec, ...]:
    bytes_per_row = draw.log_uniform(*draw.family.bytes_per_row)
    suffix = str(draw.rng.choice(["parquet", "parquet", "json", "npy"]))
    folder = f"import/{draw.integer(1, 10**6):06d}"
    densities = bytes_per_row * draw.rng.lognormal(0.0, 0.05, len(sizes))
    specs = []
    for index, (size, density) in enumerate(zip(sizes.tolist(), densities.tolist(), strict=True)):
        stem = f"{folder}/part-{index:05d}"
        paths = (
            (f"{stem}/id.npy", f"{stem}/vector.npy") if suffix == "npy" else (f"{stem}.{suffix}",)
        )
        specs.append(FileSpec(paths, max(1, round(size)), max(1, round(size / density))))
    return tuple(specs)


def _cluster(draw: _Draw, horizon_s: float = 48 * _HOUR_S) -> ClusterSpec:
    family = draw.family
    speeds = draw.rng.lognormal(0.0, family.speed_sigma, draw.integer(*family.nodes))
    index_speeds = draw.rng.lognormal(0.0, family.speed_sigma, draw.integer(*family.index_nodes))
    return ClusterSpec(
        node_speeds=tuple(speeds.tolist()),
        slots_per_node=draw.integer(*family.slots),
        index_speeds=tuple(index_speeds.tolist()),
        index_slots_per_node=draw.integer(*family.index_slots),
        load=_load(draw, family.load_step_s, 0.5, horizon_s) if family.load_step_s else (),
        release=str(draw.rng.choice(["2.5", "2.6", "2.6", "3.0"])),
    )


def _load(
    draw: _Draw, step_s: tuple[float, float], sigma: float, horizon_s: float
) -> tuple[tuple[float, float], ...]:
    steps, at_s = [], 0.0
    while at_s < horizon_s:
        steps.append((at_s, min(2.0, draw.log_normal(0.9, sigma))))
        at_s += draw.log_uniform(*step_s)
    return tuple(steps)


def _job(
    draw: _Draw,
    cluster: ClusterSpec,
    *,
    count: int | None = None,
    total_bytes: float | None = None,
    index_share: float | None = None,
    sort_share: float | None = None,
) -> JobSpec:
    """A job with rates such that sorting and indexing take their shares of its import time."""
    family = draw.family
    count = count or draw.file_count(*family.files)
    total_bytes = total_bytes or draw.log_normal(family.median_bytes, 1.3)
    rate = draw.log_normal(family.import_bytes_per_s, 0.8)
    slots = sum(cluster.node_speeds) * cluster.slots_per_node
    # Few enough of the jobs are outliers that clipping the rate leaves its distribution alone.
    import_s = min(max(total_bytes / (rate * slots), 60.0), 6 * _HOUR_S)
    rate = total_bytes / (import_s * slots)
    files = _files(draw, _sizes(draw, count, total_bytes))
    rows = sum(file.rows for file in files)
    index_slots = sum(cluster.index_speeds) * cluster.index_slots_per_node
    index_s = import_s * (index_share or draw.log_normal(family.index_share, 0.9))
    sort_s = import_s * (sort_share or draw.log_normal(family.sort_share, 0.9))
    index_s, sort_s = min(index_s, 18 * _HOUR_S), min(sort_s, 12 * _HOUR_S)
    job = JobSpec(
        collection_name=str(draw.rng.choice(["products", "documents", "images", "faces", "logs"])),
        files=files,
        pending_s=draw.log_uniform(1, 30),
        preimport_bytes_per_s=rate * draw.log_uniform(2, 30),
        import_bytes_per_s=rate,
        sort_rows_per_s=rows / (sort_s * index_slots),
        index_rows_per_s=rows / (index_s * index_slots),
        task_overhead_s=draw.log_uniform(0.5, 10),
        noise=draw.uniform(*family.noise),
        shards=draw.integer(*family.shards),
        segment_bytes=round(draw.log_uniform(256 * MIB, 2 * GIB)),
    )
    if draw.rng.random() < family.retry_chance:
        job = _with_retries(draw, job, share=0.02, most=2)
    return job


def _with_retries(draw: _Draw, job: JobSpec, *, share: float, most: int) -> JobSpec:
    files = list(job.files)
    for index in draw.some(len(files), share):
        files[index] = replace(files[index], retries=draw.integer(1, most))
    return replace(job, files=tuple(files))


_Shape = tuple[ClusterSpec, JobSpec]


def _steady(draw: _Draw) -> _Shape:
    """Nothing special."""
    cluster = _cluster(draw)
    return cluster, _job(draw, cluster)


def _few_big_files(draw: _Draw) -> _Shape:
    """Fewer files than slots, each a task of its own."""
    cluster = _cluster(draw)
    job = _job(draw, cluster, count=draw.file_count(1, 8))
    return cluster, replace(job, segment_bytes=256 * MIB, shards=1)


def _many_small_files(draw: _Draw) -> _Shape:
    """Many files to a task: a thousand or more that move in step."""
    cluster = _cluster(draw)
    count = draw.file_count(500, 5000)
    job = _job(draw, cluster, count=count, total_bytes=count * draw.log_uniform(1e6, 40e6))
    return cluster, replace(job, segment_bytes=GIB, shards=draw.integer(1, 4))


def _index_bound(draw: _Draw) -> _Shape:
    """Index building takes 5 to 40 times as long as importing would with all slots busy."""
    cluster = replace(_cluster(draw), index_slots_per_node=1)
    return cluster, _job(draw, cluster, index_share=draw.log_uniform(5, 40))


def _sort_bound(draw: _Draw) -> _Shape:
    """Sorting takes 2 to 10 times as long as importing would with all slots busy."""
    cluster = _cluster(draw)
    job = _job(draw, cluster, sort_share=draw.log_uniform(2, 10), index_share=0.2)
    return cluster, job


def _retry_storm(draw: _Draw) -> _Shape:
    """A fifth to two thirds of the files are in tasks that give up several times."""
    cluster = _cluster(draw)
    job = _with_retries(draw, _job(draw, cluster), share=draw.uniform(0.2, 0.65), most=4)
    return cluster, replace(job, retry_wait_s=draw.log_uniform(5, 120))


def _slow_nodes(draw: _Draw) -> _Shape:
    """One node in four, at least one, runs at 10 to 40 % of its speed."""
    cluster = _cluster(draw)
    speeds = list(cluster.node_speeds)
    while len(speeds) < 3:
        speeds.append(speeds[0])
    for node in draw.some(len(speeds), 0.25):
        speeds[node] *= draw.uniform(0.1, 0.4)
    cluster = replace(cluster, node_speeds=tuple(speeds))
    return cluster, _job(draw, cluster)


def _varying_load(draw: _Draw) -> _Shape:
    """Load that halves and doubles the speed every few minutes."""
    cluster = _cluster(draw)
    load = _load(draw, (60.0, 1800.0), 0.8, 48 * _HOUR_S)
    return replace(cluster, load=load), _job(draw, cluster)


def _wrong_totals(draw: _Draw) -> _Shape:
    """Details give the job's rows as the file's; some servers also send a negative progress."""
    cluster = _cluster(draw)
    lies = draw.rng.random() < 0.5
    return cluster, replace(_job(draw, cluster), wrong_totals=True, negative_progress=lies)


def _node_restart(draw: _Draw) -> _Shape:
    """Data nodes restart while the job runs: rows fall."""
    cluster = _cluster(draw)
    job = _job(draw, cluster)
    import_s = _import_s(cluster, job)
    restarts = tuple(
        Restart(
            at_s=job.pending_s + import_s * draw.uniform(0.2, 1.2),
            node=draw.integer(0, len(cluster.node_speeds) - 1),
            down_s=draw.log_uniform(20, 600),
        )
        for _ in range(draw.integer(1, 4))
    )
    return replace(cluster, restarts=restarts), job


def _failing(draw: _Draw) -> _Shape:
    """A bad file fails the job, while files are read or while they are imported."""
    cluster = _cluster(draw)
    job = _job(draw, cluster)
    files = list(job.files)
    bad = draw.integer(0, len(files) - 1)
    reasons = (
        "the dim 768 of the vector field is not equal to schema dim 1024",
        f"cannot read {files[bad].paths[0]}: unexpected EOF",
        "value of varchar field 'title' is longer than max_length 256",
    )
    files[bad] = replace(
        files[bad],
        error=f"importing data failed: {reasons[draw.integer(0, 2)]}",
        error_phase="preimport" if draw.rng.random() < 0.3 else "import",
    )
    return cluster, replace(job, files=tuple(files))


def _stuck_file(draw: _Draw) -> _Shape:
    """One file hangs: for up to hours, or (one in four) for ever."""
    cluster = _cluster(draw)
    job = _job(draw, cluster)
    files = list(job.files)
    index = draw.integer(0, len(files) - 1)
    stuck_s = math.inf if draw.rng.random() < 0.25 else draw.log_uniform(600, 4 * _HOUR_S)
    files[index] = replace(files[index], stuck_s=stuck_s)
    return cluster, replace(job, files=tuple(files))


def _stragglers(draw: _Draw) -> _Shape:
    """One to three files of each kind of straggler; every file has a task of its own."""
    cluster = _cluster(draw)
    job = _job(draw, cluster, count=draw.file_count(40, 300))
    smallest = min(file.size_bytes for file in job.files)
    job = replace(job, max_task_bytes=max(1, smallest))
    kinds: list[StragglerKind] = ["big", "slow", "retried", "stuck"]
    return cluster, with_stragglers(
        job, kinds, count=draw.integer(1, 3), seed=draw.integer(0, 2**31)
    )


def _two_phase_commit(draw: _Draw) -> _Shape:
    """The job waits for its user's commit."""
    cluster = replace(_cluster(draw), release="3.0")
    job = _job(draw, cluster)
    return cluster, replace(
        job,
        auto_commit=False,
        commit_after_s=draw.log_uniform(60, 2 * _HOUR_S),
        commit_s=draw.log_uniform(1, 60),
    )


def _small_and_quick(draw: _Draw) -> _Shape:
    """A few small files that take a minute or two."""
    cluster = ClusterSpec(release=str(draw.rng.choice(list(RELEASES))))
    sizes = _sizes(draw, draw.file_count(1, 6), draw.log_uniform(5e6, 1e9))
    job = JobSpec(
        collection_name="quick",
        files=_files(draw, sizes),
        pending_s=2.0,
        import_bytes_per_s=draw.log_uniform(5e6, 40e6),
        sort_rows_per_s=draw.log_uniform(2e4, 2e5),
        index_rows_per_s=draw.log_uniform(5e3, 5e4),
    )
    return cluster, job


def _queued(draw: _Draw) -> _Shape:
    """Jobs of others hold the slots, so that tasks wait long before they start."""
    cluster = _cluster(draw)
    job = _job(draw, cluster)
    others = tuple(
        Arrival(-draw.log_uniform(5, 600), replace(_job(draw, cluster), collection_name="other"))
        for _ in range(draw.integer(1, 3))
    )
    return replace(cluster, other_jobs=others), job


def _shuffled(draw: _Draw) -> _Shape:
    """Every answer lists the tasks in another order, as servers do."""
    cluster = replace(_cluster(draw), shuffled_details=True)
    return cluster, _job(draw, cluster)


def _import_s(cluster: ClusterSpec, job: JobSpec) -> float:
    """About how long importing takes, in seconds."""
    slots = sum(cluster.node_speeds) * cluster.slots_per_node
    return sum(file.size_bytes for file in job.files) / (job.import_bytes_per_s * slots)


#: The shapes by name; the docstring of each says what is special about it.
SHAPES: Final[Mapping[str, Callable[[_Draw], _Shape]]] = {
    "steady": _steady,
    "few_big_files": _few_big_files,
    "many_small_files": _many_small_files,
    "index_bound": _index_bound,
    "sort_bound": _sort_bound,
    "retry_storm": _retry_storm,
    "slow_nodes": _slow_nodes,
    "varying_load": _varying_load,
    "wrong_totals": _wrong_totals,
    "node_restart": _node_restart,
    "failing": _failing,
    "stuck_file": _stuck_file,
    "stragglers": _stragglers,
    "two_phase_commit": _two_phase_commit,
    "small_and_quick": _small_and_quick,
    "queued": _queued,
    "shuffled": _shuffled,
}
