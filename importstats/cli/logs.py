"""Logging to standard error, for people and for log collectors."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Literal


class JsonFormatter(logging.Formatter):
    """Formats each log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON: time, level, event and the event's fields."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        event = getattr(record, "event", record.getMessage())
        line = {"time": time, "level": record.levelname, "event": event}
        if (server := _server_of(record)) is not None:
            line["server"] = server
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """Formats each log record as a line of text, with the server's name if there are several."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line of text: time, level, server and message."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%Y-%m-%dT%H:%M:%S%z")
        server = _server_of(record)
        name = "" if server is None else f"[{server}] "
        line = f"{time} {record.levelname} {name}{record.getMessage()}"
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return line


def _server_of(record: logging.LogRecord) -> str | None:
    """The server whose collector logs in this thread, see :class:`importstats.Collector`."""
    return (record.threadName or "").partition("@")[2] or None


def log_to_stderr(
    form: Literal["text", "json"], *, quiet: bool = False, verbose: bool = False
) -> None:
    """Send the package's log to standard error: INFO and up, WARNING if quiet, or everything."""
    handler = logging.StreamHandler()
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter())
    logger = logging.getLogger("importstats")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)


def log_warnings_of(name: str) -> None:
    """Send a module's warnings to standard error, unless the log goes there anyway."""
    if any(logging.getLogger(each).level for each in ("importstats", name)):
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("importstats: %(levelname)s: %(message)s"))
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
