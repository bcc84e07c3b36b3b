"""Store segments: the units of a store, whose names say what they hold."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importstats.arrays import Bools, Ints
from importstats.store.schema import TIMESTAMP

TableName = Literal["jobs", "details"]
SUFFIX: Final = ".parquet"


def slug(identifier: str) -> str:
    """A folder name for a text that a server or user chose: safe, bounded, one to one.

    A short plain identifier of lower-case letters, digits, ``-`` and ``_`` stands as it is.
    Anything else becomes a readable remnant, ``~`` and 80 bits of its BLAKE2b hash; a plain one has
    no ``~``, so the two kinds cannot collide. Upper case is not plain, because some file systems
    ignore case; nor are numbers beyond int64 or with a leading zero, because tools that guess types
    from folder names would confuse them.

    Examples
    --------
    >>> slug("449839014328146740")
    '449839014328146740'
    >>> slug("../../etc/passwd")
    'etc-passwd~b8860ee917d4e3d10f7c'
    """
    if is_plain(identifier):
        return identifier
    remnant = re.sub(r"[^a-z0-9_.]+", "-", identifier.lower().removeprefix("https://"))
    digest = hashlib.blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=10)
    return f"{remnant[:48].strip('-._')}~{digest.hexdigest()}"


def is_plain(identifier: str) -> bool:
    """Whether an identifier is its own slug; so is every slug that has no ``~``."""
    return _PLAIN.fullmatch(identifier) is not None


_PLAIN: Final = re.compile(r"0|[1-9][0-9]{0,17}|(?=.*[a-z])[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")


class JobFolder(NamedTuple):
    """One job's folder, below either table's folder."""

    cluster: str
    job: str

    @property
    def folder(self) -> str:
        """The folder's path below a table's folder."""
        return f"cluster={self.cluster}/job={self.job}"


class Segment(NamedTuple):
    """A segment from its file name. Segments sort by preference, which is by level, then name."""

    level: int
    name: str
    first: str
    last: str
    job: JobFolder

    def path(self, table: TableName) -> str:
        """The path of its file in a table, below the store's root."""
        return f"{table}/{self.job.folder}/{self.name}{SUFFIX}"

    @classmethod
    def create(cls, job: JobFolder, level: int, observed_at: pa.ChunkedArray) -> Segment:
        """A new segment with a unique name. Raises ValueError for times beyond the year 9999."""
        span = pc.min_max(observed_at.cast(pa.int64())).as_py()
        first, last = _time_text(span["min"]), _time_text(span["max"])
        name = f"{first}-{last}-L{level}-{secrets.token_hex(6)}"
        if not _SEGMENT_NAME.fullmatch(name):
            raise ValueError("observed_at lies outside the years 1 to 9999")
        return cls(level, name, first, last, job)

    @classmethod
    def parse(cls, job: JobFolder, file_name: str) -> Segment | None:
        """The segment from a file's name, or ``None`` if the name is not a segment's."""
        name = file_name.removesuffix(SUFFIX)
        match = _SEGMENT_NAME.fullmatch(name)
        if match is None or name == file_name:
            return None
        return cls(int(match["level"]), name, match["first"], match["last"], job)


_TIME: Final = r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z"
_SEGMENT_NAME: Final = re.compile(
    rf"(?P<first>{_TIME})-(?P<last>{_TIME})-L(?P<level>[0-9]+)-[0-9a-f]{{12}}"
)


def _time_text(microseconds: int) -> str:
    """Microseconds since 1970 as a text for file names that sorts by time."""
    return str(np.datetime64(microseconds, "us")).replace("-", "").replace(":", "") + "Z"


class Period(NamedTuple):
    """A period that includes both ends, in microseconds since 1970; ``None`` is open."""

    since: int | None
    until: int | None

    @classmethod
    def from_times(cls, since: datetime | None, until: datetime | None) -> Period:
        """The period between datetimes. Raises ValueError if one has no time zone."""
        return cls(_microseconds(since, "since"), _microseconds(until, "until"))

    def may_hold(self, segment: Segment) -> bool:
        """Whether a segment can hold snapshots of the period, by its name."""
        return (self.since is None or segment.last >= _time_text(self.since)) and (
            self.until is None or segment.first <= _time_text(self.until)
        )

    def mask(self, times: Ints) -> Bools:
        """Which of these times lie in the period."""
        inside = np.ones(len(times), bool)
        if self.since is not None:
            inside &= times >= self.since
        if self.until is not None:
            inside &= times <= self.until
        return inside


def _microseconds(when: datetime | None, name: str) -> int | None:
    if when is None:
        return None
    if when.tzinfo is None:
        raise ValueError(f"{name} has no time zone; snapshots are timed in UTC")
    microseconds: int = pa.scalar(when.astimezone(UTC), TIMESTAMP).cast(pa.int64()).as_py()
    return microseconds


ALWAYS: Final = Period(None, None)
