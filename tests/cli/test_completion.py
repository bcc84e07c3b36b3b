"""Completion in a real shell."""

import subprocess

import pytest
from tools import needs
from warm import run

COMPLETE = """
source "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p importstats | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function
printf '%s\\n' "${COMPREPLY[@]}"
"""


@needs("bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["su"], ["submit", "summary"]),
        (["wait", "--for", ""], ["completed", "importing", "committable"]),
        (["group", "--collec"], ["--collection"]),
    ],
)
def test_bash_completes(words, completed, tmp_path):
    script = run("completion", "bash")
    assert (script.returncode, script.stderr) == (0, "")
    (tmp_path / "importstats.bash").write_text(script.stdout)
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", tmp_path / "importstats.bash", "importstats", *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == completed, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script(shell):
    script = run("completion", shell)
    assert script.returncode == 0
    assert "importstats" in script.stdout
