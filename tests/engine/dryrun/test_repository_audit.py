"""What only shows when all files are looked at together."""

from __future__ import annotations

import pytest

from reconciler.domain.reader import read_domain
from reconciler.engine.dryrun.repository_audit import audit, clashes
from tests.values import HOST, xml


def read(path, **files):
    return {str(path / f"{name}.xml"): read_domain(data, str(path / f"{name}.xml"), HOST)
            for name, data in files.items()}


def placed(name, host, inner=""):
    return xml(name, inner=f"<r:placement host='{host}'/>{inner}")


def needs(name):
    return f"<r:depends-on domain='{name}'/>"


def test_only_files_of_one_host_can_clash(tmp_path):
    assert clashes(read(tmp_path, x=placed("a", "h1"), y=placed("a", "h2"))) == {}
    found = clashes(read(tmp_path, x=placed("a", "h1"), y=placed("a", "h2"), z=xml("a")))
    assert sorted(found) == [str(tmp_path / f"{name}.xml") for name in "xyz"]
    assert clashes(read(tmp_path, x=placed("a", "h1"), y=placed("a", "h1")))


def test_a_cycle_is_an_error(tmp_path):
    found = clashes(read(tmp_path, a=xml("a", inner=needs("b")), b=xml("b", inner=needs("a"))))
    assert all("is a cycle" in p.message and not p.warning for ps in found.values() for p in ps)
    assert len(found) == 2


@pytest.mark.parametrize(("other", "said"), [
    (xml("web"), "but no file here defines that domain; did you mean 'web'?"),
    (xml("webb", "stopped"), "whose file says state='stopped'"),
    (placed("webb", "h2"), "which is assigned to host h2 (placement/@host)"), (xml("webb"), "")])
def test_a_dependency_that_is_never_met_is_named(tmp_path, other, said):
    domains = read(tmp_path, a=xml("a", inner=needs("webb")), other=other)
    (tmp_path / "a.xml").touch()
    (tmp_path / "other.xml").touch()
    found = audit(tmp_path, ("*.xml",), domains)
    assert [p.message for p in found] == ([f"depends on 'webb', {said}"] if said else [])
    assert all(p.warning and p.line for p in found)


def test_a_file_that_is_ignored_is_named(tmp_path):
    ignored = {"a.yaml": "does not match source.include", "a.xml~": "backup", "#a.xml#": "backup",
               "a.xml.bak": "backup", ".a.xml.swp": "hidden", "below": "a directory",
               "no-file.xml": "not a regular file"}
    for name in ("a.xml", "README", "notes.md", ".gitignore", *ignored):
        if name in ("below", "no-file.xml"):
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    found = {p.file: p for p in audit(tmp_path, ("*.xml",), {})}
    assert sorted(found) == sorted(str(tmp_path / name) for name in ignored)
    for name, said in ignored.items():
        assert said in found[str(tmp_path / name)].message
        assert found[str(tmp_path / name)].warning


def test_a_file_that_a_domain_needs_is_not_ignored(tmp_path):
    (tmp_path / "a.img").touch()
    data = xml("a").replace(b"file='a.img'", f"file='{tmp_path / 'a.img'}'".encode())
    assert audit(tmp_path, ("*.xml",), read(tmp_path, a=data)) == ()
    assert len(audit(tmp_path, ("*.xml",), {})) == 1
