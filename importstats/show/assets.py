"""Assets: the script and the style of a page and of a widget, each a text complete in itself."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Final

_ROOT: Final = resources.files("importstats.show")
# The scripts that a page and a widget share, in the order in which they are read.
_SHARED: Final = ("format.js", "data.js", "state.js", "timeline.js")


@lru_cache(maxsize=1)
def plain_style() -> str:
    """The style of a page without charts: light or dark, as the reader's system is."""
    colors = f":root {{ color-scheme: light dark; {_read_own('light.css')} }}"
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {_read_own('dark.css')} }} }}"
    return "\n".join([colors, dark, _read_own("style.css")])


@lru_cache(maxsize=1)
def page_style() -> str:
    """The style of a page with charts."""
    return f"{_vendored('uPlot.min.css')}\n{plain_style()}"


@lru_cache(maxsize=1)
def page_script() -> str:
    """The script of a page, in a scope of its own, after the libraries it uses."""
    own = [_read_own(name) for name in (*_SHARED, "table.js", "address.js", "live.js", "main.js")]
    within = """"use strict";
const [root, host] = [document, document.documentElement];
const tipRoom = () => ({ left: 0, top: 0, right: innerWidth, bottom: innerHeight });"""
    libraries = [_vendored("uPlot.iife.min.js"), _vendored("signals-core.min.js")]
    return "\n".join([*libraries, "(async () => {", within, *own, "})();"])


@lru_cache(maxsize=1)
def widget_module() -> str:
    """The ECMAScript module of a widget, which exports a ``render`` for anywidget.

    Each view has a scope of its own, as a notebook may show several jobs. The module loader that
    some notebooks have is hidden from the libraries: they would register with it instead.
    """
    # matplotlib would double the start of a command that shows no widget.
    from importstats.plots.themes import DARK_MARKS, LIGHT_MARKS

    light, dark = _read_own("light.css"), _read_own("dark.css")
    colors = f":host {{ {light} }} :host(.dark) {{ {dark} }}"
    names = ("uPlot.min.css", "style.css", "widget.css")
    style = "\n".join([_vendored(names[0]), colors, *(_read_own(name) for name in names[1:])])
    return "\n".join(
        [
            _vendored("uPlot.iife.min.js"),
            "const preactSignalsCore = {};",
            "((exports, module) => {",
            _vendored("signals-core.min.js"),
            "})(preactSignalsCore, {});",
            f"const STYLE = {json.dumps(style)};",
            f"const DARK_MARKS = {json.dumps(', '.join(DARK_MARKS))};",
            f"const LIGHT_MARKS = {json.dumps(', '.join(LIGHT_MARKS))};",
            f"const SKELETON = {json.dumps(_read_own('widget.html'))};",
            "function makeView(model, host, root, tipRoom) {",
            '"use strict";',
            *(_read_own(name) for name in (*_SHARED, "widget.js")),
            "}",
            _read_own("widget_entry.js"),
        ]
    )


def _read_own(name: str) -> str:
    return (_ROOT / "page" / name).read_text(encoding="utf-8")


def _vendored(name: str) -> str:
    return (_ROOT / "vendor" / name).read_text(encoding="utf-8")
