"""A release is of one version and one list of dependencies, by workflows that are well-formed."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from tools import needs

from importstats.version import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RECIPE = yaml.safe_load((ROOT / "deploy" / "conda" / "recipe.yaml").read_text())
GITHUB = ROOT / ".github"
FORMS = [path for path in (GITHUB / "ISSUE_TEMPLATE").iterdir() if path.stem != "config"]


def shown_versions():
    """(file, version) wherever a version of importstats is shown."""
    yield "deploy/conda/recipe.yaml", RECIPE["context"]["version"]
    for path in [*(ROOT / "deploy").rglob("*.yaml"), ROOT / "docs" / "operations.md"]:
        for version in re.findall(r"\bimportstats:(\d[\w.]*)", path.read_text()):
            yield path.name, version


def test_every_version_that_is_shown_is_the_one():
    shown = list(shown_versions())
    assert {name for name, _ in shown} >= {"collect.yaml", "operations.md"}
    assert [name for name, version in shown if version != __version__] == []


def test_the_changelog_begins_with_this_version():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == __version__


def test_the_conda_recipe_needs_what_the_package_needs():
    needed = {}
    for text in PROJECT["dependencies"]:
        requirement = Requirement(text)
        needed[requirement.name] = str(requirement.specifier)
    # Conda's matplotlib brings a toolkit of windows along.
    needed["matplotlib-base"] = needed.pop("matplotlib")
    needed["python"] = PROJECT["requires-python"]
    assert dict(line.split(" ", 1) for line in RECIPE["requirements"]["run"]) == needed


def test_nothing_asks_to_install_by_a_name_that_is_not_ours_yet():
    texts = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("importstats/**/*.py")]
    texts += [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    asking = re.compile(r"(?:pip install|uvx|pipx run|pip install -U) ['\"]?importstats")
    assert [path.name for path in texts if asking.search(path.read_text("utf-8"))] == []


@needs("check-jsonschema")
@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("github-workflows", sorted((GITHUB / "workflows").iterdir())),
        ("github-issue-forms", sorted(FORMS)),
        ("github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
    ],
)
def test_the_files_for_github_fit_their_schemas(schema, paths):
    command = ["check-jsonschema", "--builtin-schema", f"vendor.{schema}", *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
