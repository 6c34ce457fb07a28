"""The guest: prints a greeting, echoes input, releases devices, answers as the guest agent."""

from collections.abc import Callable

from . import jsontext
from .consoles import Console
from .loop import void
from .machine import Machine
from .refusal import Refusal

HELLO = "hello from the simulated guest"
# Seconds that a guest takes to shut down, or to release a device.
MOMENT = 0.02


class Guest:
    """The guest's behaviour; while the machine is paused, it waits."""

    def __init__(
        self, machine: Machine, power_off: Callable[[], None], reset: Callable[[], object]
    ) -> None:
        self.machine = machine
        self.power_off = power_off
        self.reset = reset
        self.greeted = False
        self.waiting: list[Callable[[], None]] = []
        for kind, console in machine.ports.values():
            self._listen(console, kind == "virtserialport")
        if machine.serial:
            self._listen(machine.serial, agent=False)

    def _listen(self, console: Console, agent: bool) -> None:
        unread = bytearray()

        def on_input(data: bytes) -> None:
            if agent:
                unread.extend(data)
                self.when_running(lambda: self._agent(console, unread))
            else:
                self.when_running(lambda: console.write(data.replace(b"\r", b"\r\n")))

        console.on_input = on_input

    def when_running(self, action: Callable[[], None]) -> None:
        """Do something now, or when the machine is resumed."""
        if self.machine.running:
            action()
        else:
            self.waiting.append(action)

    def wake(self) -> None:
        """The machine runs: boot if necessary, then do everything that waited."""
        if not self.greeted:
            self.boot()
        waiting, self.waiting = self.waiting, []
        for action in waiting:
            action()

    def boot(self) -> None:
        """Print the greeting on the serial port, else on the console."""
        self.greeted = True
        text = self.machine.faults.text("hello", HELLO) + "\r\n"
        for console in (self.machine.serial, self.machine.ports.get(0, ("", None))[1]):
            if console:
                console.write(text.encode())
                return

    def press_power_button(self) -> None:
        """The ACPI power button: the guest shuts down, without the fault ignore_powerdown."""
        if not self.machine.faults.yes("ignore_powerdown"):
            self.when_running(lambda: self.machine.loop.later(MOMENT, self.power_off))

    def _agent(self, console: Console, unread: bytearray) -> None:
        """Answer the complete lines received."""
        while b"\n" in unread:
            line, _, rest = bytes(unread).partition(b"\n")
            unread[:] = rest
            line = line.strip(b"\xff \r")
            if line:
                answer = self._answer(line.decode("utf-8", "replace"))
                console.write(answer)

    def _answer(self, line: str) -> bytes:
        """The agent's response to one command; guest-shutdown has none."""
        try:
            command = jsontext.parse(line)
        except Refusal:
            return _failed("Invalid JSON syntax")
        if not isinstance(command, dict):
            return _failed("Invalid command")
        name, arguments = command.get("execute"), command.get("arguments")
        given = arguments if isinstance(arguments, dict) else {}
        if name in ("guest-sync", "guest-sync-delimited"):
            mark = b"\xff" if name == "guest-sync-delimited" else b""
            return mark + _returned(given.get("id"))
        if name == "guest-ping":
            return _returned({})
        if name == "guest-info":
            names = ("guest-sync", "guest-ping", "guest-info", "guest-shutdown")
            commands = [{"name": n, "enabled": True, "success-response": True} for n in names]
            return _returned({"version": "7.2.0", "supported_commands": commands})
        if name == "guest-shutdown":
            if not self.machine.faults.yes("guest_ignores_shutdown"):
                reboot = given.get("mode") == "reboot"
                act = self.reset if reboot else self.power_off
                self.machine.loop.later(MOMENT, lambda: void(act()))
            return b""
        return _failed(f"The command {name} has not been found", "CommandNotFound")


def _returned(value: object) -> bytes:
    return jsontext.dump({"return": value}).encode() + b"\n"


def _failed(reason: str, kind: str = "GenericError") -> bytes:
    return jsontext.dump({"error": {"class": kind, "desc": reason}}).encode() + b"\n"
