"""What was measured, as Markdown tables: each engine beside the best of the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from measures import standing


def cell(measured: dict) -> str:
    if "error" in measured:
        return f"failed: {measured['error'][:40]}"
    return f"{measured['wall_s']:.2f} s, {measured['cpu_s']:.2f} s, {measured['rss_mb']:,.0f} MB"


def report(stores: list[dict], results: list[dict], engines: Iterable[str]) -> Iterator[str]:
    yield "| store | detail rows | runs on disk | snapshots | jobs | Parquet |"
    yield "|---|--:|--:|--:|--:|--:|"
    for facts in stores:
        yield (
            f"| {facts['name']} | {facts['detail_rows']:,} | {facts['run_rows']:,} | "
            f"{facts['snapshots']:,} | {facts['jobs']:,} | {facts['bytes'] / 1e6:.1f} MB |"
        )
    columns = [*engines, "best of DuckDB and Polars", "ours to it: wall, CPU, memory", "verdict"]
    yield f"\n| task | store | {' | '.join(columns)} |"
    yield "|---|---|" + "---|" * len(columns)
    for result in results:
        cells = [cell(result[name]) if name in result else "" for name in engines]
        yield f"| {result['task']} | {result['name']} | {' | '.join([*cells, *judged(result)])} |"


def growth(stores: list[dict], results: list[dict]) -> Iterator[str]:
    """What a million detail rows cost us at each size: a row that rises is a defect."""
    million = {facts["name"]: facts["detail_rows"] / 1e6 for facts in stores}
    names = list(million)
    yield f"\n| importstats, CPU ms per million rows | {' | '.join(names)} | |"
    yield "|---|" + "--:|" * len(names) + "---|"
    for task in dict.fromkeys(result["task"] for result in results):
        ours = {r["name"]: r["importstats"] for r in results if r["task"] == task}
        cost = [
            ours[n]["cpu_s"] / million[n] if "cpu_s" in ours.get(n, {}) else None for n in names
        ]
        known = [each for each in cost if each is not None]
        rises = len(known) > 1 and known[-1] > 1.2 * min(known)
        cells = ["" if each is None else f"{1e3 * each:,.1f}" for each in cost]
        yield f"| {task} | {' | '.join(cells)} | {'rises' if rises else 'falls or stays'} |"


def judged(result: dict) -> tuple[str, str, str]:
    """The faster of the others, our ratios to it, and whether we are ahead of it by the clock."""
    ours = result["importstats"]
    others = [name for name in ("duckdb", "polars") if "wall_s" in result.get(name, {})]
    if "wall_s" not in ours or not others:
        return "", "", ""
    best = min(others, key=lambda name: result[name]["wall_s"])
    wall, cpu, memory = (ours[n] / result[best][n] for n in ("wall_s", "cpu_s", "rss_mb"))
    return best, f"{wall:.2f}, {cpu:.2f}, {memory:.2f}", standing(wall)
