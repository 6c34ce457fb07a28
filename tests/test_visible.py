"""Nothing that others wrote is obeyed by a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from reconciler.visible import visible, visible_line


@pytest.mark.parametrize(("text", "shown"), [
    ("web1 läuft → 中", "web1 läuft → 中"), ("a\tb\nc", "a\tb\nc"),
    ("\033[31mred\033[0m", "\033[31mred\033[0m"),
    ("\033]0;title\007", "\\x1b]0;title\\x07"), ("\033[2J\033[H", "\\x1b[2J\\x1b[H"),
    ("\033[38;5;1m", "\\x1b[38;5;1m"), ("a\rb\bc", "a\\rb\\x08c"), ("\x7f\x9b31m", "\\x7f\\x9b31m"),
    ("\u202egpj.exe", "\\u202egpj.exe"),
    ("\u2066\u200f\u2028\ufeff", "\\u2066\\u200f\\u2028\\ufeff"),
    (b"\xff\xfe.xml".decode(errors="surrogateescape"), "\\xff\\xfe.xml"), ("\ud800", "\\ud800")])
def test_a_harmful_character_is_shown_as_an_escape(text, shown):
    assert visible(text) == shown


def test_in_a_cell_of_a_table_a_text_stays_on_its_line():
    assert visible_line("a\nb\tc\033[31m") == "a\\nb\\tc\\x1b[31m"


@given(some.text(alphabet=some.characters(exclude_categories=())))
def test_what_is_shown_once_is_shown_again_the_same_and_can_be_encoded(text):
    shown = visible(text)
    assert visible(shown) == shown
    shown.encode()
    assert visible_line(text).isprintable() or not text.isprintable()
