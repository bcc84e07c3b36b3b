"""A JSON list read piece by piece: whatever the pieces are, the entries are those of json.loads."""

import json

import pytest

from importstats.sources.json_stream import ListReader

LISTS = [
    "[]",
    " [ ] \n",
    "null",
    "",
    "\n\n",
    '[{"a": "]},{[\\"\\\\", "b": [1, {"c": "é😀"}]}, 12, -3.5e2 , null,true , "x", [[]], {} ]',
    json.dumps([{"segment_id": str(number), "channel": "a,b]"} for number in range(50)]),
]


def read(text, size):
    found = []
    reader = ListReader(found.append)
    body = text.encode()
    for start in range(0, len(body), size):
        assert reader.feed(body[start : start + size])
    reader.finish()
    return found


@pytest.mark.parametrize("text", LISTS)
def test_pieces_of_any_size_make_the_same_entries(text):
    expected = json.loads(text.strip() or "null") or []
    for size in (1, 2, 3, 7, 64, 10_000):
        assert read(text, size) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "not a list where one should be"),
        ("nul", "a list is cut off, or is not a list"),
        ("nullx", "not a list where one should be"),
        ("[", "a list is cut off, or is not a list"),
        ('[{"a": 1}', "a list is cut off, or is not a list"),
        ('[{"a": 1},', "a list is cut off, or is not a list"),
        ("[1 2]", "a list of JSON that goes on without a comma"),
        ("[1] 2", "something after a list of JSON"),
        ("[x" + "y" * 1_000_000, "an entry of more than 1,000,000 characters"),
    ],
)
def test_what_is_no_list_is_an_error(text, said):
    reader = ListReader(lambda _: None)
    body = text.encode()
    for start in range(0, len(body), 1 << 16):
        if not reader.feed(body[start : start + (1 << 16)]):
            break
    with pytest.raises(ValueError, match=said):
        reader.finish()


def test_nesting_without_end_is_an_error():
    reader = ListReader(lambda _: None)
    assert not reader.feed(b"[" * 500_000)
    with pytest.raises(RecursionError):
        reader.finish()


def test_whoever_takes_the_entries_can_end_it():
    def take(entry):
        raise ValueError(f"no more than {entry}")

    reader = ListReader(take)
    assert not reader.feed(b"[1, 2]")
    assert not reader.feed(b"")
    with pytest.raises(ValueError, match="no more than 1"):
        reader.finish()
