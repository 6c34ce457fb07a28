"""`completion`: a script with which a shell completes verbs, options, files and domain names.

main.py puts the whole parser into the options, so that this module does not import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.verb import OK, Verb

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings

_PREAMBLE = {
    "bash": """
_reconciler_domains() {
  compgen -W "$(reconciler status -o name 2>/dev/null)" -- "$1"
}
""",
    "zsh": """
_reconciler_domains() {
  local names
  names=(${(f)"$(reconciler status -o name 2>/dev/null)"})
  compadd -a names
}
""",
}


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh"))


def _run(options: Namespace, _settings: Settings) -> int:
    import shtab

    print(shtab.complete(options.parser, shell=options.shell, preamble=_PREAMBLE[options.shell]))
    return OK


VERBS = (Verb("completion", "print a shell completion script", _run, _arguments,
              "  reconciler completion bash > /etc/bash_completion.d/reconciler\n"
              '  eval "$(reconciler completion zsh)"\n'),)
