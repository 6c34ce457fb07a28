"""The faults on demand, and what the simulated guest does."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.simulator.support import Client, described, until

AGENT = (
    "-device virtio-serial-pci,id=vs,bus=pcie.0,addr=0x6 -chardev pty,id=c0 "
    "-device virtconsole,chardev=c0,id=console0 -chardev socket,id=ga,path=ga.sock,server,nowait "
    "-device virtserialport,chardev=ga,id=channel0,nr=1"
)
PORT = "-device pcie-root-port,id=pcie.2,port=0x9,bus=pcie.0,addr=0x1.0x1"


class Agent(Client):
    """The guest agent's socket: no greeting, lines that end in a line feed."""

    def __init__(self, path):
        super().__init__(path, greeted=False)

    def line(self):
        while b"\n" not in self.unread:
            data = self.raw()
            assert data, "no answer"
            self.unread += data
        line, _, self.unread = self.unread.partition(b"\n")
        return line

    def say(self, execute, **arguments):
        message = {"execute": execute, "arguments": arguments}
        self.send(json.dumps(message).encode() + b"\n")


def test_guest_agent(make, tmp_path):
    machine = make()
    machine.running(AGENT)
    agent = Agent(tmp_path / "ga.sock")
    machine.clients.append(agent)
    agent.say("guest-sync", id=4711)
    assert agent.line() == b'{"return":4711}'
    agent.say("guest-sync-delimited", id=1)
    assert agent.line() == b'\xff{"return":1}'
    agent.send(b'\xff{"execute":"guest-ping"}\n')
    assert agent.line() == b'{"return":{}}'
    agent.say("guest-bogus")
    assert b"CommandNotFound" in agent.line()
    agent.say("guest-shutdown")
    assert machine.wait() == 0
    assert not machine.socket.exists()


def test_guest_shutdown_sends_no_event(make, tmp_path):
    machine = make()
    client = machine.running(AGENT)
    agent = Agent(tmp_path / "ga.sock")
    agent.say("guest-shutdown")
    assert client.message() is None
    agent.close()


def test_paused_guest_answers_later(make, tmp_path):
    machine = make()
    client = machine.running(AGENT + " -S")
    agent = Agent(tmp_path / "ga.sock")
    agent.say("guest-ping")
    assert agent.silent()
    client.ask("cont")
    assert agent.line() == b'{"return":{}}'
    agent.close()


def test_console_echoes(make):
    client = make().running(AGENT)
    console = client.ask("query-chardev")["return"][1]
    handle = os.open(console["filename"].removeprefix("pty:"), os.O_RDWR | os.O_NOCTTY)
    os.write(handle, b"ls\r")
    read = b""
    while read != b"ls\r\n":
        assert select.select([handle], [], [], 10)[0], read
        read += os.read(handle, 100)
    os.close(handle)


def test_no_hello_before_it_runs(make, tmp_path):
    client = make().running("-S", serial="-serial file,path=s.log")
    client.ask("query-status")
    assert (tmp_path / "s.log").read_bytes() == b""
    client.ask("cont")
    assert until((tmp_path / "s.log").read_bytes) == b"hello from the simulated guest\r\n"


def test_unplug(make, tmp_path):
    client = make().running(PORT)
    disk = {"driver": "file", "filename": str(tmp_path / "d2.img")}
    client.ask("blockdev-add", **{"node-name": "hp0"}, file=disk, cache={"direct": False})
    plug = {"driver": "virtio-blk-pci", "drive": "hp0", "bus": "pcie.2", "addr": "0x0"}
    assert client.ask("device_add", id="hp0", **plug) == {"return": {}}
    assert client.ask("device_del", id="hp0") == {"return": {}}
    gone = client.event("DEVICE_DELETED")["data"]
    assert gone == {"device": "hp0", "path": "/machine/peripheral/hp0"}
    assert client.ask("device_add", id="hp0", **plug) == {"return": {}}


def test_unplug_of_a_network_frees_its_tap(make):
    client = make().running(PORT)
    plug = {"driver": "virtio-net-pci", "netdev": "n1", "bus": "pcie.2", "addr": "0x0"}
    for _ in range(2):
        assert client.ask("netdev_add", id="n1", ifname="simtapfree") == {"return": {}}
        assert client.ask("device_add", id="net1", **plug) == {"return": {}}
        assert client.ask("netlink_set", id="net1", up=False) == {"return": {}}
        client.ask("device_del", id="net1")
        client.event("DEVICE_DELETED")
        client.ask("netdev_del", id="n1")


def test_processor_hot_plug(make):
    client = make().running(smp="-smp 1,maxcpus=2")
    cpu = {"id": "c1", "driver": "generic-x86-cpu", "cpu-id": 1}
    assert client.ask("device_add", **cpu) == {"return": {}}
    client.event("CPU_RESIZE")
    assert len(client.ask("query-cpus")["return"]) == 2
    assert client.ask("device_del", id="c1") == {"return": {}}
    assert len(client.ask("query-cpus")["return"]) == 1


def test_guest_that_lets_nothing_go(make, tmp_path):
    client = make({"*": {"guest_ignores_unplug": True}}).running()
    assert client.ask("device_del", id="vd0") == {"return": {}}
    assert client.silent()


def test_slow_start(make):
    machine = make({"web1": {"start_delay": 0.3}})
    began = time.monotonic()
    machine.running()
    assert time.monotonic() - began >= 0.3


def test_failing_start(make):
    machine = make({"web1": {"fail": "Failed to frob.\nno luck", "fail_code": 3}})
    status, said = machine.refused()
    assert status == 3
    assert "Caused by:\n    0: Failed to frob.\n    1: no luck\n" in said
    assert not machine.socket.exists()


def test_only_the_first_starts_fail(make, tmp_path):
    counter = str(tmp_path / "count")
    machine = make({"web1": {"fail": "no luck", "fail_starts": 2, "counter": counter}})
    assert [machine.refused()[0] for _ in range(2)] == [1, 1]
    machine.running()


def test_faults_in_a_file_are_read_at_each_start(make, tmp_path):
    file = tmp_path / "faults.json"
    machine = make(f"@{file}")
    machine.running().ask("quit")
    machine.wait()
    file.write_text(json.dumps({"web1": {"fail": "no luck"}, "web2": {}}))
    assert machine.refused()[0] == 1
    make(f"@{file}", "web2").running(name="-name guest=web2,debug-threads=on")


def test_own_faults_come_on_top(make):
    machine = make({"*": {"fail": "all"}, "web1": {"fail": "mine"}})
    assert "    mine\n" in machine.refused()[1]
    machine = make({"*": {"fail": "all"}, "web1": {"fail_code": 4}})
    assert machine.refused()[0] == 4
    assert "    all\n" in make({"*": {"fail": "all"}}, "web2").refused()[1]


@pytest.mark.parametrize("faults", ['{"*": {"bogus": 1}}', '{"*": {"fail": 1}}', "[]", "{"])
def test_mistakes_in_faults_are_reported(make, faults):
    status, said = make(faults).refused()
    assert status == 1
    assert said


def test_never_greets(make):
    machine = make({"*": {"never_greets": True}})
    client = machine.start().connect(greeted=False)
    client.send(b'{"execute":"query-status"}')
    assert client.silent(0.3)


def test_closes_after_the_greeting(make):
    client = make({"*": {"close_after_greeting": True}}).running()
    assert client.message() is None


def test_garbage(make):
    client = make({"*": {"garbage": True}}).running()
    client.send(b'{"execute":"query-status"}')
    with pytest.raises(json.JSONDecodeError):
        client.message()


def test_hangs_after_some_answers(make):
    client = make({"*": {"hang_after": 1}}).running()
    assert "return" in client.ask("query-status")
    client.send(b'{"execute":"quit"}')
    assert client.silent(0.3)


def test_slow_answers(make):
    client = make({"*": {"answer_delay": 0.2}}).running()
    began = time.monotonic()
    client.ask("query-status")
    assert time.monotonic() - began >= 0.2


def test_stop_that_fails(make):
    client = make({"*": {"stop_fails": 0.3}}).running()
    error = client.ask("stop")["error"]
    assert error == {"class": "GenericError", "desc": "Failed to pause VM"}
    assert client.ask("query-status")["return"]["running"]
    assert client.silent()


def test_ignores_signals(make):
    machine = make({"*": {"ignore_sigterm": True}})
    client = machine.running()
    machine.send_signal(signal.SIGTERM)
    until(lambda: "signal number: 15" in machine.said())
    assert "return" in client.ask("query-status")


def test_ignores_quit(make):
    client = make({"*": {"ignore_quit": True}}).running()
    assert client.ask("quit") == {"return": {}}
    assert "return" in client.ask("query-status")


def test_slow_quit(make):
    machine = make({"*": {"quit_delay": 0.3}})
    client = machine.running()
    began = time.monotonic()
    assert client.ask("quit") == {"return": {}}
    assert machine.wait() == 0
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    ("how", "status", "leaves"),
    [
        ({}, 0, False),
        ({"die_code": 7}, 7, False),
        ({"die_signal": int(signal.SIGKILL)}, -9, True),
        ({"die_signal": int(signal.SIGABRT)}, -6, True),
    ],
)
def test_dies(make, how, status, leaves):
    machine = make({"*": {"die_after": 0.1, **how}})
    client = machine.running()
    assert client.message() is None
    assert machine.wait() == status
    assert machine.socket.exists() == leaves


def test_only_the_first_starts_die(make, tmp_path):
    faults = {"die_after": 0.05, "die_starts": 1, "counter": str(tmp_path / "count")}
    machine = make({"*": faults})
    assert machine.start().wait() == 0
    client = machine.running()
    assert client.silent(0.2)


def test_optional_features(make, tmp_path):
    machine = make({"*": {"features": ["virtio_rng", "vhost_vsock", "vnc"]}})
    machine.running(
        "-object rng-random,id=r,filename=/dev/urandom -vnc 0.0.0.0:0 "
        "-device virtio-rng-pci,rng=r,max-bytes=1234,period=1000,id=rng0,bus=pcie.0,addr=0x6 "
        "-device vhost-vsock-pci,id=vsock0,guest-cid=3,bus=pcie.0,addr=0x7"
    )
    status, said = make({"*": {"features": ["vnc"]}}, "web2").refused("-device vfio-pci,id=h0")
    assert (status, 'Unsupported device: "vfio-pci"' in said) == (1, True)


def test_aarch64(make):
    machine = make({"*": {"arch": "aarch64"}})
    client = machine.running(machine="-machine virt,gic-version=3")
    assert client.ask("query-target") == {"return": {"arch": "aarch64"}}
    assert client.ask("system_powerdown") == {"return": {}}
    client.event("POWERDOWN")
    assert client.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-shutdown"}
    assert machine.wait() == 0
    assert "Invalid machine type." in machine.refused()[1]


def test_aarch64_guest_without_acpi(make):
    machine = make({"*": {"arch": "aarch64", "ignore_powerdown": True}})
    client = machine.running(machine="-machine virt")
    client.ask("system_powerdown")
    client.event("POWERDOWN")
    assert client.silent(0.2)


def test_balloon_driver(make):
    machine = make({"*": {"balloon": True}})
    client = machine.running("-device virtio-balloon-pci,id=b0,bus=pcie.0,addr=0x7")
    assert client.ask("query-balloon") == {"return": {"actual": 128 << 20}}
    assert client.ask("balloon", value=64 << 20) == {"return": {}}
    assert client.event("BALLOON_CHANGED")["data"] == {"actual": 64 << 20}
    assert client.ask("query-balloon") == {"return": {"actual": 64 << 20}}


def test_events_for_everybody(make, tmp_path):
    machine = make({"*": {"events": "all"}})
    first = machine.running(
        "-chardev socket,id=m,path=mon.sock,server,nowait -mon chardev=m,id=m,mode=control"
    )
    second = machine.connect(tmp_path / "mon.sock")
    first.ask("stop")
    assert first.event("STOP")
    assert second.event("STOP")


def test_microvm_ends_on_reset(make, tmp_path):
    (tmp_path / "kernel").write_bytes(b"x")
    machine = make()
    client = machine.running(
        "-kernel kernel", machine="-machine microvm", fw="", rp="", disk="", serial=""
    )
    assert client.ask("system_reset") == {"return": {}}
    assert machine.wait() == 0


def test_snapshot(make, tmp_path):
    client = make().running("-S")
    assert client.ask("migrate", uri=f"file:{tmp_path / 'snap'}") == {"return": {}}
    assert client.ask("query-migrate") == {"return": {"status": "completed"}}
    assert {path.name for path in (tmp_path / "snap").iterdir()} == {"memory", "state"}


def test_incoming_waits_and_answers_nothing(make):
    machine = make()
    client = machine.start("-incoming unix:in.sock").connect(greeted=False)
    assert client.silent(0.2)
    machine.send_signal(signal.SIGTERM)
    assert client.silent(0.2)
    assert machine.process.poll() is None


def test_small_and_idle(make):
    machine = make()
    client = machine.running()
    with open(f"/proc/{machine.process.pid}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    assert int(fields["VmRSS"].split()[0]) < 15 * 1024
    assert int(fields["Threads"]) == 1
    switches = [int(fields["voluntary_ctxt_switches"])]
    assert client.silent(0.3)
    with open(f"/proc/{machine.process.pid}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    switches.append(int(fields["voluntary_ctxt_switches"]))
    assert switches[1] - switches[0] <= 1


def test_started_as_a_module_and_by_its_main_file(make):
    for program in (
        [sys.executable, "-m", "reconciler.simulator"],
        [sys.executable, "-I", "-S", make().program[-1] + "/__main__.py"],
    ):
        done = subprocess.run(
            [*program, "-version"], capture_output=True, timeout=10, check=True, text=True
        )
        assert done.stdout.startswith("StratoVirt 2.5.0")


def test_tcp_monitor(make):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    machine = make().start(qmp=f"-qmp tcp:127.0.0.1:{port},server,nowait")

    def connect():
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except OSError:
            return None

    with until(connect) as client:
        assert client.recv(4096).startswith(b'{"QMP":')
    assert machine.process.poll() is None or machine.wait() == 1


def test_unknown_monitor_command_is_described(make):
    client = make().running()
    answer = client.ask("human-monitor-command", **{"command-line": "info status"})
    assert described(answer) == "Unsupported command: info status"
