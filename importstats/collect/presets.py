"""Events in the formats of services: Slack, Teams, PagerDuty, OpenLineage.

Each function turns an event into the body of a request, or ``None`` if the service has no use for
it. A server's texts (a reason, a file name) are never where the service would read markup.
"""

from __future__ import annotations

import html
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from importstats.version import __version__

Event = Mapping[str, Any]
Body = Mapping[str, Any]

#: How severe an event is for the person on call. The others are not incidents.
SEVERITIES: Final = {
    "failed": "critical",
    "stalled": "error",
    "forgotten": "error",
    "rows_differ": "error",
    "late": "warning",
    "waits_for_commit": "warning",
    "gap": "warning",
}
_SUMMARY_CHARACTERS: Final = 1024  # PagerDuty refuses longer texts.
_SECTION_CHARACTERS: Final = 3000  # Slack refuses longer texts.
_PRODUCER: Final = f"https://github.com/importstats/importstats/tree/v{__version__}"
_LINEAGE: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS: Final = "https://openlineage.io/spec/facets/1-0-1"
_LINEAGE_TYPES: Final = {"started": "START", "finished": "COMPLETE", "failed": "FAIL"}


def slack(event: Event) -> Body:
    """A message for an incoming webhook of Slack: the sentence, and the job's state.

    Examples
    --------
    >>> slack({"text": "importstats: job 7 failed. no such file", "phase": None})
    {'text': 'importstats: job 7 failed. no such file'}
    """
    text = event["text"][:_SECTION_CHARACTERS]
    facts = [f"*{name}*\n{html.escape(value, quote=False)}" for name, value in _named_values(event)]
    if not facts:
        return {"text": text}
    blocks = [
        # Plain text is escaped, and no asterisk or underscore in a file name means anything.
        {"type": "section", "text": {"type": "plain_text", "text": plain(event)}},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": fact} for fact in facts]},
    ]
    return {"text": text, "blocks": blocks}


def teams(event: Event) -> Body:
    """An Adaptive Card for a workflow in Teams that starts with a webhook request."""
    # A run of rich text is shown as it is, while a TextBlock would read Markdown in it.
    sentence = {"type": "TextRun", "text": plain(event), "weight": "Bolder"}
    facts = [{"title": name, "value": _escape_marks(value)} for name, value in _named_values(event)]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "RichTextBlock", "inlines": [sentence]},
            *([{"type": "FactSet", "facts": facts}] if facts else []),
        ],
    }
    content_type = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": content_type, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def pagerduty(event: Event, routing_key: str) -> Body | None:
    """An event for PagerDuty's Events API v2: one incident per job, resolved when it finishes."""
    key = {"routing_key": routing_key, "dedup_key": str(_run_id(event))}
    if event["event"] == "finished":
        return {**key, "event_action": "resolve"}
    if event["event"] not in SEVERITIES:
        return None
    payload = {
        "summary": plain(event)[:_SUMMARY_CHARACTERS],
        "source": event["source_uri"],
        "severity": SEVERITIES[event["event"]],
        "timestamp": event["occurred_at"],
        "component": event["collection_name"],
        "group": event["job_id"],
        "class": event["event"],
        "custom_details": dict(event),
    }
    known = {name: value for name, value in payload.items() if value is not None}
    return {**key, "event_action": "trigger", "payload": known}


def openlineage(event: Event) -> Body:
    """A run event of OpenLineage: its job is the import into a collection, its run our job."""
    host = urlsplit(event["source_uri"])
    collection = event["collection_name"] or "unknown"
    # https://openlineage.io/docs/spec/naming: the scheme of the system, its host, its object.
    namespace = f"milvus://{host.netloc}{host.path}"
    facets = {}
    if event["event"] == "failed":
        facets["errorMessage"] = {
            "_producer": _PRODUCER,
            "_schemaURL": f"{_FACETS}/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
            "message": event["message"],
            "programmingLanguage": "unknown",
        }
    return {
        "eventType": _LINEAGE_TYPES.get(event["event"], "OTHER"),
        "eventTime": event["occurred_at"],
        "run": {"runId": str(_run_id(event)), "facets": facets},
        "job": {"namespace": namespace, "name": f"import.{collection}"},
        "inputs": [],
        "outputs": [{"namespace": namespace, "name": collection}],
        "producer": _PRODUCER,
        "schemaURL": _LINEAGE,
    }


#: The presets that need only the event. PagerDuty also needs a key.
PRESETS: Final[Mapping[str, Callable[[Event], Body | None]]] = {
    "slack": slack,
    "teams": teams,
    "openlineage": openlineage,
}


def plain(event: Event) -> str:
    """An event's sentence without its escapes for Slack.

    Examples
    --------
    >>> plain({"text": "importstats: job 7 (a&lt;b) finished."})
    'importstats: job 7 (a<b) finished.'
    """
    return html.unescape(event["text"])


def _named_values(event: Event) -> list[tuple[str, str]]:
    """The other known facts of an event, as names and values."""
    names = {"phase": "Phase", "progress_pct": "Progress", "eta_p50": "Ends about"}
    units = {"progress_pct": " %"}
    return [
        (name, f"{event[field]:g}{units[field]}" if field in units else str(event[field]))
        for field, name in names.items()
        if event.get(field) is not None
    ]


def _escape_marks(text: str) -> str:
    """The text without characters that an Adaptive Card would read as Markdown."""
    return text.translate({ord(mark): f"\\{mark}" for mark in r"\`*_[]()#!"})


def _run_id(event: Event) -> uuid.UUID:
    """The same key for all events of a job, from every collector."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{event['source_uri']} {event['job_id']}")
