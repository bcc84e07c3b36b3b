"""A model of a disk that loses power: what was done to a folder, and what may be left of it.

What was not synced is there, or lost, or torn, in any combination and whatever the order, as in
ALICE (Pillai et al., "All file systems are not created equal", OSDI 2014).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from importstats.store.files import Files

# --- Recording ------------------------------------------------------------------------------------


@dataclass
class Recording:
    """Every change of a folder, in its order: an operation and what it is about."""

    root: Path
    operations: list[tuple[Any, ...]] = field(default_factory=list)

    def note(self, *operation: Any) -> None:
        self.operations.append(operation)

    def name(self, path: object) -> str:
        return str(Path(str(path)).relative_to(self.root))


@contextmanager
def recorded(root: Path) -> Iterator[Recording]:
    """Record all that `Files` does below a folder."""
    recording = Recording(root)
    real_open, real_fsync, real_delete = os.open, os.fsync, Files.delete

    def open_(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        opened = real_open(path, flags, *rest, **options)
        if flags & os.O_EXCL:
            recording.note("create", recording.name(path))
        return opened

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            if path.is_relative_to(root):
                recording.note("sync folder", recording.name(path))
        elif path.exists():  # Else somebody has deleted what is being written.
            recording.note("sync", recording.name(path), path.read_bytes())

    def delete(self: Files, path: str) -> None:
        if Path(self.full(path)).exists():
            recording.note("unlink", path)
        real_delete(self, path)

    def noting(kind: str, paths: int) -> Any:
        real = getattr(os, kind)

        def run(*arguments: Any, **options: Any) -> Any:
            result = real(*arguments, **options)
            recording.note(kind, *map(recording.name, arguments[:paths]))
            return result

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", open_)
        patch.setattr(os, "fsync", fsync)
        patch.setattr(Files, "delete", delete)
        for kind, paths in {"rename": 2, "unlink": 1, "mkdir": 1, "link": 2}.items():
            patch.setattr(os, kind, noting(kind, paths))
        yield recording
    assert real_fsync is os.fsync


# --- What a disk may hold -------------------------------------------------------------------------


@dataclass
class Inode:
    content: bytes = b""
    is_synced: bool = False


class Disk:
    """A disk that was given some operations and then lost power."""

    def __init__(self) -> None:
        self.entries: dict[str, Inode | None] = {}  # As the process sees them; None is a folder.
        self.durable: dict[str, Inode | None] = {}
        self.pending: dict[str, list[tuple[str, Inode | None, bool]]] = {}
        self.stored: list[int] = []
        self.to_deliver: list[int] = []

    def begin(self, kept: dict[str, bytes | None]) -> None:
        """Let these files and folders be there from the start, and safe."""
        self.entries = {
            path: None if content is None else Inode(content, is_synced=True)
            for path, content in kept.items()
        }
        self.durable = dict(self.entries)

    def change(self, path: str, inode: Inode | None, *, is_there: bool) -> None:
        if is_there:
            self.entries[path] = inode
        else:
            self.entries.pop(path, None)
        self.pending.setdefault(os.path.dirname(path), []).append((path, inode, is_there))  # noqa: PTH120

    def apply(self, kind: str, *rest: Any) -> None:
        if kind == "create":
            self.change(rest[0], Inode(), is_there=True)
        elif kind == "mkdir":
            if rest[0] not in self.entries and rest[0] != ".":
                self.change(rest[0], None, is_there=True)
        elif kind == "sync":
            inode = self.entries[rest[0]]
            assert inode is not None
            inode.content, inode.is_synced = rest[1], True
        elif kind == "sync folder":
            folder = "" if rest[0] == "." else rest[0]
            for path, inode, is_there in self.pending.pop(folder, []):
                self.settle(self.durable, path, inode, is_there)
        elif kind == "rename":
            inode = self.entries[rest[0]]
            self.change(rest[1], inode, is_there=True)
            self.change(rest[0], inode, is_there=False)
        elif kind == "link":
            self.change(rest[1], self.entries[rest[0]], is_there=True)
        elif kind == "unlink":
            self.change(rest[0], None, is_there=False)
        elif kind == "stored":
            self.stored.append(rest[0])
        elif kind == "to deliver":
            self.to_deliver.append(rest[0])

    @staticmethod
    def settle(
        entries: dict[str, Inode | None], path: str, inode: Inode | None, is_there: bool
    ) -> None:
        if is_there:
            entries[path] = inode
        else:
            entries.pop(path, None)

    def after_the_cut(self, rng: random.Random) -> dict[str, bytes | None]:
        """One of the states that are legal: any of what was not synced, whole, torn or lost."""
        survived = dict(self.durable)
        likely = rng.choice([0.0, 0.2, 0.5, 0.8, 1.0])
        for changes in self.pending.values():
            for path, inode, is_there in changes:
                if rng.random() < likely:
                    self.settle(survived, path, inode, is_there)
        return {
            path: None if inode is None else self.content(inode, rng)
            for path, inode in survived.items()
            if all(str(parent) in survived for parent in Path(path).parents if parent.name)
        }

    @staticmethod
    def content(inode: Inode, rng: random.Random) -> bytes:
        if inode.is_synced:
            return inode.content
        torn = inode.content[: rng.randint(0, len(inode.content))]
        return rng.choice([b"", torn, bytes(len(inode.content))])


def write_out(state: dict[str, bytes | None], root: Path) -> None:
    root.mkdir()
    for path in sorted(state):
        content = state[path]
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)
