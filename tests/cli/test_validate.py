"""validate: every error at once, with its line."""

from __future__ import annotations

import json

import pytest

from reconciler.cli import validate
from reconciler.domain.model import Problem
from tests.values import xml

WARNS = xml("w").replace(b"<target dev", b"<wwn>5000c50015ea71ad</wwn><target dev")
TYPO = xml("t").replace(b"<os>", b"<vpcu>1</vpcu>\n<os>")


@pytest.fixture
def files(idle):
    for name, data in (("good", xml("g")), ("warns", WARNS), ("typo", TYPO),
                       ("bad", xml("b").replace(b"q35", b"pc").replace(b"'MiB'>128", b"'MiB'>1"))):
        (idle.path / f"{name}.xml").write_bytes(data)
    return lambda *words: idle.verb("validate", *(
        str(idle.path / word) if word.endswith("xml") else word for word in words))


@pytest.mark.parametrize(("words", "code"), [
    (["good.xml"], 0), (["good.xml", "--strict"], 0), (["warns.xml"], 0),
    (["warns.xml", "--strict"], 3), (["bad.xml"], 1), (["bad.xml", "good.xml", "--strict"], 1),
    (["typo.xml"], 1), (["typo.xml", "--lenient"], 0), (["typo.xml", "--lenient", "--strict"], 3),
    (["none.xml"], 2), (["--nothing"], 2)])
def test_exit_statuses(files, words, code):
    done = files(*words)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_every_error_is_a_line_that_editors_can_jump_to(files, idle):
    lines = files("bad.xml", "good.xml").stdout.splitlines()
    assert len(lines) == 3
    assert [line.removeprefix(f"{idle.path}/bad.xml").partition(" domain")[0]
            for line in lines[:2]] == [":1: error:", ":2: error:"]
    assert lines[2] == f"{idle.path}/good.xml: valid, domain g"
    assert "did you mean" in files("typo.xml").stdout


def test_json_has_the_same(files, idle):
    bad, warns = json.loads(files("bad.xml", "warns.xml", "-o", "json").stdout)
    assert (bad["file"], bad["domain"], bad["valid"]) == (f"{idle.path}/bad.xml", None, False)
    assert {p["severity"] for p in bad["problems"]} == {"error"}
    assert (warns["domain"], warns["valid"]) == ("w", True)
    problem, = warns["problems"]
    assert (problem["severity"], problem["line"]) == ("warning", 4)
    assert "wwn" in problem["path"] + problem["message"]


def test_files_are_checked_against_each_other(idle):
    idle.put("a.xml", xml("a"))
    idle.put("b.xml", xml("a"))
    done = idle.verb("validate")  # the watched directory
    assert done.returncode == 1
    assert done.stdout.count("name 'a' is also the name of") == 2


def test_nothing_to_validate_is_well(idle):
    assert idle.verb("validate").returncode == 0


def test_a_disagreement_of_reader_and_schema_exits_2(capsys):
    error = Problem("a.xml", 1, "domain", "wrong")
    warning = Problem("a.xml", 1, "domain", "ignored", warning=True)
    for faults, problems, code in ((("a.xml: one",), (error,), 2), (("a.xml: one",), (), 2),
                                   ((), (error, warning), 1), ((), (warning,), 3), ((), (), 0)):
        assert validate.status(faults, problems, strict=True) == code
    validate.apologise(("a.xml: one",))
    said = capsys.readouterr().err
    assert "a.xml: one" in said
    assert "please report it" in said


def test_an_empty_directory_is_said_to_be_one(idle):
    (idle.path / "empty").mkdir()
    for words in ((), ("--all",)):
        done = idle.verb("validate", *words, str(idle.path / "empty"))
        assert done.returncode == 0
        assert "nothing to validate: no file matches *.xml" in done.stdout
    done = idle.verb("validate", "-o", "json", str(idle.path / "empty"))
    assert json.loads(done.stdout) == []
    assert "nothing to validate" in done.stderr


def test_all_of_a_repository_at_once(idle):
    domains = idle.path / "domains"
    needs = "<r:depends-on domain='none'/><r:placement host='h2'/>"
    idle.put("a.xml", xml("a", inner=needs))
    idle.put("b.xml", xml("b"))
    (domains / "c.yaml").touch()
    done = idle.verb("validate", "--all")
    assert done.returncode == 0
    assert "a.xml:5: warning: domain/metadata/reconcile/depends-on: " in (
        done.stdout)
    assert "valid, domain a (assigned to host h2)" in done.stdout
    assert "c.yaml:1: warning: ignored: " in done.stdout
    assert done.stdout.endswith("2 valid, 0 invalid, 2 warnings\n")
    assert "c.yaml" not in idle.verb("validate").stdout
    assert idle.verb("validate", "--all", "--strict").returncode == 3
    found = {entry["file"].rpartition("/")[2]: entry for entry in json.loads(
        idle.verb("validate", "--all", "-o", "json").stdout)}
    assert (found["a.xml"]["hosts"], found["c.yaml"]["domain"]) == (["h2"], None)
    idle.put("b.xml", xml("b", inner="<r:update window='nights'/>"))
    done = idle.verb("validate", "--all")
    assert done.returncode == 1
    assert "window='nights'" in done.stdout
    assert done.stdout.endswith("1 valid, 1 invalid, 2 warnings\n")


def test_all_is_of_directories(idle):
    idle.put("a.xml", xml("a"))
    assert idle.verb("validate", "--all", str(idle.file("a"))).returncode == 2


def test_files_of_two_hosts_may_be_of_one_name(idle):
    for host in ("h1", "h2"):
        idle.put(f"{host}.xml", xml("a", inner=f"<r:placement host='{host}'/>"))
    assert idle.verb("validate").returncode == 0


DEFAULTS = b"<domain>\n<memory unit='MiB'>128</memory></domain>"


def test_a_file_is_expanded_as_it_will_be(idle):
    idle.config.write_text(idle.config.read_text() + "\nsource: {variables: {N: 2}}\n")
    place = idle.path / "elsewhere"
    place.mkdir()
    (place / "defaults.xml").write_bytes(DEFAULTS)
    web = place / "web.xml"
    web.write_bytes(xml("web-{index}").replace(b"<memory unit='MiB'>128</memory>", b"").replace(
        b"state='running'", b"count='${N}'"))
    done = idle.verb("validate", str(web))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{web}: valid, domains web-0, web-1\n"
    whole = idle.verb("validate", str(place)).stdout
    assert f"{place}/defaults.xml: valid, defaults for the other files in this directory\n" in whole
    found, = json.loads(idle.verb("validate", str(web), "-o", "json").stdout)
    assert found["domains"] == ["web-0", "web-1"]
    web.write_bytes(web.read_bytes().replace(b"'web-{index}.img'", b"'web.img'"))
    done = idle.verb("validate", str(web))
    assert done.returncode == 1
    assert f"{web}:4: error: domain: writable disk" in done.stdout
    assert f"is also the writable disk of {web}#0:4; accepted: one domain per host, so use " in (
        done.stdout)


def test_wrong_defaults_are_reported_once_with_their_line(idle):
    idle.put("defaults.xml", DEFAULTS.replace(b"128", b"x"))
    for name in "ab":
        idle.put(f"{name}.xml", xml(name))
    place = idle.path / "domains"
    for words in ((), (str(place / "a.xml"), str(place / "b.xml"))):
        done = idle.verb("validate", *words)
        assert done.returncode == 1
        assert done.stdout.count(f"{place}/defaults.xml:2: error: domain/memory") == 1
        assert done.stdout.count(f"not read, since {place}/defaults.xml has errors") == 2


def test_a_file_of_another_host_is_valid_and_that_is_said(idle):
    idle.put("a.xml", xml("a", inner="<r:placement host='there'/>"))
    assert idle.verb("validate").stdout.endswith("valid, domain a (assigned to host there)\n")
