"""Events that are written down: whose they are, where, and what is no event."""

import json
import logging
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from receiving import (
    EVENT,
    Receiver,
    collect,
    collect_and_send,
    entries,
    free_port,
    notifier,
    send_again,
    wait_until,
)

from importstats.collect.outbox import Outbox
from importstats.collect.targets import Webhook
from importstats.store import SnapshotStore


def test_a_damaged_file_in_the_outbox_is_left_out_and_the_others_are_delivered(store, server):
    outbox = Outbox(store, server.uri, ["x"])
    outbox.add({**EVENT, "source_uri": server.uri})
    for name, content in (("a", "{"), ("b", "[1]"), ("c", '{"event": 7}')):
        Path(store.uri, "_events", "pending", f"{name}.json").write_text(content)
    with Receiver() as receiver:
        send_again(server, store, [receiver.url])
        assert receiver.accepted() == ["finished"]


def test_another_servers_events_are_left_to_its_own_collector(store):
    Outbox(store, "http://other:19530", ["x"]).add({**EVENT, "source_uri": "http://other:19530"})
    with Receiver() as receiver:
        with notifier(store, "http://localhost:19530", [receiver.url]):
            pass
        assert receiver.received == []
    assert list(entries(store, "pending")) == [EVENT["id"]]


def test_an_event_is_written_down_once_however_often_it_is_found(store):
    for outbox in (Outbox(store, "u", ["x"]), Outbox(store, "u", ["x"])):
        outbox.add(EVENT)
        assert not outbox.add(EVENT)
    assert len(entries(store, "pending")) == 1
    outbox.acknowledge(EVENT["id"], "x")
    assert not Outbox(store, "u", ["x"]).add(EVENT)
    assert entries(store, "pending") == {}


def test_a_store_that_cannot_be_written_is_logged_and_does_not_end_the_notifier(
    tmp_path, server, caplog
):
    (tmp_path / "file").write_text("not a folder")
    broken = SnapshotStore(tmp_path / "file" / "store")
    with notifier(broken, server.uri, ["exec:true"], grace_s=5):
        pass
    assert "cannot look for events" in caplog.text


def test_the_outbox_is_in_the_bucket_if_the_store_is(server, monkeypatch):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="imports")

    def names(folder):
        found = client.list_objects_v2(Bucket="imports", Prefix=f"store/_events/{folder}/")
        files = [item["Key"].rpartition("/")[2] for item in found.get("Contents", [])]
        return sorted(name.partition("-")[0] for name in files if name)

    store = SnapshotStore("s3://imports/store")
    collect_and_send(server, store, [f"http://localhost:{free_port()}/hook"], grace_s=5)
    assert names("pending") == ["finished", "started"]
    with Receiver() as receiver:
        send_again(server, store, [receiver.url])
        assert sorted(receiver.accepted()) == ["finished", "started"]
    assert names("delivered") == ["finished", "started"]
    assert names("pending") == []
    s3.stop()


ODD_ENTRIES = {
    "no JSON": "{",
    "a list": "[]",
    "no event": '{"delivered_to": []}',
    "an older event": '{"event": {"id": "old-1", "event": "late", "source_uri": "SERVER"}}',
    "no number of targets": '{"event": EVENT, "delivered_to": 5}',
    "no names of targets": '{"event": EVENT, "delivered_to": [5]}',
    "an id that leads elsewhere": '{"event": {"id": "../x", "event": "e", "job_id": "7"}}',
    "an id that is none": '{"event": {"id": 7, "event": "late", "source_uri": "SERVER"}}',
    "another file's event": '{"event": EVENT}',
    "deep": '{"event": ' + "[" * 5000 + "]" * 5000 + "}",
    "no text": '{"event": {"id": "\\ud800"}}',
}


@pytest.mark.parametrize("kind", ODD_ENTRIES)
def test_what_is_no_event_is_set_aside_counted_and_stops_no_delivery(kind, store, server, caplog):
    event = json.dumps({**EVENT, "source_uri": server.uri})
    odd = ODD_ENTRIES[kind].replace("EVENT", event).replace("SERVER", server.uri)
    folder = Path(store.uri, "_events", "pending")
    folder.mkdir(parents=True)
    (folder / "odd-1.json").write_text(odd)
    with Receiver() as receiver:
        with notifier(store, server.uri, [receiver.url]) as events:
            collect(server, store, events)
            wait_until(lambda: len(receiver.accepted()) == 2)
            wait_until(lambda: events.set_aside == 1)
        assert sorted(receiver.accepted()) == ["finished", "started"]
        assert events.pending == 0
    assert Path(store.uri, "_events", "set_aside", "odd-1.json").read_text() == odd
    assert entries(store, "pending") == {}
    assert "not an event: set aside" in caplog.text


def test_whatever_one_delivery_raises_the_courier_goes_on(store, server, monkeypatch):
    monkeypatch.setattr("importstats.collect.notifier._FIRST_PAUSE_S", 0.01)
    sound = Webhook.deliver
    failures = iter(range(2))

    def deliver(self, payload):
        if next(failures, None) is not None:
            raise KeyError("job_id")
        sound(self, payload)

    monkeypatch.setattr(Webhook, "deliver", deliver)
    with Receiver() as receiver:
        with notifier(store, server.uri, [receiver.url]) as events:
            collect(server, store, events)
            wait_until(lambda: len(receiver.accepted()) == 2)
        assert events.failed == 2
    assert entries(store, "pending") == {}
