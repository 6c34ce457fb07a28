"""The QMP commands and their arguments, with StratoVirt's error messages."""

from . import jsontext
from .refusal import Refusal

# command, "!" if `arguments` is required else "-", then name:type, with "!" if it is required.
_TEXT = """
qmp_capabilities -
quit -
stop -
cont -
system_powerdown -
system_reset -
device_add ! id:s! driver:s! addr:s lun:u drive:s romfile:s share-rw:s bus:s mac:s netdev:s chardev:s disable-modern:s mq:s vectors:s serial:s iothread:s multifunction:b host:s num-queues:u16 boot_index:u8 sysfsdev:s queue-size:u16 port:s backend:s path:s cameradev:s hostbus:s hostaddr:s hostport:s vendorid:s productid:s isobufs:s isobsize:s cpu-id:u8
device_del ! id:s!
chardev-add ! id:s! backend:o!
chardev-remove ! id:s!
netdev_add ! id:s! ifname:s fd:s fds:s dnssearch:s type:s vhost:b vhostfd:s vhostfds:s downscript:s script:s queues:u16 chardev:s macnat:b
netdev_del ! id:s!
netdev_replace ! id:s! ifname:s path:s macnat:b!
netlink_set ! id:s! up:b!
cameradev_add ! id:s! path:s driver:s!
cameradev_del ! id:s!
query-hotpluggable-cpus -
query-cpus -
query-status -
getfd ! fdname:s!
blockdev-add ! node-name:s! file:o! media:s cache:o read-only:b detect-zeroes:s driver:s backing:s discard:s id:s options:s throttling.iops-total:u64 l2-cache-size:s refcount-cache-size:s
blockdev-del ! node-name:s!
balloon - value:u64!
set-viomem ! id:s! requested-size:s!
get-viomem ! id:s!
query-mem -
query-mem-gpa - gpa:s!
query-balloon -
query-vnc -
query-display-image -
switch-audio-record ! authorized:s!
migrate ! uri:s!
query-migrate -
migrate_cancel -
query-version -
query-commands -
query-target -
query-kvm -
query-machines -
query-events -
qom-list-types -
device-list-properties - typename:s!
block-commit - device:s job-id:s base:s top:s backing-file:s speed:u64
query-tpm-models -
query-tpm-types -
query-command-line-options - option:s
query-migrate-capabilities -
query-qmp-schema -
query-sev-capabilities -
query-chardev -
qom-list - path:s
qom-get - path:s property:s
query-block -
query-named-block-nodes -
query-blockstats -
query-block-jobs -
query-gic-capabilities -
query-iothreads -
update_region - update_type:s
input_event - key:s! value:s!
human-monitor-command ! command-line:s!
blockdev-snapshot-internal-sync ! device:s! name:s!
blockdev-snapshot-delete-internal-sync ! device:s! name:s!
query-vcpu-reg ! addr:s! vcpu:u!
trace-get-state ! name:s!
trace-set-state ! name:s! enable:b!
query-ohui-status -
query-workloads !
detect-silent-audio !
"""  # noqa: E501  # one line per command
COMMANDS = {line.split()[0]: line.split()[1:] for line in _TEXT.strip().splitlines()}
_EXPECTED = {"s": "a string", "b": "a boolean", "u": "usize", "o": "a map"}
_MOST = {"u8": 1 << 8, "u16": 1 << 16, "u64": 1 << 64, "u": 1 << 64}
Arguments = dict[str, object]


def _several(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    if not quoted:
        return "there are no fields"
    if len(quoted) <= 2:
        return "expected " + " or ".join(quoted)
    return "expected one of " + ", ".join(quoted)


def read(text: str) -> tuple[str, Arguments, str | None]:
    """One command: its name, its arguments and its id."""
    seen: list[str] = []

    def look(key: str, value: object) -> str | None:
        if key == "execute":
            if key in seen:
                return "duplicate field `execute`"
            if not isinstance(value, str):
                return f"invalid type: {jsontext.kind(value)}, expected variant identifier"
            if value not in COMMANDS:
                return f"unknown variant `{value}`, {_several(list(COMMANDS))}"
        seen.append(key)
        return None

    message = jsontext.parse(text, look)
    end = f"at line {text.count(chr(10)) + 1} column {len(text.rpartition(chr(10))[2].encode())}"
    if not isinstance(message, dict | list):
        found = jsontext.kind(message)
        raise Refusal(f"invalid type: {found}, expected internally tagged enum QmpCommand {end}")
    if isinstance(message, list) or "execute" not in message:
        raise Refusal(f"missing field `execute` {end}")
    name = str(message["execute"])
    for key in seen:
        if key not in ("execute", "arguments", "id"):
            raise Refusal(f"unknown field `{key}`, expected `arguments` or `id`")
        if seen.count(key) > 1:
            raise Refusal(f"duplicate field `{key}`")
    identity: str | None = None
    given: Arguments = {}
    for key in seen:
        if key == "arguments":
            given = _check(name, message[key])
        elif key == "id":
            value = message[key]
            if value is not None and not isinstance(value, str):
                raise Refusal(f"invalid type: {jsontext.kind(value)}, expected a string")
            identity = value
    if "arguments" not in message and COMMANDS[name][0] == "!":
        raise Refusal("missing field `arguments`")
    return name, given, identity


def _check(name: str, given: object) -> Arguments:
    """Check the arguments of a command."""
    if not isinstance(given, dict):
        raise Refusal(
            f"invalid type: {jsontext.kind(given)}, expected struct {name.replace('-', '_')}"
        )
    takes = dict(field.split(":") for field in COMMANDS[name][1:])
    for key, value in given.items():
        if key not in takes:
            raise Refusal(f"unknown field `{key}`, {_several(list(takes))}")
        kind = takes[key].rstrip("!")
        if value is None and not takes[key].endswith("!"):
            continue
        expected = _EXPECTED.get(kind, kind)
        whole = isinstance(value, int) and not isinstance(value, bool)
        right = {"s": isinstance(value, str), "b": isinstance(value, bool)}
        right["o"] = isinstance(value, dict)
        if not right.get(kind, whole):
            raise Refusal(f"invalid type: {jsontext.kind(value)}, expected {expected}")
        if kind in _MOST and isinstance(value, int) and not 0 <= value < _MOST[kind]:
            raise Refusal(f"invalid value: {jsontext.kind(value)}, expected {expected}")
    for key, kind in takes.items():
        if kind.endswith("!") and key not in given:
            raise Refusal(f"missing field `{key}`")
    return given
