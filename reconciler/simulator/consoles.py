"""Character devices: ptys, files, sockets and the terminal, with the guest's input and output."""

import contextlib
import os
import socket
import stat
import sys
import termios
from collections.abc import Callable

from .fields import Fields
from .loop import Loop, void
from .refusal import Refusal, operating_system

OnInput = Callable[[bytes], None]


class Temporary:
    """Files to be removed at a clean exit."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def clean(self) -> None:
        """Remove them in reverse order."""
        while self.paths:
            with contextlib.suppress(OSError):
                os.unlink(self.paths.pop())


def listen(path: str, temporary: Temporary) -> socket.socket:
    """A listening socket at a path; an existing file is replaced, as by StratoVirt."""
    if os.path.lexists(path):
        try:
            os.unlink(path)
        except OSError as error:
            refusal = Refusal(operating_system(error))
            raise refusal.within(f"File {path} exists, but failed to remove it.") from None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(128)
    except OSError as error:
        listener.close()
        # Python's "AF_UNIX path too long" has no errno.
        long = error.errno is None
        raise Refusal(
            f"Failed to bind socket file {path}",
            "path must be shorter than SUN_LEN" if long else operating_system(error),
        ) from None
    temporary.paths.append(path)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
    listener.settimeout(0)
    return listener


def listen_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = operating_system(error)
        raise Refusal(f"Failed to bind tcp socket {host}:{port}", reason) from None
    listener.settimeout(0)
    return listener


class Console:
    """One character device."""

    def __init__(self, given: Fields, loop: Loop, temporary: Temporary) -> None:
        self.id = str(given["id"])
        self.loop = loop
        self.pty = ""
        self.on_input: OnInput = void
        self.output = self.input = -1
        self.listener: socket.socket | None = None
        self.client: socket.socket | None = None
        self.spare = -1
        kind = given["type"]
        if kind == "pty":
            self._open_pty()
        elif kind == "file":
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            try:
                self.output = os.open(str(given["path"]), flags, 0o666)
            except OSError as error:
                raise Refusal(operating_system(error)) from None
        elif kind == "stdio":
            self._use_terminal()
        elif kind == "socket":
            self._open_socket(given, temporary)

    def _open_pty(self) -> None:
        """A pseudo-terminal; holding the other end open keeps it working without a reader."""
        self.output, self.spare = os.openpty()
        self.pty = os.ttyname(self.spare)
        _raw(self.spare)
        os.set_blocking(self.output, False)
        self.input = self.output
        self.loop.watch(self.input, self._readable)

    def _use_terminal(self) -> None:
        try:
            _raw(0)
        except termios.error as error:
            number = int(error.args[0])
            raise Refusal(
                "Failed to set terminal to raw mode",
                f"{os.strerror(number)} (os error {number})",
            ) from None
        self.input, self.output = 0, 1
        self.loop.watch(0, self._readable)

    def _open_socket(self, given: Fields, temporary: Temporary) -> None:
        if not given.get("server") or not given.get("nowait"):
            raise Refusal(
                f"Argument 'server' and 'nowait' are both required for chardev '{self.id}'"
            )
        if "path" in given:
            path = str(given["path"])
            try:
                self.listener = listen(path, temporary)
            except Refusal as refusal:
                raise refusal.within(
                    f"Failed to bind socket for chardev '{self.id}', path: {path}"
                ) from None
        else:
            host, port = str(given.get("host", "0.0.0.0")), int(str(given["port"]))
            self.listener = listen_tcp(host, port)
        self.loop.watch(self.listener.fileno(), self._connected)

    def _connected(self, _events: int) -> None:
        """One client at a time; others wait in the listen queue."""
        assert self.listener
        try:
            self.client, _ = self.listener.accept()
        except OSError:
            return
        self.client.settimeout(0)
        self.loop.unwatch(self.listener.fileno())
        self.input = self.output = self.client.fileno()
        self.loop.watch(self.input, self._readable)

    def _readable(self, _events: int) -> None:
        try:
            data = os.read(self.input, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.on_input(data)
            return
        self.loop.unwatch(self.input)
        self.output = self.input = -1
        if self.client and self.listener:
            self.client.close()
            self.client = None
            self.loop.watch(self.listener.fileno(), self._connected)

    def write(self, data: bytes) -> None:
        """Write output of the guest; it is lost without a client or buffer space."""
        if self.output >= 0:
            with contextlib.suppress(OSError):
                os.write(self.output, data)

    def describe(self) -> dict[str, object]:
        """The entry of a pty in `query-chardev`."""
        return {"filename": f"pty:{self.pty}", "frontend-open": True, "label": self.id}


def _raw(handle: int) -> None:
    """Raw mode, without the standard module for it."""
    mode = termios.tcgetattr(handle)
    mode[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(handle, termios.TCSANOW, mode)
    assert sys.platform == "linux"
