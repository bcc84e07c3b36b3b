"""Answers of import servers, damaged in every way that a server, a proxy or a network can."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from importstats.simulator import DIALECTS, JobState, simulate_job
from importstats.simulator.wire import describe_answer

SHAPES = ("stragglers", "retry_storm", "node_restart", "failing", "small_and_quick", "index_bound")
START = datetime(2026, 5, 18, tzinfo=UTC)

#: What may stand where anything else belongs.
ODD_VALUES: list[Any] = [
    *(None, True, False, "", " ", "x", [], {}, [1, "a"], {"a": {"b": [None]}}),
    *(0, -1, 1, 101, 250, 0.5, 99.5, -0.0, 1e-300, 1e300, 2**31, 2**53 + 1, 2**63 - 1, 2**63),
    *(-(2**63), 2**64, 10**30, float("nan"), float("inf"), float("-inf"), 1e17, 3.7),
    *("12", " 40 ", "-3", "1e3", "0x10", "1_000", "NaN", "Infinity", "9" * 40, "12.5", "50%"),
    *("Pending", "Importing", "Completed", "Failed", "None", "Uncommitted", "Committing"),
    *("InProgress", "Retry", "Draining", "importing", "COMPLETED", "Completed "),
    *("2026-05-18T00:10:00Z", "2026-05-18T00:10:00.123456789+08:00", "2026-05-18 00:10:00"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "1779062400", 1779062400, "20260518"),
    *("2026-W21-1", "2026-05-18T24:00:00Z", "2026-05-18T00:00:60Z", "soon", "1969-12-31T23:59:59Z"),
    *("\ud800", "a\udfffb", "\x00", "\x1b[31m", "\u202e", "<b>&amp;</b>", "=1+1", "../../x"),
    *("long " * 300, "[a b.parquet c.npy]", 'id:7 paths:"a\\303\\251" ', "[]", "[", '["a" "b'),
]
FIELDS = (
    *("collectionName", "jobId", "completeTime", "state", "progress", "importedRows", "totalRows"),
    *("reason", "fileSize", "details", "fileName", "errorMessage", "readyPercentage", "status"),
    *("code", "message", "data", "shard", "State", "imported_rows", "(extra)", "extra", ""),
)
DETAIL_LISTS = ("shuffle", "drop", "repeat", "empty", "rename", "grow", "odd", "same_name")


@lru_cache(maxsize=64)
def states(shape: str, seed: int) -> tuple[JobState, ...]:
    """What a small job was at each of about thirty polls."""
    files = None if shape == "small_and_quick" else 6
    truth = simulate_job(shape, files=files, seed=seed, poll_every_s=600).truth
    polls = simulate_job(shape, files=files, seed=seed, poll_every_s=truth.duration_s / 25).polls
    return tuple(poll.state for poll in polls if poll.state is not None)


def history(dice: random.Random, *, most: int = 30) -> Iterator[tuple[datetime, bytes]]:
    """Times and bodies of the polls of one job, most of them damaged."""
    dialect = dice.choice(list(DIALECTS.values()))
    polls = states(dice.choice(SHAPES), dice.randrange(2))[:most]
    meant = [describe_answer(state, dialect) for state in polls]
    harm = dice.choice([0.0, 0.2, 0.6, 1.0])
    step_s = 10 ** dice.uniform(-3, 3)
    when = START
    for answer in meant:
        # Clocks stand still, and jump back and forth.
        jump = dice.choices([1, 0, -3, 5000], [200, 3, 2, 1])[0]
        when += timedelta(seconds=step_s * jump * dice.uniform(0.5, 2))
        yield when, damaged(answer, dice) if dice.random() < harm else encoded(answer)


def encoded(answer: Any) -> bytes:
    return json.dumps(answer).encode()


def damaged(answer: dict[str, Any], dice: random.Random) -> bytes:
    """The answer with one to four things wrong with it."""
    copy = json.loads(json.dumps(answer))
    for _ in range(dice.choice([1, 1, 1, 2, 4])):
        dice.choice(OBJECT_MUTATIONS)(copy, dice)
    body = encoded(copy)
    while dice.random() < 0.25:
        body = dice.choice(BYTE_MUTATIONS)(body, dice)
    return body


# --- Of the object --------------------------------------------------------------------------------


def _objects(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The envelope, the job, and its details."""
    data = answer.get("data")
    if not isinstance(data, dict):
        return [answer]
    details = data.get("details")
    inner = [each for each in details if isinstance(each, dict)] if _is_list(details) else []
    return [answer, data, *inner]


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _any_object(answer: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    objects = _objects(answer)
    # The envelope once in a while only: most of its mutations are plain refusals.
    return objects[0] if dice.random() < 0.1 else dice.choice(objects[1:] or objects)


def set_odd(answer: dict[str, Any], dice: random.Random) -> None:
    target = _any_object(answer, dice)
    if target:
        target[dice.choice(list(target))] = dice.choice(ODD_VALUES)


def set_any(answer: dict[str, Any], dice: random.Random) -> None:
    _any_object(answer, dice)[dice.choice(FIELDS)] = dice.choice(ODD_VALUES)


def set_number(answer: dict[str, Any], dice: random.Random) -> None:
    """A number that could be true, and contradicts the others."""
    target = _any_object(answer, dice)
    name = dice.choice(["progress", "importedRows", "totalRows", "fileSize"])
    target[name] = dice.choice([0, 1, 40, 70, 80, 99, 100, 10**6, 10**12, 2**62])


def set_state(answer: dict[str, Any], dice: random.Random) -> None:
    states = [value for value in ODD_VALUES if isinstance(value, str) and value[:1].isupper()]
    _any_object(answer, dice)["state"] = dice.choice(states)


def drop(answer: dict[str, Any], dice: random.Random) -> None:
    target = _any_object(answer, dice)
    if target:
        del target[dice.choice(list(target))]


def nest(answer: dict[str, Any], dice: random.Random) -> None:
    value: Any = dice.choice(ODD_VALUES)
    # Several of these may end up in one another; Python's own encoder stops at 1000 levels.
    for _ in range(dice.choice([2, 30, 95, 120, 200])):
        value = [value] if dice.random() < 0.5 else {"a": value}
    _any_object(answer, dice)[dice.choice(FIELDS)] = value


def change_details(answer: dict[str, Any], dice: random.Random) -> None:
    data = answer.get("data")
    details = data.get("details") if isinstance(data, dict) else None
    if not _is_list(details) or not details:
        return
    how = dice.choice(DETAIL_LISTS)
    one = dice.choice(details)
    if how == "shuffle":
        dice.shuffle(details)
    elif how == "drop":
        del details[dice.randrange(len(details)) :]
    elif how == "repeat":
        details.extend(dice.choices(details, k=dice.randrange(1, 5)))
    elif how == "empty":
        details.clear()
    elif how == "grow":
        new = {"fileName": f"[new-{dice.randrange(9)}.parquet]", "state": "Pending"}
        details.extend([new] * dice.randrange(1, 4))
    elif how == "odd":
        details.insert(dice.randrange(len(details)), dice.choice(ODD_VALUES))
    elif how == "rename" and isinstance(one, dict):
        one["fileName"] = dice.choice(ODD_VALUES)
    elif how == "same_name":
        for each in details:
            if isinstance(each, dict):
                each["fileName"] = "[same.parquet]"


OBJECT_MUTATIONS: list[Callable[[dict[str, Any], random.Random], None]] = [
    *(set_odd, set_odd, set_any, set_number, set_number, set_state, drop),
    *(change_details, change_details, nest),
]

# --- Of the bytes ---------------------------------------------------------------------------------


def flip(body: bytes, dice: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(dice.choice([1, 1, 3, 20])):
        if changed:
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def cut(body: bytes, dice: random.Random) -> bytes:
    return body[: dice.randrange(len(body) + 1)]


def splice(body: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(body) + 1)
    middle = dice.choice([b"\x00", b"\xff\xfe", b",", b"}", b"NaN", b"1e999", b"9" * 5000, b"\n"])
    return body[:at] + middle + body[at:]


def wrap(body: bytes, dice: random.Random) -> bytes:
    return dice.choice(
        [
            b"\xef\xbb\xbf" + body,
            b"<html><body>" + body,
            body + body,
            b"[" + body + b"]",
            body.decode("utf-8", "replace").encode("utf-16"),
            b"",
            b"null",
        ]
    )


def repeat_key(body: bytes, dice: random.Random) -> bytes:
    """A second value for a key of some object; the last one counts."""
    places = [at for at, byte in enumerate(body) if byte == ord("{")]
    if not places:
        return body
    at = dice.choice(places) + 1
    odd = json.dumps(dice.choice(ODD_VALUES)).encode()
    return body[:at] + b'"%s":%s,' % (dice.choice(FIELDS).encode(), odd) + body[at:]


def deepen(body: bytes, dice: random.Random) -> bytes:
    """A key more, whose value is nested as deep as no decoder goes."""
    at = body.find(b"{", dice.randrange(len(body) + 1)) + 1
    depth = dice.choice([500, 5000, 100_000])
    return body[:at] + b'"deep":' + b"[" * depth + b"]" * depth + b"," + body[at:]


def respell_number(body: bytes, dice: random.Random) -> bytes:
    """A number of the text in another spelling."""
    places = [
        at for at, byte in enumerate(body) if body[at - 1 : at] == b" " and chr(byte) in "123"
    ]
    if not places:
        return body
    at = dice.choice(places)
    return body[:at] + dice.choice([b"-", b"0", b"1e400", b"1E2", b"0.", b"9" * 30]) + body[at:]


BYTE_MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [
    *(flip, flip, cut, splice, wrap, repeat_key, repeat_key, respell_number, deepen),
]
