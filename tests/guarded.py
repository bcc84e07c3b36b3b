"""Clients and commands with a token that must not be seen anywhere."""

from __future__ import annotations

import warm

from importstats.sources.rest import ImportClient

CANARY = "root:canary-7f3a-9c1e"
MIB = 2**20
FINE = {"code": 0, "data": {"jobId": "7", "state": "Completed", "progress": 100}}
HOSTILE = {
    "path": "../../../../../../tmp/owned",
    "absolute": "/etc/cron.d/owned",
    "escape": "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "newline": "a\nERROR saved job=1 snapshot=2\r\nb",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "formula": '=HYPERLINK("http://evil","x")',
    "rtl": "\u202egnp.exe\u2066",
    "surrogate": "\ud800half",
    "nul": "nul\x00byte",
    "markup": "[red]x[/red] [link=http://evil]y[/link]",
    "long": "n" * MIB,
}


def client_of(uri, **options):
    return ImportClient(uri, **{"retries": 0, "timeout": 30, "token": CANARY, **options})


def run(*arguments, **environment):
    done = warm.run(*map(str, arguments), **environment)
    done.stdout, done.stderr = done.stdout.encode(), done.stderr.encode()
    return done


# --- Names that are not what they should be -------------------------------------------------------


def hostile_answer(name, job_id=None):
    data = dict.fromkeys(["collectionName", "reason", name], name)
    data |= {
        "jobId": job_id or name,
        "state": "Importing",
        "progress": 55,
        "importedRows": 5,
        "totalRows": 10,
    }
    file = {"fileName": name, "state": "InProgress", "progress": 50, "reason": name, name: 1}
    rows = {"importedRows": 5, "totalRows": 10, "fileSize": 9}
    return {"code": 0, "message": name, "data": {**data, "details": [{**file, **rows}]}}
