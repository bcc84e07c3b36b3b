"""Presets: what Slack, Teams, PagerDuty and OpenLineage get has the form that they document."""

import json
import os
import sys

import jsonschema
import pytest
from receiving import EVENT, Receiver

from importstats.analysis.job_events import EVENTS
from importstats.collect.presets import SEVERITIES
from importstats.collect.targets import DeliveryError, parse_targets
from importstats.errors import UsageError

KEY = "0123456789abcdef0123456789abcdef"
SENTENCE = "importstats: job 7 (a&lt;!channel&gt;*b*) is late. [x](http://evil) &amp; more"
EVENTFUL = {
    **EVENT,
    "event": "late",
    "text": SENTENCE,
    "occurred_at": "2026-05-18T08:26:00.000000Z",
    "source_uri": "http://milvus:19530",
    "phase": "Importing",
    "progress_pct": 69.0,
    "imported_rows": None,
    "eta_p50": "2026-05-18T09:27:41.000000Z",
    "message": "[x](http://evil) & more",
}


def text(most):
    return {"type": "string", "minLength": 1, "maxLength": most}


def struct(required, **fields):
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


# What each service documents for the parts that we send: api.slack.com/reference/block-kit,
# adaptivecards.io/explorer and "Create incoming webhooks with Workflows" of Microsoft,
# "Send an alert event" of PagerDuty's Events API v2, openlineage.io/apidocs/openapi.
SLACK_TEXT = struct("type text", type={"enum": ["plain_text", "mrkdwn"]}, text=text(3000))
SLACK = struct(
    "text",
    text=text(40_000),
    blocks={
        "type": "array",
        "maxItems": 50,
        "items": struct(
            "type",
            type={"const": "section"},
            text=SLACK_TEXT,
            fields={
                "type": "array",
                "maxItems": 10,
                "items": {**SLACK_TEXT, "properties": {"type": {}, "text": text(2000)}},
            },
        ),
    },
)
CARD = struct(
    "type version body $schema",
    **{"$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"}},
    type={"const": "AdaptiveCard"},
    version={"enum": ["1.2", "1.3", "1.4"]},
    body={
        "type": "array",
        "items": {
            "oneOf": [
                struct(
                    "type inlines",
                    type={"const": "RichTextBlock"},
                    inlines={
                        "type": "array",
                        "items": struct(
                            "type text",
                            type={"const": "TextRun"},
                            text=text(10_000),
                            weight={"enum": ["Default", "Lighter", "Bolder"]},
                        ),
                    },
                ),
                struct(
                    "type facts",
                    type={"const": "FactSet"},
                    facts={
                        "type": "array",
                        "items": struct("title value", title=text(100), value=text(1000)),
                    },
                ),
            ]
        },
    },
)
TEAMS = struct(
    "type attachments",
    type={"const": "message"},
    attachments={
        "type": "array",
        "maxItems": 1,
        "items": struct(
            "contentType contentUrl content",
            contentType={"const": "application/vnd.microsoft.card.adaptive"},
            contentUrl={"type": "null"},
            content=CARD,
        ),
    },
)
PAGERDUTY = struct(
    "routing_key event_action",
    routing_key={"type": "string", "minLength": 32, "maxLength": 32},
    event_action={"enum": ["trigger", "acknowledge", "resolve"]},
    dedup_key=text(255),
    payload=struct(
        "summary source severity",
        summary=text(1024),
        source=text(255),
        severity={"enum": ["critical", "error", "warning", "info"]},
        timestamp={"type": "string", "format": "date-time"},
        component=text(255),
        group=text(255),
        custom_details={"type": "object"},
        **{"class": text(255)},
    ),
)
DATASET = struct("namespace name", namespace=text(500), name=text(500))
OPENLINEAGE = struct(
    "eventType eventTime run job inputs outputs producer schemaURL",
    eventType={"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
    eventTime={"type": "string", "format": "date-time"},
    run=struct("runId", runId={"type": "string", "format": "uuid"}, facets={"type": "object"}),
    job=DATASET,
    inputs={"type": "array", "items": DATASET},
    outputs={"type": "array", "items": DATASET},
    producer={"type": "string", "format": "uri"},
    schemaURL={"type": "string", "format": "uri"},
)
SCHEMAS = {"slack": SLACK, "teams": TEAMS, "pagerduty": PAGERDUTY, "openlineage": OPENLINEAGE}


def delivered(service, event, status=202):
    """What a service on loopback gets of an event: the bodies of requests, and their headers."""
    with Receiver(lambda _: status) as receiver:
        key = f"{KEY}@" if service == "pagerduty" else ""
        address = receiver.url.replace("http://", f"{service}+http://{key}")
        [target] = parse_targets([address])
        assert KEY not in target.name
        target.deliver(event)
        return [(body, headers) for _, body, headers, _ in receiver.received]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("service", SCHEMAS)
def test_every_event_has_the_form_that_the_service_documents(service, event):
    received = delivered(service, {**EVENTFUL, "event": event})
    assert len(received) == (0 if (service, event) == ("pagerduty", "started") else 1)
    for body, headers in received:
        checker = jsonschema.FormatChecker()
        jsonschema.validate(body, SCHEMAS[service], format_checker=checker)
        assert "Authorization" not in headers


def test_every_event_but_the_ordinary_ones_is_an_incident():
    assert set(SEVERITIES) == set(EVENTS) - {"started", "finished"}


def test_slack_shows_what_a_server_wrote_and_obeys_none_of_it():
    [(body, _)] = delivered("slack", EVENTFUL)
    sentence, facts = body["blocks"]
    assert body["text"] == SENTENCE
    assert sentence["text"] == {
        "type": "plain_text",
        "text": "importstats: job 7 (a<!channel>*b*) is late. [x](http://evil) & more",
    }
    assert [field["text"] for field in facts["fields"]] == [
        "*Phase*\nImporting",
        "*Progress*\n69 %",
        "*Ends about*\n2026-05-18T09:27:41.000000Z",
    ]


def test_teams_shows_what_a_server_wrote_as_a_run_of_text_that_has_no_markup():
    [(body, _)] = delivered("teams", EVENTFUL)
    sentence, facts = body["attachments"][0]["content"]["body"]
    assert sentence["inlines"][0]["text"].endswith("is late. [x](http://evil) & more")
    assert {fact["title"]: fact["value"] for fact in facts["facts"]}["Phase"] == "Importing"


def test_pagerduty_has_one_incident_a_job_which_ends_with_it():
    bodies = [
        delivered("pagerduty", {**EVENTFUL, "event": event})[0][0]
        for event in ("late", "failed", "finished")
    ]
    assert [body["event_action"] for body in bodies] == ["trigger", "trigger", "resolve"]
    assert [body.get("payload", {}).get("severity") for body in bodies] == [
        "warning",
        "critical",
        None,
    ]
    assert len({body["dedup_key"] for body in bodies}) == 1
    [(other, _)] = delivered("pagerduty", {**EVENTFUL, "job_id": "8"})
    assert other["dedup_key"] != bodies[0]["dedup_key"]


def test_openlineage_sees_one_run_of_an_import_into_a_collection():
    bodies = [
        delivered("openlineage", {**EVENTFUL, "event": event})[0][0]
        for event in ("started", "late", "failed", "finished")
    ]
    assert [body["eventType"] for body in bodies] == ["START", "OTHER", "FAIL", "COMPLETE"]
    assert len({body["run"]["runId"] for body in bodies}) == 1
    assert bodies[0]["outputs"] == [{"namespace": "milvus://milvus:19530", "name": "products"}]
    assert bodies[2]["run"]["facets"]["errorMessage"]["message"] == EVENTFUL["message"]


def test_a_refused_event_is_an_error_as_with_any_webhook():
    with pytest.raises(DeliveryError, match="HTTP 400"):
        delivered("pagerduty", EVENTFUL, status=400)


def test_two_services_of_pagerduty_are_two_targets():
    host = "events.pagerduty.com/v2/enqueue"
    keys = (KEY, KEY[::-1])
    assert len(parse_targets([f"pagerduty+https://{key}@{host}" for key in keys])) == 2


@pytest.mark.parametrize(
    "text",
    [
        "pagerduty+https://events.pagerduty.com/v2/enqueue",
        "slack+ftp://hooks.example/s3cret",
        "smoke+https://hooks.example/s3cret",
        "desktop:s3cret",
    ],
)
def test_a_target_of_no_known_form_is_refused_and_not_repeated(text):
    with pytest.raises(UsageError) as refused:
        parse_targets([text])
    assert "pagerduty+" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_the_desktop_gets_the_sentence_as_one_argument(tmp_path, monkeypatch):
    """A program of this name, in the place of libnotify's, writes down how it was called."""
    program = tmp_path / "notify-send"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"json.dump(sys.argv[1:], open({str(tmp_path / 'called')!r}, 'w'))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    [target] = parse_targets(["desktop:"])
    target.deliver({**EVENTFUL, "event": "stalled"})
    assert json.loads((tmp_path / "called").read_text()) == [
        "--app-name=importstats",
        "--urgency=critical",
        "--",
        "Import stalled",
        SENTENCE,
    ]
