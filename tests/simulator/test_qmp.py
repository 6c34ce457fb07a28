"""Conformance: the monitor's protocol, and what the machine does on commands and signals."""

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import time

import pytest

from tests.simulator.support import described, until

MON = "-chardev socket,id=mon2,path=mon.sock,server,nowait -mon chardev=mon2,id=mon2,mode=control"
PORTS = " ".join(
    f"-device pcie-root-port,id=pcie.{n},port=0x9,bus=pcie.0,addr=0x1.{n - 1:#x}" for n in (2, 3)
)
RUNNING = {"running": True, "singlestep": False, "status": "running"}
PAUSED = {"running": False, "singlestep": False, "status": "paused"}


def test_greeting_and_capabilities(both):
    machine = both()
    client = machine.running()
    version = {"qemu": {"micro": 1, "minor": 0, "major": 5}, "package": "StratoVirt-2.5.0"}
    assert client.greeting == {"QMP": {"version": version, "capabilities": []}}
    assert client.ask("query-status") == {"return": RUNNING}
    assert client.ask("qmp_capabilities") == {"return": {}}
    assert machine.socket.stat().st_mode & 0o777 == 0o600


WRITES = {
    '{"execute":"query-status"}\n{"execute":"query-status"}\n': (
        "trailing characters at line 2 column 1"
    ),
    '{"execute":"query-status"}x': "trailing characters at line 1 column 27",
    '{"execute":"query-status"} {"execute":"query-status"}': (
        "trailing characters at line 1 column 28"
    ),
    '{"execute":"query-': "EOF while parsing a string at line 1 column 18",
    '{"execute":"query-status"': "EOF while parsing an object at line 1 column 25",
    'status"}': "expected value at line 1 column 1",
    '{"execute"}': "expected `:` at line 1 column 11",
    '{"execute":}': "expected value at line 1 column 12",
    '{"execute":"stop",}': "trailing comma at line 1 column 19",
    "{execute:1}": "key must be a string at line 1 column 2",
    "{}": "missing field `execute` at line 1 column 2",
    "1": "invalid type: integer `1`, expected internally tagged enum QmpCommand at line 1 column 1",
    '{"execute":1}': "invalid type: integer `1`, expected variant identifier at line 1 column 12",
    '{"execute":"query-status","id":1}': "invalid type: integer `1`, expected a string",
    '{"execute":"query-status","x":1}': "unknown field `x`, expected `arguments` or `id`",
    '{"execute":"stop","arguments":{"a":1}}': "unknown field `a`, there are no fields",
    '{"execute":"stop","arguments":null}': "invalid type: null, expected struct stop",
    '{"execute":"device_del"}': "missing field `arguments`",
    '{"execute":"device_del","arguments":{}}': "missing field `id`",
    '{"execute":"netlink_set","arguments":{"a":1}}': "unknown field `a`, expected `id` or `up`",
    '{"execute":"balloon","arguments":{"value":-1}}': "invalid value: integer `-1`, expected u64",
}


@pytest.mark.parametrize("written", WRITES)
def test_malformed(both, written):
    client = both().running()
    answer = client.write(written)
    assert answer == {"error": {"class": "GenericError", "desc": WRITES[written]}}
    assert client.ask("query-status") == {"return": RUNNING}


def test_half_a_command_gets_an_error_of_its_own(both):
    client = both().running()
    assert "EOF while parsing" in described(client.write('{"execute":"query-'))
    assert "expected value" in described(client.write('status"}'))
    assert client.silent()


def test_id_is_echoed(both):
    client = both().running()
    assert client.write('{"execute":"stop","id":"x"}') == {"return": {}, "id": "x"}
    assert client.write('{"id":"y","execute":"query-status"}')["id"] == "y"
    assert "id" not in client.write('{"execute":"query-status","id":null}')


def test_unknown_command_lists_all(both):
    said = described(both().running().ask("bogus"))
    assert said.startswith("unknown variant `bogus`, expected one of `qmp_capabilities`, `quit`")
    assert said.endswith("`query-workloads`, `detect-silent-audio` at line 1 column 19")
    assert len(said) > 1200


def test_a_hundred_commands_a_second(both):
    client = both().running()
    throttled = None
    for number in range(400):
        answer = client.ask("query-status")
        if "error" in answer:
            throttled = number, answer["error"]
            break
    number, error = throttled
    assert 100 <= number <= 250
    assert error == {
        "class": "OperationThrottled",
        "desc": "More than 100 requests received during 1 second",
    }
    until(lambda: "return" in client.ask("query-status"))


def test_throttled_commands_are_not_run(make):
    client = make().running()
    while "return" in client.ask("query-status"):
        pass
    assert client.ask("stop")["error"]["class"] == "OperationThrottled"
    status = until(lambda: client.ask("query-status").get("return"))
    assert status == RUNNING


def test_one_client_at_a_time(both):
    machine = both()
    first = machine.running()
    second = machine.connect(greeted=False)
    second.send(b'{"execute":"query-status"}')
    assert second.silent()
    first.close()
    assert "QMP" in second.message()
    assert second.answer() == {"return": RUNNING}


def test_a_command_written_right_before_closing_is_lost(both):
    machine = both()
    client = machine.running()
    client.send(b'{"execute":"stop"}')
    client.close()
    # Whether it is lost is a race in the real program: only that it lives on is sure.
    assert machine.connect().ask("query-status")["return"] in (RUNNING, PAUSED)


def test_stop_and_cont_always_tell(both):
    client = both().running()
    for command, event in (("stop", "STOP"), ("stop", "STOP"), ("cont", "RESUME")) * 2:
        assert client.ask(command) == {"return": {}}
        found = client.event(event)
        assert found["data"] == {}
        assert set(found["timestamp"]) == {"seconds", "microseconds"}
        assert client.ask("query-status")["return"]["running"] == (command == "cont")


def test_events_go_to_the_client_that_connected_last(both, tmp_path):
    machine = both()
    first = machine.running(MON)
    second = machine.connect(tmp_path / "mon.sock")
    assert first.ask("stop") == {"return": {}}
    assert second.event("STOP")
    assert first.silent()
    assert second.ask("cont") == {"return": {}}
    assert second.event("RESUME")


def test_any_client_that_leaves_takes_the_events_along(both, tmp_path):
    machine = both()
    machine.start(MON)
    monitor = machine.connect(tmp_path / "mon.sock")
    client = machine.connect()
    assert client.ask("stop") == {"return": {}}
    assert client.event("STOP")
    monitor.close()

    def unheard():
        client.ask("stop")
        heard, client.unread = client.unread, b""
        while data := client.raw(0.05):
            heard += data
        return b"STOP" not in heard

    until(unheard, why="silence")


def test_start_stopped(both):
    client = both().running("-S")
    assert client.ask("query-status") == {"return": PAUSED}
    assert client.ask("cont") == {"return": {}}
    assert client.ask("query-status") == {"return": RUNNING}


def test_quit(both):
    machine = both()
    client = machine.running()
    client.send(b'{"execute":"quit"}')
    assert client.answer() == {"return": {}}
    asked = time.monotonic()
    while message := client.message():
        assert message["event"] == "SHUTDOWN"
        assert message["data"] == {"guest": False, "reason": "host-qmp-quit"}
    assert machine.wait() == 0
    assert time.monotonic() - asked < 2
    assert not machine.socket.exists()


def test_powerdown_pulls_the_plug(both):
    machine = both()
    client = machine.running()
    assert client.ask("system_powerdown") == {"return": {}}
    assert client.message() is None
    assert machine.wait() == 0
    assert not machine.socket.exists()


def test_reset(both):
    client = both().running("-S")
    assert client.ask("system_reset") == {"return": {}}
    assert client.event("RESET")["data"] == {"guest": True}
    assert client.ask("query-status") == {"return": PAUSED}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_cleanly(both, number):
    machine = both()
    client = machine.running()
    machine.send_signal(number)
    assert machine.wait() == 0
    assert client.message() is None
    assert not machine.socket.exists()
    assert f"Received kill signal, signal number: {int(number)} " in machine.said()


def test_a_killed_machine_leaves_its_socket_and_the_next_replaces_it(both):
    machine = both()
    machine.running()
    machine.send_signal(signal.SIGKILL)
    assert machine.wait() == -signal.SIGKILL
    assert machine.socket.exists()
    assert machine.running().ask("query-status") == {"return": RUNNING}


def test_a_half_closed_client_ends_the_machine(both):

    machine = both()
    client = machine.running()
    client.ask("query-balloon")
    client.socket.shutdown(socket.SHUT_WR)
    while client.raw():
        pass
    assert machine.wait() == 1


def test_inherited_descriptor_stays_open(both, tmp_path):
    machine = both()
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    machine.process = subprocess.Popen(
        machine.arguments(),
        cwd=tmp_path,
        pass_fds=(lock,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(lock)
    machine.connect()
    again = os.open(tmp_path / "lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    machine.send_signal(signal.SIGKILL)
    machine.wait()
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(again)


def test_disk_held_by_another_machine(both):
    holder = both()
    holder.running()
    second = both("web2")
    status, said = second.refused()
    assert status == 1
    assert "1: Failed to get write lock on file: " in said
    assert "process using the same file? Error: 11" in said
    # Stopped, it takes no lock; it cannot go on.
    client = second.running("-S")
    assert client.ask("cont") == {"error": {"class": "GenericError", "desc": ""}}
    assert client.ask("query-status") == {"return": PAUSED}
    holder.send_signal(signal.SIGTERM)
    holder.wait()
    assert client.ask("cont") == {"return": {}}


def test_queries(both):
    client = both().running(
        "-device virtio-serial-pci,id=vs,bus=pcie.0,addr=0x6 -chardev pty,id=charconsole0 "
        "-device virtconsole,chardev=charconsole0,id=console0 -object iothread,id=io1 "
        "-device virtio-balloon-pci,id=b0,bus=pcie.0,addr=0x7",
        smp="-smp 2,maxcpus=4",
    )
    for command in ("query-block", "query-blockstats", "qom-list", "query-named-block-nodes"):
        assert client.ask(command) == {"return": []}
    for command in ("query-hotpluggable-cpus", "query-mem"):
        assert client.ask(command) == {"return": {}}
    events = [event["name"] for event in client.ask("query-events")["return"]]
    assert events[:9] == [
        *("SHUTDOWN", "RESET", "STOP", "RESUME", "POWERDOWN"),
        *("CPU_RESIZE", "DEVICE_DELETED", "BALLOON_CHANGED", "USB_HOST_ADD_RES"),
    ]
    assert len(client.ask("query-commands")["return"]) == 69
    consoles = client.ask("query-chardev")["return"]
    assert {console["label"] for console in consoles} == {"serial_chardev", "charconsole0"}
    for console in consoles:
        assert console["frontend-open"]
        assert console["filename"].startswith("pty:/dev/pts/")
    processors = client.ask("query-cpus")["return"]
    assert [processor["CPU"] for processor in processors] == [0, 1]
    assert processors[0]["arch"] == "x86"
    assert processors[1]["props"]["core-id"] == 1
    [thread] = client.ask("query-iothreads")["return"]
    assert thread["id"] == "io1"
    version = {"package": "StratoVirt-2.5.0", "qemu": {"major": 5, "micro": 1, "minor": 0}}
    assert client.ask("query-version") == {"return": version}
    assert client.ask("query-kvm") == {"return": {"enabled": True, "present": True}}
    assert client.ask("query-migrate") == {"return": {"status": "setup"}}


def test_no_balloon(both):
    error = both().running().ask("query-balloon")["error"]
    assert error == {
        "class": "DeviceNotActive",
        "desc": "No balloon device has been activated",
    }


def add(client, node="hp0", bus="pcie.2", addr="0x0", **more):
    return client.ask(
        "device_add", id=node, driver="virtio-blk-pci", drive="hp0", bus=bus, addr=addr, **more
    )


def test_hot_plug_of_a_disk(both, tmp_path):
    client = both().running(PORTS)
    disk = {"driver": "file", "filename": str(tmp_path / "d2.img")}
    node = {"node-name": "hp0", "driver": "raw", "file": disk}
    assert "low performance expected" in described(client.ask("blockdev-add", **node))
    assert client.ask("blockdev-add", **node, cache={"direct": False}) == {"return": {}}
    again = described(client.ask("blockdev-add", **node, cache={"direct": False}))
    assert "file can only be shared with read_only" in again
    failed = "Failed to add virtio pci blk: Failed to add virtio pci device"
    assert described(add(client, bus="pcie.9")) == failed
    assert described(add(client, bus="pcie.1")) == failed
    assert described(add(client, bus="pcie.0", addr="0x9")) == (
        "Failed to plug device: No hot plug controller found for bus pcie.0 when plug"
    )
    assert described(add(client, addr="0x1")) == (
        "Failed to plug device: HotPlug is not supported for device with devfn 8"
    )
    assert add(client) == {"return": {}}
    assert described(add(client)) == "Device id hp0 existed"
    assert client.ask("device_del", id="hp0") == {"return": {}}
    assert described(client.ask("device_del", id="nope")) == (
        "Can not find parent device from pci bus"
    )
    assert described(client.ask("device_del", id="pcie.3")) == (
        "No hot plug controller found for bus pcie.0 when unplug request"
    )
    assert described(client.ask("blockdev-del", **{"node-name": "zz"})) == "Drive zz not found"
    assert client.ask("blockdev-del", **{"node-name": "hp0"}) == {"return": {}}


def test_hot_plug_of_a_network(both):
    client = both().running(PORTS)
    assert client.ask("netdev_add", id="n1", ifname="simnotap1") == {"return": {}}
    again = described(client.ask("netdev_add", id="n1", ifname="simnotap1"))
    assert again == 'Netdev "n1" has been added'
    assert "Tap device is missing" in described(client.ask("netdev_add", id="n2"))
    plug = {"driver": "virtio-net-pci", "bus": "pcie.3", "addr": "0x0"}
    assert described(client.ask("device_add", id="net1", netdev="n9", **plug)) == (
        'Failed to add virtio pci net: Netdev: "n9" not found for net device'
    )
    missing = client.ask("netlink_set", id="net1", up=True)["error"]
    assert missing == {"class": "DeviceNotFound", "desc": "no net dev net1"}
    assert described(client.ask("netdev_del", id="zz")) == "Netdev zz not found"


def test_devices_that_cannot_be_plugged(both):
    client = both().running(smp="-smp 2,maxcpus=4")
    for driver in ("bogus", "virtio-rng-pci", "virtio-serial-pci"):
        said = described(client.ask("device_add", id="x", driver=driver))
        assert said == f"Failed to add device: Driver {driver} is not support"
    cpu = {"id": "cpu2", "driver": "generic-x86-cpu"}
    assert described(client.ask("device_add", **cpu)) == "Argument cpu-id is required."
    for number, said in ((0, "Cpu-id 0 already exist."), (9, "Max cpu-id is 3")):
        assert described(client.ask("device_add", **cpu, **{"cpu-id": number})) == said


def test_migrate_wants_a_known_way(both):
    client = both().running()
    assert described(client.ask("migrate", uri="foo")) == "Invalid uri: foo"
    assert described(client.ask("migrate", uri="bad:x")) == "Unknown mode: invalid uri: bad:x"


def test_the_serial_port_says_hello(both):
    client = both().running()
    [console] = client.ask("query-chardev")["return"]
    handle = os.open(console["filename"].removeprefix("pty:"), os.O_RDWR | os.O_NOCTTY)

    read = b""
    while b"\n" not in read:
        assert select.select([handle], [], [], 10)[0]
        read += os.read(handle, 100)
    os.close(handle)
    assert read.startswith(b"hello from the ")
    assert read.endswith(b"\r\n")


def test_serial_file_and_socket(both, tmp_path):
    machine = both()
    client = machine.running(serial="-serial file,path=serial.log")
    text = until(lambda: (tmp_path / "serial.log").read_bytes().strip())
    assert text.startswith(b"hello from the ")
    assert client.ask("query-chardev") == {"return": []}
    client.ask("quit")
    machine.wait()
    machine.running(serial="-serial socket,path=serial.sock,server,nowait")
    assert (tmp_path / "serial.sock").stat().st_mode & 0o777 == 0o600
    machine.send_signal(signal.SIGTERM)
    machine.wait()
    assert not (tmp_path / "serial.sock").exists()


def test_a_tap_in_use(both):
    tap = (
        "-netdev tap,id=n0,ifname=simtapbusy -device virtio-net-pci,netdev=n0,id=net0,"
        "bus=pcie.0,addr=0x6"
    )
    first = both()
    first.running(tap)
    assert "Tap interface does not exist" in first.said()
    other = both("web2")
    status, said = other.refused(tap, drive="-drive file=d2.img,id=d0,direct=off,aio=off")
    assert status == 1
    assert "Failed to set tap ifr flags, error is Device or resource busy (os error 16)" in said


def test_messages_are_compact_json(both):
    client = both().running()
    client.send(b'{"execute":"query-status"}')
    read = b""
    while not read.endswith(b"\r\n"):
        read += client.raw()
    assert read == b'{"return":' + json.dumps(RUNNING, separators=(",", ":")).encode() + b"}\r\n"
