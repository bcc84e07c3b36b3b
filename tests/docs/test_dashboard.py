"""Every query of the Grafana dashboard has an answer, from a real Prometheus and collector."""

import runpy
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tools import needs

from importstats.simulator import SimulatorServer, make_shape

SCRAPING = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "images" / "scraping.py"))


@pytest.fixture
def server():
    """Ten jobs that begin one after the other, so that some are at work whenever one looks."""
    cluster, job = make_shape("small_and_quick", seed=0)
    jobs = [replace(job, pending_s=60.0 * place) for place in range(10)]
    with SimulatorServer(cluster, jobs, acceleration=6) as server:
        yield server


@needs("prometheus")
@pytest.mark.timeout(200)
def test_prometheus_answers_every_query_of_the_dashboard(server, tmp_path):
    began = time.time()
    silent = {query.text for query in SCRAPING["queries"](rate_interval="60s")}
    assert len(silent) > 18
    with (
        SCRAPING["collecting"](server.uri, tmp_path, every_s=1) as target,
        SCRAPING["scraping"](target, tmp_path, every_s=3) as prometheus,
    ):
        while silent and time.time() < began + 150:
            now = time.time()
            silent = {text for text in silent if not prometheus.answer(text, began, now)}
            time.sleep(0.5)
    assert silent == set()
