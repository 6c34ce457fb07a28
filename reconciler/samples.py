"""Makes what the sample domains need: a firmware of 128 KiB and sparse disks, once.

The firmware starts at its last 16 bytes (the reset vector), jumps back to code that prints a line
on the serial port 0x3f8, and halts. 16-bit code, as the processor starts.
"""

from __future__ import annotations

import sys
from pathlib import Path

SIZE = 128 << 10
DISK = 64 << 20
TEXT = b"hello from the sample firmware\r\n"


def firmware() -> bytes:
    """The image."""
    # cs: mov si, text; mov dx, 0x3f8; next: cs lodsb; test al, al; jz end; out dx, al; jmp next
    # end: cli; hlt; jmp end
    start = 0xFF00
    code = bytes([0xBA, 0xF8, 0x03, 0x2E, 0xAC, 0x84, 0xC0, 0x74, 0x03, 0xEE, 0xEB, 0xF7,
                  0xFA, 0xF4, 0xEB, 0xFC])
    text = start + 3 + len(code)
    block = bytes([0xBE, text & 0xFF, text >> 8]) + code + TEXT + b"\0"
    image = bytearray(b"\xff" * SIZE)
    base = SIZE - 0x10000
    image[base + start: base + start + len(block)] = block
    jump = (start - 0xFFF3) & 0xFFFF
    image[SIZE - 16: SIZE - 13] = bytes([0xE9, jump & 0xFF, jump >> 8])
    return bytes(image)


def main() -> None:
    """Make what is missing below the directory given as the only argument."""
    images = Path(sys.argv[1])
    images.mkdir(exist_ok=True)
    file = images / "sample-firmware.fd"
    if not file.exists():
        file.write_bytes(firmware())
    for name in ("running", "paused", "stopped"):
        disk = images / f"sample-{name}.img"
        if not disk.exists():
            with disk.open("wb") as handle:
                handle.truncate(DISK)


if __name__ == "__main__":
    main()
