"""A large file is parsed in a process of its own first."""

import pytest

from reconciler.domain.model import InvalidDomain
from reconciler.host.parse_trial import LARGE, ParseTrial
from tests.values import xml

FILE = b"<domain>" + b"<a/>" * LARGE + b"</domain>"


def test_rule_8_a_file_that_takes_too_long_to_parse_is_refused():
    with pytest.raises(InvalidDomain, match=r"takes more than 0\.001 s to parse"):
        ParseTrial(0.001).check(FILE, "a.xml")


def test_one_that_does_not_passes_even_if_it_is_wrong():
    ParseTrial().check(FILE, "a.xml")
    ParseTrial().check(b"no markup " * LARGE, "a.xml")


def test_an_ordinary_file_costs_no_process():
    ParseTrial(0.001).check(xml(), "a.xml")
