"""The table of <domain>: every element and attribute of libvirt's that people have in their files.

Verdicts are those of docs/reference/domain-file.md, which is made from this table: silent is what
cannot change the guest or what libvirt adds by itself; warned is what a guest can do without;
refused is where security, data, isolation or capacity would differ from what is written.
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
    denied,
    element,
    matching,
    number,
    quiet,
    refused,
    silent,
    warned,
)

NAME = matching(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}",
                "[A-Za-z0-9][A-Za-z0-9_.+-]*, up to 64 characters")
_UUID = matching(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}",
                 "32 hexadecimal digits, with or without dashes")
_SIZE = number(0, 10**18)
_DESKTOP = "StratoVirt has no desktop devices"
_MEANING = "the guest or its operator would miss it; take it out"

_OS = element(
    "os", Attribute("firmware", choice("efi", "bios")),
    element("type", Attribute("arch", TEXT), Attribute("machine", TEXT), text=choice("hvm")),
    element("kernel", text=PATH), element("initrd", text=PATH), element("cmdline", text=PASSED),
    element("loader", Attribute("readonly", YES_NO), Attribute("type", choice("pflash", "rom")),
            Attribute("secure", YES_NO), Attribute("stateless", YES_NO),
            Attribute("format", choice("raw")), text=PATH),
    element("nvram", Attribute("template", PATH), Attribute("format", choice("raw")),
            *quiet("templateFormat"), Attribute("type", choice("file", "block", "network")),
            element("source", Attribute("file", PATH),
                    *quiet("index", "dev", "protocol", "name", "startupPolicy"),
                    *silent("seclabel", "host", "auth", "ssl"),
                    refused("encryption", "StratoVirt cannot decrypt")), text=PATH, empty=True),
    element("boot", Attribute("dev", choice("hd", "cdrom", "network", "fd")), many=True),
    warned("bios", "StratoVirt has no such settings"),
    warned("acpi", "StratoVirt adds no tables"),
    warned("bootmenu", "StratoVirt has no boot menu"),
    warned("smbios", "StratoVirt shows its own"),
    element("firmware", element("feature", Attribute("enabled", YES_NO), Attribute(
        "name", choice("secure-boot", "enrolled-keys")), many=True)),
    refused("dtb", "StratoVirt makes its own"),
    refused("shim", "StratoVirt has none"), refused("varstore", "name a file: <nvram>"),
    *(refused(name, "that is for containers") for name in (
        "init", "initarg", "initenv", "initdir", "inituser", "initgroup", "idmap", "root")))

_FEATURES = element(
    "features", element("acpi"),
    element("gic", Attribute("version", choice("3", "2", "host"))),
    *silent("apic", "pae"),
    *(warned(name, "StratoVirt has no such switch") for name in (
        "vmport", "smm", "hyperv", "kvm", "ioapic", "hap", "viridian", "privnet", "pvspinlock",
        "pmu", "vmcoreinfo", "capabilities", "xen", "htm", "msrs", "ps2", "ccf-assist", "cfpc",
        "hpt", "ibs", "nested-hv", "sbbc", "tcg", "ras", "aia", "async-teardown")))

_CPU = element(
    "cpu", Attribute("mode", choice("host-passthrough", "host-model", "maximum", "custom")),
    *quiet("match", "check", "migratable", "deprecated_features"),
    element("topology", *(Attribute(name, number(1, 254)) for name in (
        "sockets", "dies", "clusters", "cores", "threads"))),
    element("feature", Attribute("policy", choice("force", "require", "optional", "disable",
                                                  "forbid")), Attribute("name", ANY), many=True),
    element("model", *quiet("fallback", "vendor_id"), text=ANY),
    *silent("cache", "vendor", "maxphysaddr"),
    refused("numa", "NUMA cells are not built; take it out"))

_BACKING = element(
    "memoryBacking", element("locked"), element("source", Attribute("type", choice(
        "anonymous", "memfd", "file"))),
    element("access", Attribute("mode", choice("shared", "private"))),
    element("allocation", Attribute("mode", choice("immediate", "ondemand")), *quiet("threads")),
    element("hugepages", element("page", Attribute("size", number(1, 10**12)),
                                 Attribute("unit", UNIT), *quiet("nodeset"), many=True)),
    warned("discard", "StratoVirt gives all memory back at the end"),
    warned("nosharepages", "StratoVirt never merges pages by itself"))

_MEMORY_ATTRIBUTES = (Attribute("unit", UNIT), *quiet("dumpCore"))

_DEVICES = element(
    "devices", element("emulator", text=PATH), *RULES,
    *silent("input", "audio"),
    *(warned(name, _DESKTOP) for name in ("sound", "redirdev", "redirfilter", "hub",
                                          "smartcard")),
    warned("watchdog", "StratoVirt has none"),
    warned("panic", "StratoVirt has none in its default build"),
    *(refused(name, _MEANING) for name in (
        "filesystem", "tpm", "shmem", "nvram", "iommu", "lease", "crypto", "memory", "parallel",
        "pstore", "vmcoreinfo")))

DOMAIN = element(
    "domain", Attribute("type", choice("kvm", "qemu", "hvf", "xen", "test")), *quiet("id"),
    element("name", text=NAME), element("uuid", text=_UUID), element("title", text=TEXT),
    element("description", text=TEXT), *silent("metadata"),
    element("memory", *_MEMORY_ATTRIBUTES, text=_SIZE),
    element("currentMemory", *_MEMORY_ATTRIBUTES, text=_SIZE),
    element("maxMemory", *_MEMORY_ATTRIBUTES,
            denied("slots", "StratoVirt has no memory hot plug; take it out"), text=_SIZE),
    element("vcpu", Attribute("placement", choice("static", "auto")),
            Attribute("current", number(1, 254)),
            denied("cpuset", "pinning is not built; take it out"), text=number(1, 254)),
    _OS, _FEATURES, _CPU, _BACKING,
    element("iothreads", text=number(0, 8)),
    element("iothreadids", element("iothread", Attribute("id", number(1, 255)),
                                   *quiet("thread_pool_min", "thread_pool_max"),
                                   *silent("poll"), many=True)),
    *silent("defaultiothread"),
    element("clock", Attribute("offset", choice("utc", "localtime", "timezone", "variable",
                                                "absolute")),
            *quiet("adjustment", "basis", "timezone", "start"), *silent("timer")),
    element("on_poweroff", text=choice("destroy", "restart")),
    element("on_reboot", text=choice("restart", "destroy")),
    element("on_crash", text=choice("destroy", "restart")),
    warned("on_lockfailure", "StratoVirt has its own file locks"),
    *silent("pm", "resource"), _DEVICES,
    element("seclabel", Attribute("type", choice("none", "dynamic", "static")),
            *quiet("model", "relabel"), *silent("label", "baselabel", "imagelabel"), many=True),
    warned("perf", "StratoVirt has none"), warned("keywrap", "StratoVirt has none"),
    warned("idmap", "that is for containers"), warned("genid", "StratoVirt shows none"),
    warned("sysinfo", "StratoVirt shows its own"),
    warned("blkiotune", "set it on the host"), warned("memtune", "set it on the host"),
    warned("bootloader", "StratoVirt has none"),
    refused("cputune", "pinning and shares are not built; take it out"),
    refused("vcpus", "processors one by one are not built; write <vcpu current='…'>"),
    refused("throttlegroups", "StratoVirt limits only a disk's own total_iops_sec"),
    refused("numatune", "NUMA placement is not built; take it out"),
    refused("launchSecurity", "StratoVirt has no memory encryption"),
    refused("bootloader_args", "StratoVirt has none"))

