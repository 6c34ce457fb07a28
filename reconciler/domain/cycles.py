"""Cycles in a graph of names, in linear time: for the dependencies between domains. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SHOWN = 8  # names of a longer cycle
_GAP = "…"


def cycles(wanted: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """A path back to itself for every name that is on a cycle; a long path is cut in the middle.

    `wanted` has what each name points at; names that are not in it end there. A name of several
    cycles that touch each other may get the path of one that it is only connected with.
    """
    known = {name: [step for step in steps if step in wanted] for name, steps in wanted.items()}
    found: dict[str, tuple[str, ...]] = {}
    for group in _groups(known):
        path = _shortest(group, known)
        place = {name: index for index, name in enumerate(path)}
        for name in group:
            at = place.get(name, 0)
            found[name] = _shown(path, at)
    return found


def _groups(graph: Mapping[str, list[str]]) -> Iterator[set[str]]:
    """The strongly connected components that have a cycle, by Tarjan's algorithm."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_names: dict[str, None] = {}  # a stack with a fast look-up
    for root in graph:
        work = [] if root in number else [(root, iter(graph[root]))]
        while work:
            name, steps = work[-1]
            if name not in number:
                number[name] = lowest[name] = len(number)
                open_names[name] = None
            step = next((s for s in steps if s not in number or s in open_names), None)
            if step is None:
                work.pop()
                if work:
                    above = work[-1][0]
                    lowest[above] = min(lowest[above], lowest[name])
                if lowest[name] == number[name]:
                    group = _popped(open_names, name)
                    if len(group) > 1 or name in graph[name]:
                        yield group
            elif step in number:
                lowest[name] = min(lowest[name], number[step])
            else:
                work.append((step, iter(graph[step])))


def _popped(open_names: dict[str, None], down_to: str) -> set[str]:
    """Take the newest names off the stack, down to this one."""
    group: set[str] = set()
    while down_to not in group:
        group.add(open_names.popitem()[0])
    return group


def _shortest(group: set[str], graph: Mapping[str, list[str]]) -> list[str]:
    """A shortest cycle through the first name of a strongly connected component."""
    start = min(group)
    came_from: dict[str, str] = {}
    names = [start]
    for name in names:  # grows while it is read
        for step in graph[name]:
            if step == start:
                path = [name]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            if step in group and step not in came_from:
                came_from[step] = name
                names.append(step)
    raise AssertionError  # a component has a way back to each of its names


def _shown(path: list[str], at: int) -> tuple[str, ...]:
    """The cycle from the name at this index back to it."""
    if len(path) <= _SHOWN:
        return (*path[at:], *path[:at], path[at])
    some = [path[(at + index) % len(path)] for index in range(_SHOWN - 1)]
    return (*some, f"{_GAP} ({len(path)} domains)", path[at])
