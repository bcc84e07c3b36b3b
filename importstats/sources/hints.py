"""Hints: a server's release as its answers show it, if the server does not report it."""

from __future__ import annotations

from typing import Final

from importstats.releases import CLOUD, Release, bounded_release, release_bounds
from importstats.sources.messages import GetImportProgressResponse

#: The first release that has ``describe``; earlier ones answer 404 to it.
HAS_DESCRIBE: Final[Release] = (2, 4, 14)

#: Earlier servers crash if they are asked for an import job that they do not know (milvus issue
#: 33671).
SURVIVES_UNKNOWN_IDS: Final[Release] = (2, 4, 5)

_SAYS_ZERO: Final[Release] = (2, 4, 3)  # Before, success is 200.
_PRINTS_PATHS: Final[Release] = (2, 4, 5)  # Before, a file name is a printed protobuf message.
_SAYS_CREATE_TIME: Final[Release] = (2, 6, 5)
_HAS_TWO_PHASES: Final[Release] = (3, 0, 0)


class VersionHints:
    """One server's release, as far as its answers show it.

    Parameters
    ----------
    version : str, optional
        The release as ``GetVersion`` prints it. If it is given, answers change nothing.
    is_cloud : bool
        Whether it is a managed cluster, which has no release of its own.

    Examples
    --------
    >>> hints = VersionHints(None)
    >>> hints.note_describe(answers=False)
    >>> hints.version, hints.survives_unknown_ids
    ('<2.4.14', False)
    """

    def __init__(self, version: str | None, *, is_cloud: bool = False) -> None:
        self._known = version or (CLOUD if is_cloud else None)
        self._least, self._end = release_bounds(self._known)

    @property
    def version(self) -> str | None:
        """The release, exact or as bounds, see :func:`~importstats.releases.release_bounds`."""
        if self._known is not None:
            return self._known
        if self._end is not None and self._least >= self._end:
            return None  # The answers contradict each other: another server, or a proxy.
        return bounded_release(self._least, self._end)

    @property
    def is_cloud(self) -> bool:
        """Whether the server is a managed cluster."""
        return self._known == CLOUD

    @property
    def survives_unknown_ids(self) -> bool:
        """Whether the server surely survives a request for a job that it does not know."""
        return self._known == CLOUD or self._least >= SURVIVES_UNKNOWN_IDS

    def note_describe(self, *, answers: bool) -> None:
        """Note whether the server has the path ``describe``."""
        if answers:
            self._least = max(self._least, HAS_DESCRIBE)
        else:
            self._is_before(HAS_DESCRIBE)

    def note_answer(self, answer: GetImportProgressResponse) -> None:
        """Note what a successful answer's fields show about the release."""
        if self._known is not None:
            return
        data = answer.data
        if answer.status == 200:
            self._is_before(_SAYS_ZERO)
        else:
            self._least = max(self._least, _SAYS_ZERO)
        if data.create_time:
            self._least = max(self._least, _SAYS_CREATE_TIME)
        if data.state in ("Uncommitted", "Committing"):
            self._least = max(self._least, _HAS_TWO_PHASES)
        if data.details and (data.details[0].file_name or "").startswith(("id:", "paths:")):
            self._is_before(_PRINTS_PATHS)

    def _is_before(self, release: Release) -> None:
        self._end = release if self._end is None else min(self._end, release)
