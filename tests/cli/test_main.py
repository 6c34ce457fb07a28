"""The verbs as a whole: help, what they import, configuration errors, completion."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from reconciler.cli.client import socket_of
from reconciler.cli.main import VERBS, main
from reconciler.errors import ConfigError
from tests.simulated.site import ROOT, condition

SLOW = ("structlog", "lxml", "watchdog", "h11", "asyncinotify", "asyncio", "hypothesis")
NAMES = sorted(verb.name for verb in VERBS)


def printed(capsys, *words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code, capsys.readouterr().out


@pytest.mark.parametrize("verb", NAMES)
def test_every_verb_has_help_with_an_example(capsys, verb):
    code, out = printed(capsys, verb, "--help")
    assert code == 0
    assert out.startswith(f"usage: reconciler {verb}")
    assert f"reconciler {verb}" in out.partition("examples:")[2]
    assert all(len(line) <= 100 for line in out.splitlines() if not line.startswith("usage"))


def test_the_help_lists_every_verb(capsys):
    code, out = printed(capsys, "--help")
    assert code == 0
    assert all(f"\n    {name} " in out for name in NAMES)


def test_virshs_five_and_ours_are_there():
    assert {"run", "status", "plan", "validate", "create", "destroy", "suspend", "resume",
            "console", "start", "stop", "restart", "hold", "release", "approve", "sync", "events",
            "explain"} <= set(NAMES)


def imported(site, *words):
    code = ("import sys; from reconciler.cli.main import main\n"
            "try: main(sys.argv[1:])\n"
            "except SystemExit: pass\n"
            "print(*sys.modules, file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code, "-c", str(site.config), *words], cwd=ROOT,
                          capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("words", [
    ("--help",), ("status", "--help"), ("run", "--help"), ("status",), ("status", "-o", "wide"),
    ("status", "-o", "json"), ("events", "-n", "1"), ("validate", "--help")], ids=" ".join)
def test_answers_come_at_once_since_nothing_slow_is_imported(shared, words):
    found = imported(shared, *words)
    assert "reconciler" in found
    assert found.isdisjoint(SLOW)
    if "--help" in words:
        assert "yaml" not in found


def test_what_runs_vms_does_import_them(shared):
    assert "lxml" in imported(shared, "validate")  # or the test above could never fail


@pytest.mark.parametrize(("text", "said"), [
    ("sorce: {}", "unknown key 'sorce'; did you mean 'source'?"), ("a: [", "not YAML"),
    (None, "No such")])
def test_a_wrong_configuration_is_reported_without_a_traceback(idle, capsys, text, said):
    if text is None:
        idle.config.unlink()
    else:
        idle.config.write_text(text)
    for verb, code in (("status", 2), ("plan", 2), ("run", 1)):
        assert main(["-c", str(idle.config), verb]) == code
        assert said in capsys.readouterr().err


def test_a_closed_pipe_on_stdout_is_not_an_error(shared):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run([sys.executable, "-m", "reconciler", "-c", str(shared.config),
                               "status", "-o", "json"], cwd=ROOT, stdout=closed,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.stderr == ""


def test_without_a_verb_the_help_is_printed_and_it_exits_2(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(f"\n    {name} " in err for name in NAMES)


def test_an_unknown_verb_exits_2():
    done = subprocess.run([sys.executable, "-m", "reconciler", "dance"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "invalid choice: 'dance'" in done.stderr


def test_the_bash_completion_is_bash_and_completes(idle):
    done = idle.verb("completion", "bash")
    assert done.returncode == 0
    subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)
    script = idle.path / "completion"
    script.write_text(done.stdout)
    found = subprocess.run(
        ["bash", "-c", (f"reconciler() {{ echo web1; }}; source {script}\n"
         "complete -p reconciler\n"
         "COMP_WORDS=(reconciler sus); COMP_CWORD=1; _shtab_reconciler; echo ${COMPREPLY[@]}\n"
         "COMP_WORDS=(reconciler suspend ''); COMP_CWORD=2; _shtab_reconciler\n"
         "echo ${COMPREPLY[@]}")], capture_output=True, text=True, check=True).stdout.splitlines()
    assert "_shtab_reconciler" in found[0]
    assert found[1] == "suspend"
    assert "web1" in found[2]


def test_the_zsh_completion_names_every_verb(idle):
    done = idle.verb("completion", "zsh")
    assert done.returncode == 0
    assert done.stdout.startswith("#compdef reconciler")
    assert all(f'"{name}:' in done.stdout or f"{name})" in done.stdout for name in NAMES)


@pytest.mark.parametrize("words", [("wait",), ("sync", "--wait"), ("stop", "a"),
                                   ("apply", "--plan", "p")])
def test_a_wrong_duration_is_an_error_of_usage(capsys, words):
    with pytest.raises(SystemExit) as caught:
        main([*words, "--timeout", "1x"])
    assert caught.value.code == 2
    assert "'1x' is not a duration (accepted: 500ms, 10s, 5m, 1h, 2d)" in capsys.readouterr().err


def test_verbs_with_another_runtime_directory_reach_the_reconciler(site):
    """As in a shell with another XDG_RUNTIME_DIR: the state directory is the same."""
    site.drop()
    site.settled("running")
    other = site.path / "other.yaml"
    other.write_text(site.config.read_text().replace("runtime: run,", "runtime: elsewhere,"))

    def verb(*words):
        return subprocess.run([sys.executable, "-m", "reconciler", "-c", str(other), *words],
                              cwd=ROOT, capture_output=True, text=True, check=False)

    assert verb("status").returncode == 0
    assert verb("hold", "a").returncode == 0
    site.domain(lambda d: condition(d, "Held"))
    site.kill()
    assert "no reconciler is running on" in verb("hold", "a").stderr


def test_without_a_runtime_directory_verbs_ask_where_the_reconciler_was(site, tmp_path):
    """As in cron: there is no XDG_RUNTIME_DIR, and root's own directory is not the question."""

    class Nowhere:
        state = site.settings.state

        @property
        def api_socket(self):
            raise ConfigError("XDG_RUNTIME_DIR is not set")

    site.until(bool)
    assert socket_of(Nowhere()) == site.settings.api_socket
    Nowhere.state = tmp_path / "none"
    with pytest.raises(ConfigError):
        socket_of(Nowhere())
