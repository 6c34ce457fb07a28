"""Whose a file is: by its uuid, by its name, by where the domain's file was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.engine.decide.identity import owners, owners_of_rejected
from tests.values import domain


def accepted(**files):
    """Definitions by key, each given as "name uuid"."""
    return {key: replace(domain(), name=about.split()[0], uuid=about.split()[1])
            for key, about in files.items()}


@pytest.mark.parametrize(("files", "known", "expected"), [
    ({"k": "a 1"}, {}, {"k": None}),
    ({"k": "a 1"}, {"1": "a"}, {"k": "1"}),
    ({"k": "b 1"}, {"1": "a"}, {"k": "1"}),  # renamed
    ({"k": "a 2"}, {"1": "a"}, {"k": "1"}),  # another uuid
    ({"k": "b 2"}, {"1": "a"}, {"k": None}),
    # A rename and a new file under the old name, in one look and in any order.
    ({"x": "c 1", "y": "b 3"}, {"1": "b"}, {"x": "1", "y": None}),
    ({"x": "b 3", "y": "c 1"}, {"1": "b"}, {"x": None, "y": "1"}),
    ({"x": "b 1", "y": "a 2"}, {"1": "a", "2": "b"}, {"x": "1", "y": "2"}),  # exchanged names
    # A domain is given to one file only.
    ({"x": "a 2", "y": "a 3"}, {"1": "a"}, {"x": "1", "y": None})])
def test_the_uuid_decides_and_then_the_name(files, known, expected):
    assert owners(accepted(**files), known) == expected


KNOWN = {"1": "a", "2": "b", "3": "c"}
FILES = {"1": "f.xml", "2": "f.xml", "3": "g.xml"}


def rejected(name=None, uuid=None, file="f.xml", alone=False, present=()):
    return owners_of_rejected(file, name, uuid, only_this_domain=alone, known=KNOWN, files=FILES,
                              present=present)


@pytest.mark.parametrize(("values", "expected"), [
    ({}, {"1", "2"}),  # a file that cannot be read may be that of each of its domains
    ({"present": ("1",)}, {"2"}),
    ({"name": "c"}, {"1", "2"}), ({"file": "new.xml"}, set()),
    ({"file": "new.xml", "name": "c"}, {"3"}), ({"file": "new.xml", "uuid": "3"}, {"3"}),
    ({"file": "new.xml", "name": "a", "uuid": "2"}, {"1", "2"}),
    ({"file": "new.xml", "name": "c", "present": ("3",)}, set())])
def test_a_rejected_file_is_that_of_the_domains_that_it_had_or_that_it_names(values, expected):
    assert rejected(**values) == expected


@pytest.mark.parametrize(("values", "expected"), [
    ({"name": "a"}, {"1"}), ({"uuid": "2"}, {"2"}), ({"name": "c"}, {"3"}),
    ({"name": "a", "present": ("1",)}, {"2"}),  # renamed to a name that is taken
    ({"name": "x"}, {"1", "2"}), ({"name": "x", "present": ("1", "2")}, set())])
def test_one_rejected_domain_of_several_in_a_file_is_the_one_that_it_names(values, expected):
    assert rejected(alone=True, **values) == expected
