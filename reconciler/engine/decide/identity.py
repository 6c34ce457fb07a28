"""Whose a file is: the uuid decides, then the name, then where the domain's file was. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.domain.model import Domain


def owners(accepted: Mapping[str, Domain], known: Mapping[str, str]) -> dict[str, str | None]:
    """The uuid of the known domain that each definition is of, by its key; None for a new domain.

    `known` has the names of known domains by uuid. A name only counts for a domain that no other
    definition claims by its uuid: renames, new files under an old name and exchanges of names may
    come in one look.
    """
    claimed = {domain.uuid for domain in accepted.values()}
    by_name = {name: uuid for uuid, name in known.items() if uuid not in claimed}
    return {key: domain.uuid if domain.uuid in known else by_name.pop(domain.name, None)
            for key, domain in accepted.items()}


def owners_of_rejected(file: str, name: str | None, uuid: str | None, *, only_this_domain: bool,
                       known: Mapping[str, str], files: Mapping[str, str],
                       present: Collection[str]) -> set[str]:
    """The domains a rejected file belongs to, except those that also have a valid file.

    `files` has the file of each definition in force by uuid; `present` are the domains with a
    valid file. `only_this_domain`: of several in the file, one is rejected.
    """
    named = {key for key, known_name in known.items() if key == uuid or known_name == name}
    whole = {key for key, known_file in files.items() if known_file == file}
    if only_this_domain:
        return (named - set(present)) or (whole - set(present))
    return (whole or named) - set(present)
