"""The process: from the command line to its end, in StratoVirt's order."""

import contextlib
import functools
import os
import signal
import socket
import sys
import time

from . import config as configuration
from . import consoles, faults, fields, options
from .commands import Commands
from .config import Config
from .device import Device
from .guest import MOMENT, Guest
from .hotplug import HotPlug
from .logs import Log, emit
from .loop import Loop
from .machine import Machine
from .options import Arguments
from .qmp import Channel, Monitor
from .refusal import Refusal, operating_system


def main(argv: list[str]) -> int:
    """Run one machine; returns the exit status."""
    name = argv[argv.index("-name") + 1] if "-name" in argv[:-1] else None
    try:
        asked = faults.load(name)
        features = asked.names("features")
        extra = frozenset({"vnc"}) if features & {"vnc", "all"} else frozenset()
        arguments = options.parse(argv, extra)
    except Refusal as refusal:
        emit(refusal.report() + "\r\n")
        return 1
    if isinstance(arguments, str):
        emit(arguments, 1)
        return 0
    log = Log()
    path = arguments.one("D")
    try:
        if path:
            log.to_file(path)
        config = configuration.read(arguments, asked.text("arch") or os.uname().machine)
    except OSError as error:
        opening = Refusal(f"Failed to open log file {path}", operating_system(error))
        emit(opening.report() + "\r\n")
        return 1
    except Refusal as refusal:
        log.write_error(f"Failed to create vmconfig {refusal.report()}")
        emit(refusal.report() + "\r\n")
        return 1
    log.write_info(f'VmConfig is VmConfig {{ guest_name: "{config.name}", simulated: true }}')
    return Process(arguments, config, asked, log).run()


def _daemonize(pidfile: str | None, temporary: consoles.Temporary) -> None:
    """Detach from terminal and parent, which exits at once; write the pid file."""
    if pidfile and os.path.exists(pidfile):
        raise Refusal("Daemonize start failed: Pidfile path is existed yet.")
    for step in (os.setsid, None):
        if os.fork():
            os._exit(0)
        if step:
            step()
    nowhere = os.open("/dev/null", os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nowhere, handle)
    os.close(nowhere)
    if pidfile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        handle = os.open(pidfile, flags, 0o600)
        os.write(handle, str(os.getpid()).encode())
        os.close(handle)
        temporary.paths.append(pidfile)


class Process:
    """One simulated StratoVirt."""

    def __init__(
        self, arguments: Arguments, config: Config, asked: faults.Faults, log: Log
    ) -> None:
        self.arguments = arguments
        self.config = config
        self.faults = asked
        self.log = log
        self.temporary = consoles.Temporary()
        self.loop = Loop()
        self.channel = Channel(asked)
        self.machine = Machine(config, self.loop, log, asked, self.temporary)
        self.status = 0

    def run(self) -> int:
        """Start, run and end."""
        try:
            self._start()
        except Refusal as refusal:
            self.log.write_error(refusal.report() + "\r\n")
            self.temporary.clean()
            return self.faults.number("fail_code") or 1
        self.loop.run()
        number = self.loop.signal_number
        why = f"receive signal {number}" if number else "guest internal operation."
        self.log.write_info(f"MainLoop exits due to {why}")
        self.channel.flush()
        self.temporary.clean()
        # Skips the interpreter's shutdown, which has nothing left to do.
        os._exit(self.status)

    def _start(self) -> None:
        pidfile = self.arguments.one("pidfile")
        if "daemonize" in self.arguments:
            _daemonize(pidfile, self.temporary)
        elif pidfile is not None:
            raise Refusal("-pidfile must be used with -daemonize together.")
        self.loop.catch_signals(self.faults.yes("ignore_sigterm"), self._log_signal)
        delay = self.faults.seconds("start_delay")
        if delay:
            self._sleep(delay)
        listeners = self._listeners()
        reason = self.faults.text("fail")
        if self.config.machine == "microvm":
            outer = ("Failed to init MicroVM", "Failed to realize micro VM.")
        else:
            outer = ("Failed to init StandardVM", "Failed to realize standard VM.")
        if self.config.machine != "none":
            _within(outer[0], self.machine.open_disks)
            _within(outer[1], self._realize)
        if reason and self.faults.this_start("fail_starts"):
            raise Refusal(outer[1], *reason.split("\n"))
        paused = "S" in self.arguments or "freeze" in self.arguments
        self._open_monitors(listeners)
        self._incoming()
        if self.config.machine != "none":
            _within("Failed to start VM.", _within, "Failed to start VM.", self._go, paused)
        self._schedule_death()

    def _realize(self) -> None:
        """Memory first, then the devices."""
        for given in self.arguments.many("numa"):
            if given.split(",")[0] not in ("node", "dist"):
                raise Refusal(f"Unsupported args for NUMA node: {given}")
        backing = self.arguments.one("mem-path")
        there = backing and os.path.isfile(backing)
        if backing and there and os.stat(backing).st_size < self.config.memory:
            raise Refusal(
                "Failed to create file that backs memory",
                f"Backing file {backing} does not has sufficient resource for allocating RAM "
                f"(size is {self.config.memory:#x})",
            )
        self.machine.realize()

    def _go(self, paused: bool) -> None:
        self.machine.start(paused)
        if not paused:
            self.log.write_info("vcpu0 start running")
            self.guest.wake()

    def _sleep(self, seconds: float) -> None:
        """A slow start; signals are handled after it, as by a StratoVirt that is busy."""
        time.sleep(seconds)

    def _log_signal(self, number: int) -> None:
        emit(f"Received kill signal, signal number: {number} \r\n")

    def _listeners(self) -> list[socket.socket]:
        """The sockets of `-qmp` and `-mon`."""
        found = []
        given = self.arguments.one("qmp")
        if given is not None:
            uri = {"uri": fields.text, "iothread": fields.text}
            parsed = fields.parse(given, uri, "uri server nowait", "server nowait", "uri")
            found.append(self._bind(str(parsed["uri"])))
        given = self.arguments.one("mon")
        if given is not None:
            mon = {"id": fields.text, "chardev": fields.text, "mode": fields.one_of("control")}
            name = str(fields.parse(given, mon, "chardev mode")["chardev"])
            chardev = self.config.chardevs.pop(name, None)
            if chardev is None:
                raise Refusal(f"No chardev found: {name}")
            if chardev["type"] != "socket":
                raise Refusal(
                    "Only chardev of unix-socket type can be used for monitor",
                    "Not socket type or invalid socket type",
                )
            if not chardev.get("server") or not chardev.get("nowait"):
                raise Refusal(
                    f"Argument 'server' and 'nowait' are both required for chardev '{name}'"
                )
            found.append(self._bind(f"unix:{chardev['path']}"))
        if not found:
            raise Refusal("Please use '-qmp' or '-mon' to give a qmp path for Unix socket")
        return found

    def _bind(self, uri: str) -> socket.socket:
        kind, _, rest = uri.partition(":")
        wrong = ""
        if not uri.startswith(("u", "t")):
            wrong = f"invalid socket type: {uri}"
        elif uri.startswith("u") and kind != "unix":
            wrong = f"Invalid unix uri: {uri}"
        elif uri.startswith("t") and (kind != "tcp" or rest.count(":") != 1):
            wrong = f"Invalid tcp uri: {uri}"
        if wrong:
            raise Refusal("Failed to parse qmp socket path", wrong)
        try:
            if kind == "tcp":
                host, _, port = rest.partition(":")
                return consoles.listen_tcp(host, int(port))
            return consoles.listen(rest, self.temporary)
        except Refusal as refusal:
            raise refusal.within(f'Failed to bind socket for path: "{rest}"') from None

    def _open_monitors(self, listeners: list[socket.socket]) -> None:
        """Serve the monitors, now that the machine exists."""
        self.guest = Guest(self.machine, self._guest_power_off, self._reset)
        hotplug = HotPlug(self.machine, self.channel)

        def request_unplug(device: Device) -> None:
            unplug = functools.partial(hotplug.unplugged, device)
            self.guest.when_running(lambda: self.loop.later(MOMENT, unplug))

        self.machine.request_unplug = request_unplug
        lifecycle = {
            "quit": self._quit,
            "system_powerdown": self._powerdown,
            "system_reset": self._reset,
        }
        commands = Commands(self.machine, self.channel, hotplug, self.guest.wake, lifecycle)
        for listener in listeners:
            Monitor(listener, self.loop, self.channel, self.faults, commands.execute, self._panic)

    def _incoming(self) -> None:
        """`-incoming`: a snapshot must exist; a migration is waited for."""
        if not self.config.incoming:
            return
        mode, uri = self.config.incoming
        if mode == "file":
            if not os.path.isdir(uri):
                raise Refusal(
                    "Failed to start VM.",
                    "Failed to start migration.",
                    "Failed to restore snapshot",
                    "Invalid snapshot path for restoring snapshot",
                )
            self.machine.migration = "completed"
            return
        # StratoVirt blocks in accept() here: it neither answers QMP nor ends at signals.
        self.loop.signal_number = -1
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                signal.pause()

    def _quit(self) -> object:
        delay = self.faults.seconds("quit_delay") or 0.0
        self.channel.emit("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
        if self.faults.yes("ignore_quit"):
            self.channel.pending.clear()
        elif delay:
            self.loop.later(delay, self._end)
        else:
            self._end()
        return {}

    def _powerdown(self) -> object:
        """x86_64: a hard power-off. aarch64: the guest's power button."""
        if self.config.arch == "x86_64":
            self._end()
        else:
            self.channel.emit("POWERDOWN", {})
            self.guest.press_power_button()
        return {}

    def _reset(self) -> object:
        """Boot again; a microvm shuts down instead."""
        if not self.config.standard:
            self._end()
            return {}
        self.channel.emit("RESET", {"guest": True})
        self.loop.later(0, self.channel.flush)
        self.guest.greeted = False
        if self.machine.running:
            self.guest.wake()
        return {}

    def _guest_power_off(self) -> None:
        """The guest powered off; StratoVirt sends an event for that only on aarch64."""
        if self.config.arch != "x86_64":
            self.channel.emit("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})
        self._end()

    def _end(self, status: int = 0) -> None:
        self.status = status
        self.loop.running = False

    def _panic(self) -> None:
        """StratoVirt's panic when a client closes only its sending half."""
        self.log.write_error("Panic at [machine_manager/src/socket.rs: 329].")
        self._end(1)

    def _schedule_death(self) -> None:
        """Schedule the end that the fault die_after requests."""
        seconds = self.faults.seconds("die_after")
        if seconds is None or not self.faults.this_start("die_starts"):
            return
        number = self.faults.number("die_signal")
        status = self.faults.number("die_code") or 0

        def die() -> None:
            if number:
                signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
                os.kill(os.getpid(), number)
            elif status:
                self._end(status)
            else:
                self._guest_power_off()

        self.loop.later(seconds, die)


def _within(outer: str, action: object, *arguments: object) -> None:
    """Run an action; a refusal gets another outer reason."""
    assert callable(action)
    try:
        action(*arguments)
    except Refusal as refusal:
        raise refusal.within(outer) from None


if sys.platform != "linux":
    raise SystemExit("the simulator needs Linux")
