"""The reconcile element and libvirt's own on_ elements."""

from dataclasses import replace

import pytest

from reconciler.domain.policy import (
    Dependency,
    DependencyCondition,
    Health,
    Policy,
    Probe,
    StopMode,
    UpdatePolicy,
)
from tests.domain.making import DISK, HOST, error, policy, problems, read

# What probes ask by.
ASKED = (DISK + "<console type='pty'/><channel type='unix'><target type='virtio' "
         "name='org.qemu.guest_agent.0'/></channel>")


def of(attributes: str = "", inner: str = "", *more: str) -> Policy:
    return read(policy(attributes, inner), *more).policy


def test_without_the_element_the_configuration_s_defaults_hold():
    defaults = Policy(update=UpdatePolicy.LIVE, stop=StopMode.FORCE, stop_timeout=5.0)
    assert read(host=replace(HOST, defaults=defaults)).policy == defaults
    assert read(policy("state='paused'"), host=replace(HOST, defaults=defaults)).policy == replace(
        defaults, state="paused")


def test_everything_at_once():
    found = of("state='stopped' hold='yes'",
               "<r:hold reason='disk' until='2026-12-24T18:00:00Z'/>"
               "<r:update policy='live' rollback='none'/><r:prune policy='confirm' after='1h'/>"
               "<r:stop mode='force' timeout='500ms'/>"
               "<r:restart policy='on-failure' limit='3' window='5m' delay='2s' max-delay='1m'/>"
               "<r:start wave='2' delay='10s'/><r:ignore path='memory'/>"
               "<r:ignore path='disk[vda]/iotune/total_iops_sec'/><r:label name='team' value='b'/>"
               "<r:label name='app' value='a'/><r:placement host='h1'/>")
    assert found == Policy(
        state="stopped", hold=True, hold_reason="disk", hold_until="2026-12-24T18:00:00Z",
        update="live", rollback=False, prune="confirm", prune_after=3600.0, stop="force",
        stop_timeout=0.5, restart_on_poweroff=False, restart_on_failure=True, restart_limit=3,
        restart_window=300.0, restart_delay=2.0, restart_max_delay=60.0, start_wave=2,
        start_delay=10.0, ignore=("disk[vda]/iotune/total_iops_sec", "memory"),
        labels=(("app", "a"), ("team", "b")), host="h1")


@pytest.mark.parametrize(("word", "poweroff", "failure"), [
    ("always", True, True), ("on-failure", False, True), ("never", False, False)])
def test_restart_policies(word, poweroff, failure):
    found = of("", f"<r:restart policy='{word}'/>", "<on_poweroff>restart</on_poweroff>")
    assert (found.restart_on_poweroff, found.restart_on_failure) == (poweroff, failure)


@pytest.mark.parametrize(("written", "poweroff", "failure"), [
    ("", True, True), ("<on_poweroff>restart</on_poweroff>", True, False),
    ("<on_poweroff>destroy</on_poweroff>", False, False),
    ("<on_crash>restart</on_crash>", False, True), ("<on_crash>destroy</on_crash>", False, False),
    ("<on_reboot>restart</on_reboot>", True, True)])
def test_pain_8_on_elements_keep_libvirt_s_meaning_and_defaults(written, poweroff, failure):
    found = read(written).policy
    assert (found.restart_on_poweroff, found.restart_on_failure) == (poweroff, failure)


def test_pain_8_on_reboot_destroy():
    assert read("<on_reboot>destroy</on_reboot>").policy.destroy_on_reboot
    assert not read("<on_reboot>restart</on_reboot>").policy.destroy_on_reboot


@pytest.mark.parametrize("written", [
    "<on_poweroff>preserve</on_poweroff>", "<on_reboot>rename-restart</on_reboot>",
    "<on_crash>coredump-destroy</on_crash>", "<on_crash>coredump-restart</on_crash>"])
def test_on_values_that_are_refused(written):
    assert error(written)


def test_dependencies_are_sorted_and_have_a_condition():
    found = of("", "<r:depends-on domain='web'/><r:depends-on domain='db' condition='healthy'/>")
    assert found.depends_on == (
        Dependency("db", DependencyCondition.HEALTHY),
        Dependency("web", DependencyCondition.STARTED))


@pytest.mark.parametrize(("inner", "health"), [
    ("<r:tcp address='10.0.0.5:80'/>", Health(Probe.TCP, "10.0.0.5:80")),
    ("<r:tcp address='[fd00::5]:80'/>", Health(Probe.TCP, "[fd00::5]:80")),
    ("<r:console match='web* login:'/>", Health(Probe.CONSOLE, "web* login:")),
    ("<r:agent/>", Health(Probe.AGENT))])
def test_health(inner, health):
    def probed(rule):
        return read(policy("", rule), devices=ASKED).policy

    assert probed(f"<r:health>{inner}</r:health>").health == health
    assert probed(f"<r:health interval='1s' timeout='2s' failures='4' start-period='5s' "
                  f"on-failure='restart'>{inner}</r:health>").health == replace(
        health, interval=1.0, timeout=2.0, failures=4, start_period=5.0, restart=True)


@pytest.mark.parametrize(("inner", "says"), [
    ("<r:health/>", "no probes"), ("<r:health><r:agent/><r:tcp address='a:1'/></r:health>", "2 p"),
    ("<r:health><r:tcp address='a'/></r:health>", "an address and a port"),
    ("<r:health><r:tcp/></r:health>", "no address"), ("<r:health><r:console/></r:health>", "match"),
    ("<r:health><r:console match='**'/></r:health>", "accepted: a text"),
    ("<r:health interval='0s'><r:agent/></r:health>", "of 0"),
    ("<r:health timeout='0s'><r:agent/></r:health>", "of 0"),
    ("<r:depends-on/>", "no domain"), ("<r:depends-on domain='a'/>", "itself"),
    ("<r:depends-on domain='b'/><r:depends-on domain='b'/>", "a second"),
    ("<r:depends-on domain='b' condition='up'/>", "started, healthy")])
def test_wrong_dependencies_and_probes(inner, says):
    assert says in error(policy("", inner), devices=ASKED).message


@pytest.mark.parametrize("inner", ["<r:placement require='ssd'/>",
                                   "<r:placement failover='auto'/>"])
def test_what_is_not_built_yet_is_refused_with_its_line(inner):
    found = error(policy("", f"\n{inner}"))
    assert (found.reason, found.line) == ("Unsupported", 2)


@pytest.mark.parametrize(("attributes", "inner"), [
    ("state='runing'", ""), ("hold='true'", ""), ("", "<r:hold until='tomorrow'/>"),
    ("", "<r:hold until='2026-12-24T18:00:00'/>"), ("", "<r:stop timeout='30'/>"),
    ("", "<r:prune policy='delete'/>"), ("", "<r:restart limit='-1'/>"), ("", "<r:ignore/>"),
    ("", "<r:label value='a'/>"), ("", "<r:label name='a-b' value='c'/>"),
    ("", "<r:label name='a' value='1'/><r:label name='a' value='2'/>"),
    ("", "<r:stop/><r:stop/>"), ("", "text")])
def test_wrong_values_are_errors(attributes, inner):
    assert problems(policy(attributes, inner))


def test_two_reconcile_elements_are_an_error():
    assert "second" in error(policy().replace("</metadata>", policy().removeprefix(
        "<metadata>"))).message


def test_a_wrong_name_names_the_nearest():
    assert "did you mean 'state'?" in error(policy("stat='running'")).message
    assert "prune" in error(policy("", "<r:prun policy='keep'/>")).message
