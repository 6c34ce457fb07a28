"""The one word, the counts, the files, and the schema of the status."""

from __future__ import annotations

import json
import os
import signal
from copy import deepcopy
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from reconciler.report import status
from tests.engine.making import Place, running, settled, until
from tests.simulated.site import Site, reason

SCHEMA = json.loads((Path(__file__).parents[2] / "contrib" / "status.schema.json").read_text())
CHECK = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)


def conditions(**values):
    return [{"type": kind, "status": value} for kind, value in values.items()]


@pytest.mark.parametrize(("given", "word"), [
    ({"Ready": "True"}, "Current"),
    ({"Ready": "True", "Reconciling": "False"}, "Current"),
    ({"Ready": "False", "Reconciling": "True"}, "InProgress"),
    ({"Ready": "False", "Stalled": "True"}, "Failed"),
    ({"Ready": "False", "Reconciling": "True", "Stalled": "True"}, "Failed"),
    ({"Ready": "False", "Stalled": "True", "Terminating": "True"}, "Terminating"),
    ({"Ready": "Unknown"}, "Unknown"), ({"Ready": "False"}, "Unknown"), ({}, "Unknown")])
def test_one_word_says_it_as_kstatus_does(given, word):
    assert status.word(conditions(**given)) == word


def test_the_summary_counts_what_was_observed_and_what_is_true():
    domains = [{"observed": {"state": state}, "conditions": conditions(**given)}
               for state, given in (
                   ("running", {"Ready": "True"}),
                   ("running", {"Ready": "False", "Stalled": "True"}),
                   ("paused", {"Ready": "True", "Held": "True"}), ("absent", {"Ready": "True"}),
                   ("unknown", {"Ready": "Unknown", "Reconciling": "True"}),
                   ("absent", {"Ready": "False", "PruneHeld": "True", "Drifted": "True"}))]
    assert status.summary(domains) == {
        "domains": 6, "ready": 3, "running": 2, "paused": 1, "stopped": 2, "reconciling": 1,
        "stalled": 1, "held": 1, "drifted": 1, "pruneHeld": 1,
        "byState": {"running": 2, "paused": 1, "absent": 2, "unknown": 1}}
    assert status.summary([])["domains"] == 0


def test_a_reader_sees_the_old_status_or_the_new_one(tmp_path):
    status.write(tmp_path, {"a": 1})
    with (tmp_path / status.STATUS).open() as reader:
        status.write(tmp_path, {"a": 2})
        assert json.load(reader) == {"a": 1}
    assert json.loads((tmp_path / status.STATUS).read_text()) == {"a": 2}
    status.beat(tmp_path, "now", 7, 0.5)
    assert json.loads((tmp_path / status.HEARTBEAT).read_text()) == {
        "at": "now", "pid": 7, "heartbeatEvery": "0.5s"}
    assert len(os.listdir(tmp_path)) == 2


# The schema

def problems(value):
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in CHECK.iter_errors(value)]


def unknown(value, schema, at="status"):
    """What a status has and the schema does not describe."""
    while "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    for part in schema.get("anyOf", []):
        if part.get("type") != "null":
            return unknown(value, part, at) if value is not None else []
    if isinstance(value, dict) and "properties" in schema:
        return [f"{at}.{key}" for key in value if key not in schema["properties"]] + [
            found for key, item in value.items() if key in schema["properties"]
            for found in unknown(item, schema["properties"][key], f"{at}.{key}")]
    if isinstance(value, list) and "items" in schema:
        return [found for item in value for found in unknown(item, schema["items"], at)]
    return []


def described(schema, at="status"):
    """Every property that has no description."""
    found = []
    for key, part in {**schema.get("properties", {}), **schema.get("$defs", {})}.items():
        if "description" not in part and "$ref" not in part:
            found.append(f"{at}.{key}")
        found += described(part, f"{at}.{key}")
    for part in (schema.get("items"), *schema.get("anyOf", [])):
        found += described(part, at) if isinstance(part, dict) else []
    return found


def test_the_schema_is_one_and_describes_everything():
    Draft202012Validator.check_schema(SCHEMA)
    assert described(SCHEMA) == []
    assert "false" not in json.dumps(SCHEMA)  # unknown fields are allowed everywhere


def test_a_real_status_is_as_the_schema_says(tmp_path):
    site = Site(tmp_path)
    try:
        site.start()
        site.drop("a")
        site.drop("p", "paused")
        site.drop("s", "stopped", inner="<r:label name='team' value='b'/>")
        site.drop("m", inner="<r:update policy='manual'/>")
        site.drop("w")
        (site.path / "images" / "w.img").unlink()  # waits for its disk
        site.put("x.xml", b"<domain>")
        for name, state in (("a", "running"), ("p", "paused"), ("s", "absent"), ("m", "running")):
            site.settled(state, name)
        site.domain(lambda d: reason(d) != "Starting" and d["attempt"], "w")
        site.drop("m", memory=256, inner="<r:update policy='manual'/>")
        site.domain(lambda d: d["pending"], "m")
        os.kill(site.processes("a")[0], signal.SIGKILL)
        site.domain(lambda d: d["restarts"]["lastExit"], "a")
        value = site.until(lambda v: v["source"]["invalid"])
        assert problems(value) == []
        assert unknown(value, SCHEMA) == []
        # As it is kept when no reconciler runs any more.
        site.kill(signal.SIGTERM)
        kept = json.loads((site.settings.state / "status.json").read_text())
        assert problems(kept) == []
        assert unknown(kept, SCHEMA) == []
        shown = json.loads(site.verb("status", "-o", "json").stdout)
        assert shown["stale"] is True
        assert problems(shown) == []
        assert unknown(shown, SCHEMA) == []
    finally:
        site.close()


async def test_a_status_of_nothing_is_as_the_schema_says(tmp_path):
    async with running(Place(tmp_path)) as daemon:
        assert problems(daemon.publisher.value()) == []


async def test_the_schema_refuses_what_is_wrong(tmp_path):
    place = Place(tmp_path)
    place.drop("a")
    async with running(place) as daemon:
        await until(daemon, settled(daemon, 1))
        value = json.loads(json.dumps(daemon.publisher.value()))
    assert problems(value) == []

    def wrong(change):
        copy = deepcopy(value)
        change(copy)
        return problems(copy)

    domain = value["domains"][0]
    assert wrong(lambda v: v.pop("domains"))
    assert wrong(lambda v: v.update(apiVersion="reconciler/v2"))
    assert wrong(lambda v: v.update(generatedAt="yesterday"))
    assert wrong(lambda v: v["summary"].update(ready=-1))
    for key in domain:
        assert wrong(lambda v, key=key: v["domains"][0].update({key: object}) or
                     v["domains"][0].pop(key)) == [] or key in SCHEMA["$defs"]["domain"]["required"]
    assert wrong(lambda v: v["domains"][0]["observed"].update(state="sleeping"))
    assert wrong(lambda v: v["domains"][0]["conditions"][0].update(status="yes"))
    assert wrong(lambda v: v["domains"][0].update(status="Fine"))
    assert not wrong(lambda v: v.update(somethingNew=1))
