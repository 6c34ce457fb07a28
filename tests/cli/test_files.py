"""create, destroy, suspend, resume, start, stop: edits of the watched files."""

from __future__ import annotations

import os

import pytest

from reconciler.cli.files import edited, put
from reconciler.cli.main import main
from reconciler.domain.reader import read_domain
from tests.simulated.site import ready
from tests.values import HOST, xml

URN = "urn:stratovirt-reconciler:1"
HEAD = "<?xml version='1.0'?>\n<!-- state='running' is <r:reconcile state='x'/> -->\n"


# What an edit changes: the state, and nothing else

def domain(inner: str) -> str:
    return f'{HEAD}<domain type="kvm">\r\n\t<name>a</name>{inner}</domain>\n<!-- end -->'


@pytest.mark.parametrize(("before", "after"), [
    ("<metadata><r:reconcile xmlns:r='U' state='running'/></metadata>",
     "<metadata><r:reconcile xmlns:r='U' state='paused'/></metadata>"),
    ('<metadata><x:reconcile\n  state = "running"\n  xmlns:x=\'U\'> </x:reconcile></metadata>',
     '<metadata><x:reconcile\n  state = "paused"\n  xmlns:x=\'U\'> </x:reconcile></metadata>'),
    ("<metadata><reconcile xmlns='U'/></metadata>",
     "<metadata><reconcile xmlns='U' state='paused'/></metadata>"),
    ("<metadata><reconcile xmlns='U' ><stop timeout='1s'/></reconcile></metadata>",
     "<metadata><reconcile xmlns='U' state='paused'><stop timeout='1s'/></reconcile></metadata>"),
    ("<metadata><r:reconcile xmlns:r='U' mystate='running' state=''/></metadata>",
     "<metadata><r:reconcile xmlns:r='U' mystate='running' state='paused'/></metadata>"),
    ("<metadata><a/><!-- </metadata> -->\n</metadata>",
     ("<metadata><a/><!-- </metadata> -->\n  <r:reconcile xmlns:r='U' state='paused'/>\n  "
     "</metadata>")),
    ("\n", "\n  <metadata>\n    <r:reconcile xmlns:r='U' state='paused'/>\n  </metadata>\n"),
    (("<!-- <r:reconcile state='running'/> --><metadata><r:reconcile xmlns:r='U' state='stopped'/>"
     "</metadata>"),
     ("<!-- <r:reconcile state='running'/> --><metadata><r:reconcile xmlns:r='U' state='paused'/>"
     "</metadata>")),
], ids=["plain", "quotes", "none", "children", "like", "metadata", "nothing", "comment"])
def test_an_edit_changes_the_state_alone(before, after):
    before, after = (domain(text.replace("U", URN)) for text in (before, after))
    assert edited(before, "paused") == after
    assert edited(after, "paused") == after


@pytest.mark.parametrize("state", ["running", "paused", "stopped"])
def test_an_edited_file_means_the_new_state_and_else_the_same(state):
    before = xml("a", "running", inner="<r:label name='x' value='state=1'/>").decode()
    found = read_domain(edited(before, state).encode(), "a.xml", HOST)
    assert found.policy.state == state
    again = read_domain(edited(edited(before, state), "running").encode(), "a.xml", HOST)
    assert again == read_domain(before.encode(), "a.xml", HOST)


def test_a_file_is_put_whole_and_keeps_its_mode(tmp_path):
    path = tmp_path / "a.xml"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with path.open("rb") as reader:
        put(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.xml"]


# The verbs, without a reconciler: the files are edited, and that is said

@pytest.mark.parametrize(("verb", "before", "after"), [
    ("suspend", "running", "paused"), ("resume", "paused", "running"),
    ("stop", "running", "stopped"), ("stop", "paused", "stopped"),
    ("start", "stopped", "running"), ("start", "paused", "running"),
    ("suspend", "paused", "paused")])
def test_pain_7_a_verb_writes_its_state_and_keeps_every_other_byte(idle, verb, before, after):
    idle.drop("a", before)
    text = b"<!-- \xc3\xa4 'state' -->\r\n" + idle.file().read_bytes().replace(b"\n", b"\r\n")
    idle.put("a.xml", text)
    done = idle.verb(verb, "a")
    assert done.returncode == 0, done.stderr
    assert idle.file().read_bytes() == text.replace(f"state='{before}'".encode(),
                                                    f"state='{after}'".encode())
    assert f"set to {after} in" in done.stdout or f"already {after} in" in done.stdout
    assert "no reconciler is running" in done.stderr


@pytest.mark.parametrize(("verb", "state", "said"), [
    ("suspend", "stopped", "the desired state of 'a' is stopped, not running"),
    ("resume", "stopped", "the desired state of 'a' is stopped, not paused")])
def test_a_state_that_does_not_allow_the_verb_is_refused(idle, verb, state, said):
    idle.drop("a", state)
    before = idle.file().read_bytes()
    done = idle.verb(verb, "a")
    assert (done.returncode, said in done.stderr) == (1, True)
    assert "`reconciler start a`" in done.stderr
    assert idle.file().read_bytes() == before


def test_an_unknown_domain_names_the_nearest(idle, capsys):
    idle.drop("web1")
    for verb in ("suspend", "resume", "start", "stop", "destroy"):
        assert main(["-c", str(idle.config), verb, "web2"]) == 1
        assert "did you mean 'web1'?" in capsys.readouterr().err


def test_a_file_of_another_encoding_is_edited_in_it_or_not_at_all(idle):
    idle.drop("a")
    data = "<?xml version='1.0' encoding='ISO-8859-1'?><!-- ä -->".encode("latin-1") + (
        idle.file().read_bytes())
    idle.put("a.xml", data)
    done = idle.verb("suspend", "a")
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert idle.file().read_bytes() == data


def test_a_file_is_put_through_no_link_of_another_user(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "a.xml"
    victim.write_text("precious")
    (tmp_path / ".a.xml.new").symlink_to(victim)
    put(path, b"new")
    assert (victim.read_text(), path.read_text(), path.is_symlink()) == ("precious", "new", False)


def test_create_checks_and_puts_the_file_under_the_domains_name(idle, tmp_path):
    new = tmp_path / "anything.xml"
    idle.drop("web1", "stopped")
    idle.file("web1").replace(new)
    done = idle.verb("create", str(new))
    assert done.returncode == 0, done.stderr
    assert idle.file("web1").read_bytes() == new.read_bytes()
    # A second time it is there already, under whatever file.
    idle.file("web1").rename(idle.file("other"))
    again = idle.verb("create", str(new))
    assert again.returncode == 1
    assert "domain 'web1' is already in" in again.stderr
    assert "other.xml" in again.stderr
    assert not idle.file("web1").exists()


def test_create_takes_a_file_from_a_pipe(idle):
    data = xml("a", "stopped").decode()
    assert idle.verb("create", "-", input=data).returncode == 0
    assert idle.file().read_text() == data


def test_create_refuses_an_invalid_file_with_every_error(idle, tmp_path):
    bad = tmp_path / "bad.xml"
    bad.write_bytes(xml("a").replace(b"q35", b"pc").replace(b"'MiB'>128", b"'MiB'>1"))
    done = idle.verb("create", str(bad))
    assert done.returncode == 1
    assert done.stderr.count(f"{bad}:") >= 2
    assert list((idle.path / "domains").iterdir()) == []
    gone = idle.verb("create", str(tmp_path / "none.xml"))
    assert (gone.returncode, "No such file" in gone.stderr) == (1, True)


def test_create_never_replaces_an_existing_file(idle, tmp_path):
    idle.put("a.xml", b"<domain>")  # invalid, but it belongs to the user
    new = tmp_path / "new.xml"
    new.write_bytes(xml("a"))
    assert idle.verb("create", str(new)).returncode == 1
    assert idle.file().read_bytes() == b"<domain>"


# The verbs, with a reconciler: its word on the outcome is waited for

def test_virshs_verbs_do_what_they_say(site, tmp_path):
    site.disk("a")
    new = tmp_path / "new.xml"
    site.drop("a")
    site.file().replace(new)
    done = site.verb("create", str(new))
    assert (done.returncode, "a: running, InSync" in done.stdout) == (0, True), done
    pid = site.processes()
    for verb, said in (("suspend", "a: paused"), ("resume", "a: running")):
        done = site.verb(verb, "a")
        assert (done.returncode, said in done.stdout) == (0, True), done
        assert site.processes() == pid
    done = site.verb("stop", "a")
    assert (done.returncode, "a: shut off" in done.stdout) == (0, True), done
    assert site.processes() == []
    done = site.verb("start", "a")
    assert (done.returncode, "a: running" in done.stdout) == (0, True), done
    uuid = site.settled("running")["uuid"]
    done = site.verb("destroy", uuid)  # a uuid will do everywhere
    assert (done.returncode, "a: gone" in done.stdout) == (0, True), done
    assert site.processes() == []
    assert not site.file().exists()
    assert site.disk("a").exists()


def test_a_state_that_is_not_reached_is_reported_and_exits_1(site, tmp_path):
    site.drop("a", "stopped")
    site.settled("absent")
    (site.path / "images" / "a.img").unlink()
    done = site.verb("start", "a", "--timeout", "300ms")
    assert done.returncode == 1
    assert "a.img" in done.stdout
    assert site.verb("stop", "a", "--no-wait").stdout.count("\n") == 1
    site.domain(ready)


# Files that are read with more than themselves

SIZED = xml("a", "running").replace(b"<memory unit='MiB'>128</memory>", b"").replace(
    b" state='running'", b"").replace(b"<metadata>", b"<title>${WHO} $${WHO}</title><metadata>")


@pytest.fixture
def fuller(idle):
    """A directory with defaults, on a host with a variable."""
    idle.config.write_text(idle.config.read_text() + "\nsource: {variables: {WHO: me}}\n")
    idle.put("defaults.xml", f"<domain><memory unit='MiB'>128</memory><metadata><r:reconcile "
                             f"xmlns:r='{URN}' state='stopped'/></metadata></domain>".encode())
    return idle


def test_a_verb_writes_the_state_into_the_file_itself(fuller):
    fuller.put("a.xml", SIZED)
    before = fuller.file("defaults").read_bytes()
    done = fuller.verb("stop", "a")
    assert "a: already stopped in" in done.stdout
    assert fuller.file().read_bytes() == SIZED
    assert fuller.verb("start", "a").returncode == 0
    assert fuller.file().read_bytes() == SIZED.replace(
        f"xmlns:r='{URN}'".encode(), f"xmlns:r='{URN}' state='running'".encode())
    assert fuller.file("defaults").read_bytes() == before


def test_a_file_without_a_reconcile_element_gets_one(fuller):
    plain = SIZED[:SIZED.index(b"<metadata>")] + b"</domain>"
    fuller.put("a.xml", plain)
    assert fuller.verb("start", "a").returncode == 0
    assert f"<r:reconcile xmlns:r='{URN}' state='running'/>" in fuller.file().read_text()
    assert b"${WHO} $${WHO}" in fuller.file().read_bytes()


def counted(count):
    return xml("a-{index}", "stopped").replace(b"state='stopped'",
                                               f"state='stopped' count='{count}'".encode())


@pytest.mark.parametrize(("verb", "hint"), [
    ("suspend", "state in a.xml applies to all of them; `reconciler hold NAME` is for one"),
    ("start", "`reconciler restart NAME` is for one"), ("stop", "state in a.xml"),
    ("destroy", "lower its count, or remove a.xml with all of its domains")])
def test_what_would_be_done_to_one_of_several_is_refused(idle, verb, hint):
    idle.put("a.xml", counted(3))
    done = idle.verb(verb, "a-1")
    assert done.returncode == 1
    assert "a.xml defines 3 domains (count), 'a-1' is one of them" in done.stderr
    assert hint in done.stderr
    assert idle.file().read_bytes() == counted(3)


def test_one_of_one_is_a_domain_as_any(idle):
    idle.put("a.xml", counted(1))
    assert idle.verb("start", "a-0").returncode == 0
    assert b"state='running' count='1'" in idle.file().read_bytes()
    assert idle.verb("destroy", "a-0").returncode == 0
    assert not idle.file().exists()


def test_create_takes_a_file_of_several_under_its_own_name(fuller, tmp_path):
    new = tmp_path / "web.xml"
    new.write_bytes(counted(2))
    done = fuller.verb("create", str(new))
    assert done.returncode == 0, done.stderr
    assert "a-0, a-1: " in done.stdout
    assert fuller.file("web").read_bytes() == counted(2)
    again = fuller.verb("create", str(new))
    assert again.returncode == 1
    assert "domain 'a-0' is already in" in again.stderr


def test_wrong_defaults_must_be_fixed_first(fuller):
    fuller.put("defaults.xml", b"<domain><vcpuu/></domain>")
    fuller.put("a.xml", SIZED)
    done = fuller.verb("stop", "a")
    assert done.returncode == 1
    assert "defaults.xml:1: error: domain/vcpuu" in done.stderr
    assert "correct it first" in done.stderr
