"""The sections of config.yaml: frozen dataclasses, each key with its reader and default.

The docstrings are the descriptions in config.schema.json.
"""

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
    """Required signatures of commits; `keys` are files: SSH allowed signers, OpenPGP keys."""

    mode: str = key(choice("none", "head", "tag"), "none")
    keys: tuple[str, ...] = key(texts, ())


@dataclass(frozen=True, slots=True)
class Auth:
    """Credentials for the git server; secret files must be readable by the reconciler only."""

    username: str = key(text, "git")  # sent with the token
    token_file: str | None = key(optional_text, None)
    ssh_key: str | None = key(optional_text, None)
    known_hosts: str | None = key(optional_text, None)
    ca_file: str | None = key(optional_text, None)


@dataclass(frozen=True, slots=True)
class PostSync:
    """What is called with the result of a revision: a command (no shell), a webhook, or both."""

    command: tuple[str, ...] = key(texts, ())
    webhook: str | None = key(optional_text, None)
    secret_file: str | None = key(optional_text, None)
    timeout: float = key(duration, 30.0)


@dataclass(frozen=True, slots=True)
class Source:
    """Where domain files come from: a watched directory or a git repository.

    `path` is the directory, or the directory in the repository. `settle`: how long a file that is
    still open must stay unchanged to be read. `interval`: between two fetches. `identity`: what
    uuids and MAC addresses of domains with a placement are derived from on all hosts, where their
    files give none; of a git source by default its url, ref and path.
    """

    kind: str = key(choice(*SOURCE_KINDS), "directory")
    path: str = key(text, "domains")
    include: tuple[str, ...] = key(texts, ("*.xml",))
    settle: float = key(duration, 0.2)
    url: tuple[str, ...] = key(text_or_texts, ())  # several: tried in this order
    ref: str = key(text, "main")  # a branch, a tag, or a full commit hash
    interval: float = key(duration, 60.0)
    timeout: float = key(duration, 60.0)
    max_size: int | None = key(size, 256 * MIB)
    fast_forward_only: bool = key(flag, True)  # noqa: FBT003  # a default, not a flag in a call
    verify: Verify = section(Verify)
    auth: Auth = section(Auth)
    proxy: str | None = key(optional_text, None)
    webhook_secret_file: str | None = key(optional_text, None)
    identity: str | None = key(optional_text, None)
    variables: tuple[tuple[str, str], ...] = key(mapping(text), ())
    variables_strict: bool = key(flag, True)  # noqa: FBT003  # as above
    post_sync: PostSync = section(PostSync)


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """The StratoVirt program; `allowed` are other programs that <emulator> may name."""

    path: str = key(text, "auto")
    arguments: tuple[str, ...] = key(texts, ())
    allowed: tuple[str, ...] = key(texts, ())


@dataclass(frozen=True, slots=True)
class Paths:
    """Directories; `auto` depends on the user."""

    runtime: str = key(text, "auto")
    state: str = key(text, "auto")
    images: str = key(text, "images")


@dataclass(frozen=True, slots=True)
class RetryDelays:
    """The delay after a failed action: `initial`, doubled each time, up to `maximum`."""

    initial: float = key(duration, 1.0)
    maximum: float = key(duration, 300.0)


@dataclass(frozen=True, slots=True)
class Drift:
    """How many corrections of one field within the window are reported as a fight."""

    fight_limit: int = key(whole(1, 1000), 3)
    window: float = key(duration, 600.0)


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Timing and limits of reconciliation.

    `concurrency`: VMs started at once; auto is one per processor, at most 8. `max_unavailable`:
    domains recreated at once; auto is the same as `concurrency`.
    """

    resync: float = key(duration, 300.0)
    concurrency: int = key(automatic(whole(1, 1000)), 0)
    max_unavailable: int = key(automatic(whole(1, 1000)), 0)
    qmp_timeout: float = key(duration, 10.0)
    start_timeout: float = key(duration, 30.0)
    jitter: float = key(percent, 0.1)
    heartbeat: float = key(duration, 15.0)
    backoff: RetryDelays = section(RetryDelays)
    drift: Drift = section(Drift)


@dataclass(frozen=True, slots=True)
class DefaultStop:
    """How a VM is stopped if its file does not specify it."""

    mode: str = key(choice("graceful", "force"), "graceful")
    timeout: float = key(duration, 30.0)


@dataclass(frozen=True, slots=True)
class DefaultRestart:
    """How many exits within which window are a crash loop, if the file does not specify it."""

    limit: int = key(whole(1, 1000), 5)
    window: float = key(duration, 600.0)


@dataclass(frozen=True, slots=True)
class Defaults:
    """Defaults for what a domain file does not specify."""

    update: str = key(choice("auto", "live", "recreate", "manual"), "auto")
    stop: DefaultStop = section(DefaultStop)
    restart: DefaultRestart = section(DefaultRestart)
    spare_ports: int = key(whole(0, 64), 4)


@dataclass(frozen=True, slots=True)
class Prune:
    """When a removed file removes its VM, and how many removals at once need an approval."""

    enabled: bool = key(flag, True)  # noqa: FBT003  # a default, not a flag in a call
    hold_above: float = key(percent, 0.5)
    hold_minimum: int = key(whole(1, 100000), 3)
    settle: float = key(duration, 2.0)
    keep_definitions: float = key(duration, 604800.0)


@dataclass(frozen=True, slots=True)
class History:
    """How many applied definitions are kept for each domain."""

    keep: int = key(whole(1, 1000), 20)


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """Limits on domain files; an empty list allows everything, but no host device."""

    paths: tuple[str, ...] = key(texts, ())
    max_memory: int | None = key(size, None)
    max_vcpus: int | None = key(optional(whole(1, 254)), None)
    bridges: tuple[str, ...] = key(texts, ())
    host_devices: tuple[str, ...] = key(texts, ())
    require_labels: tuple[str, ...] = key(texts, ())
    total_memory: float | int | None = key(share_or_size, 0.9)  # of all VMs together
    max_domains: int = key(whole(1, 100_000), 4096)  # of all files together


@dataclass(frozen=True, slots=True)
class Network:
    """Whether the reconciler creates taps, attaches them to their bridge and removes them."""

    manage_taps: bool = key(flag, True)  # noqa: FBT003  # as above


@dataclass(frozen=True, slots=True)
class Log:
    """The log; the format `auto` is text on a terminal, otherwise JSON lines."""

    format: str = key(choice("auto", "json", "text"), "auto")
    level: str = key(choice("debug", "info", "warning", "error"), "info")
    file: str | None = key(optional_text, None)


@dataclass(frozen=True, slots=True)
class Http:
    """The API over TCP: status, health checks and the webhook of a git server."""

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
