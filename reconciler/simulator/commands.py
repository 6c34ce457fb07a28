"""The QMP commands."""

import os
import time
from collections.abc import Callable

from .hotplug import HotPlug
from .machine import Machine
from .qmp import Channel, Failed
from .refusal import Refusal
from .schema import COMMANDS, Arguments

EVENTS = [
    "SHUTDOWN",
    "RESET",
    "STOP",
    "RESUME",
    "POWERDOWN",
    "CPU_RESIZE",
    "DEVICE_DELETED",
    "BALLOON_CHANGED",
    "USB_HOST_ADD_RES",
    "AUDIO_CHANGED",
    "VM_NOTIFY_EVENT",
]
TYPES = [
    "ioh3420:pcie-root-port-base",
    "pcie-root-port:pcie-root-port-base",
    "pcie-pci-bridge:base-pci-bridge",
    "pci-bridge:base-pci-bridge",
    "virtio-blk-pci-transitional:virtio-blk-pci-base",
    "memory-backend-file:memory-backend",
    "virtio-rng-device:virtio-device",
    "rng-random:rng-backend",
    "vfio-pci:pci-device",
    "vhost-vsock-device:virtio-device",
    "iothread:object",
    "nec-usb-xhci:base-xhci",
    "usb-tablet:usb-hid",
    "usb-kbd:usb-hid",
    "usb-consumer:usb-hid",
    "usb-storage:usb-storage-dev",
    "virtio-gpu-pci:virtio-gpu",
]
_OPTION = {
    "discard": "discard operation (unmap|ignore)",
    "detect-zeroes": "optimize zero writes (unmap|on|off)",
}
EMPTY_LISTS = [
    "query-block",
    "query-blockstats",
    "query-named-block-nodes",
    "query-block-jobs",
    "qom-list",
    "qom-get",
    "query-migrate-capabilities",
    "query-tpm-models",
    "query-tpm-types",
    "query-gic-capabilities",
]
NOTHING = [
    "qmp_capabilities",
    "query-hotpluggable-cpus",
    "query-mem",
    "query-qmp-schema",
    "query-sev-capabilities",
    "block-commit",
    "migrate_cancel",
    "trace-set-state",
]
UNSUPPORTED = {
    "query-vnc": "The service of VNC is not supported",
    "query-display-image": "The gtk feature is not supported",
    "query-ohui-status": "query_ohui_status not supported for VM",
    "query-mem-gpa": "address not in hexadecimal",
    "update_region": "invalid rergion_type",
    "input_event": "Invalid input type: ",
}
NO_BALLOON = "No balloon device has been activated"


class Commands:
    """The commands by name; `lifecycle` has those that end or reset the process."""

    def __init__(
        self,
        machine: Machine,
        channel: Channel,
        hotplug: HotPlug,
        wake: Callable[[], None],
        lifecycle: dict[str, Callable[[], object]],
    ) -> None:
        self.machine = machine
        self.channel = channel
        self.wake = wake
        self.lifecycle = lifecycle
        self.threads = os.getpid() + 1
        self.handlers: dict[str, Callable[[Arguments], object]] = {
            "stop": self._stop,
            "cont": self._cont,
            "device_add": hotplug.device_add,
            "device_del": hotplug.device_del,
            "blockdev-add": hotplug.blockdev_add,
            "blockdev-del": hotplug.blockdev_del,
            "netdev_add": hotplug.netdev_add,
            "netdev_del": hotplug.netdev_del,
            "netdev_replace": hotplug.network,
            "netlink_set": hotplug.network,
            "chardev-remove": hotplug.chardev_remove,
            "balloon": self._balloon,
            "query-balloon": self._balloon,
            "query-status": self._status,
            "query-cpus": self._processors,
            "query-iothreads": self._iothreads,
            "query-machines": self._machines,
            "query-migrate": lambda _given: {"status": machine.migration},
            "migrate": self._migrate,
            "human-monitor-command": self._human,
        }

    def execute(self, name: str, given: Arguments) -> object:
        """Run one command and return its result."""
        if name in self.handlers:
            return self.handlers[name](given)
        if name in self.lifecycle:
            return self.lifecycle[name]()
        if name in EMPTY_LISTS:
            return []
        if name in UNSUPPORTED:
            raise Failed(UNSUPPORTED[name])
        if name in NOTHING:
            return {}
        fixed = self._fixed(name)
        if fixed is None:
            raise Failed(f"{name} is not simulated")
        return fixed

    def _fixed(self, name: str) -> object:
        """Commands with a fixed answer."""
        if name == "query-version":
            version = {"major": 5, "micro": 1, "minor": 0}
            return {"package": "StratoVirt-2.5.0", "qemu": version}
        if name == "query-commands":
            return [{"name": command} for command in COMMANDS]
        if name == "query-events":
            return [{"name": event} for event in EVENTS]
        if name == "query-kvm":
            return {"enabled": True, "present": True}
        if name == "query-target":
            return {"arch": self.machine.config.arch}
        if name == "query-chardev":
            return [console.describe() for console in self.machine.ptys]
        if name == "qom-list-types":
            pairs = [pair.split(":") for pair in TYPES]
            return [{"name": name, "parent": parent} for name, parent in pairs]
        if name == "device-list-properties":
            return [{"name": "disable-legacy", "type": "OnOffAuto"}]
        if name == "query-command-line-options":
            parameters = [{"help": h, "name": n, "type": "string"} for n, h in _OPTION.items()]
            return [{"option": "drive", "parameters": parameters}]
        return False if name == "detect-silent-audio" else None

    def _status(self, _given: Arguments) -> object:
        running = self.machine.running
        status = "running" if running else "paused"
        if self.machine.config.machine == "none":
            running, status = False, "prelaunch"
        return {"running": running, "singlestep": False, "status": status}

    def _stop(self, _given: Arguments) -> object:
        """Pause; with the fault, fail after a timeout, as with a vCPU that does not respond."""
        seconds = self.machine.faults.seconds("stop_fails")
        if seconds is not None and self.machine.running:
            time.sleep(seconds)
            raise Failed("Failed to pause VM")
        self.machine.running = False
        self.channel.emit("STOP", {})
        return {}

    def _cont(self, _given: Arguments) -> object:
        """Resume; while another process has locked a disk, fail with an empty error."""
        try:
            self.machine.lock_disks()
        except Refusal as refusal:
            reason = refusal.within("VM state transfer failed: Failed to resume vm.")
            self.machine.log.write_error(reason.report())
            raise Failed("") from None
        self.machine.running = True
        self.channel.emit("RESUME", {})
        self.wake()
        return {}

    def _balloon(self, given: Arguments) -> object:
        """Available only if the guest has a balloon driver."""
        machine = self.machine
        if not (machine.balloon and machine.faults.yes("balloon")):
            raise Failed(NO_BALLOON, "DeviceNotActive")
        if "value" in given:
            machine.balloon_size = min(int(str(given["value"])), machine.config.memory)
            self.channel.emit("BALLOON_CHANGED", {"actual": machine.balloon_size})
            return {}
        return {"actual": machine.balloon_size}

    def _processors(self, _given: Arguments) -> object:
        _, dies, clusters, cores, threads = self.machine.config.topology
        answer = []
        for number in sorted(self.machine.processors):
            core = number // threads
            props = {
                "core-id": core % cores,
                "die_id": core // (cores * clusters) % dies,
                "socket-id": core // (cores * clusters * dies),
                "thread-id": number % threads,
            }
            answer.append(
                {
                    "CPU": number,
                    "arch": "x86" if self.machine.config.arch == "x86_64" else "arm",
                    "current": True,
                    "halted": False,
                    "props": props,
                    "qom_path": f"/machine/unattached/device[{number}]",
                    "thread_id": self.threads + number,
                }
            )
        return answer

    def _iothreads(self, _given: Arguments) -> object:
        polls = {"poll-grow": 0, "poll-max-ns": 0, "poll-shrink": 0}
        first = self.threads + len(self.machine.processors)
        names = enumerate(self.machine.config.iothreads)
        return [{"id": name, **polls, "thread-id": first + number} for number, name in names]

    def _machines(self, _given: Arguments) -> object:
        standard = "q35" if self.machine.config.arch == "x86_64" else "virt"
        rest = {"cpu-max": 255, "deprecated": False, "hotpluggable-cpus": False}
        names = ("none", "microvm", standard)
        return [{**rest, "name": name, "numa-mem-supported": False} for name in names]

    def _migrate(self, given: Arguments) -> object:
        """Only snapshots to files are simulated, as two empty files."""
        mode, colon, rest = str(given["uri"]).partition(":")
        if not colon:
            raise Failed(f"Invalid uri: {given['uri']}")
        if mode not in ("file", "unix", "tcp"):
            raise Failed(f"Unknown mode: invalid uri: {given['uri']}")
        if mode != "file":
            raise Failed("Failed to migrate: not simulated")
        try:
            os.makedirs(rest, exist_ok=True)
            for name in ("memory", "state"):
                with open(f"{rest}/{name}", "w", encoding="utf-8"):
                    pass
        except OSError as error:
            self.machine.migration = "failed"
            raise Failed(f"Failed to save snapshot: {error.strerror}") from None
        self.machine.migration = "completed"
        return {}

    def _human(self, given: Arguments) -> object:
        raise Failed(f"Unsupported command: {given['command-line']}")
