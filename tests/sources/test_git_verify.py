"""Signatures: only what a configured key signed comes into force, and the rest changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from reconciler.errors import ConfigError, SourceError
from tests.sources.gits import CLEAN, LIMIT, Upstream, git, refusal

WHO = "anna@example.org"
needs = {name: pytest.mark.skipif(shutil.which(name) is None, reason=f"no {name} here")
         for name in ("ssh-keygen", "gpg")}


class SshKeys:
    """Anna's key and a stranger's."""

    def __init__(self, path) -> None:
        path.mkdir()
        for name in ("anna", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path / name],
                           check=True, timeout=LIMIT)
        self.path = path
        self.allowed = path / "allowed"
        self.allowed.write_text(f"{WHO} {(path / 'anna.pub').read_text()}")
        print_ = subprocess.run(["ssh-keygen", "-lf", path / "anna.pub"], check=True,
                                capture_output=True, text=True, timeout=LIMIT).stdout
        self.by = f"ssh:{print_.split()[1]}"

    def options(self, who: str = "anna") -> list[str]:
        return ["-c", "gpg.format=ssh", "-c", f"user.signingKey={self.path / who}.pub"]

    environment: dict = {}


class GpgKeys:
    """As above, with OpenPGP. gpg-agent's socket must have a short name."""

    def __init__(self, path, short) -> None:
        path.mkdir()
        self.home = short
        self.home.chmod(0o700)
        self.environment = {"GNUPGHOME": str(self.home)}
        for who in ("anna", "stranger"):
            self.gpg("--passphrase", "", "--quick-generate-key", f"{who}@example.org", "ed25519",
                     "sign")
        self.allowed = path / "allowed.asc"
        self.allowed.write_bytes(self.gpg("--armor", "--export", WHO))
        self.binary = path / "allowed.gpg"
        self.binary.write_bytes(self.gpg("--export", WHO))
        listed = self.gpg("--with-colons", "--list-keys", WHO).decode()
        self.by = "gpg:" + next(line for line in listed.splitlines()
                                if line.startswith("fpr")).split(":")[9]

    def gpg(self, *words: str) -> bytes:
        return subprocess.run(["gpg", "--batch", "-q", *words], check=True, timeout=LIMIT,
                              env={**CLEAN, **self.environment}, capture_output=True).stdout

    def options(self, who: str = "anna") -> list[str]:
        return ["-c", f"user.signingKey={who}@example.org"]

    def close(self) -> None:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=False, timeout=LIMIT,
                       env={**CLEAN, **self.environment})


@pytest.fixture(scope="module", params=[
    pytest.param("ssh", marks=needs["ssh-keygen"]), pytest.param("gpg", marks=needs["gpg"])])
def keys(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("keys")
    if request.param == "ssh":
        yield SshKeys(place / "ssh")
        return
    short = tmp_path_factory.getbasetemp().parent / f"g{os.getpid()}"
    short.mkdir(exist_ok=True)
    found = GpgKeys(place / "gpg", short)
    yield found
    found.close()
    shutil.rmtree(short, ignore_errors=True)


@pytest.fixture
def upstream(tmp_path):
    return Upstream(tmp_path / "srv" / "repo")


def commit(upstream, keys, files, who="anna"):
    """A signed commit, or one that is not."""
    for name, text in files.items():
        (upstream.path / name).write_text(text)
    upstream.git("add", "-A")
    words = ["-S"] if who else []
    upstream.git(*(keys.options(who) if who else []), "commit", "-q", "-m", "change", *words,
                 **keys.environment)
    return upstream.tip


def tag(upstream, keys, name, who="anna"):
    upstream.git(*keys.options(who), "tag", "-s", "-m", "release", name, **keys.environment)


def verify(keys, mode="head", *more):
    return {"mode": mode, "keys": [str(keys.allowed), *map(str, more)]}


async def test_a_signed_commit_is_accepted_and_its_signer_reported(site, upstream, keys):
    tip = commit(upstream, keys, {"domains/a.xml": "A"})
    source = await site.once(upstream.url, verify=verify(keys))
    assert (await source.look()).commit == f"main@sha1:{tip}"
    verified = source.describe()["verified"]
    assert verified["by"] == keys.by
    assert WHO in verified["name"]
    # After a restart, too.
    upstream.path.rename(upstream.path.with_name("away"))
    assert (await site.once(upstream.url, verify=verify(keys))).describe()["verified"] == verified


@pytest.mark.parametrize(("who", "why"), [
    ("", "has no signature"),
    ("stranger", "is signed by a key that is not among source.verify.keys")])
async def test_pain_1_rule_3_what_no_known_key_signed_changes_nothing(site, upstream, keys, who,
                                                                      why):
    tip = commit(upstream, keys, {"domains/a.xml": "A"})
    async with site.running(upstream.url, verify=verify(keys)) as source:
        bad = commit(upstream, keys, {"domains/b.xml": "B"}, who)
        found = await site.asked(source)
        assert (found.files, found.commit) == ({"a.xml": b"A"}, f"main@sha1:{tip}")
        assert found.trouble.reason == "VerificationFailed"
        assert str(found.trouble) == f"commit {bad[:12]} {why}"
        fetches = source.describe()["fetches"]
        await site.asked(source)
        assert source.describe()["fetches"] == fetches
        commit(upstream, keys, {"domains/c.xml": "C"})  # only the newest has to be signed
        found = await site.asked(source)
        assert (found.trouble, len(found.files)) == (None, 3)


async def test_a_signature_of_another_commit_does_not_hold(site, upstream, keys):
    commit(upstream, keys, {"domains/a.xml": "A"})
    raw = upstream.git("cat-file", "commit", "HEAD") + "\n"
    forged = git(upstream.path, "hash-object", "-t", "commit", "-w", "--stdin",
                 feed=raw.replace("\nchange", "\nanother").encode())
    upstream.git("update-ref", "refs/heads/main", forged)
    source = await site.once(upstream.url, verify=verify(keys))
    with pytest.raises(SourceError, match="has an invalid signature") as caught:
        await source.look()
    assert caught.value.reason == "VerificationFailed"


async def test_an_unsigned_rewind_is_not_offered(site, upstream, keys):
    commit(upstream, keys, {"domains/a.xml": "A"})
    async with site.running(upstream.url, verify=verify(keys)) as source:
        upstream.commit({"domains/a.xml": "B"}, "--amend", "--no-gpg-sign")
        assert (await site.asked(source)).trouble.reason == "VerificationFailed"
        assert source.rewind is None
        source.allow(upstream.tip)
        assert (await site.asked(source)).trouble.reason == "VerificationFailed"


async def test_a_rewind_waits_no_more_when_the_branch_is_elsewhere(site, upstream, keys):
    commit(upstream, keys, {"domains/a.xml": "A"})
    commit(upstream, keys, {"domains/b.xml": "B"})
    async with site.running(upstream.url, verify=verify(keys)) as source:
        upstream.git("reset", "-q", "--hard", "HEAD~1")
        tip = commit(upstream, keys, {"domains/c.xml": "C"})
        assert (await site.asked(source)).trouble.reason == "NotFastForward"
        assert source.rewind == tip
        commit(upstream, keys, {"domains/d.xml": "D"}, "")
        assert (await site.asked(source)).trouble.reason == "VerificationFailed"
        assert source.rewind is None


async def test_a_signed_tag(site, upstream, keys):
    commit(upstream, keys, {"domains/a.xml": "A"}, "")
    tag(upstream, keys, "v1")
    source = await site.once(upstream.url, ref="v1", verify=verify(keys, "tag"))
    assert (await source.look()).files == {"a.xml": b"A"}
    assert source.describe()["verified"]["by"] == keys.by


async def test_a_tag_that_is_replaced_by_a_signed_one(site, upstream, keys):
    commit(upstream, keys, {"domains/a.xml": "A"}, "")
    upstream.git("tag", "-a", "-m", "unsigned", "v1")
    async with site.running(upstream.url, ref="v1", verify=verify(keys, "tag")) as source:
        with pytest.raises(SourceError, match="tag v1 has no signature"):
            await source.look()
        upstream.git("tag", "-d", "v1")
        tag(upstream, keys, "v1")
        assert (await site.asked(source)).files == {"a.xml": b"A"}


async def test_neither_a_branch_nor_a_light_tag_will_do(site, upstream, keys):
    commit(upstream, keys, {"domains/a.xml": "A"})
    upstream.git("tag", "light")
    for ref in ("light", "main"):
        source = await site.once(upstream.url, ref=ref, verify=verify(keys, "tag"))
        with pytest.raises(SourceError, match="not an annotated tag"):
            await source.look()


async def test_an_old_tag_under_a_new_name(site, upstream, keys):
    commit(upstream, keys, {"domains/a.xml": "A"}, "")
    tag(upstream, keys, "v1")
    upstream.git("update-ref", "refs/tags/v2", upstream.git("rev-parse", "refs/tags/v1"))
    source = await site.once(upstream.url, ref="v2", verify=verify(keys, "tag"))
    with pytest.raises(SourceError, match="signed under another name"):
        await source.look()


async def test_verification_that_is_switched_on_later_counts_at_once(site, upstream, keys):
    commit(upstream, keys, {"domains/a.xml": "A"}, "")
    assert (await (await site.once(upstream.url)).look()).trouble is None
    found = (await (await site.once(upstream.url, verify=verify(keys))).look())
    assert found.files == {"a.xml": b"A"}  # in force already
    assert found.trouble.reason == "VerificationFailed"


async def test_keys_are_read_again_when_they_change(site, upstream, keys, tmp_path):
    commit(upstream, keys, {"domains/a.xml": "A"})
    (tmp_path / "keys").write_text(f"stranger@example.org {_other_key(tmp_path)}")
    mode = {"mode": "head", "keys": ["keys"]}  # relative to the configuration
    async with site.running(upstream.url, verify=mode) as source:
        assert (await refusal(source)).reason == "VerificationFailed"
        shutil.copy(keys.allowed, tmp_path / "keys")
        assert (await site.asked(source)).files == {"a.xml": b"A"}


def _other_key(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path / "other"],
                   check=True, timeout=LIMIT)
    return (path / "other.pub").read_text()


async def test_both_kinds_of_keys_at_once(site, upstream, keys, tmp_path):
    commit(upstream, keys, {"domains/a.xml": "A"})
    other = tmp_path / "others"
    other.write_text(f"stranger@example.org {_other_key(tmp_path)}")
    source = await site.once(upstream.url, verify=verify(keys, "head", other))
    assert source.describe()["verified"]["by"] == keys.by


async def test_binary_openpgp_keys(site, upstream, keys):
    if isinstance(keys, SshKeys):
        return
    commit(upstream, keys, {"domains/a.xml": "A"})
    source = await site.once(upstream.url, verify={"mode": "head", "keys": [str(keys.binary)]})
    assert source.describe()["verified"]["by"] == keys.by


@pytest.mark.parametrize(("data", "words"), [
    (None, "No such file"), ("ssh-ed25519 AAAAC3Nz anna", "a public key without a signer"),
    ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnone\n", "gpg cannot read these keys")])
async def test_unusable_keys(site, upstream, tmp_path, data, words):
    upstream.commit({"domains/a.xml": "A"})
    if data is not None:
        (tmp_path / "keys").write_text(data)
    source = await site.once(upstream.url, verify={"mode": "head", "keys": ["keys"]})
    with pytest.raises(SourceError, match=words) as caught:
        await source.look()
    assert caught.value.reason == "VerificationFailed"


def test_verification_without_keys_is_a_mistake(site):
    with pytest.raises(ConfigError, match=r"source\.verify\.keys is empty"):
        site.make("https://host/x", verify={"mode": "head"})
