"""The devices: each kind's file has its class, its rows of the table, its reader, its arguments.

A new device is a new file and its line here.
"""

from __future__ import annotations

from reconciler.domain.devices import character, controller, disk, interface, memballoon
from reconciler.domain.devices.character import Channel, Console, Serial
from reconciler.domain.devices.disk import Disk
from reconciler.domain.devices.interface import Interface
from reconciler.domain.devices.memballoon import Balloon
from reconciler.domain.devices.root_port import RootPort
from reconciler.domain.devices.virtio_serial import VirtioSerial

RULES = (disk.RULE, interface.RULE, controller.RULE, character.SERIAL, character.CONSOLE,
         character.CHANNEL, memballoon.RULE)

__all__ = ["RULES", "Balloon", "Channel", "Console", "Disk", "Interface", "RootPort", "Serial",
           "VirtioSerial"]
