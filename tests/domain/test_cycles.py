"""Names that lead back to themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.cycles import cycles


def on_a_cycle(graph):
    """By its definition: what can be reached from each name."""
    found = set()
    for name in graph:
        seen, waiting = set(), list(graph[name])
        while waiting:
            step = waiting.pop()
            if step in graph and step not in seen:
                seen.add(step)
                waiting += graph[step]
        if name in seen:
            found.add(name)
    return found


@pytest.mark.parametrize(("graph", "paths"), [
    ({}, {}), ({"a": ["b"], "b": []}, {}), ({"a": ["a"]}, {"a": ("a", "a")}),
    ({"a": ["b"], "b": ["a"], "c": ["a"]}, {"a": ("a", "b", "a"), "b": ("b", "a", "b")}),
    ({"a": ["b"], "b": ["c", "nowhere"], "c": ["a", "b"]},
     {"a": ("a", "b", "c", "a"), "b": ("b", "c", "a", "b"), "c": ("c", "a", "b", "c")})])
def test_the_path_back_of_each_name(graph, paths):
    assert cycles(graph) == paths


@given(st.dictionaries(st.sampled_from("abcdefg"), st.lists(st.sampled_from("abcdefgh"))))
def test_exactly_the_names_on_cycles_are_found(graph):
    found = cycles(graph)
    assert set(found) == on_a_cycle(graph)
    for path in found.values():
        assert path[0] == path[-1] or path[0] not in path[1:]
        assert all(after in graph[name] for name, after in zip(path, path[1:], strict=False))


def test_a_long_cycle_is_short_to_read():
    ring = {str(n): [str((n + 1) % 4000)] for n in range(4000)}
    found = cycles(ring)
    assert len(found) == 4000
    assert found["17"] == ("17", "18", "19", "20", "21", "22", "23", "… (4000 domains)", "17")
