"""The command that changes code and looks whether a test notices."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from mutating import draw

COMMAND = Path(__file__).with_name("mutants.py")
MODULE = '''\
"""How late."""

LATE_S = 60
EARLY = -1


def is_late(seconds: int | None) -> bool:
    """Whether it is late."""
    return seconds > LATE_S


def nobody_asks():
    """A number that no test looks at."""
    return 7
'''
TESTS = """\
from package.late import is_late


def test_late():
    assert is_late(61)
    assert not is_late(60)
"""
SETTINGS = """\
[tool.mutants]
target_pct = 85
patience_s = 10
without = []
libraries = ["hypothesis", "pytest"]
operators = ["NumberReplacer", "ReplaceComparisonOperator_Gt_GtE", "ReplaceBinaryOperator_*"]

[tool.mutants.tests]
"package" = ["tests"]
"""
JUSTIFIED = """\
[[mutant]]
module = "package/late.py"
was = "return 7"
becomes = "return 6"
because = "Nobody asks."
"""
OUTPUT = """\
package/late.py:4 survived
  - EARLY = -1
  + EARLY = - 0
Seed 1.

| module | drawn | killed | justified | survived |
|---|--:|--:|--:|--:|
| package/late.py | 4 | 2 | 1 | 1 |
| all | 4 | 2 | 1 | 1 |
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "late.py").write_text(MODULE)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_late.py").write_text(TESTS)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize("module", ["package/late.py", "*"])
def test_a_mutant_survives_if_no_test_notices_it_unless_it_is_justified(module, project):
    listed = JUSTIFIED.replace("package/late.py", module)
    (project / "tests" / "mutants.toml").write_text(listed)
    command = [sys.executable, str(COMMAND), "--jobs", "1", "--seed", "1"]
    ran = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert ran.stdout == OUTPUT
    assert ran.stderr == ""
    assert ran.returncode == 1, "75 % are killed or justified, and 85 % are asked for"
    assert (project / "package" / "late.py").read_text() == MODULE


def test_a_change_that_nobody_noticed_is_gone_when_the_next_is_judged(project):
    module = project / "package" / "late.py"
    module.write_text(
        "def nobody_asks():\n    return True\n\n\ndef is_late(seconds):\n    return seconds > 60\n"
    )
    # Both changes make the file longer by one letter, so a compiled one would do for either.
    settings = SETTINGS.replace('"NumberReplacer"', '"ReplaceTrueWithFalse"')
    (project / "pyproject.toml").write_text(settings)
    command = [sys.executable, str(COMMAND), "--jobs", "1", "--seed", "1"]
    ran = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "| all | 2 | 1 | 0 | 1 |"


def test_a_seed_draws_the_same_again_and_another_seed_others(project, monkeypatch):
    monkeypatch.chdir(project)
    operators = ["NumberReplacer", "ReplaceComparisonOperator_*"]
    draws = [draw("package/late.py", operators, each=3, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert [len({one.line for one in drawn}) for drawn in draws] == [3, 3, 3]
    assert not any("None" in one.becomes for drawn in draws for one in drawn)


def test_a_star_that_multiplies_nothing_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("m.py").write_text("def area(a, *, b):\n    return a * b\n")
    (only,) = draw("m.py", ["ReplaceBinaryOperator_Mul_Div"], each=9, seed=1)
    assert only.becomes == "return a / b"


def test_what_no_test_can_notice_is_in_the_code_once_and_has_a_reason():
    listed = tomllib.loads(COMMAND.with_suffix(".toml").read_text())["mutant"]
    root = COMMAND.parents[1]
    named = [each for each in listed if each["module"] != "*"]
    gone = [each for each in named if each["was"] not in (root / each["module"]).read_text()]
    assert gone == []
    assert all(each["because"].endswith(".") for each in listed)
    assert len({(each["module"], each["was"], each["becomes"]) for each in listed}) == len(listed)
