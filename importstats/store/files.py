"""Whole files in a folder or a bucket: durable writes, and errors that explain."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.fs as pafs

from importstats.errors import StoreError
from importstats.store.disk import Disk
from importstats.text import excerpt, without_secrets


class Files:
    """Whole files below the root of the store, on disk or in a bucket, with errors that explain."""

    def __init__(self, path_or_uri: str | os.PathLike[str], filesystem: pafs.FileSystem | None):
        text = os.fspath(path_or_uri)
        if filesystem is not None:
            self.filesystem, self.root, self.uri = filesystem, text.rstrip("/"), text
        elif re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", text):
            self.uri = without_secrets(text)
            with self.explained("open", ""):
                self.filesystem, self.root = pafs.FileSystem.from_uri(_tuned(text))
        else:
            self.root = str(Path(text).expanduser().absolute())
            self.filesystem, self.uri = pafs.LocalFileSystem(), self.root
        self.is_local = isinstance(self.filesystem, pafs.LocalFileSystem)
        self._disk = Disk(self.root)

    def full(self, path: str) -> str:
        """The path with the root, as the file system takes it."""
        return f"{self.root}/{path}" if path else self.root

    @contextmanager
    def explained(
        self, action: str, path: str, *, but: tuple[type[OSError], ...] = ()
    ) -> Iterator[None]:
        """Turn a failure of the file system into a :class:`StoreError` with a one-line message."""
        where = f"{self.uri.rstrip('/')}/{path}".rstrip("/")
        try:
            yield
        except but:
            raise
        except (OSError, pa.ArrowException) as error:
            reason = _REASONS.get(getattr(error, "errno", None) or 0)
            reason = reason or excerpt(str(error).partition(" (Request ID")[0], 300)
            raise StoreError(f"cannot {action} {where}: {reason}") from error

    def put(self, path: str, content: pa.Buffer | bytes) -> None:
        """Make a file appear whole and durable, or not at all."""
        with self.explained("write", path):
            if self.is_local:
                self._disk.put(path, content)
            else:
                with self.filesystem.open_output_stream(self.full(path)) as stream:
                    stream.write(content)

    def put_new(self, path: str, content: bytes) -> bool:
        """Make a file appear whole and durable unless one has its name; returns whether it did.

        In a bucket another writer may make one at the same time; the later one stands.
        """
        with self.explained("write", path):
            if self.is_local:
                return self._disk.put_new(path, content)
        if self.exists(path):
            return False
        self.put(path, content)
        return True

    def entries(self, folder: str, *, recursive: bool = False) -> list[pafs.FileInfo]:
        """The entries of a folder; none if there is no such folder."""
        selector = pafs.FileSelector(self.full(folder), allow_not_found=True, recursive=recursive)
        with self.explained("list", folder):
            infos: list[pafs.FileInfo] = self.filesystem.get_file_info(selector)
        return infos

    def relative(self, info: pafs.FileInfo) -> str:
        """An entry's path below the root."""
        path: str = info.path
        return path[len(self.root) :].lstrip("/")

    def is_not_yet_whole(self, info: pafs.FileInfo) -> bool:
        """Whether the listing shows a file before its first byte, as Azure does until it is closed.

        On a disk a file appears whole, so an empty one is damaged.
        """
        return not self.is_local and info.type == pafs.FileType.File and info.size == 0

    def exists(self, path: str) -> bool:
        """Whether a file or folder exists."""
        with self.explained("read", path):
            info = self.filesystem.get_file_info(self.full(path))
        return bool(info.type != pafs.FileType.NotFound)

    def modified_ms(self, path: str) -> int:
        """A file's last change in milliseconds since 1970; 0 if there is no such file."""
        with self.explained("read", path):
            info = self.filesystem.get_file_info(self.full(path))
        return (info.mtime_ns or 0) // 10**6

    def read(self, path: str) -> pa.Buffer:
        """The bytes of a file. Raises FileNotFoundError if it is missing."""
        with (
            self.explained("read", path, but=(FileNotFoundError,)),
            self.filesystem.open_input_stream(self.full(path)) as stream,
        ):
            return stream.read_buffer()

    def source(self, path: str) -> tuple[str | pa.BufferReader, pafs.FileSystem | None]:
        """A file's path and file system for Parquet, or the bytes of a small file on a disk.

        To read these column by column would take longer than all else. A missing file raises
        FileNotFoundError, now or when it is read.
        """
        full = self.full(path)
        if self.is_local:
            descriptor = os.open(full, os.O_RDONLY)
            try:
                size = os.fstat(descriptor).st_size
                if size <= _SMALL_BYTES and len(content := os.read(descriptor, size)) == size:
                    return pa.BufferReader(content), None
            finally:
                os.close(descriptor)
        return full, self.filesystem

    def delete(self, path: str) -> None:
        """Delete a file if it exists."""
        with self.explained("delete", path), suppress(FileNotFoundError):
            self.filesystem.delete_file(self.full(path))

    def move(self, path: str, target: str) -> None:
        """Move a file to a path whose folder need not exist."""
        with self.explained("move", path):
            if not self.is_local:
                self.filesystem.move(self.full(path), self.full(target))
                return
            source, aim = Path(self.full(path)), Path(self.full(target))
            aim.parent.mkdir(parents=True, exist_ok=True)
            try:
                source.rename(aim)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._disk.put(target, source.read_bytes())
                source.unlink()


_SMALL_BYTES: Final = 2**20

_REASONS: Final = {
    errno.ENOSPC: "no space left on the device; free some, or choose another store",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another store",
    errno.EFBIG: "the file would exceed the size limit (ulimit -f); raise the limit",
    errno.EACCES: "permission denied; check the owner and mode of the folder",
    errno.EPERM: "permission denied; check the owner and mode of the folder",
    errno.EROFS: "the file system is read-only; choose another store",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another store",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter one",
}


def _tuned(uri: str) -> str:
    # Without this option pyarrow sends three requests (a multipart upload) for a tiny object.
    if uri.startswith("s3://") and "allow_delayed_open" not in uri:
        return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"
    return uri
