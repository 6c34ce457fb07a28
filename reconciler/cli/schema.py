"""`schema`: the schemas of the file formats, for editors and validators."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler.cli.verb import OK, Verb

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("kind", choices=tuple(_KINDS),
                        help="xml: domain files, RELAX NG; xml-compact: the same for Emacs; "
                             "status: status.json, JSON Schema; config: config.yaml, JSON Schema")


def _run(options: Namespace, settings: Settings) -> int:
    sys.stdout.write(_KINDS[options.kind]())
    return OK


def _xml() -> str:
    from reconciler.domain.schema import text

    return text()


def _compact() -> str:
    from reconciler.domain.compact import text

    return text()


def _status() -> str:
    from importlib.resources import files

    return files("reconciler.report").joinpath("status.schema.json").read_text(encoding="utf-8")


def _config() -> str:
    import json

    from reconciler.settings.schema import schema

    return json.dumps(schema(), indent=2) + "\n"


_KINDS = {"xml": _xml, "xml-compact": _compact, "status": _status, "config": _config}
VERBS = (Verb("schema", "print the schema of a file format", _run, _arguments,
              "  reconciler schema xml > domain.rng       # for an editor, jing, xmllint\n"
              "  reconciler schema config > config.schema.json\n"
              "docs/how-to/edit-with-a-schema.md shows how to set up editors\n", configured=False),)
