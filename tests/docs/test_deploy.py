"""The files under deploy/ are well-formed and speak of options and metrics that exist."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tools import needs

from importstats.cli import app
from importstats.collect.metrics import MetricsServer
from importstats.collect.notifier import Notifier
from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore

DEPLOY = Path(__file__).parents[2] / "deploy"
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
YAML = sorted(DEPLOY.rglob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").iterdir())
DASHBOARD = DEPLOY / "grafana" / "importstats.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def run(*command, cwd=None):
    ended = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


# --- Command lines ------------------------------------------------------------------------------


def pod_specs():
    """(file, pod specification) of everything that runs in Kubernetes."""
    for path in KUBERNETES:
        for document in documents(path):
            if document["kind"] == "Deployment":
                yield path, document["spec"]["template"]["spec"]
            if document["kind"] == "CronJob":
                yield path, document["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def command_lines():
    """Every command line of importstats in deploy/ and in the documentation."""
    for path, spec in pod_specs():
        for container in spec["containers"]:
            yield path.name, container["args"]
    for path in UNITS:
        for line in re.findall(r"^ExecStart=\S+/importstats (.*)$", path.read_text(), re.M):
            yield path.name, shlex.split(line)
    cron = (DEPLOY / "cron" / "importstats").read_text()
    for line in re.findall(r"/bin/importstats ([^>\n]*)", cron):
        yield "cron", shlex.split(line)
    docker = (DEPLOY / "Dockerfile").read_text()
    [command] = re.findall(r"^CMD (\[.*\])$", docker, re.M)
    yield "Dockerfile", json.loads(command)
    for block in re.findall(r"```(?:bash|console)\n(.*?)```", OPERATIONS.read_text(), re.S):
        joined = block.replace("\\\n", " ")
        for line in re.findall(r"^(?:\$ )?importstats (.*)$", joined, re.M):
            words = shlex.split(line, comments=True)
            yield "operations.md", words[: words.index("&")] if "&" in words else words


LINES = list(command_lines())


def test_there_are_command_lines_of_every_kind():
    assert {name for name, _ in LINES} == {
        "Dockerfile",
        "collect.yaml",
        "cron",
        "importstats-collect.service",
        "importstats-snapshot.service",
        "operations.md",
        "snapshot.yaml",
    }


@pytest.mark.parametrize(("where", "words"), LINES, ids=lambda value: str(value)[:60])
def test_every_command_and_option_exists(where, words):
    """Parsed by the command line's own parser, which knows options and their types."""
    # Files that only exist where it is deployed, and the specifiers of systemd, are no matter here.
    arguments = [word for word in words if word != "|"]
    app.parse_args(arguments, print_error=False, exit_on_error=False)


# --- Metrics ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served_names(tmp_path_factory):
    """The names and labels that a scrape can show."""
    import urllib.request
    from datetime import UTC, datetime, timedelta

    from prometheus_client.parser import text_string_to_metric_families

    store = SnapshotStore(tmp_path_factory.mktemp("served") / "store")
    # Nothing comes in the last two minutes, which is a finding.
    for ago_s in range(220, 120, -10):
        rows = 90 * (22 - ago_s // 10)
        answer = {
            "code": 0,
            "data": {
                "jobId": "7",
                "collectionName": "products",
                "state": "Importing",
                "progress": 40 + rows // 30,
                "importedRows": rows,
                "totalRows": 900,
                "fileSize": 900,
                "details": [
                    {
                        "fileName": "[a]",
                        "fileSize": 900,
                        "state": "InProgress",
                        "progress": rows / 9,
                    }
                ],
            },
        }
        when = datetime.now(UTC) - timedelta(seconds=ago_s)
        store.append(Snapshot(when, "7", "http://h", parse_response(answer)))
    notifier = Notifier(store, "http://h", ["exec:true"])
    notifier.found["started"] += 1
    with (
        MetricsServer(store, "http://h", port=0, notifier=notifier) as server,
        urllib.request.urlopen(server.url, timeout=60) as answer,
    ):
        families = list(text_string_to_metric_families(answer.read().decode()))
    names = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    # Prometheus itself adds these.
    return {**names, "up": {"job", "instance"}}


def expressions():
    for group in documents(ALERTS)[0]["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_and_label_of_rules_and_panels_is_served(where, expression, served_names):
    used = set(re.findall(r"\b(?:importstats_\w+|process_\w+|up\b)", expression))
    assert used, where
    assert used <= set(served_names)
    for name, selector in re.findall(r"(\w+)\{([^}]*)\}", expression):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert labels <= served_names[name] | {"job", "instance"}, where


def test_the_documentation_lists_every_metric_and_no_other(served_names):
    documented = set(re.findall(r"`(importstats_\w+)", OPERATIONS.read_text()))
    suffixes = re.compile(r"_(bucket|count|sum|created)$")
    served = {suffixes.sub("", name) for name in served_names if name.startswith("importstats_")}
    # A created time stands under the name of its counter without `_total`.
    served -= {name.removesuffix("_total") for name in served if name.endswith("_total")}
    assert documented == served


def test_the_documentation_lists_every_alert_and_event():
    from importstats.analysis.job_events import EVENTS

    text = OPERATIONS.read_text()
    alerts = {rule["alert"] for group in documents(ALERTS)[0]["groups"] for rule in group["rules"]}
    assert set(re.findall(r"^\| `(Import\w+)`", text, re.M)) == alerts
    assert set(EVENTS) <= set(re.findall(r"^\| `(\w+)`", text, re.M))


# --- Formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_can_be_read(path):
    assert documents(path)


def test_the_example_secret_holds_none():
    [secret] = documents(DEPLOY / "kubernetes" / "secret.example.yaml")
    values = secret["stringData"]
    assert values.pop("events").strip() == "# https://hooks.example/REPLACE-ME"
    assert set(values.values()) == {"REPLACE-ME"}


def test_pods_run_as_nobody_in_particular_and_write_nowhere_else():
    specs = list(pod_specs())
    assert len(specs) == 2
    for _, spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_panels_do_not_overlap_and_ask_the_chosen_data_source():
    dashboard = json.loads(DASHBOARD.read_text())
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


# --- Linters ------------------------------------------------------------------------------------


@needs("promtool")
def test_promtool_accepts_the_rules_and_their_tests():
    run("promtool", "check", "rules", "alerts.yaml", cwd=ALERTS.parent)
    run("promtool", "test", "rules", "alerts.test.yaml", cwd=ALERTS.parent)
    config = "scrape.yaml"
    run("promtool", "check", "config", "--syntax-only", config, cwd=ALERTS.parent)


@needs("promtool")
def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path):
    rules = []
    for place, (_, expression) in enumerate(expressions()):
        if "label_values" not in expression:
            query = expression.replace("$__rate_interval", "5m")
            rules.append({"record": f"panel:{place}", "expr": re.sub(r"\$\w+", ".*", query)})
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run("promtool", "check", "rules", path)


@needs("systemd-analyze")
def test_systemd_accepts_the_units(tmp_path):
    for unit in UNITS:
        # It looks whether the program is there.
        text = unit.read_text().replace("/opt/importstats/bin/importstats", sys.executable)
        (tmp_path / unit.name).write_text(text)
    assert run("systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())) == ""


@needs("hadolint")
def test_hadolint_accepts_the_dockerfile():
    run("hadolint", DEPLOY / "Dockerfile")


@needs("yamllint")
def test_yamllint_accepts_the_yaml():
    rules = "{extends: default, rules: {line-length: {max: 120}, braces: {max-spaces-inside: 1}}}"
    run("yamllint", "--strict", "-d", rules, DEPLOY)


@needs("kubernetes-validate")
def test_the_manifests_fit_the_schemas_of_kubernetes():
    # The schema of a PodMonitor comes with the Prometheus operator.
    known = [path for path in KUBERNETES if path.name != "podmonitor.yaml"]
    run("kubernetes-validate", "--strict", *known)
