"""Signatures of commits and tags, checked by git against the configured keys alone.

Key files hold ssh allowed signers or OpenPGP public keys; their contents show which. They are
collected in the state directory; the keyrings of users and of the host are not used.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import ConfigError, SourceError
from reconciler.host.files import write_whole
from reconciler.host.secret_file import read_bounded
from reconciler.sources.git_program import With

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.settings import Settings
    from reconciler.sources.git_program import Programs

_ARMOR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_LONGEST_KEYS = 4 << 20
_BARE = re.compile(rb"^\s*(ssh-|ecdsa-|sk-)\S+\s+AAAA", re.MULTILINE)  # id_ed25519.pub unchanged
_BY_SSH = re.compile(r'^Good "git" signature for (.+) with \S+ key (SHA256:\S+)$', re.MULTILINE)
_BY_GPG = re.compile(r"^\[GNUPG:\] VALIDSIG (\S+ )*(\S+)$", re.MULTILINE)
_GPG_NAME = re.compile(r"^\[GNUPG:\] GOODSIG \S+ (.+)$", re.MULTILINE)
_TAG_NAME = re.compile(rb"^tag (.+)$", re.MULTILINE)
_NO_KEY = re.compile(r"NO_PUBKEY|No principal matched|No public key|allowedSignersFile")
_GPG_CONFIG = b"no-autostart\nno-auto-key-retrieve\ntrust-model always\nbatch\nno-tty\n"


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed: the key's kind and fingerprint, and the name beside it in the key file."""

    by: str
    name: str


class Verifier:
    """Checks what source.verify.mode asks for: nothing, commits, or annotated tags."""

    def __init__(self, settings: Settings, programs: Programs) -> None:
        verify = settings.source.verify
        self.mode = verify.mode
        self._files = tuple(settings.base / key for key in verify.keys)
        self._programs = programs
        self._signers = programs.home / "allowed_signers"
        self._keyring = programs.home / "gnupg"
        self._known = ""  # a hash of the keys that were collected last
        if self.mode != "none" and not self._files:
            raise ConfigError(f"source.verify.keys is empty although mode is {self.mode}; accepted:"
                              " files with ssh allowed signers or OpenPGP public keys")

    async def check(self, repository: Path, found: str, commit: str,
                    tag: str) -> Signer | None:
        """Who signed the object `found`, which is the commit or the tag of this name.

        None if the mode is none; raises SourceError.
        """
        if self.mode == "none":
            return None
        verb, target, what = "verify-commit", commit, f"commit {commit[:12]}"
        if self.mode == "tag":
            verb, target, what = "verify-tag", found, f"tag {tag}"
            await self._is_tag(repository, found, tag)
        await self._gather()
        ran = await self._programs.run(
            "git", f"--git-dir={repository}", verb, "--raw", target, extra=self._keys())
        signer = _signer(ran.errors)
        if ran.code == 0 and signer is not None:
            return signer
        if not ran.errors.strip() or "no signature found" in ran.errors:
            why = "has no signature"
        elif _NO_KEY.search(ran.errors):
            why = "is signed by a key that is not among source.verify.keys"
        else:
            why = "has an invalid signature"
        raise _failed(f"{what} {why}", "the commit accepted before stays in force")

    async def _is_tag(self, repository: Path, found: str, tag: str) -> None:
        ran = await self._programs.run("git", f"--git-dir={repository}", "cat-file", "tag", found)
        if ran.code != 0:
            raise _failed("source.ref is not an annotated tag, which verify.mode tag requires",
                          "create one with `git tag -s`, or use verify.mode head")
        name = _TAG_NAME.search(ran.out)
        if name is None or os.fsdecode(name[1]) != tag:
            # The signature covers the name. With another name, an old tag is being replayed.
            raise _failed(f"tag {tag} was signed under another name",
                          "the commit accepted before stays in force")

    def _keys(self) -> With:
        return With((("gpg.ssh.allowedSignersFile", str(self._signers)),
                     ("gpg.x509.program", "false"),  # X.509 would trust the host's certificates
                     ("gpg.minTrustLevel", "undefined")),
                    {"GNUPGHOME": str(self._keyring)})

    async def _gather(self) -> None:
        """Collect the keys again if one of their files changed."""
        contents = [(path, _read(path)) for path in self._files]
        digest = hashlib.sha256(b"\0".join(
            hashlib.sha256(data).digest() for _, data in contents)).hexdigest()
        if digest == self._known:
            return
        signers = [data for _, data in contents if not _is_openpgp(data)]
        write_whole(self._signers, b"\n".join(signers) + b"\n")
        shutil.rmtree(self._keyring, ignore_errors=True)
        self._keyring.mkdir(mode=0o700)
        (self._keyring / "gpg.conf").write_bytes(_GPG_CONFIG)
        for path, data in contents:
            if _is_openpgp(data):
                ran = await self._programs.run(
                    "gpg", "--homedir", str(self._keyring), "--import", extra=With(feed=data))
                if ran.code != 0:
                    raise _failed(f"{path}: gpg cannot read these keys",
                                  "`gpg --export --armor WHO` writes such a file")
        self._known = digest


def _signer(errors: str) -> Signer | None:
    ssh, gpg = _BY_SSH.search(errors), _BY_GPG.search(errors)
    if ssh is not None:
        return Signer(f"ssh:{ssh[2]}", ssh[1])
    if gpg is not None:
        name = _GPG_NAME.search(errors)
        return Signer(f"gpg:{gpg[2]}", name[1] if name else "")
    return None


def _read(path: Path) -> bytes:
    try:
        data = read_bounded(path, _LONGEST_KEYS)
    except OSError as error:
        raise _failed(f"{path}: {error.strerror}", "source.verify.keys names files of public "
                      "keys") from error
    if not _is_openpgp(data) and _BARE.search(data):
        raise _failed(f"{path}: a public key without a signer; accepted: the signer, then the key",
                      "write lines such as `anna@example.org ssh-ed25519 AAAA…`")
    return data


def _is_openpgp(data: bytes) -> bool:
    """Armored or binary: the first byte of an OpenPGP packet has its highest bit set."""
    return _ARMOR in data or data[:1] >= b"\x80"


def _failed(message: str, hint: str) -> SourceError:
    return SourceError(message, reason="VerificationFailed", hint=hint)
