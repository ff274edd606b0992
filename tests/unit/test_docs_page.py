"""The page /docs: all that it needs comes from the gateway, and its policy forbids the browser everything else."""

import re

import pytest

from ingest.gateway.routes.docs import ASSETS
from tests.unit.gateway_in_memory import GatewayInMemory

FOREIGN = re.compile(r"""(?:https?:)?//[\w.-]+\.\w+""")


async def test_page_is_shown_without_a_key_and_allows_nothing_from_elsewhere() -> None:
    answer = await GatewayInMemory().request("GET", "/docs", authorization=None)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not FOREIGN.search(answer.text)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    sources = {source for allowed in policy.values() for source in allowed.split()}
    assert sources == {"'self'", "'none'", "'unsafe-inline'", "data:"}


async def test_everything_that_the_page_refers_to_is_served_by_the_gateway() -> None:
    gateway = GatewayInMemory()
    page = await gateway.request("GET", "/docs", authorization=None)
    addresses = set(re.findall(r'(?:src|href)="([^"]+)"', page.text)) - {"data:,"}
    assert addresses == {"/openapi.json", *(f"/docs/{name}" for name in ASSETS)}
    for address in addresses:
        answer = await gateway.request("GET", address, authorization=None)
        assert answer.status_code == 200, address
        assert answer.content, address


@pytest.mark.parametrize("name", ["page.js", "page.css", "swagger-ui.css"])
async def test_scripts_and_styles_fetch_nothing_from_elsewhere(name: str) -> None:
    answer = await GatewayInMemory().request("GET", f"/docs/{name}", authorization=None)
    fetched = re.findall(r"""(?:url:\s*"|url\(|@import\s*)['"]?([^'")\s]+)""", answer.text)
    assert all(address.startswith(("data:", "/openapi.json")) for address in fetched)
    assert name != "page.js" or "validatorUrl: null" in answer.text


async def test_swagger_ui_is_one_that_renders_openapi_3_1() -> None:
    answer = await GatewayInMemory().request("GET", "/docs/swagger-ui-bundle.js", authorization=None)
    (major,) = set(re.findall(r'PACKAGE_VERSION:"?(\d+)\.', answer.text)) or {"0"}
    assert int(major) >= 5


@pytest.mark.parametrize("path", ["/docs/redoc.standalone.js", "/docs/..%2fpage.html", "/docs/", "/redoc"])
async def test_what_the_page_does_not_need_is_not_there(path: str) -> None:
    answer = await GatewayInMemory().request("GET", path, authorization=None)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_page_takes_no_other_method() -> None:
    answer = await GatewayInMemory().request("POST", "/docs", b"", authorization=None)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
