"""What the code keeps to, and no linter checks: names, and how long a thing may be."""

import ast
from pathlib import Path

import pytest

import importstats

ROOT = Path(__file__).parents[1]
CODE = ROOT / "importstats"
LONGEST_FILE, LONGEST_FUNCTION, LONGEST_CLASS = 500, 60, 300
#: Words that say nothing of what a function does or returns.
PARTICLES = {"among", "at", "by", "for", "from", "in", "of", "on", "since", "to", "until", "with"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


TREES = {path: ast.parse(path.read_text("utf-8")) for path in sorted(CODE.rglob("*.py"))}
DEFINED = {
    module_name(path): {node.name for node in tree.body if isinstance(node, Function)}
    for path, tree in TREES.items()
}
PUBLIC = {name for name in importstats.__all__ if name.islower()}


def names_of_functions(path: Path, tree: ast.Module) -> set[str]:
    """The functions that are public, or that the module defines or imports from the package."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in DEFINED.get(node.module or "", ())
    }
    return PUBLIC | DEFINED[module_name(path)] | imported


def parameters(function: Function | ast.Lambda) -> list[ast.arg]:
    own = function.args
    every = [*own.posonlyargs, *own.args, own.vararg, *own.kwonlyargs, own.kwarg]
    return [one for one in every if one is not None]


def shadowing(path: Path, tree: ast.Module) -> list[str]:
    taken = names_of_functions(path, tree)
    return [
        f"{path.relative_to(ROOT)}:{one.lineno}: {one.arg}"
        for node in ast.walk(tree)
        if isinstance(node, Function | ast.Lambda)
        for one in parameters(node)
        if one.arg in taken
    ]


def too_long(path: Path, tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, Function):
            # What a reader has to follow: without the signature and the docstring.
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = node.end_lineno - body[0].lineno + 1 if body else 0
            most = LONGEST_FUNCTION
        elif isinstance(node, ast.ClassDef):
            lines, most = node.end_lineno - node.lineno + 1, LONGEST_CLASS
        else:
            continue
        if lines > most:
            found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {lines} lines")
    return found


def test_no_parameter_has_the_name_of_a_function_that_is_in_reach():
    assert [line for path, tree in TREES.items() for line in shadowing(path, tree)] == []


def test_functions_and_classes_are_short():
    assert [line for path, tree in TREES.items() for line in too_long(path, tree)] == []


def test_files_are_short():
    others = ("tests", "benchmarks", "docs", "data", ".ci")
    paths = [*TREES, *(path for name in others for path in (ROOT / name).rglob("*.py"))]
    lines = {path: path.read_text("utf-8").count("\n") for path in paths}
    assert {path: count for path, count in lines.items() if count > LONGEST_FILE} == {}


def test_no_module_has_the_name_of_a_function():
    # `importstats.eta` is always the function, and `from importstats.a import b` never ambiguous.
    modules = {name.split(".")[1] for name in DEFINED if name.count(".") == 1}
    assert PUBLIC & modules == set()
    assert [name for name, own in DEFINED.items() if name.split(".")[-1] in own] == []


def test_a_private_function_of_a_module_has_a_name_of_its_own():
    homes: dict[str, list[str]] = {}
    for name, own in DEFINED.items():
        for function in own:
            if function.startswith("_") and not function.startswith("__"):
                homes.setdefault(function, []).append(name)
    assert {function: where for function, where in homes.items() if len(where) > 1} == {}


def test_no_function_is_named_by_a_particle():
    named = {
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for path, tree in TREES.items()
        for node in functions(tree)
        if node.name.strip("_") in PARTICLES
    }
    assert named == set()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def draw(eta): ...", ["eta"]),
        ("def eta_of(jobs, *, stragglers=None): ...", ["stragglers"]),
        ("def _share(): ...\ndef draw(_share): ...", ["_share"]),
        (
            "from importstats.analysis.ranking import rank_files\ndef f(*rank_files): ...",
            ["rank_files"],
        ),
        ("found = lambda phases: phases", ["phases"]),
        ("def draw(estimates, until): ...", []),
    ],
)
def test_shadows_are_found(code, found):
    path = CODE / "analysis" / "phase.py"
    tree = ast.parse(code)
    before, DEFINED[module_name(path)] = (
        DEFINED[module_name(path)],
        {node.name for node in tree.body if isinstance(node, Function)},
    )
    try:
        assert [line.split(": ")[1] for line in shadowing(path, tree)] == found
    finally:
        DEFINED[module_name(path)] = before
