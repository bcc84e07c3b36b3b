"""Durable writes on a disk: a file appears whole, or not at all, and survives a power cut."""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import pyarrow as pa

_T = TypeVar("_T")

TEMPORARY: Final = "_tmp"

#: The most folders to remember, at some hundred bytes each.
_MOST_FOLDERS: Final = 100_000


class Disk:
    """Writes files below a folder, from any number of threads.

    A file is safe if its bytes, its entry in its folder, and the entries of all folders above are
    synced. Each folder's entry is synced once, also if another process made it: that process may
    not have done so yet.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._safe: set[str] = set()
        self._locks: dict[str, threading.Lock] = {}

    def __reduce__(self) -> tuple[type[Disk], tuple[str]]:
        return Disk, (self._root,)

    def put(self, path: str, content: pa.Buffer | bytes) -> None:
        """Make a whole file appear, or replace one."""
        target = f"{self._root}/{path}"
        folder, name = os.path.split(target)
        unique = f"{name}.{secrets.token_hex(6)}"
        temporary = f"{self._root}/{TEMPORARY}"
        try:
            # Not beside the target: some tools read every file of a folder, whatever its name.
            self._in_folders(
                (temporary, folder),
                lambda: _write_and_rename(f"{temporary}/{unique}", folder, target, content),
            )
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # The folder is a link to another file system, to which nothing can be renamed.
            self._in_folders(
                (folder,), lambda: _write_and_rename(f"{folder}/.{unique}", folder, target, content)
            )

    def put_new(self, path: str, content: bytes) -> bool:
        """Make a whole file appear unless one has its name; returns whether it did."""
        target = f"{self._root}/{path}"
        folder, name = os.path.split(target)
        temporary = f"{folder}/.{name}.{secrets.token_hex(6)}"
        return self._in_folders(
            (folder,), lambda: _write_and_link(temporary, folder, target, content)
        )

    def _in_folders(self, folders: tuple[str, ...], work: Callable[[], _T]) -> _T:
        """Make folders and do some work in them; once more if a folder was deleted meanwhile."""
        for folder in folders:
            self._keep(folder)
        try:
            return work()
        except FileNotFoundError:
            self._safe.clear()
            for folder in folders:
                self._keep(folder)
            return work()

    def _keep(self, folder: str) -> None:
        """Create a folder and its parents if they are missing, and sync their entries."""
        if folder in self._safe:
            return
        with self._locks.setdefault(folder, threading.Lock()):
            if folder not in self._safe:
                self._make(folder)
        self._locks.pop(folder, None)

    def _make(self, folder: str) -> None:
        parent = os.path.dirname(folder)
        if len(folder) > len(self._root) or not os.path.isdir(parent):
            self._keep(parent)
        if len(self._safe) > _MOST_FOLDERS:
            self._safe.clear()
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise
            # Above the root even the owner of the store may lack the permission to look.
            with suppress(PermissionError):
                beside = os.listdir(parent) if len(folder) > len(self._root) else []
                _sync_folder(parent)
                self._safe.update(f"{parent}/{name}" for name in beside)
        else:
            _sync_folder(parent)
        self._safe.add(folder)


def is_temporary(name: str) -> bool:
    """Whether a file beside the store's own is an unfinished one."""
    return _BESIDE.fullmatch(name) is not None


_BESIDE: Final = re.compile(r"\..+\.[0-9a-f]{12}")


def _write_and_rename(temporary: str, folder: str, target: str, content: pa.Buffer | bytes) -> None:
    made = [temporary]
    try:
        _write_synced(temporary, content)
        # A file that was there before stays, whatever happens.
        if not os.path.lexists(target):
            made.append(target)
        os.rename(temporary, target)
        _sync_folder(folder)
    except BaseException:
        for leftover in made:
            with suppress(OSError):
                os.unlink(leftover)
        raise


def _write_and_link(temporary: str, folder: str, target: str, content: bytes) -> bool:
    try:
        _write_synced(temporary, content)
        # Unlike a rename, a link fails if there is a file of the name.
        os.link(temporary, target)
        _sync_folder(folder)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    return True


def _write_synced(path: str, content: pa.Buffer | bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
