"""The recipes run in the orchestrators that they are for, against a simulated server.

The orchestrators need an environment of their own; `.ci/run` makes it and says so by
``IMPORTSTATS_RECIPES=1``. Elsewhere these tests are skipped.
"""

import asyncio
import json
import os
import runpy
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

import importstats
from importstats.simulator import SimulatorServer, make_shape, simulate_job

if os.environ.get("IMPORTSTATS_RECIPES") != "1":
    pytest.skip("needs Airflow, Dagster and Prefect", allow_module_level=True)

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
# Their own deprecations are no errors of ours.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(280)]


@pytest.fixture(autouse=True)
def homes(tmp_path_factory, monkeypatch):
    """Nothing is kept between runs, and nobody is called."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("AIRFLOW_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("PREFECT_HOME", str(home))
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    monkeypatch.syspath_prepend(RECIPES)


@pytest.fixture(params=["Completed", "Failed"])
def server(request, monkeypatch):
    """A server with a job that takes some seconds, and how it will end."""
    cluster, job = make_shape("small_and_quick", seed=1)
    if request.param == "Failed":
        job = replace(job, quota_reason="quota exceeded[reason=disk quota exceeded]")
    truth = simulate_job((cluster, job), seed=1, poll_every_s=600).truth
    with SimulatorServer(cluster, [job], seed=1, acceleration=truth.duration_s / 6) as server:
        server.outcome = request.param
        monkeypatch.setenv("MILVUS_URI", server.uri)
        monkeypatch.setenv("MILVUS_TOKEN", "root:Milvus")
        yield server


def test_airflow_defers_the_sensor_until_the_job_has_ended(server, tmp_path):
    """Worker, triggerer and worker again, each with what Airflow would hand on."""
    import airflow_imports
    from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

    store = str(tmp_path / "store")
    sensor = airflow_imports.ImportJobSensor(
        task_id="wait", job_id=server.job_ids[0], store=store, poll_s=0.5, timeout=3600
    )
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    path, options = deferred.value.trigger.serialize()
    module, _, name = path.rpartition(".")
    trigger = getattr(import_module(module), name)(**json.loads(json.dumps(options)))
    event = asyncio.run(anext(trigger.run()))
    resume = getattr(sensor, deferred.value.method_name)
    if server.outcome == "Completed":
        assert resume({}, event.payload) == server.job_ids[0]
    else:
        with pytest.raises(AirflowFailException, match="disk quota exceeded"):
            resume({}, event.payload)
    assert importstats.load_jobs(store)["state"].iloc[-1] == server.outcome


def test_airflow_reads_the_example_and_knows_its_order():
    import airflow_imports

    dag = airflow_imports.imports
    assert dag.dag_id == "import_and_report"
    assert dag.get_task("write_report").upstream_task_ids == {"wait_for_import"}


def test_an_airflow_trigger_goes_on_while_the_server_is_away(tmp_path, monkeypatch):
    monkeypatch.setenv("MILVUS_URI", "http://127.0.0.1:9")
    import airflow_imports

    trigger = airflow_imports.ImportJobTrigger("7", str(tmp_path / "store"))
    assert trigger.polled() is None
    path, options = trigger.serialize()
    assert path == "airflow_imports.ImportJobTrigger"
    assert airflow_imports.ImportJobTrigger(**options).serialize() == (path, options)


def test_dagster_has_the_collection_when_its_import_has_completed(server, tmp_path):
    import dagster

    recipe = runpy.run_path(str(RECIPES / "dagster_imports.py"))
    config = {"job_id": server.job_ids[0], "store": str(tmp_path / "store")}
    result = dagster.materialize(
        [recipe["imported_collection"]],
        run_config={"ops": {"imported_collection": {"config": config}}},
        raise_on_error=False,
    )
    assert result.success is (server.outcome == "Completed")
    if result.success:
        [made] = result.asset_materializations_for_node("imported_collection")
        assert made.metadata["rows"].value > 0
        assert made.metadata["duration_s"].value > 0
        assert made.metadata["report"].value.startswith("# Import job")
        [check] = result.get_asset_check_evaluations()
        assert check.passed
    else:
        [failed] = result.filter_events(lambda event: event.is_step_failure)
        assert "disk quota exceeded" in str(failed.step_failure_data.user_failure_data)


def test_prefect_keeps_a_report_of_either_end(server, tmp_path):
    from prefect.testing.utilities import prefect_test_harness

    sys.modules.pop("prefect_imports", None)
    import prefect_imports

    job, store = server.job_ids[0], str(tmp_path / "store")
    with prefect_test_harness(server_startup_timeout=120):
        state = prefect_imports.import_and_report(job, store, return_state=True)
        if server.outcome == "Completed":
            assert state.is_completed()
            assert state.result().startswith("# Import job")
        else:
            assert state.is_failed()
            assert "disk quota exceeded" in state.message
