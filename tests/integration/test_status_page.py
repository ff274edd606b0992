"""The status page in a browser, on a deployment at work: by the keyboard, light and dark, wide and narrow."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aggregator.closer.job import Closer
from aggregator.settings import CloserSettings
from tests.integration.browser import CHROMIUM, Page, browsing
from tests.integration.deciding_world import DecidingWorld, deciding
from tests.integration.stream_world import eventually, working

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: install it to try the status page")

ACCEPTED, DUPLICATE, REJECTED = 40, 3, 2

PROVOKED = re.compile("status of (401 .*/api/v1/|403 .*/api/v1/status$|404 .*/subscriptions/nobody)")
"""The browser itself writes down each answer that is no success: those of a wrong key, of one that is bound to a
service, and to an id that nobody has."""


@asynccontextmanager
async def at_work(kafka: str, database_url: str, prefix: str, directory: Path) -> AsyncIterator[DecidingWorld]:
    """A deployment with all its parts, which has decided some events and invoiced January."""
    async with deciding(kafka, database_url, prefix, directory) as world:
        fields = {**world.tally.settings.model_dump(), "database_url": database_url}
        closer = Closer(CloserSettings.model_validate(fields))
        async with world.tally.worker(TALLY_GRACE_SECONDS="1"), world.projecting(), working(closer.run):
            events = [{"eventKey": f"tokens#{number}"} for number in range(ACCEPTED - 1)]
            january = {"eventKey": "<b>images</b>#1", "occurredAt": "2026-01-10T00:00:00Z"}
            again = [{"eventKey": "tokens#1", "quantity": "7"}] * DUPLICATE
            refused = [{"eventKey": "mallory's <script>alert(1)</script>", "userId": "mallory"}] * REJECTED
            for changes in (*events, january, *again, *refused):
                answer = await world.send(prefer="respond-async", **{"occurredAt": None, **changes})
                assert answer.status_code == 202, answer.text
            await world.tally.decided(ACCEPTED + DUPLICATE + REJECTED)
            await eventually(lambda: _is_copied(world))
            yield world


async def _is_copied(world: DecidingWorld) -> bool:
    invoices = (await world.gateway.get("/invoices", subscriptionId="sub")).json()["invoices"]
    rejected = (await world.gateway.get("/rejected-events")).json()["rejectedEvents"]
    return len(invoices) == 1 and len(rejected) == DUPLICATE + REJECTED


async def sign_in(page: Page, key: str) -> None:
    """Type a key, and have the page show what it may see."""
    await page.until("document.activeElement.id === 'key'")
    await page.type(key)
    await page.press("Enter")


async def test_the_page_shows_a_deployment_to_a_person_without_a_mouse(
    kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with at_work(kafka_bootstrap, database_url, topic_prefix, tmp_path) as world, browsing(tmp_path) as page:
        await page.prefer("light", 1280, 900)
        await page.open(f"{world.gateway.url}/status")
        await is_refused(page)
        await sign_in(page, world.gateway.key)
        await shows_the_deployment(page)
        await shows_a_subscription(page)
        await shows_rejected_events(page)
        await shows_the_rates(page)
        await page.screenshot(tmp_path / "light.png")
        await is_dark_and_narrow(page, tmp_path)
        await page.tab_to("#forget")
        await page.press("Enter")
        await page.until("document.activeElement.id === 'key'")
        left = await page.value("document.body.textContent")
        assert not [shown for shown in ("mallory", "tokens", "adds up", "well") if shown in left]
        _, bound = await world.gateway.new_key(["read"], ["svc"])
        await sign_in(page, bound)
        await shows_one_tenant(page)
        assert page.requested
        assert {url for url in page.requested if not url.startswith((world.gateway.url, "data:"))} == set()
        assert [what for what in page.complaints if not PROVOKED.search(what)] == []


async def is_refused(page: Page) -> None:
    for key in ("tally_" + "ü" * 43, "tally_" + "u" * 43):  # no header can hold the first one
        await page.value("document.getElementById('refused').textContent = ''")
        await sign_in(page, key)
        await page.until("document.getElementById('refused').innerText.startsWith('This key is unknown')")
    assert not await page.value("document.getElementById('shown').checkVisibility()")
    assert await page.value("sessionStorage.length") == 0


async def shows_the_deployment(page: Page) -> None:
    received = ACCEPTED + DUPLICATE + REJECTED
    await page.until(f"document.querySelector('#partitions tfoot td:nth-child(7)')?.innerText === '{received}'")
    cells = "[...document.querySelectorAll('#partitions tfoot td')].map((cell) => cell.innerText)"
    assert (await page.value(cells))[6:] == [*map(str, (received, ACCEPTED, DUPLICATE, REJECTED, 0)), "✓ adds up"]
    assert (await page.value(cells.replace("tfoot td", "tbody td:last-child"))) == ["✓ adds up"] * 2
    await page.until("document.getElementById('overall').innerText === 'All parts are well'")
    parts = await page.text("#parts")
    for part in ("kafka", "postgres", "outbox", "workers", "ledger", "closer", "projector"):
        assert part in parts.lower()
    assert "renewed" in parts


async def shows_a_subscription(page: Page) -> None:
    await page.until("document.querySelector('#subscriptions option')?.value === 'sub'")
    await page.tab_to("#subscription")
    await page.type("nobody's")
    await page.press("Enter")
    await page.until("document.getElementById('unknown').innerText !== ''")
    await page.value("document.getElementById('subscription').value = ''")
    await page.type("sub")
    await page.press("Enter")
    await page.until("document.querySelectorAll('#usage table').length > 2")
    usage = await page.text("#usage")
    assert f"{1.5 * (ACCEPTED - 1):g}" in usage
    assert "<b>images</b>" in usage  # what callers send stays text
    assert "2026-01-01 to 2026-02-01, closed: 0.000000 USDC" in usage
    assert "OPEN" in usage


async def shows_rejected_events(page: Page) -> None:
    await page.tab_to("#rejected summary")
    assert await page.value("document.querySelectorAll('#rejected details').length") == DUPLICATE + REJECTED
    assert not await page.value("document.querySelector('#rejected pre').checkVisibility()")
    await page.press("Enter")
    await page.until("document.querySelector('#rejected pre').checkVisibility()")
    opened = await page.text("#rejected details[open]")
    assert "subscription_mismatch" in opened
    assert "mallory's <script>alert(1)</script>" in opened


async def shows_the_rates(page: Page) -> None:
    """Once the step is over in which the events came; each table has all of them."""
    received = ACCEPTED + DUPLICATE + REJECTED
    for figure, columns in (("received", [received]), ("verdicts", [ACCEPTED, DUPLICATE, REJECTED])):
        await page.tab_to(f"#{figure} summary")
        await page.press("Enter")
        for number, expected in enumerate(columns, start=2):
            cells = f"[...document.querySelectorAll('#{figure} td:nth-child({number})')]"
            await page.until(
                f"Math.round({cells}.reduce((sum, cell) => sum + 10 * Number(cell.innerText), 0)) === {expected}"
            )
        await page.until(f"document.querySelectorAll('#{figure} tbody tr').length === 90")
        await page.press("Enter")
    assert await page.value("document.querySelector('#rejected details[open] pre') !== null"), "it was shown anew"
    await page.tab_to("#theme")
    await page.tab_to("#received svg")
    newest = await page.text("#received .legend")
    assert newest.endswith("now")
    await page.press("ArrowLeft")
    assert (await page.text("#received .legend")).endswith("UTC")


async def is_dark_and_narrow(page: Page, directory: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = await page.value(background)
    await page.prefer("dark", 360, 700)
    await page.until(f"{background} !== '{light}'")
    assert await page.value("document.documentElement.scrollWidth") == 360, "it has to be scrolled sideways"
    await page.screenshot(directory / "dark.png")
    await page.tab_to("#theme")
    await page.press("Enter")
    await page.until(f"{background} === '{light}'")


async def shows_one_tenant(page: Page) -> None:
    await page.until("document.querySelectorAll('#rejected details').length > 0")
    assert not await page.value("document.getElementById('deployment').checkVisibility()")
    assert "of its services" in await page.text("#overall")
