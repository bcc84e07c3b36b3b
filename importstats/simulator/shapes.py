"""Named kinds of jobs, drawn from a family.

A *shape* says what is special about a job (its index building dominates, a node is slow). A
*family* (see :mod:`importstats.simulator.families`) describes the world around it. Every seed draws
another job of the same shape and family.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from importstats.simulator.drawing import (
    DAY_S,
    HOUR_S,
    Draw,
    day_load,
    draw_cluster,
    draw_files,
    draw_job,
    draw_load,
    draw_sizes,
    import_s,
    neighbour_load,
    pauses,
    with_retries,
)
from importstats.simulator.families import FAMILIES
from importstats.simulator.releases import RELEASES
from importstats.simulator.specs import Arrival, ClusterSpec, FileSpec, JobSpec, Restart
from importstats.simulator.units import GIB, MIB

StragglerKind = Literal["big", "slow", "retried", "stuck"]


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
    return SHAPES[name](Draw(np.random.default_rng(entropy), FAMILIES[family], files))


def with_stragglers(
    job: JobSpec, kinds: Sequence[StragglerKind], *, count: int = 1, seed: int = 0
) -> JobSpec:
    """The job with `count` stragglers of each kind, if it has enough plain files for them.

    A ``big`` file is 3 to 8 times as large as the largest was, a ``slow`` one takes 4 to 10 times
    as long as its size says, the task of a ``retried`` one goes back 2 to 5 times, and a ``stuck``
    one hangs for 10 to 60 minutes. A file that shares its task with others holds them up as well.

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
            files[index] = _scaled(file, largest * rng.uniform(3, 8) / max(1, file.size_bytes))
        elif kind == "slow":
            files[index] = replace(file, slowdown=float(rng.uniform(4, 10)))
        elif kind == "retried":
            files[index] = replace(file, retries=int(rng.integers(2, 6)))
        else:
            files[index] = replace(file, stuck_s=float(rng.uniform(600, 3600)))
    return replace(job, files=tuple(files))


def _scaled(file: FileSpec, factor: float) -> FileSpec:
    return replace(
        file,
        size_bytes=round(file.size_bytes * factor),
        rows=round(file.rows * factor),
        memory_bytes=round(file.grouped_bytes * factor),
    )


def _is_plain(file: FileSpec) -> bool:
    return file.slowdown == 1 and not file.retries and not file.stuck_s and not file.error


_Shape = tuple[ClusterSpec, JobSpec]


def _steady(draw: Draw) -> _Shape:
    """A job in which nothing goes wrong and no file is late."""
    cluster = draw_cluster(draw)
    return cluster, draw_job(draw, cluster)


def _few_big_files(draw: Draw) -> _Shape:
    """Fewer files than slots, each in a task of its own."""
    cluster = draw_cluster(draw)
    job = draw_job(draw, cluster, count=draw.file_count(1, 8))
    return cluster, replace(job, segment_bytes=256 * MIB, shards=1)


def _many_small_files(draw: Draw) -> _Shape:
    """Many files per task: a thousand or more that move in step."""
    cluster = draw_cluster(draw)
    count = draw.file_count(500, 5000)
    job = draw_job(draw, cluster, count=count, total_bytes=count * draw.log_uniform(1e6, 40e6))
    return cluster, replace(job, segment_bytes=GIB, shards=draw.integer(1, 4))


def _index_bound(draw: Draw) -> _Shape:
    """Index building takes 5 to 40 times as long as importing would with all nodes busy."""
    cluster = replace(draw_cluster(draw), index_slots_per_node=1)
    return cluster, draw_job(draw, cluster, index_share=draw.log_uniform(5, 40))


def _sort_bound(draw: Draw) -> _Shape:
    """Sorting takes 2 to 10 times as long as importing would with all nodes busy."""
    cluster = draw_cluster(draw)
    if not RELEASES[cluster.release].sorts:
        cluster = replace(cluster, release="2.6")
    job = draw_job(draw, cluster, sort_share=draw.log_uniform(2, 10), index_share=0.2)
    return cluster, job


def _retry_storm(draw: Draw) -> _Shape:
    """A fifth to two thirds of the files are in tasks that go back several times."""
    cluster = draw_cluster(draw)
    return cluster, with_retries(
        draw, draw_job(draw, cluster), share=draw.uniform(0.2, 0.65), most=4
    )


def _slow_nodes(draw: Draw) -> _Shape:
    """One node in four, at least one, runs at 10 to 40 % of its speed."""
    cluster = draw_cluster(draw)
    speeds = list(cluster.node_speeds)
    while len(speeds) < 3:
        speeds.append(speeds[0])
    for node in draw.some(len(speeds), 0.25):
        speeds[node] *= draw.uniform(0.1, 0.4)
    cluster = replace(cluster, node_speeds=tuple(speeds))
    return cluster, draw_job(draw, cluster)


def _varying_load(draw: Draw) -> _Shape:
    """Load that halves and doubles the speed every few minutes."""
    cluster = draw_cluster(draw)
    load = draw_load(draw, (60.0, 1800.0), 0.8)
    return replace(cluster, load=load), draw_job(draw, cluster)


def _wrong_totals(draw: Draw) -> _Shape:
    """Details give the job's rows as the file's; some servers also send a negative progress."""
    cluster = draw_cluster(draw)
    lies = draw.chance(0.5)
    return cluster, replace(draw_job(draw, cluster), wrong_totals=True, negative_progress=lies)


def _node_restart(draw: Draw) -> _Shape:
    """Data nodes restart while the job runs: their tasks go back."""
    cluster = draw_cluster(draw)
    job = draw_job(draw, cluster)
    takes_s = import_s(cluster, job)
    restarts = tuple(
        Restart(
            at_s=job.pending_s + takes_s * draw.uniform(0.2, 1.2),
            node=draw.integer(0, len(cluster.node_speeds) - 1),
            down_s=draw.log_uniform(20, 600),
        )
        for _ in range(draw.integer(1, 4))
    )
    return replace(cluster, restarts=restarts), job


def _failing(draw: Draw) -> _Shape:
    """A bad file fails the job, either while files are read or while they are imported."""
    cluster = draw_cluster(draw)
    job = draw_job(draw, cluster)
    files = list(job.files)
    bad = draw.integer(0, len(files) - 1)
    path = files[bad].paths[0]
    reasons = (
        "the dim 768 of the vector field is not equal to schema dim 1024",
        f"cannot read {path}: unexpected EOF",
        "value of varchar field 'title' is longer than max_length 256",
    )
    files[bad] = replace(
        files[bad],
        error=f"{reasons[draw.integer(0, 2)]}: importing data failed, "
        f'file: id:{449_839_014_328_146_740 + bad} paths:"{path}"',
        error_phase="preimport" if draw.chance(0.3) else "import",
    )
    return cluster, replace(job, files=tuple(files))


def _stuck_file(draw: Draw) -> _Shape:
    """One file hangs: for 10 minutes to 4 hours, or (one in four) for ever."""
    cluster = draw_cluster(draw)
    job = draw_job(draw, cluster)
    files = list(job.files)
    index = draw.integer(0, len(files) - 1)
    stuck_s = math.inf if draw.chance(0.25) else draw.log_uniform(600, 4 * HOUR_S)
    files[index] = replace(files[index], stuck_s=stuck_s)
    return cluster, replace(job, files=tuple(files))


def _stragglers(draw: Draw) -> _Shape:
    """One to three files of each kind of straggler; every file has a task of its own."""
    cluster = draw_cluster(draw)
    job = draw_job(draw, cluster, count=draw.file_count(40, 300))
    job = replace(job, max_task_bytes=1)
    kinds: list[StragglerKind] = ["big", "slow", "retried", "stuck"]
    return cluster, with_stragglers(
        job, kinds, count=draw.integer(1, 3), seed=draw.integer(0, 2**31)
    )


def _two_phase_commit(draw: Draw) -> _Shape:
    """The job waits for its user's commit."""
    cluster = replace(draw_cluster(draw), release="3.0")
    return cluster, replace(
        draw_job(draw, cluster),
        auto_commit=False,
        commit_after_s=draw.log_uniform(60, 2 * HOUR_S),
        commit_s=draw.log_uniform(1, 60),
    )


def _small_and_quick(draw: Draw) -> _Shape:
    """A few small files that take a minute or two."""
    cluster = ClusterSpec(release=str(draw.rng.choice(["2.4", "2.5", "2.6", "3.0"])))
    sizes = draw_sizes(draw, draw.file_count(1, 6), draw.log_uniform(5e6, 1e9))
    job = JobSpec(
        collection_name="quick",
        files=draw_files(draw, sizes),
        pending_s=2.0,
        import_bytes_per_s=draw.log_uniform(5e6, 40e6),
        sort_rows_per_s=draw.log_uniform(2e4, 2e5),
        index_rows_per_s=draw.log_uniform(5e3, 5e4),
    )
    return cluster, job


def _tiny(draw: Draw) -> _Shape:
    """One to four files of at most a few megabytes: the job is over in 10 to 30 seconds."""
    cluster = replace(draw_cluster(draw), load=(), node_load=())
    sizes = draw_sizes(draw, draw.file_count(1, 4), draw.log_uniform(1e5, 5e6))
    return cluster, JobSpec(
        collection_name="tiny",
        files=draw_files(draw, sizes),
        pending_s=draw.uniform(0, 2),
        import_bytes_per_s=draw.log_uniform(5e6, 40e6),
        sort_rows_per_s=1e5,
        index_rows_per_s=5e4,
        noise=draw.uniform(*draw.family.noise),
    )


def _huge(draw: Draw) -> _Shape:
    """Thousands of files, 10 to 25 hours of work."""
    cluster = draw_cluster(draw)
    count = draw.file_count(2000, 20_000)
    total_bytes = draw.log_uniform(5e12, 40e12)
    job = draw_job(
        draw,
        cluster,
        count=count,
        total_bytes=total_bytes,
        index_share=draw.log_uniform(0.1, 0.8),
        sort_share=draw.log_uniform(0.05, 0.2),
    )
    takes_s = draw.uniform(8, 16) * HOUR_S
    return cluster, paced(job, import_s(cluster, job) / takes_s)


def paced(job: JobSpec, factor: float) -> JobSpec:
    """The job with all its rates multiplied."""
    return replace(
        job,
        preimport_bytes_per_s=job.preimport_bytes_per_s * factor,
        import_bytes_per_s=job.import_bytes_per_s * factor,
        sort_rows_per_s=job.sort_rows_per_s * factor,
        index_rows_per_s=job.index_rows_per_s * factor,
    )


def _queued(draw: Draw) -> _Shape:
    """Other users' jobs take the slots, so that tasks wait long before they start."""
    cluster = draw_cluster(draw)
    job = draw_job(draw, cluster)
    others = tuple(
        Arrival(
            -draw.log_uniform(5, 600), replace(draw_job(draw, cluster), collection_name="other")
        )
        for _ in range(draw.integer(1, 3))
    )
    return replace(cluster, other_jobs=others), job


def _waiting(draw: Draw) -> _Shape:
    """The job waits in Pending for 18 minutes to 2 hours."""
    cluster, job = _steady(draw)
    return cluster, replace(job, pending_s=draw.log_uniform(18 * 60, 2 * HOUR_S))


def _paused(draw: Draw) -> _Shape:
    """The whole cluster stands still for 5 minutes to 2 hours, once or twice."""
    cluster, job = _steady(draw)
    first_s = job.pending_s + import_s(cluster, job) * draw.uniform(0.2, 1.0)
    standstill = pauses(draw, first_s, draw.integer(1, 2), (300.0, 2 * HOUR_S))
    return replace(cluster, load=standstill), job


def _index_paused(draw: Draw) -> _Shape:
    """The index coordinator hands out no work for 10 minutes to 3 hours."""
    cluster = draw_cluster(draw)
    job = draw_job(draw, cluster, index_share=draw.log_uniform(0.5, 4))
    first_s = job.pending_s + import_s(cluster, job) * draw.uniform(1.0, 1.5)
    return replace(cluster, index_load=pauses(draw, first_s, 1, (600.0, 3 * HOUR_S))), job


def _day_and_night(draw: Draw) -> _Shape:
    """By day others take most of the cluster; the job runs for many hours."""
    cluster = draw_cluster(draw)
    cluster = replace(cluster, load=day_load(draw.uniform(0, DAY_S), draw.uniform(0.5, 0.85)))
    job = draw_job(draw, cluster)
    return cluster, paced(job, import_s(cluster, job) / (draw.uniform(3, 10) * HOUR_S))


def _noisy_neighbours(draw: Draw) -> _Shape:
    """Half of the nodes share their machine with something that comes and goes."""
    cluster = draw_cluster(draw)
    nodes = draw.some(len(cluster.node_speeds), 0.5)
    noisy = tuple((node, neighbour_load(draw)) for node in nodes)
    return replace(cluster, node_load=noisy), draw_job(draw, cluster)


def _added_nodes(draw: Draw) -> _Shape:
    """One or more data nodes join while files are imported, at most as many as there are."""
    cluster, job = _steady(draw)
    at_s = job.pending_s + import_s(cluster, job) * draw.uniform(0.2, 0.8)
    count = draw.integer(1, len(cluster.node_speeds))
    added = tuple((at_s + draw.uniform(0, 120), cluster.node_speeds[0]) for _ in range(count))
    return replace(cluster, added_nodes=added), job


def _delete_logs(draw: Draw) -> _Shape:
    """A restore's delete logs, whose rows are never counted as imported."""
    cluster, job = _steady(draw)
    files = tuple(
        replace(file, paths=(f"backup/binlogs/delta_log/1/2/{place}",), memory_bytes=None)
        for place, file in enumerate(job.files)
    )
    return cluster, replace(job, files=files, delete_logs=True)


def _over_quota(draw: Draw) -> _Shape:
    """The files are read and then exceed the disk's quota."""
    cluster, job = _steady(draw)
    reason = "quota exceeded[reason=disk quota exceeded, please allocate more resources]"
    return cluster, replace(job, quota_reason=reason)


#: The shapes by name; each one's docstring says what is special about it.
SHAPES: Final[Mapping[str, Callable[[Draw], _Shape]]] = {
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
    "waiting": _waiting,
    "paused": _paused,
    "index_paused": _index_paused,
    "day_and_night": _day_and_night,
    "noisy_neighbours": _noisy_neighbours,
    "added_nodes": _added_nodes,
    "tiny": _tiny,
    "huge": _huge,
    "delete_logs": _delete_logs,
    "over_quota": _over_quota,
}
