"""The process of helper.py: calls what comes on its socket, each in a thread of its own."""

import os
import pickle
import socket
import struct
import sys
import threading
from pathlib import Path

HEADER = struct.Struct("!I")


def main() -> None:
    """Until the other end is closed; calls that hang then are left behind."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    with socket.socket(fileno=int(sys.argv[1])) as peer:
        one_answer = threading.Lock()
        while (head := _exactly(peer, HEADER.size)) is not None:
            data = _exactly(peer, HEADER.unpack(head)[0])
            if data is None:
                break
            threading.Thread(target=_answer, args=(peer, one_answer, data), daemon=True).start()
    os._exit(0)


def _exactly(peer: socket.socket, size: int) -> bytes | None:
    """So many bytes; None if the other end is closed."""
    found = bytearray()
    while len(found) < size:
        some = peer.recv(min(size - len(found), 1 << 20))
        if not some:
            return None
        found += some
    return bytes(found)


def _answer(peer: socket.socket, one_answer: threading.Lock, data: bytes) -> None:
    number, call, arguments = pickle.loads(data)  # noqa: S301  # from the reconciler
    try:
        answer = (number, True, call(*arguments))
    except Exception as error:  # noqa: BLE001  # raised again by the reconciler
        answer = (number, False, error)
    text = pickle.dumps(answer)
    with one_answer:
        peer.sendall(HEADER.pack(len(text)) + text)


if __name__ == "__main__":
    main()
