"""The sections of config.yaml: frozen dataclasses, a key's reader and default beside each other."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.settings.readers import (
    accepting,
    address,
    automatic,
    choice,
    duration,
    flag,
    key,
    mapping,
    optional,
    optional_text,
    percent,
    section,
    share_or_size,
    size,
    text,
    text_or_texts,
    texts,
    whole,
)
from reconciler.units import MIB, nearest
from reconciler.windows import Window, read_window

SOURCE_KINDS = ("directory", "git")  # the names of sources/kinds.py


@dataclass(frozen=True, slots=True)
class Verify:
    """Which signature a commit must have; `keys` are files: ssh allowed signers, OpenPGP keys."""

    mode: str = key(choice("none", "head", "tag"), "none")
    keys: tuple[str, ...] = key(texts, ())


@dataclass(frozen=True, slots=True)
class Auth:
    """Who we are to a git server; each secret is a file that only we can read."""

    username: str = key(text, "git")  # beside the token
    token_file: str | None = key(optional_text, None)
    ssh_key: str | None = key(optional_text, None)
    known_hosts: str | None = key(optional_text, None)
    ca_file: str | None = key(optional_text, None)


@dataclass(frozen=True, slots=True)
class PostSync:
    """Whom to tell what became of a revision: a command (no shell), a webhook, or both."""

    command: tuple[str, ...] = key(texts, ())
    webhook: str | None = key(optional_text, None)
    secret_file: str | None = key(optional_text, None)
    timeout: float = key(duration, 30.0)


@dataclass(frozen=True, slots=True)
class Source:
    """Where domain files come from: a watched directory, or a git repository.

    `path` is the directory, or the one within the repository. `settle`: how long an unfinished
    write must rest; `interval`: between two looks at the git server; all in seconds.
    """

    kind: str = key(choice(*SOURCE_KINDS), "directory")
    path: str = key(text, "domains")
    include: tuple[str, ...] = key(texts, ("*.xml",))
    settle: float = key(duration, 0.2)
    url: tuple[str, ...] = key(text_or_texts, ())  # several: the first that answers
    ref: str = key(text, "main")  # a branch, a tag, or a whole commit
    interval: float = key(duration, 60.0)
    timeout: float = key(duration, 60.0)
    max_size: int | None = key(size, 256 * MIB)
    fast_forward_only: bool = key(flag, True)  # noqa: FBT003  # a default, not a call's flag
    verify: Verify = section(Verify)
    auth: Auth = section(Auth)
    proxy: str | None = key(optional_text, None)
    webhook_secret_file: str | None = key(optional_text, None)
    variables: tuple[tuple[str, str], ...] = key(mapping(text), ())
    variables_strict: bool = key(flag, True)  # noqa: FBT003  # as above
    post_sync: PostSync = section(PostSync)


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """The StratoVirt program; `allowed` are those that an <emulator> may name instead."""

    path: str = key(text, "auto")
    arguments: tuple[str, ...] = key(texts, ())
    allowed: tuple[str, ...] = key(texts, ())


@dataclass(frozen=True, slots=True)
class Paths:
    """Directories; `auto` by who runs us."""

    runtime: str = key(text, "auto")
    state: str = key(text, "auto")
    images: str = key(text, "images")


@dataclass(frozen=True, slots=True)
class Backoff:
    """After a failed action: `initial`, doubled each time, up to `maximum`; seconds."""

    initial: float = key(duration, 1.0)
    maximum: float = key(duration, 300.0)


@dataclass(frozen=True, slots=True)
class Drift:
    """How many corrections of one thing within the window are a fight."""

    fight_limit: int = key(whole(1, 1000), 3)
    window: float = key(duration, 600.0)


@dataclass(frozen=True, slots=True)
class Reconcile:
    """The engine's times, in seconds; concurrency 0 is one start a processor, at most eight.

    `max_unavailable`: how many domains may be recreated at once; 0 is as many as `concurrency`.
    """

    resync: float = key(duration, 300.0)
    concurrency: int = key(automatic(whole(1, 1000)), 0)
    max_unavailable: int = key(automatic(whole(1, 1000)), 0)
    qmp_timeout: float = key(duration, 10.0)
    start_timeout: float = key(duration, 30.0)
    jitter: float = key(percent, 0.1)
    heartbeat: float = key(duration, 15.0)
    backoff: Backoff = section(Backoff)
    drift: Drift = section(Drift)


@dataclass(frozen=True, slots=True)
class DefaultStop:
    """How a VM is stopped when its file does not say."""

    mode: str = key(choice("graceful", "force"), "graceful")
    timeout: float = key(duration, 30.0)


@dataclass(frozen=True, slots=True)
class DefaultRestart:
    """How many exits within which window are a crash loop when the file does not say."""

    limit: int = key(whole(1, 1000), 5)
    window: float = key(duration, 600.0)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for a file that does not say."""

    update: str = key(choice("auto", "live", "recreate", "manual"), "auto")
    stop: DefaultStop = section(DefaultStop)
    restart: DefaultRestart = section(DefaultRestart)
    spare_ports: int = key(whole(0, 64), 4)


@dataclass(frozen=True, slots=True)
class Prune:
    """When removals are believed, and how many at once are held for an approval."""

    enabled: bool = key(flag, True)  # noqa: FBT003  # a default, not a call's flag
    hold_above: float = key(percent, 0.5)
    hold_minimum: int = key(whole(1, 100000), 3)
    settle: float = key(duration, 2.0)
    keep_definitions: float = key(duration, 604800.0)


@dataclass(frozen=True, slots=True)
class History:
    """How many definitions that were applied are kept of each domain."""

    keep: int = key(whole(1, 1000), 20)


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """What a file may ask of this host; an empty list allows all, but no host device."""

    paths: tuple[str, ...] = key(texts, ())
    max_memory: int | None = key(size, None)
    max_vcpus: int | None = key(optional(whole(1, 254)), None)
    bridges: tuple[str, ...] = key(texts, ())
    host_devices: tuple[str, ...] = key(texts, ())
    require_labels: tuple[str, ...] = key(texts, ())
    total_memory: float | int | None = key(share_or_size, 0.9)  # of all VMs together


@dataclass(frozen=True, slots=True)
class Network:
    """Whether taps are made, attached to their bridge and taken away by us."""

    manage_taps: bool = key(flag, True)  # noqa: FBT003  # as above


@dataclass(frozen=True, slots=True)
class Log:
    """How the log looks: `auto` is readable on a terminal, else JSON lines."""

    format: str = key(choice("auto", "json", "text"), "auto")
    level: str = key(choice("debug", "info", "warning", "error"), "info")
    file: str | None = key(optional_text, None)


@dataclass(frozen=True, slots=True)
class Http:
    """A TCP port: for a git server's webhook, and for those who look whether we live."""

    listen: str | None = key(address, None)
    token_file: str | None = key(optional_text, None)


_SPANS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


@accepting(type="object", additionalProperties=False, properties={
    "allow": _SPANS, "deny": _SPANS, "timezone": {"type": ["string", "null"]}})
def window(value: object) -> Window:
    """A maintenance window: {allow: 'Mon..Fri 22:00-05:00', deny: …, timezone: …}."""
    if not isinstance(value, dict):
        message = f"{value!r}, accepted: a mapping of allow, deny, timezone"
        raise ValueError(message)
    unknown = [str(name) for name in value if name not in ("allow", "deny", "timezone")]
    if unknown:
        near = nearest(unknown[0], ("allow", "deny", "timezone"))
        message = f"unknown key '{unknown[0]}'{near} (accepted: allow, deny, timezone)"
        raise ValueError(message)
    spans = [text_or_texts(value[name]) if name in value else () for name in ("allow", "deny")]
    return read_window(spans[0], spans[1], optional_text(value.get("timezone")))
