"""Authorization of requests over TCP."""

from http import HTTPStatus

import pytest

from reconciler.report.authorization import Authorization
from reconciler.report.requests import Request, Right
from reconciler.report.webhook import signature

HERE, ELSEWHERE = Authorization(loopback=True), Authorization(loopback=False)


def refused(gate, right=Right.READ, body=b"", **headers):
    found = gate.refuse(right, {"host": "127.0.0.1:9410", **{
        name.replace("_", "-"): value for name, value in headers.items()}}, body)
    return found.status if found else None


def test_health_checks_are_open():
    for gate in (HERE, ELSEWHERE):
        for request in (Request.LIVE, Request.READY):
            assert refused(gate, request.right, host="vm-host.example") is None


def test_reading_needs_the_token_only_from_other_hosts():
    assert refused(HERE) is None
    assert refused(ELSEWHERE) == HTTPStatus.FORBIDDEN
    gate = Authorization(loopback=False, token=b"t0ken")
    assert refused(gate) == HTTPStatus.UNAUTHORIZED
    assert refused(gate, authorization="Bearer wrong") == HTTPStatus.UNAUTHORIZED
    assert refused(gate, authorization="Bearer t0ken") is None


def test_actions_need_the_token_also_on_loopback():
    assert refused(HERE, Right.ACT) == HTTPStatus.FORBIDDEN
    gate = Authorization(loopback=True, token=b"t0ken")
    assert refused(gate, Right.ACT) == HTTPStatus.UNAUTHORIZED
    assert refused(gate, Right.ACT, authorization="Bearer t0ken") is None


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9410", "127.0.0.1.evil.example",
                                  "localhost.evil.example:9410"])
def test_a_foreign_host_header_is_refused(host):
    assert refused(HERE, host=host) == HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize("host", ["localhost", "localhost:9410", "[::1]:9410", "10.0.0.5", ""])
def test_an_address_or_localhost_is_accepted_as_host(host):
    assert refused(HERE, host=host) is None


def test_a_web_page_of_another_origin_needs_the_token():
    assert refused(HERE, origin="https://evil.example") == HTTPStatus.FORBIDDEN


def test_a_webhook_needs_its_signature_and_the_token_does_not_replace_it():
    gate, body = Authorization(loopback=False, token=b"t", secret=b"s"), b"{}"
    good = {"x_hub_signature_256": signature(body, b"s")}
    assert refused(gate, Right.SIGNED, body, host="vm-host.example", **good) is None
    assert refused(gate, Right.SIGNED, body + b" ", **good) == HTTPStatus.UNAUTHORIZED
    assert refused(gate, Right.SIGNED, body, authorization="Bearer t") == HTTPStatus.UNAUTHORIZED
    assert refused(HERE, Right.SIGNED, body, x_gitlab_token="") == HTTPStatus.FORBIDDEN
