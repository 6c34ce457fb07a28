"""Who may do what over TCP."""

from http import HTTPStatus

import pytest

from reconciler.report.authorization import Gate
from reconciler.report.requests import Request, Right
from reconciler.report.webhook import signature

HERE, ELSEWHERE = Gate(loopback=True), Gate(loopback=False)


def refused(gate, right=Right.READ, body=b"", **headers):
    found = gate.refuse(right, {"host": "127.0.0.1:9410", **{
        name.replace("_", "-"): value for name, value in headers.items()}}, body)
    return found.status if found else None


def test_whether_we_live_is_anybody_s_to_know():
    for gate in (HERE, ELSEWHERE):
        for request in (Request.LIVE, Request.READY):
            assert refused(gate, request.right, host="vm-host.example") is None


def test_the_host_itself_may_read_and_others_only_with_the_token():
    assert refused(HERE) is None
    assert refused(ELSEWHERE) == HTTPStatus.FORBIDDEN
    gate = Gate(loopback=False, token=b"t0ken")
    assert refused(gate) == HTTPStatus.UNAUTHORIZED
    assert refused(gate, authorization="Bearer wrong") == HTTPStatus.UNAUTHORIZED
    assert refused(gate, authorization="Bearer t0ken") is None


def test_doing_takes_the_token_also_here():
    assert refused(HERE, Right.ACT) == HTTPStatus.FORBIDDEN
    gate = Gate(loopback=True, token=b"t0ken")
    assert refused(gate, Right.ACT) == HTTPStatus.UNAUTHORIZED
    assert refused(gate, Right.ACT, authorization="Bearer t0ken") is None


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9410", "127.0.0.1.evil.example",
                                  "localhost.evil.example:9410"])
def test_a_page_that_points_its_name_to_us_gets_nothing(host):
    assert refused(HERE, host=host) == HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize("host", ["localhost", "localhost:9410", "[::1]:9410", "10.0.0.5", ""])
def test_addresses_are_names_of_this_host(host):
    assert refused(HERE, host=host) is None


def test_a_page_of_another_origin_does_not_read():
    assert refused(HERE, origin="https://evil.example") == HTTPStatus.FORBIDDEN


def test_a_webhook_needs_its_signature_whoever_sends_it():
    gate, body = Gate(loopback=False, token=b"t", secret=b"s"), b"{}"
    good = {"x_hub_signature_256": signature(body, b"s")}
    assert refused(gate, Right.SIGNED, body, host="vm-host.example", **good) is None
    assert refused(gate, Right.SIGNED, body + b" ", **good) == HTTPStatus.UNAUTHORIZED
    assert refused(gate, Right.SIGNED, body, authorization="Bearer t") == HTTPStatus.UNAUTHORIZED
    assert refused(HERE, Right.SIGNED, body, x_gitlab_token="") == HTTPStatus.FORBIDDEN
