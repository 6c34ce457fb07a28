"""The table of <domain>: every element and attribute of libvirt that occurs in users' files.

rules.RowVerdict explains the verdicts, and docs/reference/domain-file.md lists this table. Rows are
rejected if security, data, isolation or capacity would otherwise differ from the file.
"""

from __future__ import annotations

from reconciler.domain.devices import RULES
from reconciler.domain.rules import (
    ANY,
    PASSED,
    PATH,
    TEXT,
    UNIT,
    YES_NO,
    Attribute,
    choice,
    element,
    ignore,
    matching,
    number,
    reject,
    warn,
)

NAME = matching(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}",
                "[A-Za-z0-9][A-Za-z0-9_.+-]*, up to 64 characters")
_UUID = matching(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}",
                 "32 hexadecimal digits, with or without dashes")
_SIZE = number(0, 10**18)
_DESKTOP = "StratoVirt has no desktop devices"
_MEANING = "not supported; remove it"

_OS = element(
    "os", Attribute("firmware", choice("efi", "bios")),
    element("type", Attribute("arch", TEXT), Attribute("machine", TEXT), text=choice("hvm")),
    element("kernel", text=PATH), element("initrd", text=PATH), element("cmdline", text=PASSED),
    element("loader", Attribute("readonly", YES_NO), Attribute("type", choice("pflash", "rom")),
            Attribute("secure", YES_NO), Attribute("stateless", YES_NO),
            Attribute("format", choice("raw")), text=PATH),
    element("nvram", Attribute("template", PATH), Attribute("format", choice("raw")),
            *ignore("@templateFormat"), Attribute("type", choice("file", "block", "network")),
            element("source", Attribute("file", PATH),
                    *ignore("@index", "@dev", "@protocol", "@name", "@startupPolicy"),
                    *ignore("seclabel", "host", "auth", "ssl"),
                    reject("encryption", "StratoVirt cannot decrypt it")), text=PATH, empty=True),
    element("boot", Attribute("dev", choice("hd", "cdrom", "network", "fd")), many=True),
    warn("bios", "StratoVirt has no such settings"),
    warn("acpi", "StratoVirt cannot add ACPI tables"),
    warn("bootmenu", "StratoVirt has no boot menu"),
    warn("smbios", "StratoVirt has its own SMBIOS data"),
    element("firmware", element("feature", Attribute("enabled", YES_NO), Attribute(
        "name", choice("secure-boot", "enrolled-keys")), many=True)),
    reject("dtb", "StratoVirt generates the device tree; remove it"),
    reject("shim", "StratoVirt does not support it; remove it"),
    reject("varstore", "use <nvram> instead"),
    *(reject(name, "it is for containers; remove it") for name in (
        "init", "initarg", "initenv", "initdir", "inituser", "initgroup", "idmap", "root")))

_FEATURES = element(
    "features", element("acpi"),
    element("gic", Attribute("version", choice("3", "2", "host"))),
    *ignore("apic", "pae"),
    *(warn(name, "StratoVirt has no such switch") for name in (
        "vmport", "smm", "hyperv", "kvm", "ioapic", "hap", "viridian", "privnet", "pvspinlock",
        "pmu", "vmcoreinfo", "capabilities", "xen", "htm", "msrs", "ps2", "ccf-assist", "cfpc",
        "hpt", "ibs", "nested-hv", "sbbc", "tcg", "ras", "aia", "async-teardown")))

_CPU = element(
    "cpu", Attribute("mode", choice("host-passthrough", "host-model", "maximum", "custom")),
    *ignore("@match", "@check", "@migratable", "@deprecated_features"),
    element("topology", *(Attribute(name, number(1, 254)) for name in (
        "sockets", "dies", "clusters", "cores", "threads"))),
    element("feature", Attribute("policy", choice("force", "require", "optional", "disable",
                                                  "forbid")), Attribute("name", ANY), many=True),
    element("model", *ignore("@fallback", "@vendor_id"), text=ANY),
    *ignore("cache", "vendor", "maxphysaddr"),
    reject("numa", "NUMA cells are not implemented; remove it"))

_BACKING = element(
    "memoryBacking", element("locked"), element("source", Attribute("type", choice(
        "anonymous", "memfd", "file"))),
    element("access", Attribute("mode", choice("shared", "private"))),
    element("allocation", Attribute("mode", choice("immediate", "ondemand")), *ignore("@threads")),
    element("hugepages", element("page", Attribute("size", number(1, 10**12)),
                                 Attribute("unit", UNIT), *ignore("@nodeset"), many=True)),
    warn("discard", "StratoVirt frees all memory when it ends"),
    warn("nosharepages", "StratoVirt does not merge pages"))

_MEMORY_ATTRIBUTES = (Attribute("unit", UNIT), *ignore("@dumpCore"))

_DEVICES = element(
    "devices", element("emulator", text=PATH), *RULES,
    *ignore("input", "audio"),
    *(warn(name, _DESKTOP) for name in ("sound", "redirdev", "redirfilter", "hub",
                                        "smartcard")),
    warn("watchdog", "StratoVirt has no watchdog device"),
    warn("panic", "StratoVirt's default build has no such device"),
    *(reject(name, _MEANING) for name in (
        "filesystem", "tpm", "shmem", "nvram", "iommu", "lease", "crypto", "memory", "parallel",
        "pstore", "vmcoreinfo")))

DOMAIN = element(
    "domain", Attribute("type", choice("kvm", "qemu", "hvf", "xen", "test")), *ignore("@id"),
    element("name", text=NAME), element("uuid", text=_UUID), element("title", text=TEXT),
    element("description", text=TEXT), *ignore("metadata"),
    element("memory", *_MEMORY_ATTRIBUTES, text=_SIZE),
    element("currentMemory", *_MEMORY_ATTRIBUTES, text=_SIZE),
    element("maxMemory", *_MEMORY_ATTRIBUTES,
            reject("@slots", "StratoVirt has no memory hotplug; remove it"), text=_SIZE),
    element("vcpu", Attribute("placement", choice("static", "auto")),
            Attribute("current", number(1, 254)),
            reject("@cpuset", "pinning is not implemented; remove it"), text=number(1, 254)),
    _OS, _FEATURES, _CPU, _BACKING,
    element("iothreads", text=number(0, 8)),
    element("iothreadids", element("iothread", Attribute("id", number(1, 255)),
                                   *ignore("@thread_pool_min", "@thread_pool_max"),
                                   *ignore("poll"), many=True)),
    *ignore("defaultiothread"),
    element("clock", Attribute("offset", choice("utc", "localtime", "timezone", "variable",
                                                "absolute")),
            *ignore("@adjustment", "@basis", "@timezone", "@start"), *ignore("timer")),
    element("on_poweroff", text=choice("destroy", "restart")),
    element("on_reboot", text=choice("restart", "destroy")),
    element("on_crash", text=choice("destroy", "restart")),
    warn("on_lockfailure", "StratoVirt uses file locks of its own"),
    *ignore("pm", "resource"), _DEVICES,
    element("seclabel", Attribute("type", choice("none", "dynamic", "static")),
            *ignore("@model", "@relabel"), *ignore("label", "baselabel", "imagelabel"), many=True),
    warn("perf", "StratoVirt does not support it"),
    warn("keywrap", "StratoVirt does not support it"),
    warn("idmap", "it is for containers"), warn("genid", "StratoVirt does not support it"),
    warn("sysinfo", "StratoVirt has its own SMBIOS data"),
    warn("blkiotune", "set it on the host"), warn("memtune", "set it on the host"),
    warn("bootloader", "StratoVirt does not support it"),
    reject("cputune", "pinning and shares are not implemented; remove it"),
    reject("vcpus", "processors cannot be listed one by one; use <vcpu current='…'>"),
    reject("throttlegroups", "StratoVirt supports total_iops_sec of single disks only; remove it"),
    reject("numatune", "NUMA placement is not implemented; remove it"),
    reject("launchSecurity", "StratoVirt has no memory encryption; remove it"),
    reject("bootloader_args", "StratoVirt does not support it; remove it"))

