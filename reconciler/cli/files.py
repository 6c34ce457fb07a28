"""The verbs that write into the watched directory: the files stay the truth."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from lxml import etree

from reconciler.domain.metadata import URN
from reconciler.domain.model import Domain, InvalidDomain, Policy
from reconciler.domain.reader import read_domain
from reconciler.sources.directory import listing

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.settings import Settings

STATES = {"suspend": "paused", "resume": "running", "start": "running", "stop": "stopped"}


def _read(settings: Settings, data: bytes, file: str) -> Domain:
    return read_domain(data, file, settings.images, settings.state, settings.arch, Policy())


def _names(settings: Settings) -> dict[str, str]:
    names: dict[str, str] = {}
    for file, data in listing(settings.domains).items():
        try:
            names[_read(settings, data, file).name] = file
        except InvalidDomain:
            continue
    return names


def _put(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())
    fresh.replace(path)


def create(settings: Settings, file: Path) -> int:
    """Check a file and put it into the watched directory; 1 when it is invalid or taken."""
    data = file.read_bytes()
    try:
        domain = _read(settings, data, str(file))
    except InvalidDomain as error:
        print(error, file=sys.stderr)
        return 1
    target = settings.domains / f"{domain.name}.xml"
    owner = _names(settings).get(domain.name)
    if owner is not None or target.exists():
        print(f"reconciler: domain '{domain.name}' is already in {owner or target.name}; edit that "
              f"file, or `reconciler destroy {domain.name}` first", file=sys.stderr)
        return 1
    _put(target, data)
    print(f"{target} written; `reconciler status` shows the domain")
    return 0


def change(settings: Settings, verb: str, name: str) -> int:
    """Edit or remove the file of a domain; 1 when no valid file names it."""
    file = _names(settings).get(name)
    if file is None:
        print(f"reconciler: no valid file in {settings.domains} names '{name}'; "
              "`reconciler status` lists the domains", file=sys.stderr)
        return 1
    path = settings.domains / file
    if verb == "destroy":
        path.unlink()
        print(f"{path} removed")
        return 0
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    root = etree.fromstring(path.read_bytes(), parser)
    metadata = root.find("metadata")
    if metadata is None:
        metadata = etree.SubElement(root, "metadata")
    node = metadata.find(f"{{{URN}}}reconcile")
    if node is None:
        node = etree.SubElement(metadata, f"{{{URN}}}reconcile", nsmap={"r": URN})
    node.set("state", STATES[verb])
    _put(path, etree.tostring(root.getroottree(), encoding="utf-8") + b"\n")
    print(f"{path}: state {STATES[verb]}")
    return 0
