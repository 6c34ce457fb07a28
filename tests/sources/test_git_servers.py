"""git over real servers: who we are there, what is refused, and what a person reads then."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess

import pytest

from reconciler.errors import SourceError
from tests.sources.gits import SSHD, TOKEN, Sshd, daemon, http, refusal

needs_sshd = pytest.mark.skipif(not os.path.exists(SSHD), reason=f"no {SSHD} here")


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    with Sshd(tmp_path_factory.mktemp("ssh") / "d").running() as found:
        yield found


def _auth(sshd, key="anna", known="known"):
    return {"ssh_key": str(sshd.path / key), "known_hosts": str(sshd.path / known)}


async def refused(site, url, **source) -> SourceError:
    found = await site.once(url, **source)
    with pytest.raises(SourceError) as caught:
        await found.look()
    return caught.value


async def test_git_daemon(site, upstream):
    with daemon(upstream) as url:
        async with site.running(url) as source:
            upstream.commit({"domains/b.xml": "B"})
            assert set((await site.asked(source)).files) == {"a.xml", "b.xml"}


async def test_http(site, upstream):
    with http(upstream) as (url, server):
        async with site.running(url) as source:
            upstream.commit({"domains/b.xml": "B"})
            assert set((await site.asked(source)).files) == {"a.xml", "b.xml"}
            assert all("Authorization" not in headers for headers in server.requests)


async def test_http_with_a_token(site, upstream, token):
    with http(upstream, 401) as (url, server):
        source = await site.once(url, auth={"token_file": "token"})  # relative to the configuration
        assert (await source.look()).files == {"a.xml": b"A"}
        assert all("Authorization" in headers for headers in server.requests)


async def test_a_password_in_the_address_is_used_and_never_shown(site, upstream):
    with http(upstream, 401) as (url, _):
        source = await site.once(url.replace("://", f"://git:{TOKEN}@"))
        assert (await source.look()).files == {"a.xml": b"A"}
        assert source.describe()["url"] == url
        source = await site.once(url.replace("://", f"://git:not{TOKEN}@"))
        error = (await source.look()).trouble
        assert error.reason == "AuthenticationFailed"
        assert TOKEN not in f"{error} {error.hint}"
    for file in (site.path / "state").rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


async def test_a_token_is_on_no_command_line(site, upstream, token, monkeypatch):
    real, words = subprocess.Popen.__init__, []

    def noting(self, args, *more, **kwargs):
        words.append(" ".join(map(str, args)))
        real(self, args, *more, **kwargs)

    with http(upstream, 401) as (url, _):
        monkeypatch.setattr(subprocess.Popen, "__init__", noting)
        assert (await (await site.once(url, auth={"token_file": "token"})).look())
    assert any("fetch" in line for line in words)
    secrets = (TOKEN, base64.b64encode(f"git:{TOKEN}".encode()).decode())
    assert not [line for line in words if any(secret in line for secret in secrets)]


@pytest.mark.parametrize("answer", [401, 403])
@pytest.mark.parametrize("given", [True, False])
async def test_a_wrong_token(site, upstream, token, answer, given):
    token.write_text("wrong")
    with http(upstream, answer) as (url, _):
        error = await refused(site, url, auth={"token_file": str(token)} if given else {})
    assert error.reason == "AuthenticationFailed"
    assert "token" in error.hint
    assert url in str(error)
    assert "wrong" not in str(error)
    assert "terminal" not in str(error)  # git's own message is about a prompt


async def test_a_token_that_every_user_may_read_or_that_is_missing(site, upstream, token):
    token.chmod(0o644)
    error = await refused(site, "http://127.0.0.1:1/x", auth={"token_file": str(token)})
    assert (error.reason, error.hint) == ("AuthenticationFailed", f"chmod 600 {token}")
    token.unlink()
    error = await refused(site, "http://127.0.0.1:1/x", auth={"token_file": str(token)})
    assert error.reason == "AuthenticationFailed"
    assert str(token) in str(error)


async def test_a_token_is_read_at_each_attempt(site, upstream, token):
    token.write_text("old")
    with http(upstream, 401) as (url, _):
        async with site.running(url, auth={"token_file": str(token)}) as source:
            assert (await refusal(source)).reason == "AuthenticationFailed"
            token.write_text(TOKEN)
            assert (await site.asked(source)).files == {"a.xml": b"A"}


async def test_rule_11_a_token_does_not_follow_a_redirect(site, upstream, token):
    with http(upstream) as (other, elsewhere):
        base = other.removesuffix("/repo/.git")
        with http(upstream, 401, moved=base) as (url, _):
            error = await refused(site, url, auth={"token_file": str(token)})
            assert not elsewhere.requests
            assert "new address" in error.hint
        with http(upstream, moved=base) as (url, _):  # without a secret it may
            assert (await (await site.once(url)).look()).files == {"a.xml": b"A"}


async def test_no_server_listens_at_the_port(site, upstream):
    error = await refused(site, "http://127.0.0.1:1/x")
    assert error.reason == "FetchFailed"
    assert "Failed to connect" in str(error)
    error = await refused(site, "git://127.0.0.1:1/x")
    assert error.reason == "FetchFailed"
    assert "Connection refused" in str(error)


async def test_a_proxy_is_asked(site, upstream):
    with http(upstream) as (proxy, server):
        place = proxy.removesuffix("/repo/.git")
        await site.once("http://nowhere.invalid/repo", proxy=place)
        assert server.requests[0]["Host"] == "nowhere.invalid"


@needs_sshd
async def test_ssh(site, upstream, sshd):
    async with site.running(sshd.url(upstream), auth=_auth(sshd)) as source:
        assert (await source.look()).files == {"a.xml": b"A"}
        upstream.commit({"domains/b.xml": "B"})
        assert set((await site.asked(source)).files) == {"a.xml", "b.xml"}
        assert source.describe()["url"] == f"ssh://127.0.0.1:{sshd.port}{upstream.path}"


@needs_sshd
async def test_ssh_with_files_of_strange_names(site, upstream, sshd, tmp_path):
    strange = tmp_path / "a b%h'\"$(id)"
    strange.mkdir()
    for name in ("anna", "known"):
        shutil.copy(sshd.path / name, strange / name)
    source = await site.once(sshd.url(upstream), auth={
        "ssh_key": str(strange / "anna"), "known_hosts": f"{strange.name}/known"})
    assert (await source.look()).files == {"a.xml": b"A"}


@needs_sshd
async def test_ssh_with_a_wrong_key(site, upstream, sshd):
    error = await refused(site, sshd.url(upstream), auth=_auth(sshd, key="stranger"))
    assert error.reason == "AuthenticationFailed"
    assert "Permission denied" in str(error)
    assert "ssh_key" in error.hint


@needs_sshd
async def test_ssh_with_a_key_that_others_may_read(site, upstream, sshd, tmp_path):
    shutil.copy(sshd.path / "anna", tmp_path / "open")
    (tmp_path / "open").chmod(0o644)
    error = await refused(site, sshd.url(upstream), auth={
        **_auth(sshd), "ssh_key": str(tmp_path / "open")})
    assert error.reason == "AuthenticationFailed"
    assert "too open" in str(error)
    assert "chmod 600" in error.hint


@needs_sshd
@pytest.mark.parametrize("known", ["unknown", "changed"])
async def test_ssh_to_a_host_that_is_not_known(site, upstream, sshd, known):
    before = (sshd.path / known).read_bytes()
    error = await refused(site, sshd.url(upstream), auth=_auth(sshd, known=known))
    assert error.reason == "AuthenticationFailed"
    assert "known_hosts" in error.hint
    assert (sshd.path / known).read_bytes() == before


async def test_ssh_without_a_server(site, upstream, tmp_path):
    error = await refused(site, "ssh://127.0.0.1:1/x", auth={"known_hosts": "none"})
    assert error.reason == "FetchFailed"
    assert "Connection refused" in str(error)
