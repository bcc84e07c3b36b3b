"""Servers' releases, from versions that are exact or only bounds."""

from __future__ import annotations

import re
from typing import Final

Release = tuple[int, int, int]

#: The version of a managed cluster, which has no release of its own.
CLOUD: Final = "cloud"

_EXACT: Final = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?![\d.])", re.ASCII)
_BOUND: Final = re.compile(r"\s*(>=|<)\s*(\d+)\.(\d+)\.(\d+)\s*", re.ASCII)


def release_bounds(version: str | None) -> tuple[Release, Release | None]:
    """The least release that a version can be, and the first above it that it is not.

    Parameters
    ----------
    version : str, optional
        A version as Milvus' ``GetVersion`` prints it (``v2.6.4``, ``2.5.10-dev``), or bounds as in
        PEP 440 (``>=2.4.3,<2.4.14``). Anything else has no bounds.

    Returns
    -------
    tuple of (tuple, tuple or None)
        Both as (major, minor, patch); ``None`` for no upper bound.

    Examples
    --------
    >>> release_bounds("v2.6.4-gpu")
    ((2, 6, 4), (2, 6, 5))
    >>> release_bounds("<2.4.14"), release_bounds(">=2.4.3,<2.4.14")
    (((0, 0, 0), (2, 4, 14)), ((2, 4, 3), (2, 4, 14)))
    >>> release_bounds("2.5"), release_bounds("cloud"), release_bounds(None)
    (((2, 5, 0), (2, 6, 0)), ((0, 0, 0), None), ((0, 0, 0), None))
    """
    text = (version or "").strip()
    exact = _EXACT.match(text)
    if exact:
        major, minor = int(exact[1]), int(exact[2])
        if exact[3] is None:
            return (major, minor, 0), (major, minor + 1, 0)
        return (major, minor, int(exact[3])), (major, minor, int(exact[3]) + 1)
    least: Release = (0, 0, 0)
    end: Release | None = None
    for part in text.split(","):
        bound = _BOUND.fullmatch(part)
        if bound is None:
            return (0, 0, 0), None
        release = (int(bound[2]), int(bound[3]), int(bound[4]))
        if bound[1] == ">=":
            least = max(least, release)
        else:
            end = release if end is None else min(end, release)
    return least, end


def bounded_release(least: Release, end: Release | None) -> str | None:
    """The bounds as text that :func:`release_bounds` reads; ``None`` if there are none.

    Examples
    --------
    >>> bounded_release((2, 4, 3), (2, 4, 14)), bounded_release((0, 0, 0), None)
    ('>=2.4.3,<2.4.14', None)
    """
    bounds = [] if least == (0, 0, 0) else [f">={_release_text(least)}"]
    if end is not None:
        bounds.append(f"<{_release_text(end)}")
    return ",".join(bounds) or None


def _release_text(release: Release) -> str:
    return ".".join(map(str, release))
