"""Build the site: ``make site``, or ``sphinx-build -W -c docs/site . build/site``.

The sources are where a code host shows them, in ``docs``, ``notebooks`` and ``data``, so the source
folder is the top of the checkout. The notebooks are shown as they were executed.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from sphinx.application import Sphinx

from importstats.version import __version__

project = "importstats"
version = release = __version__
project_copyright = "the importstats contributors, Apache-2.0"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "cyclopts.ext.sphinx",
    "sphinx_copybutton",
]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/api/*.rst",
    "docs/site/*.md",
    "notebooks/*.ipynb",
    "data/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
]

# Markdown and notebooks. Links lead to headings as on a code host.
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True

# No lexer knows crontab.
suppress_warnings = ["misc.highlighting_failure"]

# The reference. A name is documented where it is public, not where it is written.
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

templates_path = [str(Path(__file__).parent / "templates")]
html_theme = "pydata_sphinx_theme"
html_title = "importstats"
html_static_path = ["static"]
html_css_files = ["site.css"]
# The page at the top leads to the first one.
html_extra_path = ["top"]
html_theme_options = {
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"README": []}
html_copy_source = False
html_show_sourcelink = False
copybutton_prompt_text = "$ "

# A column of a frame in a docstring, as "``rows`` : Int64".
_COLUMN: Final = re.compile(r"^(\s+)``.+`` : .+$")


def _with_bodies(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Make a list of columns one that docutils reads.

    Names that stand on two lines are put on one, and a column without a description gets an empty
    one (a comment): else it is no item of the list.
    """
    lines[:] = re.sub(r"``,\n +``", "``, ``", "\n".join(lines)).split("\n")
    for place in range(len(lines) - 1, -1, -1):
        if column := _COLUMN.match(lines[place]):
            following = lines[place + 1] if place + 1 < len(lines) else ""
            if not following.startswith(column[1] + " "):
                lines[place + 1 : place + 1] = [f"{column[1]}    ..", ""]


def _copy_images(app: Sphinx, error: Exception | None) -> None:
    """Put the images where the README's HTML, which Sphinx copies as it is, looks for them."""
    if error is None:
        images = Path("docs", "images")
        for image in (Path(app.srcdir) / images).glob("*.png"):
            (app.outdir / images).mkdir(parents=True, exist_ok=True)
            shutil.copy(image, app.outdir / images)


def setup(app: Sphinx) -> None:
    """Have docstrings prepared before numpydoc reads them, and images copied at the end."""
    app.connect("autodoc-process-docstring", _with_bodies, priority=100)
    app.connect("build-finished", _copy_images)
