"""Mutants: which small changes of a module there are, and some of them drawn by a seed."""

from __future__ import annotations

import ast
import fnmatch
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """One change of one module; `occurrence` counts the places where its operator fits."""

    module: str
    operator: str
    occurrence: int
    line: int
    function: str
    was: str
    becomes: str
    #: The whole module with the change.
    text: str = field(repr=False, compare=False)


def draw(module: str, operators: list[str], each: int, seed: int) -> list[Mutant]:
    """So many mutants of a module, each at another place, in the order of the lines.

    A place is drawn first and then one of its mutants, so that a comparison, which can be changed
    in five ways, counts no more than a number, which can be changed in two.
    """
    source = Path(module).read_text()
    places = defaultdict(list)
    skipped, lines = annotations(source), source.splitlines()
    tree = list(nodes(source))
    for name, operator in chosen_operators(operators):
        positions = [at for node in tree for at in operator.mutation_positions(node)]
        for occurrence, (start, end) in enumerate(positions):
            # A star before a comma multiplies nothing: what follows is to be named by callers.
            is_marker = lines[start[0] - 1][start[1] :].startswith("*,")
            if not is_marker and not any(first <= start and end <= last for first, last in skipped):
                places[start, end].append((name, occurrence))
    dice = random.Random(f"{seed} {module}")
    drawn = dice.sample(sorted(places), min(each, len(places)))
    made = [
        mutant(module, source, place[0][0], *dice.choice(places[place])) for place in sorted(drawn)
    ]
    return [one for one in made if one is not None]


def chosen_operators(patterns: list[str]) -> Iterator[tuple[str, Any]]:
    """Cosmic-ray's operators whose names match one of the patterns."""
    from cosmic_ray.plugins import get_operator, operator_names

    for full_name in operator_names():
        name = full_name.partition("/")[2]
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            yield name, get_operator(full_name)()


def nodes(source: str) -> Iterator[Any]:
    """The parts of a text, as operators look at them."""
    from cosmic_ray.ast import ast_nodes, get_ast

    return ast_nodes(get_ast(source))


def annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Start and end of each type annotation: no test can notice that `int | None` changed."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if isinstance(part, ast.expr):
                end = (part.end_lineno or 0, part.end_col_offset or 0)
                found.append(((part.lineno, part.col_offset), end))
    return found


def mutant(module: str, source: str, line: int, name: str, occurrence: int) -> Mutant | None:
    """One mutant with the line it changes, or None if the text stays the same."""
    text = mutated(source, name, occurrence)
    before, after = source.splitlines(), text.splitlines()
    changed = [at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new]
    if not changed:
        return None
    was, becomes = before[changed[0]].strip(), after[changed[0]].strip()
    function = spans(source).get(changed[0] + 1, "")
    return Mutant(module, name, occurrence, changed[0] + 1, function, was, becomes, text)


def mutated(source: str, name: str, occurrence: int) -> str:
    """The text with one change."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    text: str = mutate_code(source, get_operator(f"core/{name}")(), occurrence)
    return text


def spans(source: str) -> dict[int, str]:
    """The innermost function of each line of a body; a signature is in none and runs at import."""
    found: dict[int, str] = {}

    def visit(node: ast.AST, path: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = path
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{path}.{child.name}".lstrip(".")
                if not isinstance(child, ast.ClassDef):
                    lines = range(child.body[0].lineno, (child.end_lineno or 0) + 1)
                    found.update(dict.fromkeys(lines, inner))
            visit(child, inner)

    visit(ast.parse(source), "")
    return found
