"""The devices: each kind's module has its class, its table rows, its reader and its arguments.

A new device is a new module and a line in KINDS (docs/how-to/add-a-device.md).
"""

from __future__ import annotations

from reconciler.domain.devices import (
    character,
    controller,
    disk,
    graphics,
    hostdev,
    interface,
    memballoon,
    rng,
    scsi,
    video,
    vsock,
)
from reconciler.domain.devices.character import Channel, Console, Serial
from reconciler.domain.devices.disk import Disk
from reconciler.domain.devices.graphics import Graphics
from reconciler.domain.devices.hostdev import Hostdev
from reconciler.domain.devices.interface import Interface
from reconciler.domain.devices.memballoon import Balloon
from reconciler.domain.devices.rng import Rng
from reconciler.domain.devices.root_port import RootPort
from reconciler.domain.devices.scsi import ScsiController, ScsiDisk
from reconciler.domain.devices.video import Video
from reconciler.domain.devices.virtio_serial import VirtioSerial
from reconciler.domain.devices.vsock import Vsock

# Each module has RULES, its table rows, `read_all(devices, context)`, which reads all of its
# elements, and `recognise(options)`, which finds its devices on a command line.
KINDS = (disk, interface, controller, character, memballoon, rng, vsock, hostdev, graphics, video,
         scsi)
RULES = tuple(row for kind in KINDS for row in kind.RULES)

__all__ = ["KINDS", "RULES", "Balloon", "Channel", "Console", "Disk", "Graphics", "Hostdev",
           "Interface", "Rng", "RootPort", "ScsiController", "ScsiDisk", "Serial", "Video",
           "VirtioSerial", "Vsock"]
