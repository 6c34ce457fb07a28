"""Which directories have to be watched for a directory, and which of them can be.

Besides the directory: its parent, the parent of every symbolic link on the path, and in a git work
tree the directory of git's lock. Where others may change files unseen, watching is of no use.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.host.mounts import Mounts
from reconciler.sources.work_tree import git_directory

_LONGEST_CHAIN = 40  # symbolic links that the kernel follows in one path


@dataclass(frozen=True, slots=True)
class Survey:
    """What is to be watched: directories with their inodes, to recognise replaced ones.

    `steps`: names on the path. `inside`: the real path of the directory. `remote`: the kind of the
    file system that it is on, if others may change it unseen; nothing there is watched.
    """

    places: frozenset[tuple[str, int]]
    steps: frozenset[str]
    inside: str
    git: str
    remote: str


def survey(path: Path, probe: Path) -> Survey | None:
    """The directories on the path as it is now (blocking); None while it is being replaced.

    `probe`: the directory in which a file is touched to test the watch.
    """
    mounts = Mounts.now()
    try:
        points, links = _points(path)
        git = git_directory(path)
        places = points | _place(git) | _place(Path(os.path.realpath(probe)))
        inside = os.path.realpath(path)
    except FileNotFoundError:
        return None
    return Survey(frozenset(p for p in places if not mounts.remote_kind(p[0])),
                  links | {path.name, *(os.path.basename(place) for place, _ in points)},
                  inside, str(git or ""), mounts.remote_kind(path))


def remote_links(path: Path) -> tuple[str, ...]:
    """The entries of a local directory that are links to a remote file system (blocking)."""
    mounts = Mounts.now()
    if not mounts.any_remote or mounts.remote_kind(path):
        return ()
    with suppress(OSError), os.scandir(path) as entries:  # the look itself says why
        return tuple(entry.path for entry in entries
                     if entry.is_symlink() and mounts.remote_kind(entry.path))
    return ()


def _place(directory: Path | None) -> frozenset[tuple[str, int]]:
    """A directory to watch, if it exists."""
    if directory is None or not directory.is_dir():
        return frozenset()
    return frozenset({(str(directory), os.stat(directory).st_ino)})


def _points(path: Path) -> tuple[frozenset[tuple[str, int]], frozenset[str]]:
    """The directories to watch, with their inodes to recognise replaced ones; names of links."""
    found: list[str] = []
    links: set[str] = set()
    here = Path(os.path.abspath(path))
    for _ in range(_LONGEST_CHAIN):
        link = next((step for step in (*reversed(here.parents), here) if step.is_symlink()), None)
        if link is None:
            break
        found.append(str(link.parent))
        links.add(link.name)
        here = Path(os.path.normpath(link.parent / os.readlink(link) / here.relative_to(link)))
    parent = here.parent
    while not parent.is_dir():
        parent = parent.parent
    found += [str(parent), *([str(here)] if here.is_dir() else [])]
    return frozenset((place, os.stat(place).st_ino) for place in found), frozenset(links)
