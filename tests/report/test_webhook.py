"""A webhook's signature, as each forge makes it."""

import hashlib
import hmac

import pytest

from reconciler.report.webhook import signature, signer

SECRET, BODY = b"s3cret", b'{"ref": "refs/heads/main"}'
DIGEST = hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(("headers", "forge"), [
    ({"x-hub-signature-256": f"sha256={DIGEST}"}, "github"),
    ({"x-gitea-signature": DIGEST}, "gitea"),
    ({"x-gitlab-token": "s3cret"}, "gitlab")])
def test_a_request_signed_with_the_secret_is_accepted(headers, forge):
    assert signer(headers, BODY, SECRET) == forge
    assert signer(headers, BODY, b"another") is None
    assert (signer(headers, BODY + b" ", SECRET) is None) is (forge != "gitlab")


@pytest.mark.parametrize("headers", [
    {}, {"x-hub-signature-256": ""}, {"x-hub-signature-256": "sha256="},
    {"x-hub-signature-256": f"sha1={DIGEST}"}, {"x-gitlab-token": ""},
    {"x-gitlab-token": "s3cret "}, {"x-gitea-signature": "ä" * 64},
    {"x-hub-signature-256": DIGEST.upper()}])
def test_a_request_with_a_wrong_signature_is_refused(headers):
    assert signer(headers, BODY, SECRET) is None


def test_our_own_signature_is_accepted():
    assert signer({"x-hub-signature-256": signature(BODY, SECRET)}, BODY, SECRET) == "github"
