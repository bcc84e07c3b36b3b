"""Hatching: what keeps phases, states and lines apart for an eye that sees no colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import matplotlib
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Patch

#: One hatch per phase, as matplotlib writes hatches. That of gaps, ``/``, is none of them.
PHASE_HATCHES: Final[Mapping[str, str]] = {
    "Pending": "..",
    "PreImporting": "\\\\",
    "Resharding": "--",
    "Planning": "oo",
    "Importing": "",
    "Sorting": "||",
    "SortingOrIndexing": "xx",
    "IndexBuilding": "+",
    "Uncommitted": "o",
    "Committing": "*",
    "Completed": "",
    "Failed": "xxxx",
    "Unknown": "-.",
}

#: One hatch per state of a file that is drawn as a bar, in lower case; what waits or is done is
#: drawn as a line, and where many lines lie on each other, with these.
STATE_HATCHES: Final[Mapping[str, str]] = {
    "pending": "---",
    "none": "---",
    "": "---",
    "inprogress": "",
    "unseen": "////",
    "retry": "\\\\\\\\",
    "completed": "",
    "failed": "xxxx",
}

#: The hatch of a state that has none of its own.
OTHER_HATCH: Final = "..."

#: Hatches of things that come in any number, such as clusters.
HATCH_CYCLE: Final = ("", "\\\\\\", "...", "xx", "---", "||", "++")

#: Dashes and markers of lines that come in any number, one of each for each colour of the cycle.
DASH_CYCLE: Final = (
    *("-", "--", "-.", ":"),
    *((0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (9, 3)), (0, (3, 1))),
)
MARKER_CYCLE: Final = ("o", "s", "^", "D", "v", "P", "X", "*")


#: How much of its colour a pale area has.
PALE: Final = 0.3


def paper() -> str:
    """The colour of what is drawn on, also where that is transparent."""
    return to_hex(matplotlib.rcParams["axes.facecolor"])


def ink() -> str:
    """The colour of texts, and of the lines that show what was measured."""
    return to_hex(matplotlib.rcParams["text.color"])


def area(color: str) -> dict[str, Any]:
    """How an area is drawn that others are seen through: pale, with an edge that is not.

    Examples
    --------
    >>> area("#0072B2")["edgecolor"]
    '#0072B2'
    """
    return {"facecolor": (*to_rgb(color), PALE), "edgecolor": color, "linewidth": 0.8}


def filled(color: str, hatch: str) -> dict[str, Any]:
    """How a shape of a colour is filled: with a hatch in the colour of the paper, if any.

    Examples
    --------
    >>> filled("#0072B2", "xx")
    {'facecolor': '#0072B2', 'hatch': 'xx', 'edgecolor': '#ffffff', 'linewidth': 0}
    """
    return {"facecolor": color, "hatch": hatch or None, "edgecolor": paper(), "linewidth": 0}


def swatch(name: str, color: str, hatch: str) -> Patch:
    """A thing's colour and hatch in a legend."""
    return Patch(label=name, **filled(color, hatch))
