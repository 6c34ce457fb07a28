"""What is written means what was read; with places, where everything sits, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.hot_change import placed
from reconciler.domain.numbers import complete
from reconciler.domain.policy import Policy, StopMode, UpdatePolicy
from reconciler.domain.reader import read_domain
from reconciler.domain.writer import write
from reconciler.stratovirt.addresses import lay_out
from tests.domain.making import ARM, DISK, HOST, disk, policy, read

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = sorted(file for file in (*GOLDEN.glob("*.xml"), *(GOLDEN / "command_lines").glob("*.xml"))
               if not file.with_suffix(".errors").exists())


def again(domain, host=HOST):
    return read_domain(write(domain).encode(), "written.xml", host)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_rule_4_every_golden_file_means_the_same_when_it_is_written_again(file):
    host = ARM if "aarch64" in file.stem else HOST
    domain = read_domain(file.read_bytes(), file.name, host)
    assert again(domain, host) == domain
    full = complete(domain, {})
    layout = lay_out(full, {}, 4)
    whole = placed(full, layout.ports, dict(layout.places))
    read_back = again(whole, host)
    assert read_back == whole
    assert lay_out(read_back, {}, 4) == layout


@pytest.mark.parametrize("text", [
    policy("state='paused' hold='yes'", "<r:hold reason='a &lt; b' until='2h'/>"),
    policy("", "<r:hold reason='a&#10;b&#9;c &apos;d&apos; \"e\"'/>"),
    policy("", "<r:stop mode='force' timeout='1500ms'/><r:prune policy='keep' after='2d'/>"),
    policy("", "<r:restart policy='never' limit='9' window='1h' delay='3s' max-delay='4m'/>"),
    policy("", "<r:update policy='live' rollback='none'/><r:start wave='3' delay='500ms'/>"),
    policy("", "<r:ignore path='a/b'/><r:ignore path='c'/><r:label name='x' value=\"it's\"/>"),
    policy("", "<r:placement host='h1'/>"),
    "<on_poweroff>restart</on_poweroff>", "<on_crash>restart</on_crash>",
    "<on_reboot>destroy</on_reboot>", "<title>a &amp; b</title>",
    "<description>two\nlines</description>"])
def test_all_of_the_policy_is_written(text):
    domain = read(text)
    assert again(domain) == domain
    # Whatever a configuration's defaults are: what is written does not hang on them.
    other = replace(HOST, defaults=Policy(update=UpdatePolicy.MANUAL, stop=StopMode.FORCE,
                                          stop_timeout=1.0, restart_limit=2))
    assert again(domain, other) == domain


@pytest.mark.parametrize(("text", "written"), [
    ("", []), ("<on_reboot>destroy</on_reboot>", ["<on_reboot>destroy</on_reboot>"]),
    ("<on_poweroff>destroy</on_poweroff>", ["<r:restart policy='never'/>"]),
    ("<on_poweroff>restart</on_poweroff>", ["<on_poweroff>restart</on_poweroff>",
                                            "<on_crash>destroy</on_crash>"]),
    (policy("state='paused'"), [("<r:reconcile xmlns:r='urn:stratovirt-reconciler:1' "
                                "state='paused'/>")]),
    (policy("", "<r:stop timeout='90s'/><r:restart limit='9' policy='on-failure'/>"),
     ["<r:stop timeout='90s'/>", "<r:restart policy='on-failure' limit='9'/>"])])
def test_for_people_the_policy_is_what_differs_from_the_defaults(text, written):
    found = write(read(text), Policy())
    assert read_domain(found.encode(), "b.xml", HOST) == read(text)
    lines = [line.strip() for line in found.splitlines()]
    assert [line for line in lines if "r:" in line or "on_" in line if "</r:" not in line
            if not line.startswith("<r:reconcile") or "state" in line] == written


def test_a_value_that_differs_from_the_configured_default_is_written():
    other = Policy(stop_timeout=1.0, hold=True)
    found = write(read(), other)
    assert "hold='no'" in found
    assert "timeout='30s'" in found
    assert read_domain(found.encode(), "b.xml", replace(HOST, defaults=other)) == read()


def test_no_balloon_stays_none():
    domain = read(devices=DISK + "<memballoon model='none'/>")
    assert again(domain) == domain


def test_it_is_for_people():
    assert write(read(devices=disk("vda", "a.img"))).splitlines()[:3] == [
        "<domain type='kvm'>", "  <name>a</name>",
        f"  <uuid>{read().uuid}</uuid>"]
