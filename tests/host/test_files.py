"""The files that a VM needs."""

import os
import socket
import stat
import tempfile
from concurrent.futures import ProcessPoolExecutor

import pytest

from reconciler.domain.model import RequiredFile
from reconciler.errors import HostError
from reconciler.host.files import (
    LARGEST_TEMPLATE,
    Sync,
    check,
    made_problem,
    make_variables,
    signature,
    write_whole,
)


def said(*needs):
    with pytest.raises(HostError) as caught:
        check(needs)
    assert caught.value.reason == "MissingFile"
    return str(caught.value)


def test_existing_files_have_no_problems(tmp_path):
    (tmp_path / "a").touch()
    check([RequiredFile(str(tmp_path / "a")), RequiredFile("/dev/null", "character"),
           RequiredFile(str(tmp_path / "a"), "file-or-block", writable=True)])


def test_every_problem_is_named_at_once(tmp_path):
    found = said(RequiredFile(str(tmp_path / "a")), RequiredFile(str(tmp_path / "b")),
                 RequiredFile(str(tmp_path), "file"))
    assert f"{tmp_path}/a: no such file or directory" in found
    assert f"{tmp_path}/b: no such file" in found
    assert f"{tmp_path}: not a regular file" in found


@pytest.mark.parametrize(("kind", "accepted"), [
    ("block", "not a block device"), ("file-or-block", "not a regular file or block device"),
    ("file", "not a regular file")])
def test_another_kind_is_refused(kind, accepted):
    assert accepted in said(RequiredFile("/dev/null", kind))


def test_a_loop_of_links_is_reported_as_a_problem(tmp_path):
    (tmp_path / "a").symlink_to("a")
    assert "symbolic links" in said(RequiredFile(str(tmp_path / "a")))


def test_missing_permissions_are_reported():
    with tempfile.TemporaryDirectory() as directory, ProcessPoolExecutor(1) as other:
        os.chmod(directory, 0o755)
        path = os.path.join(directory, "a")
        with open(path, "wb"):
            os.chmod(path, 0o444)
        if os.geteuid() == 0:  # who may all
            other.submit(os.setuid, 65534).result()
        other.submit(check, [RequiredFile(path)]).result()
        with pytest.raises(HostError, match=f"{path}: permission denied"):
            other.submit(check, [RequiredFile(path, writable=True)]).result()
        # A template is only read.
        other.submit(check, [RequiredFile(f"{path}.fd", writable=True, template=path)]).result()


def test_pain_16_variables_are_made_once_from_their_template(tmp_path):
    (tmp_path / "template").write_bytes(b"fresh")
    path = tmp_path / "nvram" / "a.fd"
    need = RequiredFile(str(path), writable=True, template=str(tmp_path / "template"))
    with pytest.raises(HostError, match="nvram: no such directory"):
        check([need])  # its file system may not be mounted yet
    with pytest.raises(HostError, match="cannot be created"):
        make_variables([need])
    assert not path.parent.exists()
    before = signature([need])
    path.parent.mkdir(mode=0o700)
    assert signature([need]) != before
    check([need])  # the template stands in for what is not made yet
    make_variables([need, RequiredFile(str(tmp_path / "none"))])
    assert path.read_bytes() == b"fresh"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.write_bytes(b"the guest's")
    make_variables([need])
    assert path.read_bytes() == b"the guest's"
    assert os.listdir(path.parent) == ["a.fd"]
    assert not (tmp_path / "none").exists()


def test_a_missing_template_of_variables_is_reported(tmp_path):
    need = RequiredFile(str(tmp_path / "a"), template=str(tmp_path / "template"))
    assert "template: no such file" in said(need)
    with pytest.raises(HostError, match="cannot be created from"):
        make_variables([need])


def test_a_signature_changes_when_a_file_comes_changes_or_goes(tmp_path):
    path = tmp_path / "a"
    need = RequiredFile(str(path), template=str(tmp_path / "t"))
    seen = [signature([need])]

    def changed():
        seen.append(signature([need]))
        assert seen[-1] == signature([need])
        return seen[-1] not in seen[:-1]

    path.write_bytes(b"1")
    assert changed()
    os.utime(path, ns=(1, 1))
    assert changed()
    path.chmod(0o400)
    assert changed()
    fresh = tmp_path / "fresh"
    fresh.touch()
    fresh.replace(path)
    assert changed()
    (tmp_path / "t").touch()
    assert changed()
    (tmp_path / "t").unlink()
    path.unlink()
    assert signature([need]) == seen[0]


def test_a_file_is_replaced_whole_and_private(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_whole(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a"]


@pytest.fixture
def calls(monkeypatch):
    """The calls that put a file on disk, in order; each names its file."""
    found = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(handle):
        found.append(("fsync", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def recorded_replace(source, target):
        assert source.read_bytes() == b"new"  # it was flushed before
        found.append(("replace", str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    return found


def test_a_file_is_on_disk_before_it_replaces_the_old_one_and_its_name_after(tmp_path, calls):
    write_whole(tmp_path / "a", b"new")
    assert calls == [("fsync", str(tmp_path / ".a.new")), ("replace", str(tmp_path / "a")),
                     ("fsync", str(tmp_path))]


def test_a_crash_leaves_the_old_content_or_the_new_at_the_price_of_one_sync(tmp_path, calls):
    write_whole(tmp_path / "a", b"new", Sync.CONTENT)
    assert calls == [("fsync", str(tmp_path / ".a.new")), ("replace", str(tmp_path / "a"))]


def test_a_file_that_need_not_survive_a_crash_is_not_synced(tmp_path, calls):
    write_whole(tmp_path / "a", b"new", Sync.NONE)
    assert calls == [("replace", str(tmp_path / "a"))]
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    (tmp_path / ".a.new").mkdir()
    with pytest.raises(OSError):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


# What StratoVirt makes, and replaces what is there


def listening(path, kind=socket.SOCK_STREAM):
    found = socket.socket(socket.AF_UNIX, kind)
    found.bind(str(path))
    if kind == socket.SOCK_STREAM:
        found.listen()
    return found


@pytest.mark.parametrize(("make", "kind", "why"), [
    (lambda path: None, "socket", ""), (lambda path: None, "log", ""),
    (lambda path: path.touch(), "log", ""),
    (lambda path: path.touch(), "socket", "something other than a socket is there"),
    (lambda path: path.write_text("a disk"), "socket", "something other than a socket"),
    (lambda path: path.write_text("a disk"), "log", "a file with contents is there"),
    (lambda path: path.mkdir(), "log", "another kind of file is there"),
    (lambda path: path.symlink_to("/dev/null"), "log", "another kind of file is there"),
    (lambda path: path.symlink_to("/nowhere"), "socket", "something other than a socket"),
    (os.mkfifo, "log", "another kind of file is there"),
    (lambda path: listening(path).close(), "socket", ""),
    (lambda path: listening(path, socket.SOCK_DGRAM).close(), "socket", "")])
def test_what_another_process_made_is_never_replaced(tmp_path, make, kind, why):
    path = tmp_path / "x"
    make(path)
    assert why in made_problem(RequiredFile(str(path), kind))
    assert bool(why) is bool(made_problem(RequiredFile(str(path), kind)))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_that_is_in_use_is_never_replaced(tmp_path, kind):
    with listening(tmp_path / "s", kind):
        assert made_problem(RequiredFile(str(tmp_path / "s"), "socket")) == (
            f"{tmp_path}/s: another process listens there")


def test_where_something_is_made_there_is_a_directory():
    assert made_problem(RequiredFile("/nowhere/s", "socket")) == "/nowhere: no such directory"
    assert made_problem(RequiredFile("/dev/null", "log")) == ""


def test_variables_are_made_of_a_small_regular_file_and_through_no_link(tmp_path):
    large, victim, copy = tmp_path / "large", tmp_path / "victim", tmp_path / "copy.fd"
    with large.open("wb") as file:
        file.truncate(LARGEST_TEMPLATE + 1)
    for template in (large, tmp_path, "/dev/zero"):
        with pytest.raises(HostError, match="copy.fd|not a regular file"):
            make_variables([RequiredFile(str(copy), template=str(template))])
    victim.write_text("precious")
    (tmp_path / ".copy.fd.new").symlink_to(victim)
    (tmp_path / "template").write_text("new")
    make_variables([RequiredFile(str(copy), template=str(tmp_path / "template"))])
    assert (victim.read_text(), copy.read_text()) == ("precious", "new")
    assert not copy.is_symlink()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_a_file_is_never_written_through_a_link(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "status.json"
    victim.write_text("precious")
    (tmp_path / ".status.json.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(path, b"new")
    assert victim.read_text() == "precious"
