"""The places that a repository is fetched from, and who we are there.

A password never stands on a command line: what an address has of one is taken out of it and, as a
token, reaches git by its environment. ssh is run by a small program of ours that adds fixed
options, since GIT_SSH is executed and GIT_SSH_COMMAND is given to a shell. A file:// repository is
read by git's `ext` transport, since git would start its own program for it by a shell.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from reconciler.errors import ConfigError, SourceError
from reconciler.host.files import write_whole
from reconciler.sources.git_program import With

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.settings import Settings

_ACCEPTED = "accepted: https://, http://, ssh://, git:// or file://"
_SCP = re.compile(r"(?:([^/@:]+)@)?([^/:@]+):(?!:|//)(.+)")  # git@host:path; not ext::command
_ANYBODY = 0o007

_SSH = """#!{python} -IS
# Made anew by the reconciler: ssh with fixed options, run without a shell.
import os
import sys

os.execv({ssh!r}, ["ssh", *{options!r}, *sys.argv[1:]])
"""
_SSH_OPTIONS = (
    "BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "IdentityAgent=none",
    "PasswordAuthentication=no", "KbdInteractiveAuthentication=no", "UpdateHostKeys=no",
    "ForwardAgent=no", "ClearAllForwardings=yes", "PermitLocalCommand=no", "ControlPath=none",
    "ServerAliveInterval=15")


@dataclass(frozen=True, slots=True)
class Remote:
    """One address: what git is given, what people see, and what was secret in it."""

    address: str
    shown: str
    protocol: str
    login: str = ""  # user:password


def read_remote(url: str, base: Path) -> Remote:
    """Check one value of source.url; raises ConfigError."""
    if not url or url[0] == "-" or any(ord(c) < 33 or ord(c) == 127 for c in url.replace(" ", "")):
        raise ConfigError(f"source.url: {url!r}; {_ACCEPTED}")
    if "://" not in url:
        scp = _SCP.fullmatch(url)
        if scp is None and ":" not in url.partition("/")[0]:
            return _local(str(base / url))
        if scp is None or scp[2][0] == "-":
            raise ConfigError(f"source.url: {url!r}; {_ACCEPTED}")
        return Remote(url, f"{scp[2]}:{scp[3]}", "ssh")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f"source.url: {url!r}: {error}") from None
    if parts.scheme == "file":
        return _local(unquote(url.partition("://")[2]))
    if parts.scheme not in ("http", "https", "ssh", "git") or not host or host[0] == "-":
        raise ConfigError(f"source.url: {url!r}; {_ACCEPTED}")
    place = f"[{host}]" if ":" in host else host
    place += f":{port}" if port else ""
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    shown = f"{parts.scheme}://{place}{rest}"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "ssh" and user:
        return Remote(f"ssh://{quote(user)}@{place}{rest}", shown, "ssh")
    return Remote(shown, shown, parts.scheme, f"{user}:{password}" if password else "")


def _local(path: str) -> Remote:
    if not path.startswith("/"):
        raise ConfigError(f"source.url: file://{path}; accepted: file:///an/absolute/path")
    path = os.path.normpath(path)
    escaped = path.replace("%", "%%").replace(" ", "% ")
    return Remote(f"ext::git upload-pack {escaped}", f"file://{path}", "ext")


def own_remote(path: Path) -> Remote:
    """A repository of ours as a place to fetch from."""
    return _local(str(path))


class Access:
    """All remotes of the configuration, and how each is reached."""

    def __init__(self, settings: Settings, home: Path) -> None:
        source = settings.source
        self._auth = source.auth
        self._proxy = source.proxy
        self._max_size = source.max_size
        self._base = settings.base
        self._ssh = home / "ssh"
        if not source.url:
            raise ConfigError(f"source.url is empty; {_ACCEPTED}")
        self.remotes = tuple(read_remote(url, settings.base) for url in source.url)

    def reaching(self, remote: Remote) -> With:
        """What a run that talks to this remote needs; raises SourceError for a secret's file."""
        config: list[tuple[str, str]] = []
        web = remote.protocol in ("http", "https")
        environment = {"GIT_ALLOW_PROTOCOL": "http:https" if web else remote.protocol}
        if remote.protocol == "ext":
            environment["GIT_PROTOCOL"] = "version=2"
        elif remote.protocol == "ssh":
            environment |= {"GIT_SSH": str(self._ssh_program()), "GIT_SSH_VARIANT": "ssh"}
        elif web:
            config += self._http(remote)
        return With(tuple(config), environment, largest_file=self._max_size)

    def secrets(self, remote: Remote) -> tuple[str, ...]:
        """What must stand in no message."""
        _, _, password = remote.login.partition(":")
        return (password,) if password else ()

    def _http(self, remote: Remote) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        login = remote.login
        if self._auth.token_file is not None:
            login = f"{self._auth.username}:{self._token(self._auth.token_file)}"
        if login:
            coded = base64.b64encode(login.encode()).decode()
            # git sends its headers to where a redirect leads, too.
            found += [("http.extraHeader", f"Authorization: Basic {coded}"),
                      ("http.followRedirects", "false")]
        if self._auth.ca_file is not None:
            found.append(("http.sslCAInfo", str(self._base / self._auth.ca_file)))
        if self._proxy is not None:
            found.append(("http.proxy", self._proxy))
        return found

    def _token(self, file: str) -> str:
        path = self._base / file
        try:
            with open(path, encoding="utf-8") as handle:
                mode, token = os.fstat(handle.fileno()).st_mode, handle.read(4096).strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no UTF-8"
            raise SourceError(f"{path}: {why}", reason="AuthenticationFailed",
                              hint="source.auth.token_file names a file with a token") from error
        if mode & _ANYBODY:
            raise SourceError(f"{path}: everybody on this host may use this token",
                              reason="AuthenticationFailed", hint=f"chmod 600 {path}")
        return token

    def _ssh_program(self) -> Path:
        """The program that GIT_SSH names, as the configuration has it now."""
        ssh = shutil.which("ssh")
        if ssh is None:
            raise SourceError("ssh: no such program on the PATH", reason="FetchFailed",
                              hint="install an ssh client, or use https://")
        options = ["-F", "/dev/null", *(word for o in _SSH_OPTIONS for word in ("-o", o))]
        if self._auth.ssh_key is not None:
            options += ["-o", f"IdentityFile={_quoted(self._base / self._auth.ssh_key)}"]
        if self._auth.known_hosts is not None:
            options += ["-o", f"UserKnownHostsFile={_quoted(self._base / self._auth.known_hosts)}",
                        "-o", "GlobalKnownHostsFile=/dev/null"]
        # The interpreter itself, not a link to it in a directory whose name may be long.
        text = _SSH.format(python=os.path.realpath(sys.executable), ssh=ssh, options=options)
        if not self._ssh.exists() or self._ssh.read_text(encoding="utf-8") != text:
            write_whole(self._ssh, text.encode())
            self._ssh.chmod(0o700)
        return self._ssh


def _quoted(path: Path) -> str:
    """A path as a value of ssh's options, where a percent sign begins a token of its own."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'


# What git says, sorted. The words are those of the C locale.

_NOT_ALLOWED = re.compile(
    r"Authentication failed|could not read (Username|Password)|returned error: 40[13]\b|"
    r"Permission denied \(|Host key verification failed|HTTP Basic: Access denied|"
    r"permissions .* too open|Invalid username or|no .*host key is known", re.IGNORECASE)
_NOISE = re.compile(
    r"\s*$|hint:|warning:|Warning:|Please make sure you have|and the repository exists|"
    r"Could not read from remote repository|fatal: Could not read from remote repository|"
    r"@@@|Cloning into|remote:\s*$|error: RPC failed; curl 22|fatal: expected flush")
_KEY_FILE = re.compile(r"permissions .* too open|Load key|Host key verification|is not accessible",
                       re.IGNORECASE)
_HINTS = (
    ("Host key verification|host key is known",
     "source.auth.known_hosts names a file with the server's host key"),
    ("too open", "chmod 600 the key"),
    (r"Permission denied \(", "source.auth.ssh_key names the file of a key that the server knows"),
    ("returned error: 403", "the token may not read this repository"),
    ("Authentication failed|could not read|returned error: 401",
     "source.auth.token_file names a file with a token that the server knows"),
    (r"returned error: 30\d|redirect", "the repository has moved; write its new address"),
    ("certificate|SSL", "source.auth.ca_file names the authority of the server's certificate"),
    ("dubious ownership", "a file:// repository must belong to the user that the reconciler is"),
    ("No space left", "make room where paths.state is"),
)
# git would ask a person, who is not there; its words are about a terminal.
_ASKED = re.compile(r"could not read (Username|Password) for")
_LONGEST = 300


def meaning(errors: str, secrets: tuple[str, ...] = ()) -> str:
    """The line of git's that says why, for people; no secrets, nothing for a terminal to obey."""
    lines = ["".join(c if c.isprintable() else " " for c in line).strip()
             for line in errors.splitlines()]
    lines = [line for line in lines if not _NOISE.match(line)]
    chosen = next((line for line in lines if _KEY_FILE.search(line)), None) or next(
        (line for line in lines if _NOT_ALLOWED.search(line)), lines[-1] if lines else "")
    for secret in secrets:
        chosen = chosen.replace(secret, "…")
    chosen = re.sub(r"://[^/@\s']*@", "://", chosen)
    return re.sub(r"^(fatal|error|remote error|remote|ERROR): +", "", chosen)[:_LONGEST]


def failure(remote: Remote, errors: str, secrets: tuple[str, ...]) -> SourceError:
    """Why this remote gave nothing."""
    line = meaning(errors, secrets) or "git failed without a word"
    line = line.replace(remote.address, remote.shown)
    if _ASKED.search(line):
        line = "the server does not let us in without a valid login"
    hint = next((hint for words, hint in _HINTS if re.search(words, errors)), "")
    reason = "AuthenticationFailed" if _NOT_ALLOWED.search(errors) else "FetchFailed"
    return SourceError(f"{remote.shown}: {line}", reason=reason, hint=hint)
