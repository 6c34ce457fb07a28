"""Creates the files of the sample domains: a firmware of 128 KiB and sparse disks.

The firmware starts at its last 16 bytes (the reset vector), jumps to 16-bit code that prints a line
on the serial port 0x3f8, and halts. This is enough to run, pause and stop VMs, also on the real
StratoVirt.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reconciler.settings import load

SIZE = 128 << 10  # StratoVirt does not accept 64 KiB
DISK = 64 << 20
TEXT = b"hello from the sample firmware\r\n"
DISKS = ("running", "paused", "stopped")


def firmware() -> bytes:
    """The firmware image."""
    start = 0xFF00
    code = bytes([
        0xBA, 0xF8, 0x03,        # mov dx, 0x3f8
        0x2E, 0xAC,              # next: cs lodsb
        0x84, 0xC0, 0x74, 0x03,  # test al, al; jz end
        0xEE, 0xEB, 0xF7,        # out dx, al; jmp next
        0xFA, 0xF4, 0xEB, 0xFC,  # end: cli; hlt; jmp end
    ])
    text = start + 3 + len(code)
    block = bytes([0xBE, text & 0xFF, text >> 8]) + code + TEXT + b"\0"  # mov si, text
    image = bytearray(b"\xff" * SIZE)
    base = SIZE - 0x10000
    image[base + start: base + start + len(block)] = block
    jump = (start - 0xFFF3) & 0xFFFF
    image[SIZE - 16: SIZE - 13] = bytes([0xE9, jump & 0xFF, jump >> 8])  # jmp start
    return bytes(image)


def make(images: Path) -> None:
    """Create the missing files; existing ones are not touched."""
    images.mkdir(parents=True, exist_ok=True)
    file = images / "sample-firmware.fd"
    if not file.exists():
        file.write_bytes(firmware())
    for name in DISKS:
        disk = images / f"sample-{name}.img"
        if not disk.exists():
            with disk.open("wb") as handle:
                handle.truncate(DISK)


if __name__ == "__main__":
    make(load(Path(sys.argv[1])).images)
