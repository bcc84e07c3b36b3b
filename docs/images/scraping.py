"""A real Prometheus beside a real collector, and the queries of the Grafana dashboard.

A test asks each of them, and ``dashboard.py`` draws what they answer.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

ROOT: Final = Path(__file__).parents[2]
DASHBOARD: Final = json.loads((ROOT / "deploy" / "grafana" / "importstats.json").read_text())


@dataclass(frozen=True)
class Query:
    """One query of a panel, with Grafana's variables filled in.

    Attributes
    ----------
    panel : dict
        The panel, as the dashboard's JSON has it.
    text : str
        PromQL.
    legend : str
        The pattern of a line's name, as ``{{job_id}}``.
    """

    panel: Mapping[str, Any]
    text: str
    legend: str


def queries(rate_interval: str) -> list[Query]:
    """Every query of every panel: all servers, collections and jobs chosen."""
    return [
        Query(
            panel,
            re.sub(r"\$\w+", ".*", target["expr"].replace("$__rate_interval", rate_interval)),
            target.get("legendFormat", ""),
        )
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs."""

    address: str

    def answer(self, query: str, start: float, end: float) -> list[dict[str, Any]]:
        """The series that a query has between two times, in seconds since the epoch."""
        step_s = max((end - start) / 300, 1)
        asked = {"query": query, "start": start, "end": end, "step": step_s}
        answer = requests.get(f"{self.address}/api/v1/query_range", params=asked, timeout=30).json()
        if answer["status"] != "success":
            raise ValueError(f"{query}: {answer['error']}")
        return list(answer["data"]["result"])


@contextlib.contextmanager
def scraping(target: str, folder: Path, *, every_s: int) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the metrics at an address, as long as the context is open."""
    config = folder / "prometheus.yaml"
    configs = {
        "global": {"scrape_interval": f"{every_s}s", "scrape_timeout": f"{every_s}s"},
        "scrape_configs": [{"job_name": "importstats", "static_configs": [{"targets": [target]}]}],
    }
    config.write_text(json.dumps(configs))  # JSON is YAML.
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with _running(command, folder / "prometheus.log") as said:
        said(r"Server is ready")
        yield Prometheus("http://" + said(r'msg="Listening on" address=(\S+)'))


@contextlib.contextmanager
def collecting(uri: str, folder: Path, *, every_s: float) -> Iterator[str]:
    """An ``importstats collect`` of a server, with events; host and port of its metrics."""
    pause = str(every_s)
    command = [
        *(sys.executable, "-m", "importstats", "collect", "--follow", "--store", folder / "store"),
        *("--uri", uri, "--min-interval", pause, "--max-interval", pause, "--metrics-port", "0"),
        *("--discover-interval", "1", "--on-event", "exec:true"),
    ]
    with _running([str(word) for word in command], folder / "collect.log") as said:
        yield said(r"http://([\w.:]+)/metrics")


@contextlib.contextmanager
def _running(command: list[str], log: Path) -> Iterator[Callable[[str], str]]:
    """A process, ended with the context, and a function that waits for what it logs."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603 -- ours

    def said(pattern: str) -> str:
        while process.poll() is None:
            if found := re.search(pattern, log.read_text()):
                return found[found.re.groups]
            time.sleep(0.1)
        raise RuntimeError(f"{command[0]} ended: {log.read_text()[-2000:]}")

    try:
        yield said
    finally:
        process.terminate()
        process.wait()
