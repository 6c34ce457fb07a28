"""The schema of config.yaml accepts what the reconciler accepts, and nothing else."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import ConfigError
from reconciler.settings import Settings, load
from reconciler.settings.readers import ADDRESS, DURATION, PERCENT, SIZE, Form, up_to
from reconciler.settings.schema import schema

ROOT = Path(__file__).parents[2]
SCHEMA = jsonschema.Draft202012Validator(schema())
FORMS = (DURATION, PERCENT, SIZE, ADDRESS, Form(up_to(254), "0 to 254"))
VALUES = st.one_of(*(st.from_regex(form.schema["pattern"]) for form in FORMS), st.sampled_from([
    "127.0.0.1:65535", "127.0.0.1:65536", "127.0.0.1:99999", "[::1]:12345", "host:080", "host:",
    5.0, 1e300, float("inf"), "0", "00", "007", "64", "65", "TRUE", "Yes", "oN", " 5m ", "٣%",
    None, True, False, 0, 1, 5, 255, 10**6, -1, 1.5, "", "5", "auto", "a", "10s", "10", "10 s",
    "500ms", "0%", "50%", "101%", "050%", "8GiB", "8 GiB", "8 Gi B", "8x", "yes", "on", "directory",
    "graceful", "json", "debug", "live", [], ["a"], [1], [True], [None], {}, {"mode": "force"}]))


def keys(kind=Settings, path=()):
    """Every key as a path: sections and values."""
    for field in fields(kind):
        if field.metadata:
            yield (*path, field.name)
            if "section" in field.metadata:
                yield from keys(field.metadata["section"], (*path, field.name))


def nested(path, value):
    for step in reversed(path):
        value = {step: value}
    return value


def reads(tmp_path, value) -> bool:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(value))
    try:
        load(file, {})
    except ConfigError:
        return False
    return True


def test_our_own_configuration_is_accepted():
    SCHEMA.check_schema(schema())
    SCHEMA.validate(yaml.safe_load((ROOT / "config.yaml").read_text()))


def test_an_unknown_key_is_refused_in_every_section():
    names = {("source", "variables"), ("windows",)}  # the user chooses the keys here
    for path in ((), *(path for path in keys() if path not in names)):
        assert not SCHEMA.is_valid(nested((*path, "unknown"), 1)), path


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("config")


@settings(max_examples=600, deadline=None)
@given(path=st.sampled_from(list(keys())), value=VALUES)
def test_the_schema_accepts_what_the_reader_does(directory, path, value):
    value = nested(path, value)
    assert SCHEMA.is_valid(value) == reads(directory, value), value


@pytest.mark.parametrize("most", [9, 64, 100, 254, 1000, 65535, 100000])
def test_a_pattern_of_numbers_up_to_one_is_exact(most):
    pattern = re.compile(up_to(most))
    assert all(pattern.fullmatch(str(number)) for number in range(most + 1))
    assert not any(pattern.fullmatch(str(number)) for number in range(most + 1, 2 * most + 200))
    assert not any(pattern.fullmatch(text) for text in ("", "-1", "a", "1.0", str(most * 10)))


@pytest.mark.parametrize("listen", ["127.0.0.1:12345", "[::1]:65535", "localhost:9410", "h:00080"])
def test_a_port_of_five_digits_is_accepted_by_both(directory, listen):
    value = {"http": {"listen": listen}}
    assert (SCHEMA.is_valid(value), reads(directory, value)) == (True, True)


@pytest.mark.parametrize("listen", ["127.0.0.1:65536", "127.0.0.1:123456", "localhost", ":80"])
def test_another_port_is_refused_by_both(directory, listen):
    value = {"http": {"listen": listen}}
    assert (SCHEMA.is_valid(value), reads(directory, value)) == (False, False)


@pytest.mark.parametrize(("path", "value"), [
    ("source.settle", "200ms"), ("reconcile.concurrency", "auto"), ("reconcile.concurrency", 4),
    ("reconcile.jitter", "10%"), ("prune.enabled", False), ("prune.hold_minimum", 5),
    ("admission.max_memory", "8GiB"), ("admission.max_memory", "8 GiB"),
    ("admission.max_memory", None), ("admission.max_vcpus", 4), ("admission.paths", ["/srv"]),
    ("defaults.stop.mode", "force"), ("log.file", None), ("log.file", "a.log"), ("http", None)])
def test_what_people_write_is_accepted_by_both(directory, path, value):
    value = nested(path.split("."), value)
    assert SCHEMA.is_valid(value)
    assert reads(directory, value)
