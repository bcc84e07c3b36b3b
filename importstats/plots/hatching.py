"""Hatching: how phases, states and lines differ for a reader who sees no colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import matplotlib
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Patch

#: One hatch per phase, as matplotlib writes hatches. None is ``/``, which marks gaps.
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

#: One hatch per file state, in lower case, for states drawn as a bar. Waiting and finished files
#: are drawn as lines; where many lines overlap, they have these hatches too.
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

#: The hatch of all other states.
OTHER_HATCH: Final = "..."

#: Hatches for things of which there can be any number, such as clusters.
HATCH_CYCLE: Final = ("", "\\\\\\", "...", "xx", "---", "||", "++")

#: Dashes and markers for any number of lines, one of each for each colour of the cycle.
DASH_CYCLE: Final = (
    *("-", "--", "-.", ":"),
    *((0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (9, 3)), (0, (3, 1))),
)
MARKER_CYCLE: Final = ("o", "s", "^", "D", "v", "P", "X", "*")


#: How strong the colour of a pale area is.
PALE: Final = 0.3


def paper() -> str:
    """The colour of the paper, even if the figure's background is transparent."""
    return to_hex(matplotlib.rcParams["axes.facecolor"])


def ink() -> str:
    """The colour of texts and of lines that show measurements."""
    return to_hex(matplotlib.rcParams["text.color"])


def area(color: str) -> dict[str, Any]:
    """Settings for an area that does not hide what is behind it: pale, with a strong edge.

    Examples
    --------
    >>> area("#0072B2")["edgecolor"]
    '#0072B2'
    """
    return {"facecolor": (*to_rgb(color), PALE), "edgecolor": color, "linewidth": 0.8}


def filled(color: str, hatch: str) -> dict[str, Any]:
    """Settings to fill a shape with a colour, and with a hatch in the paper's colour if given.

    Examples
    --------
    >>> filled("#0072B2", "xx")
    {'facecolor': '#0072B2', 'hatch': 'xx', 'edgecolor': '#ffffff', 'linewidth': 0}
    """
    return {"facecolor": color, "hatch": hatch or None, "edgecolor": paper(), "linewidth": 0}


def swatch(name: str, color: str, hatch: str) -> Patch:
    """A legend entry with a colour and a hatch."""
    return Patch(label=name, **filled(color, hatch))
