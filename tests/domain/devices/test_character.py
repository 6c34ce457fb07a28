"""Serial ports, consoles and the agent's channel, with the controller that they plug into."""

import pytest

from reconciler.domain.place import Place
from tests.domain.making import DISK, MICROVM, device, error, problems, read

CONSOLE = "<console type='pty'><target type='virtio' port='0'/></console>"
AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


def of(kind: str, devices: str, index: int = 0):
    return device(read(devices=DISK + devices), kind, index)


def kinds(devices: str) -> list[str]:
    return [d.KIND for d in read(devices=DISK + devices).devices]


def test_a_console_and_its_controller():
    assert of("console", CONSOLE).arguments(None) == (
        "-chardev", "pty,id=charconsole0", "-device",
        "virtconsole,chardev=charconsole0,id=console0")
    assert of("virtio-serial", CONSOLE).arguments(Place(3, 0)) == (
        "-device", "virtio-serial-pci,id=virtio-serial0,bus=pcie.3,addr=0x0")


def test_the_controller_comes_before_what_plugs_into_it():
    found = kinds(AGENT + CONSOLE)
    assert found.index("virtio-serial") < found.index("console") < found.index("channel")


def test_a_controller_is_added_only_where_it_is_missing():
    assert kinds(CONSOLE + AGENT).count("virtio-serial") == 1
    given = "<controller type='virtio-serial' index='0'><alias name='virt-serial0'/></controller>"
    assert kinds(CONSOLE + given).count("virtio-serial") == 1
    assert of("virtio-serial", CONSOLE + given).alias == "virt-serial0"
    assert "virtio-serial" not in kinds("")


def test_controllers_have_ports():
    found = of("virtio-serial", "<controller type='virtio-serial' ports='16'/>")
    assert found.arguments(Place(3, 0))[1].endswith(",max-ports=16")
    assert found.arguments(None)[1] == "virtio-serial-device,id=virtio-serial0,max-ports=16"
    assert problems(devices=DISK + "<controller type='virtio-serial' ports='32'/>")


def test_there_is_one_controller():
    two = "".join(f"<controller type='virtio-serial' index='{n}'><alias name='vs{n}'/></controller>"
                  for n in (0, 1))
    assert error(devices=DISK + two)


@pytest.mark.parametrize(("xml", "chardev"), [
    ("<console type='file'><source path='/l'/><target type='virtio'/></console>",
     "file,id=charconsole0,path=/l"),
    ("<console type='unix'><source mode='bind' path='/s'/><target type='virtio'/></console>",
     "socket,id=charconsole0,path=/s,server,nowait")])
def test_console_ends(xml, chardev):
    assert of("console", xml).arguments(None)[1] == chardev


@pytest.mark.parametrize(("xml", "argument"), [
    ("<serial type='pty'/>", "pty"),
    (("<serial type='pty'><source path='/dev/pts/1'/><target type='isa-serial' port='0'>"
      "<model name='isa-serial'/></target><alias name='serial0'/></serial>"), "pty"),
    ("<serial type='file'><source path='l.log'/></serial>", "file,path=/images/l.log"),
    ("<serial type='unix'><source mode='bind' path='/s'/></serial>",
     "socket,path=/s,server,nowait")])
def test_serial_ends(xml, argument):
    assert of("serial", xml).arguments(None) == ("-serial", argument)


def test_a_console_without_a_virtio_target_is_the_serial_port():
    mirror = "<console type='pty'><target type='serial' port='0'/></console>"
    assert kinds("<serial type='pty'/>" + mirror).count("serial") == 1
    assert kinds(mirror) == kinds("<serial type='pty'/>")
    assert kinds("<console type='pty'/>") == kinds("<serial type='pty'/>")


def test_there_is_one_serial_port():
    assert error(devices=DISK + "<serial type='pty'/><serial type='pty'/>")


@pytest.mark.parametrize("xml", [
    "<serial type='tcp'/>", "<serial type='file'/>", "<serial type='nmdm'/>",
    "<serial type='file'><source path='/a,b'/></serial>",
    "<serial type='unix'><source mode='connect' path='/s'/></serial>",
    "<console type='stdio'><target type='virtio'/></console>",
    "<console type='unix'><target type='virtio'/></console>",
    "<channel type='tcp'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
    "<channel type='unix'><target type='virtio'/></channel>",
    "<channel type='unix'><target type='guestfwd' name='a'/></channel>",
    "<channel type='unix'><target type='virtio' name='a,b'/></channel>",
    ("<channel type='pty'><target type='virtio' name='a'/><address type='virtio-serial' "
    "port='1'/></channel>")])
def test_ends_that_are_refused(xml):
    assert problems(devices=DISK + xml)


def test_rule_4_the_order_of_consoles_means_nothing():
    one = "<console type='file'><source path='/l'/><target type='virtio'/></console>"
    two = "<console type='pty'><target type='virtio'/></console>"
    three = "<console type='pty'><target type='virtio' port='0'/></console>"
    assert read(devices=DISK + one + two) == read(devices=DISK + two + one)
    assert read(devices=DISK + one + three) == read(devices=DISK + three + one)


def numbers(devices: str) -> list[int]:
    """The port of each, as StratoVirt gives it: 0 for the first console, then the next free one."""
    found: list[int] = []
    for item in read(devices=DISK + devices).devices:
        if item.KIND in ("console", "channel"):
            options = dict(option.split("=") for option in
                           item.arguments(None)[-1].split(",")[1:])
            first = item.KIND == "console" and 0 not in found
            free = 0 if first else max([*found, 0]) + 1
            found.append(int(options.get("nr", free)))
    return found


def test_no_two_ports_get_one_number():
    consoles = "".join(f"<console type='pty'><target type='virtio' port='{n}'/></console>"
                       for n in range(3))
    for devices in (consoles + AGENT, CONSOLE + AGENT, consoles, AGENT):
        found = numbers(devices)
        assert len(set(found)) == len(found)


def test_the_agent_s_port_is_never_the_console_s_and_never_moves():
    assert numbers(AGENT) == [1]
    more = CONSOLE + CONSOLE.replace("port='0'", "port='1'")
    assert numbers(CONSOLE + AGENT)[-1] == numbers(more + AGENT)[-1] == 1


def test_the_agent_s_socket_is_the_engine_s_where_the_file_gives_none():
    assert of("channel", AGENT).path is None
    assert of("channel", AGENT.replace("<target", "<source mode='bind' path='/s'/><target")
              ).path == "/s"


def test_the_file_s_aliases_are_checked():
    assert problems(devices=DISK + CONSOLE.replace("</console>",
                                                   "<alias name='a,server'/></console>"))


def test_a_controller_must_have_a_port_for_each():
    few = CONSOLE + "<controller type='virtio-serial' ports='{}'/>"
    assert kinds(few.format(1))
    assert error(devices=DISK + few.format(1) + AGENT)
    assert kinds(few.format(2) + AGENT)
    second = "<console type='pty'><target type='virtio' port='1'/></console>"
    assert error(devices=DISK + few.format(2) + second)


def test_a_microvm_has_room_for_one_console():
    second = "<console type='pty'><target type='virtio' port='1'/></console>"
    assert error(devices=DISK + CONSOLE + second, os=MICROVM)
    assert error(devices=DISK + CONSOLE + AGENT, os=MICROVM)


def test_on_a_microvm():
    found = read(devices=DISK + CONSOLE, os=MICROVM)
    assert device(found, "virtio-serial").arguments(None)[1].startswith("virtio-serial-device,")


def test_channels_of_other_names_have_ports_of_their_own():
    agent = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    mine = "<channel type='pty'><target type='virtio' name='my.port'/></channel>"
    given = ("<channel type='file'><source path='/l'/><target type='virtio' name='a'/>"
             "<address type='virtio-serial' controller='0' bus='0' port='5'/></channel>")
    found = {d.name: d for d in read(devices=DISK + mine + given + agent).devices
             if d.KIND == "channel"}
    assert {name: d.number for name, d in found.items()} == {
        "org.qemu.guest_agent.0": 1, "a": 5, "my.port": 30}
    assert found["my.port"].arguments(None) == (
        "-chardev", "pty,id=charchannel1", "-device",
        "virtserialport,chardev=charchannel1,id=channel1,nr=30")
    assert found["a"].arguments(None)[1] == "file,id=charchannel0,path=/l"
    assert "port" in error(devices=DISK + given + given.replace("'a'", "'b'").replace("/l", "/m")
                           ).message
