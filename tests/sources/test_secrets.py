"""No byte of the token comes back from a server, whatever it says it in, and no word is lost."""

import base64
import html
import json
import logging
import socket
import threading
import traceback
from urllib.parse import quote, quote_plus

import pytest
from canned import Canned, says
from hypothesis import given
from hypothesis import strategies as st

from importstats.errors import ImportStatsError
from importstats.sources.rest import ImportClient
from importstats.sources.secrets import MASK, Secrets
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs

PASSWORD = 'c4nary&<"/é~ 9f3b'
TOKEN = f"root:{PASSWORD}"


def as_json(text):
    return "".join(f"\\u{ord(char):04x}" for char in text)


ENCODINGS = {
    "as it is": TOKEN,
    "its password": PASSWORD,
    "in capitals": TOKEN.upper(),
    "in a URL": quote(TOKEN, safe=""),
    "in a URL in small letters": quote(PASSWORD, safe="").lower(),
    "as a form field": quote_plus(TOKEN),
    "in a URL, each byte": "".join(f"%{byte:02X}" for byte in TOKEN.encode()),
    "in a URL twice": quote(quote(TOKEN)),
    "in base64": base64.b64encode(TOKEN.encode()).decode(),
    "in base64 behind one letter": base64.b64encode(b"x" + TOKEN.encode() + b"y").decode(),
    "in base64 behind a word": base64.urlsafe_b64encode(b"Bearer:" + TOKEN.encode()).decode(),
    "its password in base64": base64.b64encode(PASSWORD.encode()).decode(),
    "in hexadecimal": TOKEN.encode().hex(),
    "escaped as JSON": json.dumps(TOKEN)[1:-1],
    "escaped as JSON, each letter": as_json(TOKEN),
    "escaped as Go does": TOKEN.replace("&", "\\u0026").replace("<", "\\u003c").replace('"', '\\"'),
    "escaped as HTML": html.escape(TOKEN),
    "escaped as HTML, each letter": "".join(f"&#{ord(char)};" for char in TOKEN),
    "escaped as Python": ascii(TOKEN)[1:-1],
    "as UTF-8 taken for Latin-1": TOKEN.encode().decode("latin-1"),
}

#: What a person would know the token by, in any of these forms.
TRACES = ["c4nary", "9f3b", "YzRuYXJ5", base64.b64encode(b"4nary&<")[:8].decode()]
TRACES += [PASSWORD.encode().hex()[4:20], as_json("c4nary"), "%63%34%6e%61", "&#99;&#52;"]


def is_clean(text):
    lower = text.lower()
    return not [trace for trace in TRACES if trace.lower() in lower]


def in_job(**sent):
    return says({"code": 0, "data": {"jobId": "7", "state": "Importing", "progress": 50, **sent}})


def in_file(**sent):
    return in_job(details=[{"fileName": "[a.parquet]", "state": "InProgress", **sent}])


def in_list(**sent):
    return says({"code": 0, "data": {"records": [{"jobId": "7", "state": "Pending", **sent}]}})


def raw(*lines):
    return b"\r\n".join(line.encode() for line in lines) + b"\r\n\r\n"


#: Each place where a server can repeat something, as a function of what it repeats.
PLACES = {
    "message of an error": lambda t: says({"code": 5, "message": t}),
    "message of a refusal": lambda t: says({"code": 1800, "message": f"bad {t}"}),
    "message of no privilege": lambda t: says({"code": 1401, "message": f"not {t}"}, 403),
    "message of an unknown job": lambda t: says({"code": 2100, "message": f"no such job {t}"}),
    "message of not ready": lambda t: says({"code": 1, "message": f"service not ready {t}"}),
    "message of success": lambda t: says({"code": 0, "message": t, "data": {"state": "Pending"}}),
    "message without data": lambda t: says({"code": 0, "message": t}),
    "HTTP 401": lambda t: says(f"who is {t}?".encode(), 401),
    "HTTP 403": lambda t: says(f"not {t}".encode(), 403),
    "HTTP 404": lambda t: says(f"no {t} here".encode(), 404),
    "HTTP 404 as JSON": lambda t: says({"code": 404, "message": t}, 404),
    "HTTP 408": lambda t: says(f"timeout {t}".encode(), 408),
    "HTTP 413": lambda t: says(f"too large {t}".encode(), 413),
    "HTTP 500": lambda t: says(f"<html>{t}</html>".encode(), 500),
    "HTTP 500 wrapped": lambda t: says({"statusCode": 500, "message": t}, 500),
    "no JSON": lambda t: says(f"{t} is no JSON".encode()),
    "long text, cut short": lambda t: says(b"x" * 110 + t.encode()),
    "cut-off JSON": lambda t: says(f'{{"code": 0, "data": {{"jobId": "{t}'.encode()),
    "a JSON list": lambda t: says([t]),
    "data that is text": lambda t: says({"code": 0, "data": t}),
    "data of another kind": lambda t: says({"code": 0, "data": {t: t}}),
    "a path in Location": lambda t: says(b"", 302, Location=f"/login/{quote(t)}"),
    "Location": lambda t: raw("HTTP/1.1 302 x", f"Location: /{t}", "Content-Length: 0"),
    "the status line": lambda t: raw(f"HTTP/1.1 {t}"),
    "no status line": lambda t: raw(t),
    "a length": lambda t: raw("HTTP/1.1 200 OK", f"Content-Length: {t}"),
    "an encoding": lambda t: raw(
        "HTTP/1.1 200 OK", f"Content-Encoding: gzip, {t}", "Content-Length: 2", "", "{}"
    ),
    "a chunk's length": lambda t: raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", t, "x"),
    "Retry-After": lambda t: raw("HTTP/1.1 503 x", f"Retry-After: {t}", "Content-Length: 0"),
    "a header that is none": lambda t: raw(
        "HTTP/1.1 200 OK", "X: y", f"{t}", "Content-Length: 2", "", "{}"
    ),
    "Set-Cookie": lambda t: raw(
        "HTTP/1.1 200 OK", f"Set-Cookie: a={t}", "Content-Length: 2", "", "{}"
    ),
    "reason of the job": lambda t: in_job(reason=t, state="Failed"),
    "collection of the job": lambda t: in_job(collectionName=t),
    "state of the job": lambda t: in_job(state=t),
    "id of the job": lambda t: in_job(jobId=t),
    "progress of the job": lambda t: in_job(progress=t),
    "rows of the job": lambda t: in_job(importedRows=t),
    "times of the job": lambda t: in_job(completeTime=t, createTime=t),
    "an unknown field": lambda t: in_job(note=f"x {t} y"),
    "an unknown field's name": lambda t: in_job(**{t: 1}),
    "inside of an unknown field": lambda t: in_job(note=[{t: [t, {"a": t}]}]),
    "an unknown field beside data": lambda t: says(
        {"code": 0, "trace": t, "data": {"state": "Pending"}}
    ),
    "name of a file": lambda t: in_file(fileName=f"[s3://b/{t}/a.parquet]"),
    "names of a file": lambda t: in_file(fileName=[t, "b"]),
    "reason of a file": lambda t: in_file(reason=f"cannot read {t}"),
    "state of a file": lambda t: in_file(state=t),
    "an unknown field of a file": lambda t: in_file(**{t: t}),
    "a file that is none": lambda t: in_job(details=[t]),
    "details that are none": lambda t: in_job(details=t),
    "reason in a list": lambda t: in_list(reason=t),
    "collection in a list": lambda t: in_list(collectionName=t),
    "id in a list": lambda t: in_list(jobId=t),
    "an unknown field in a list": lambda t: in_list(**{t: t}),
    "a list that is none": lambda t: says({"code": 0, "data": {"records": t}}),
}


class Bytes:
    """A server that answers every connection with the same bytes."""

    def __init__(self, content):
        self.content = content
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                connection.recv(65536)
                connection.sendall(self.content)

    def __exit__(self, *_):
        self.socket.close()


def everything_said(error):
    """All that tools show of an exception: its text, its locals, what it came from."""
    frames = error.__traceback__
    while frames.tb_frame.f_code.co_filename == __file__:  # Whose locals are the token.
        frames = frames.tb_next
    trace = traceback.TracebackException(type(error), error, frames, capture_locals=True)
    said = ["".join(trace.format()), repr(vars(error))]
    while error is not None:
        said += [str(error), repr(error), repr(error.args)]
        error = error.__cause__ or error.__context__
    return said


@pytest.mark.parametrize("place", PLACES)
def test_no_place_brings_the_token_back_in_any_encoding(place, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    store = SnapshotStore(tmp_path / "store")
    seen = []
    for encoding, text in ENCODINGS.items():
        answer = PLACES[place](text)
        serve = Bytes(answer) if isinstance(answer, bytes) else Canned(answer)
        with serve as server, ImportClient(server.uri, token=TOKEN, retries=0) as client:
            for ask in (
                lambda client=client: store.append(client.snapshot("7")),
                lambda client=client: seen.extend(map(repr, client.list_jobs())),
            ):
                try:
                    ask()
                except ImportStatsError as error:
                    said = "".join(everything_said(error))
                    assert is_clean(said), encoding
                    seen.append(said)
    assert seen or store.exists(), "every place is one of an error, of a list or of a job"
    if store.exists():
        for frame in (load_jobs(store), load_details(store)):
            assert is_clean(frame.to_csv())
    assert is_clean(caplog.text)
    assert is_clean("".join(record.getMessage() for record in caplog.records))


def test_there_are_enough_places():
    assert len(PLACES) >= 30


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_mask_stands_for_the_token_and_all_else_is_as_it_was(encoding):
    masked = Secrets(TOKEN).masked(f"before {ENCODINGS[encoding]} after")
    assert masked == f"before {MASK} after"


@given(st.text())
def test_text_without_the_token_is_left_alone(text):
    assert Secrets("a-token-that-is-not-drawn").masked(text) == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text() | st.just(TOKEN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(json_values, st.booleans())
def test_a_body_is_masked_in_its_strings_and_is_else_the_same(value, as_ascii):
    def expected(value):
        if isinstance(value, list):
            return [expected(each) for each in value]
        if isinstance(value, dict):
            return {key: expected(each) for key, each in value.items()}
        return MASK if value == TOKEN else value

    body = json.dumps(value, ensure_ascii=as_ascii).encode("utf-8", "surrogatepass")
    try:
        body.decode()
    except UnicodeDecodeError:
        return
    assert json.loads(Secrets(TOKEN).masked_body(body)) == expected(value)


def test_two_keys_that_repeat_the_token_are_two_keys():
    masked = Secrets(TOKEN).masked_json({TOKEN: 1, TOKEN.upper(): 2})
    assert masked == {MASK: 1, f"{MASK}*": 2}


def test_the_log_of_the_http_library_is_masked(caplog):
    secrets = Secrets(TOKEN)
    for name in ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry"):
        logging.getLogger(name).warning("Retrying after %r: %s", ValueError(TOKEN), quote(TOKEN))
        try:
            raise ValueError(TOKEN)
        except ValueError:
            logging.getLogger(name).warning("odd", exc_info=True)
    assert is_clean(caplog.text)
    assert caplog.text.count(MASK) >= 6
    assert secrets


def test_secrets_show_and_pickle_nothing():
    secrets = Secrets(TOKEN)
    assert is_clean(repr(secrets))
    with pytest.raises(TypeError):
        secrets.__reduce__()
