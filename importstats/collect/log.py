"""The collector's log: events with fields, as text for people and as fields for JSON."""

from __future__ import annotations

import logging
from typing import Final

from importstats.text import printable

logger: Final = logging.getLogger("importstats.collect")


def log_event(level: int, event: str, **fields: object) -> None:
    """Log an event with its fields: as ``key=value`` text, and as ``record.fields`` for JSON.

    A field with ``None`` is left out of the text. A server's text is made printable.
    """
    shown = {
        name: value if value is None or isinstance(value, int | float) else printable(str(value))
        for name, value in fields.items()
    }
    text = " ".join(f"{name}={value}" for name, value in shown.items() if value is not None)
    logger.log(level, "%s %s", event, text, extra={"event": event, "fields": shown})
