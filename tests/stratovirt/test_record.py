"""record.json: its keys on disk are a format that older and newer versions read."""

import json

import pytest

from reconciler.domain.place import Place
from reconciler.stratovirt.record import RECORD, Record, decode, encode, load, save

FULL = Record(
    name="a", uuid="u", generation=4, boot_id="boot", pid=7, started=8,
    started_at="2024-05-06T07:08:09Z", pending_action="stop", places={"disk:vda": Place(1, 0)},
    read_with={"arch": "x86_64"}, file="a.xml", taps=("tap0",), attached=("tap1",),
    ports={2: Place(0, 1, 3)}, vcpus=2, foreign=True, updated=True, uncertain=True,
    host_devices=("0000:03:00.0",),
    cgroup="/vms", oom_kills=5, uid=0, executable="/usr/bin/stratovirt")
ON_DISK = {
    "name": "a", "uuid": "u", "generation": 4, "boot_id": "boot", "pid": 7, "started": 8,
    "started_at": "2024-05-06T07:08:09Z", "intent": "stop",
    "places": {"disk:vda": {"bus": 1, "slot": 0, "function": 0, "multifunction": False}},
    "read_with": {"arch": "x86_64"}, "file": "a.xml", "taps": ["tap0"], "attached": ["tap1"],
    "ports": {"2": {"bus": 0, "slot": 1, "function": 3, "multifunction": False}},
    "vcpus": 2, "foreign": True,
    "updated": True, "uncertain": True, "host_devices": ["0000:03:00.0"], "cgroup": "/vms",
    "oom_kills": 5, "uid": 0, "executable": "/usr/bin/stratovirt"}
OLDEST = {"name": "a", "uuid": "u", "places": {}, "taps": []}  # keys that every version wrote


def test_the_keys_on_disk_are_fixed():
    assert json.loads(json.dumps(encode(FULL))) == ON_DISK


def test_a_record_is_read_back(tmp_path):
    save(tmp_path, FULL)
    assert json.loads((tmp_path / RECORD).read_bytes()) == ON_DISK
    assert load(tmp_path) == FULL


def test_missing_keys_of_an_older_version_have_defaults():
    assert decode(dict(OLDEST)) == Record("a", "u")


def test_unknown_keys_of_a_newer_version_are_skipped():
    assert decode({**ON_DISK, "added_later": [1]}) == FULL


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"name": "a"}', b"\xff", json.dumps(
    {**OLDEST, "places": {"x": {"unknown": 1}}}).encode(), json.dumps({**OLDEST, "ports": {
        "first": {"bus": 0, "slot": 1}}}).encode()])
def test_an_unreadable_record_counts_as_none(tmp_path, data):
    assert load(tmp_path) is None
    (tmp_path / RECORD).write_bytes(data)
    assert load(tmp_path) is None
