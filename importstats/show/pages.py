"""Pages: the package's HTML templates, filled so that no value can act as markup."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from importstats.analysis.ranking import delay_text
from importstats.plots.style import PHASE_COLORS, VERDICT_COLORS
from importstats.text import (
    UNKNOWN,
    format_bytes,
    format_count,
    format_duration,
    format_percent,
    format_rate,
    format_time,
    printable,
)


def render(package: str, template: str, **values: Any) -> str:
    """Fill a template from a package's folder ``templates``; every value is escaped.

    Templates can use the formats of :mod:`importstats.text`, the colours of
    :mod:`importstats.plots`, and ``name``, which makes one printable line of a server's text.
    """
    return _template_environment(package).get_template(template).render(values)


def csp_hash(text: str) -> str:
    """The hash of a style or script, as a content-security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@lru_cache(maxsize=4)
def _template_environment(package: str) -> Environment:
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        name=_printable_name,
        bytes=format_bytes,
        count=format_count,
        delay=delay_text,
        duration=format_duration,
        percent=format_percent,
        rate=format_rate,
        time=format_time,
    )
    environment.globals.update(phase_colors=PHASE_COLORS, verdict_colors=VERDICT_COLORS)
    return environment


def _printable_name(text: object, limit: int = 120) -> str:
    return UNKNOWN if pd.isna(text) else printable(str(text), limit)  # type: ignore[call-overload]
