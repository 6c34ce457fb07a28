"""Differences between two definitions."""

import pytest

from reconciler.domain.difference import differences, values
from reconciler.domain.model import Impact
from tests.domain.making import DISK, disk, policy, read

CARD = ("<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='{}'/>"
        "<alias name='net0'/></interface>")


def test_pain_4_rule_4_nothing_differs_between_what_means_the_same():
    one = read("<vcpu>1</vcpu>", memory="<memory unit='GiB'>1</memory>", devices=DISK + disk())
    two = read("<!-- c -->", memory="<memory unit='MiB'>1024</memory>", devices=disk() + DISK,
               file="other.xml")
    assert differences(one, two) == ()


def test_pain_5_a_change_says_what_was_what_will_be_and_where():
    change, = differences(read(), read("\n", memory="\n<memory unit='GiB'>1</memory>"))
    assert (change.path, change.old, change.new) == ("memory", "256 MiB", "1 GiB")
    assert (change.impact, change.line) == (Impact.RECREATE, 2)


@pytest.mark.parametrize(("old", "new", "path"), [
    ({}, {"os": "<os><type>hvm</type><kernel>/k</kernel></os>"}, "os/kernel"),
    ({}, {"os": "<os><type>hvm</type><cmdline>a</cmdline></os>"}, "os/cmdline"),
    ({}, {"devices": disk("vda", "a.img", driver="queues='2'")}, "disk[vda]/driver/@queues"),
    ({}, {"devices": DISK + "<memballoon model='none'/>"}, "memballoon")])
def test_paths(old, new, path):
    change, = differences(read(**old), read(**new))
    assert change.path == path
    assert change.impact is Impact.RECREATE
    assert change.old != change.new


@pytest.mark.parametrize(("old", "new", "path"), [
    ({}, {"devices": DISK + disk()}, "disk[vdb]"), ({"devices": DISK + disk()}, {}, "disk[vdb]")])
def test_pain_5_a_disk_may_come_and_go_live(old, new, path):
    change, = differences(read(**old), read(**new))
    assert (change.path, change.impact, change.device) == (path, Impact.LIVE, ("disk", "vdb"))


@pytest.mark.parametrize(("old", "new", "shown"), [
    ("<vcpu>4</vcpu>", "<vcpu current='2'>4</vcpu>", ("vcpu/@current", "all", "2")),
    ("<currentMemory unit='MiB'>128</currentMemory>", "", ("currentMemory", "128 MiB", "all"))])
def test_pain_5_memory_and_processors_that_are_there_are_live(old, new, shown):
    change, = differences(read(old), read(new))
    assert (change.path, change.old, change.new) == shown
    assert change.impact is Impact.LIVE


def test_another_alias_changes_nothing_that_runs():
    one, two = (read(devices=DISK + CARD.format("br0").replace("net0", name)) for name in "ab")
    assert [c.impact for c in differences(one, two)] == [Impact.NONE]


def test_pain_5_policy_title_and_description_cost_nothing():
    found = differences(read(), read("<title>t</title>", "<description>d</description>",
                                     policy("state='stopped'", "<r:stop timeout='5s'/>")))
    assert len(found) == 4
    assert {change.impact for change in found} == {Impact.NONE}
    state, = (change for change in found if change.path.endswith("state"))
    assert (state.old, state.new) == ("running", "stopped")


def test_pain_5_another_bridge_costs_the_guest_nothing():
    change, = differences(read(devices=DISK + CARD.format("br0")),
                          read(devices=DISK + CARD.format("br1")))
    assert (change.old, change.new, change.impact) == ("br0", "br1", Impact.HOST)


@pytest.mark.parametrize("path", ["interface[net0]/source/@bridge", "interface[net0]/source",
                                  "interface[net0]"])
def test_ignored_paths_name_a_device_by_its_alias(path):
    rule = policy("", f"<r:ignore path='{path}'/>")
    found = differences(read(rule, devices=DISK + CARD.format("br0")),
                        read(rule, devices=DISK + CARD.format("br1")))
    assert found == ()


def test_ignored_paths_of_plain_fields_and_of_whole_devices():
    old = read(devices=DISK + disk())
    for path, new in (("memory", {"memory": "<memory unit='GiB'>1</memory>"}),
                      ("disk[vdb]", {"devices": DISK + disk(file="c.img")}),
                      ("disk[vdb]/source", {"devices": DISK + disk(file="c.img")})):
        rule = policy("", f"<r:ignore path='{path}'/>")
        inputs = {"devices": DISK + disk()} | new
        kept, seen = differences(old, read(rule, **inputs)), differences(old, read(**inputs))
        assert all(change.impact is Impact.NONE for change in kept)
        assert not all(change.impact is Impact.NONE for change in seen)


def test_an_ignored_path_matches_whole_steps_only():
    rule = policy("", "<r:ignore path='mem'/>")
    assert any(change.path == "memory" for change in differences(
        read(), read(rule, memory="<memory unit='GiB'>1</memory>")))


def test_every_value_of_a_domain_by_its_path():
    found = values(read("<vcpu current='1'>2</vcpu>", policy("", "<r:label name='a' value='b'/>"),
                        devices=DISK + CARD.format("br0")))
    assert found["memory"] == "256 MiB"
    assert found["vcpu/@current"] == "1"
    assert found["memoryBacking/access/@mode"] == "private"
    assert found["reconcile/label"] == "a=b"
    assert found["disk[vda]/source"] == "/images/a.img"
    assert found["interface[52:54:00:00:00:01]/link/@state"] == "up"
    assert "os/kernel" not in found
    assert "reconcile/depends-on" not in found


def test_another_template_does_not_touch_variables_that_are_there():
    def os(template: str) -> str:
        return (f"<os><type>hvm</type><loader type='pflash' readonly='yes'>/c</loader>"
                f"<nvram template='{template}'>/n</nvram></os>")

    change, = differences(read(os=os("/a")), read(os=os("/b")))
    assert change.impact is Impact.NONE
