"""The page /status: open to everybody and without data, which needs a key; nothing of it from elsewhere."""

import re

import pytest

from ingest.gateway.routes.status import ASSETS
from ingest.keys import Scope
from tests.unit.gateway_in_memory import GatewayInMemory, key_text

FOREIGN = re.compile(r"""(?:https?:)?//[\w.-]+\.\w+""")
NAMESPACE = "http://www.w3.org/2000/svg"  # a name, which nobody fetches


async def test_the_page_is_shown_without_a_key_and_allows_nothing_from_elsewhere() -> None:
    answer = await GatewayInMemory().request("GET", "/status", authorization=None)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert {source for allowed in policy.values() for source in allowed.split()} == {"'self'", "'none'", "data:"}


async def test_all_that_the_page_is_made_of_is_served_by_the_gateway() -> None:
    gateway = GatewayInMemory()
    page = await gateway.request("GET", "/status", authorization=None)
    named = set(re.findall(r'(?:src|href)="(/status/[^"]+)"', page.text))
    for name in ASSETS:
        answer = await gateway.request("GET", f"/status/{name}", authorization=None)
        assert answer.status_code == 200
        assert not FOREIGN.search(answer.text.replace(NAMESPACE, ""))
        named |= set(re.findall(r'from "([^"]+)"', answer.text))
    assert named == {f"/status/{name}" for name in ASSETS}


@pytest.mark.parametrize("path", ["/status/page.html", "/status/look.py", "/status/..%2fparts.py", "/status/"])
async def test_what_the_page_does_not_need_is_not_there(path: str) -> None:
    answer = await GatewayInMemory().request("GET", path, authorization=None)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_data_is_for_keys_that_may_read_and_are_bound_to_no_service() -> None:
    gateway = GatewayInMemory()
    writer = gateway.keys.add(key_text("w"), [Scope.USAGE_WRITE])
    bound = gateway.keys.add(key_text("b"), [Scope.READ], ["svc"])
    assert (await gateway.request("GET", "/api/v1/status", authorization=None)).status_code == 401
    for key in (writer, bound):
        answer = await gateway.request("GET", "/api/v1/status", authorization=f"Bearer {key}")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "not bound to services" in answer.json()["error"]
