"""Start one hypervisor and speak to it; every wait has a limit."""

import json
import os
import pathlib
import select
import shlex
import signal
import socket
import subprocess
import sys
import time

FOLDER = pathlib.Path(__file__).parents[2] / "reconciler" / "simulator"
SIMULATOR = [sys.executable, "-I", "-S", str(FOLDER)]
LIMIT = 10.0


def programs():
    """The simulator, and the real program where the environment names one."""
    found = {"simulator": SIMULATOR}
    real = os.environ.get("STRATOVIRT_REAL")
    if real:
        found["real"] = [real]
    return found


def firmware(text=b"hello from the sample firmware\r\n"):
    """A guest that prints one line on the serial port and halts, in 128 KiB."""
    code = b"\xfa\xba\xf8\x03" + b"".join(b"\xb0" + bytes([c]) + b"\xee" for c in text)
    code += b"\xf4\xeb\xfd"
    size = 0x20000
    image = bytearray(b"\x90" * size)
    start = size - 0x1000
    image[start : start + len(code)] = code
    # The last 16 bytes: a near jump to the code.
    image[size - 16 : size - 13] = b"\xe9" + ((0xF000 - 0xFFF3) & 0xFFFF).to_bytes(2, "little")
    return bytes(image)


def until(condition, limit=LIMIT, why="condition"):
    """Wait for something that has no event of its own."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        select.select([], [], [], 0.002)
    raise AssertionError(f"not in time: {why}")


class Client:
    """A QMP client that keeps answers and events apart."""

    def __init__(self, path, greeted=True):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX)
        self.unread = b""
        self.events = []
        until(self._connect, why=f"socket {path}")
        if greeted:
            self.greeting = self.message()

    def _connect(self):
        try:
            self.socket.connect(self.path)
        except OSError:
            return False
        return True

    def raw(self, limit=LIMIT):
        """Bytes, nothing at the end, None when nothing came in time."""
        if not select.select([self.socket], [], [], limit)[0]:
            return None
        try:
            return self.socket.recv(65536)
        except ConnectionError:
            return b""

    def message(self, limit=LIMIT):
        """The next message; None at the end."""
        end = time.monotonic() + limit
        while b"\n" not in self.unread:
            data = self.raw(max(0.0, end - time.monotonic()))
            assert data is not None, "no message in time"
            if not data:
                return None
            self.unread += data
        line, _, self.unread = self.unread.partition(b"\n")
        assert line.endswith(b"\r")
        return json.loads(line)

    def send(self, data):
        self.socket.sendall(data)

    def answer(self, limit=LIMIT):
        """The next answer; events on the way are kept."""
        while True:
            message = self.message(limit)
            if message is None or "event" not in message:
                return message
            self.events.append(message)

    def ask(self, command, limit=LIMIT, **arguments):
        """One command, its name with `-` for `_`  where it must."""
        message = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        self.send(json.dumps(message).encode())
        return self.answer(limit)

    def write(self, text):
        """Something in one write, and its answer."""
        self.send(text.encode())
        return self.answer()

    def event(self, name, limit=LIMIT):
        """The next event of this name; none may have been missed."""
        while True:
            for index, message in enumerate(self.events):
                if message["event"] == name:
                    return self.events.pop(index)
            message = self.message(limit)
            assert message is not None, f"closed before {name}"
            assert "event" in message, message
            self.events.append(message)

    def silent(self, seconds=0.1):
        """Whether nothing comes."""
        return not self.events and not self.unread and self.raw(seconds) is None

    def at_end(self, limit=LIMIT):
        """Read up to the end of the connection."""
        while self.message(limit) is not None:
            pass
        return True

    def close(self):
        self.socket.close()


def described(answer):
    return answer["error"]["desc"]


class Machine:
    """One process; its command line can be changed piece by piece."""

    def __init__(self, program, folder, faults=None, name="web1"):
        self.program = program
        self.folder = folder
        self.real = "simulator" not in program[-1]
        self.process = None
        self.clients = []
        for file, content in (("fw.fd", firmware()), ("d.img", b""), ("d2.img", b"")):
            if not (folder / file).exists():
                (folder / file).write_bytes(content)
                if not content:
                    os.truncate(folder / file, 1 << 20)
        self.errors = folder / f"stderr-{id(self)}"
        self.socket = folder / f"{name}.sock"
        self.environment = dict(os.environ)
        self.environment.pop("STRATOVIRT_SIMULATOR", None)
        if faults is not None:
            given = faults if isinstance(faults, str) else json.dumps(faults)
            self.environment["STRATOVIRT_SIMULATOR"] = given
        self.line = {
            "name": f"-name {name}",
            "machine": "-machine q35",
            "smp": "-smp 1",
            "m": "-m 128m",
            "fw": "-drive file=fw.fd,if=pflash,unit=0,readonly=true",
            "rp": "-device pcie-root-port,id=pcie.1,port=0x8,bus=pcie.0,addr=0x1,multifunction=on",
            "drive": "-drive file=d.img,id=d0,readonly=off,direct=off,aio=off",
            "disk": "-device virtio-blk-pci,drive=d0,id=vd0,bus=pcie.1,addr=0x0",
            "serial": "-serial pty",
            "qmp": f"-qmp unix:{self.socket.name},server,nowait",
        }

    def arguments(self, more="", **changes):
        line = {**self.line, **changes}
        words = [word for piece in line.values() for word in shlex.split(piece)]
        extra = shlex.split(os.environ.get("STRATOVIRT_REAL_ARGS", "")) if self.real else []
        return [*self.program, *words, *extra, *shlex.split(more)]

    def start(self, more="", **changes):
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                self.arguments(more, **changes),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        return self

    def connect(self, path=None, greeted=True):
        client = Client(path or self.socket, greeted)
        self.clients.append(client)
        return client

    def running(self, more="", **changes):
        """Started, and a client connected."""
        return self.start(more, **changes).connect()

    def wait(self, limit=LIMIT):
        return self.process.wait(limit)

    def said(self):
        return self.errors.read_text(errors="replace")

    def refused(self, more="", **changes):
        """The exit status of a start that must fail, and the reason."""
        self.start(more, **changes)
        return self.wait(), self.said()

    def send_signal(self, number):
        self.process.send_signal(number)

    def end(self):
        for client in self.clients:
            client.close()
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
