"""Check what was built: that the wheel holds the tracked files of the package, and no others.

    python -m build && python .ci/wheel.py dist

With ``--tag`` and ``--repository``, as the publishing workflow calls it, the version must be the
tag's and the project's address the repository's.
"""

from __future__ import annotations

import argparse
import email
import email.message
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tracked() -> set[str]:
    """The files that belong into the wheel, as it names them."""
    listed = subprocess.run(
        ["git", "ls-files", "importstats", "data"],  # noqa: S607
        cwd=ROOT, check=False, capture_output=True, text=True,
    ).stdout.splitlines() or files()  # fmt: skip
    return {f"importstats/{name}" if name.startswith("data/") else name for name in listed}


def files() -> list[str]:
    """The files there are, for a checkout that is not one of git, such as an unpacked archive."""
    found = [path for name in ("importstats", "data") for path in (ROOT / name).rglob("*")]
    return [
        path.relative_to(ROOT).as_posix()
        for path in found
        if path.is_file() and path.parent.name != "__pycache__"
    ]


def problems(wheel: Path, tag: str | None, repository: str | None) -> Iterator[str]:
    """What is wrong with a wheel, a line each."""
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(opened.read(metadata))
    folder = metadata.removesuffix("METADATA")
    held = {name for name in names if not name.startswith(folder)}
    yield from (f"missing: {name}" for name in sorted(tracked() - held))
    yield from (f"does not belong: {name}" for name in sorted(held - tracked()))
    if f"{folder}licenses/LICENSE" not in names:
        yield "missing: the license"
    if tag is not None and tag != f"v{about['Version']}":
        yield f"the tag is {tag}, the version {about['Version']}"
    if repository is not None and repository not in addresses(about):
        yield f"[project.urls] does not name {repository}"


def addresses(about: email.message.Message) -> set[str]:
    """The addresses of the project that the metadata names."""
    return {str(url).partition(", ")[2] for url in about.get_all("Project-URL", [])}


def main() -> int:
    """Print what is wrong; 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--tag")
    parser.add_argument("--repository")
    given = parser.parse_args()
    [wheel] = given.dist.glob("*.whl")
    found = list(problems(wheel, given.tag, given.repository))
    sys.stdout.writelines(f"{line}\n" for line in found or [f"{wheel.name} holds what it should"])
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
