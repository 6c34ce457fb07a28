"""Which definitions were applied to a domain, on values alone."""

import pytest

from reconciler.engine.decide.definition_history import Entry, applied, digest
from reconciler.engine.decide.state import StoredDefinition

A, B = StoredDefinition("<a/>", "a.xml", "r1"), StoredDefinition("<b/>", "a.xml", "r2")


def entries(*definitions, keep=20):
    history = ()
    for number, definition in enumerate(definitions):
        history = applied(history, definition, "InSync", f"t{number}", keep)
    return [Entry.of(value) for value in history]


def test_each_definition_is_an_entry_and_the_same_one_in_a_row_is_counted():
    first, second, third = entries(A, A, B, A)
    assert (first.number, first.count, first.first, first.last) == (1, 2, "t0", "t1")
    assert (second.number, second.revision, second.hash) == (2, "r2", digest(b"<b/>"))
    assert (third.number, third.hash) == (3, first.hash)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_only_the_newest_entries_are_kept_and_their_numbers_go_on(keep):
    assert [e.number for e in entries(A, B, A, B, A, keep=keep)] == list(range(6 - keep, 6))
