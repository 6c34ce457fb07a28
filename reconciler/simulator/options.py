"""The options of the command line and their values, with StratoVirt's error messages."""

from .refusal import Refusal

ONE, MANY, FLAG, ANY = "one value", "many values", "no value", "a value or none"

OPTIONS = {
    **dict.fromkeys(
        [
            "name",
            "machine",
            "accel",
            "smp",
            "cpu",
            "m",
            "mem-path",
            "kernel",
            "initrd",
            "qmp",
            "mod-test",
            "serial",
            "pidfile",
            "incoming",
            "mon",
            "trace",
            "hardware-signature",
        ],
        ONE,
    ),
    **dict.fromkeys(
        ["numa", "append", "drive", "netdev", "chardev", "device", "object", "global", "smbios"],
        MANY,
    ),
    **dict.fromkeys(
        ["freeze", "mem-prealloc", "daemonize", "disable-seccomp", "prealloc", "battery"],
        FLAG,
    ),
    **dict.fromkeys(
        [
            "D",
            "overcommit",
            "uuid",
            "no-user-config",
            "nodefaults",
            "sandbox",
            "msg",
            "rtc",
            "no-shutdown",
            "boot",
            "nographic",
            "realtime",
            "display",
            "usb",
        ],
        ANY,
    ),
}
VERSION = "StratoVirt 2.5.0 commit-id simulator\n"
_USAGE = "Use '-h' or '-help' to get usage."


def _unexpected(argument: str) -> Refusal:
    return Refusal(
        f"Found argument '{argument}' which wasn't expected, or isn't valid in the context. "
        + _USAGE
    )


class Arguments:
    """The given options and their values."""

    def __init__(self, given: dict[str, list[str]]) -> None:
        self.given = given

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def one(self, name: str) -> str | None:
        """The value of an option; empty if it has none, None if the option is not given."""
        values = self.given.get(name)
        return None if values is None else values[0] if values else ""

    def many(self, name: str) -> list[str]:
        """All values of an option."""
        return self.given.get(name, [])


def parse(argv: list[str], extra: frozenset[str] = frozenset()) -> Arguments | str:
    """Read the command line; for `-h` and `-V` their output. `extra`: options of this build."""
    known = {**OPTIONS, **dict.fromkeys(extra, ONE)}
    given: dict[str, list[str]] = {}
    repeated: set[str] = set()
    current: list[str] | None = None
    for argument in argv:
        if argument == "--":
            break
        if argument.startswith("--"):
            raise _unexpected(argument)
        if argument.startswith("-"):
            name = argument[1:]
            if name not in known and name not in ("S", "h", "help", "V", "version"):
                raise _unexpected(argument)
            if name in given:
                repeated.add(name)
            current = given.setdefault(name, [])
        elif current is None:
            raise _unexpected(argument)
        else:
            current.append(argument)
    if "h" in given or "help" in given:
        names = "".join(f"        -{name}\n" for name in sorted(known))
        return f"{VERSION}USAGE:\n    stratovirt [FLAGS] [OPTIONS]\nOPTIONS:\n{names}"
    if "V" in given or "version" in given:
        return VERSION + "\n"
    for name, takes in known.items():
        if name in given:
            _check(name, takes, given[name], name in repeated)
    if given.get("S"):
        raise Refusal(f"The value '{given['S'][0]}' is illegel for argument 'S'. {_USAGE}")
    return Arguments(given)


def _check(name: str, takes: str, values: list[str], repeated: bool) -> None:
    """Refuse a wrong number of values."""
    if repeated and takes != MANY:
        raise Refusal(f"The argument '{name}' was provided more than once. {_USAGE}")
    if takes in (ONE, ANY) and len(values) > 1:
        raise Refusal(f"The argument '{name}' only need one value. {_USAGE}")
    if takes == FLAG and values:
        raise Refusal(f"The value '{values[0]}' is illegel for argument '{name}'. {_USAGE}")
    if takes == ONE and not values:
        raise Refusal(f"The argument '{name}' requires a value, but none was supplied. {_USAGE}")
