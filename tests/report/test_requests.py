"""The table of API requests."""

import pytest

from reconciler.engine.api.handlers import HANDLERS
from reconciler.report.requests import Request, Right, Unmatched, match


def steps(path):
    return tuple(path.strip("/").split("/"))


def test_each_request_has_one_handler():
    assert set(HANDLERS) == set(Request)


def test_no_two_requests_answer_to_the_same_method_and_path():
    assert len({(request.method, request.pattern) for request in Request}) == len(Request)


@pytest.mark.parametrize("request_", Request)
def test_a_path_that_is_built_is_matched(request_):
    path = request_.path(*["x"] * request_.pattern.count("{"))
    call = match(request_.method, steps(path), {"a": "1"})
    assert (call.request, list(call.arguments.values())) == (
        request_, ["x"] * request_.pattern.count("{"))
    assert call.query == {"a": "1"}


def test_a_path_is_quoted_and_needs_all_its_arguments():
    assert Request.HOLD.path("a/b+c") == "/api/v1/domains/a%2Fb%2Bc/hold"
    for arguments in ((), ("a", "b")):
        with pytest.raises(ValueError, match="do not fill"):
            Request.HOLD.path(*arguments)


def test_what_changes_something_is_a_post_and_takes_the_token_or_a_signature():
    for request in Request:
        assert (request.method == "POST") == (request.right in (Right.ACT, Right.SIGNED))


@pytest.mark.parametrize(("method", "path", "allowed"), [
    ("GET", "/api/v1", ()), ("POST", "/api/v1/approvals/a/b", ()),
    ("POST", "/api/v1/status", ("GET",)), ("get", "/livez", ("GET",))])
def test_others_are_unmatched_and_know_the_methods_of_their_path(method, path, allowed):
    assert match(method, steps(path), {}) == Unmatched(method, steps(path), allowed)
