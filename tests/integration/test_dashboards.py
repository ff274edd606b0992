"""Each panel of the dashboards shows something of a Tally at work, on a real Prometheus and a real Postgres; and
Prometheus finds each metric that docs/metrics.md has, with nothing to complain of."""

import asyncio
import base64
import json
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import yaml
from aiokafka import AIOKafkaProducer

from deploy.local.ports import free_port
from deploy.local.stack import Stack, StackOptions
from schemas.topics import Topic
from tests.integration.stream_world import eventually

ROOT = Path(__file__).parents[2] / "deploy"
PARTITIONS = 2
PATIENCE_SECONDS = 120
SUBSCRIPTION = {"serviceId": "svc", "subscriptionId": "sub", "userId": "user"}
OF_PLAN = {"serviceId": "svc", "paymentPlanId": "plan", "userId": "user"}
BEGINNING = (datetime.now(UTC) - timedelta(days=10)).isoformat()
YESTERDAY = (datetime.now(UTC) - timedelta(days=1, minutes=1)).isoformat()

Target = tuple[str, dict[str, Any]]
"""The title of a panel, and one of its queries."""

TARGETS: list[Target] = [
    (panel["title"], target)
    for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
    for target in panel.get("targets", [])
]

METRICS: list[tuple[str, str]] = re.findall(
    r"^\| `(tally_\w+)` \| (\w+)", (ROOT.parent / "docs" / "metrics.md").read_text(), re.MULTILINE
)
"""Name and type of each."""


class Load:
    """Usage of every kind, without end: what the panels show."""

    def __init__(self, client: httpx.AsyncClient, producer: AIOKafkaProducer, prefix: str) -> None:
        self._client = client
        self._producer = producer
        self._prefix = prefix

    async def begin(self) -> None:
        """A catalog, an invoice that is overdue, one of usage and its credit, and a record that is none of Tally's."""
        service = {"id": "svc", "name": "Service", "gracePeriodSeconds": 1}
        plan = {"id": "plan", "serviceId": "svc", "name": "Plan", "pricingType": "USAGE_BASED"}
        await self._post("/services", service)
        await self._post("/plans", {**plan, "billingInterval": "DAY", "unitPrices": {"call": "0.5"}})
        await self._post("/subscriptions", {**OF_PLAN, "id": "sub", "billingAnchor": BEGINNING})
        invoice = (await self._post("/invoices", {**OF_PLAN, "amount": "7", "dueAt": BEGINNING}))["invoice"]
        await self._post(f"/invoices/{invoice['id']}/open", {})
        await self._producer.send_and_wait(self._prefix + Topic.REJECTED_USAGE, b"not of Tally", partition=0)
        event = {**SUBSCRIPTION, "eventKey": "call#yesterday", "quantity": 3, "occurredAt": YESTERDAY}
        used = (await self._post("/usage-events", event, Prefer="wait=30"))["usageEvent"]
        await eventually(self._is_invoiced)
        await self._post(f"/usage-events/{used['id']}/void", {"reason": "to be credited"})

    async def run(self) -> None:
        """Send until cancelled; each time there is a new subscription too, whose usage of yesterday is invoiced."""
        for number in count():
            event = {**SUBSCRIPTION, "eventKey": f"call#{number}", "quantity": 2}
            await self._post("/usage-events", event)
            await self._post("/subscriptions", {**OF_PLAN, "id": f"sub-{number}", "billingAnchor": BEGINNING})
            await self._post("/usage-events", {**event, "subscriptionId": f"sub-{number}", "occurredAt": YESTERDAY})
            events = [{**event, "eventKey": f"call#{number}-{kind}"} for kind in ("a", "b")]
            batch = await self._post("/usage-events/batch", {"usageEvents": [*events, event, {**event, "userId": "x"}]})
            assert len(batch["results"]) == 4
            forwarded = json.dumps({**event, "eventKey": f"call#{number}-c"}).encode()
            for partition in range(PARTITIONS):  # one of them is the wrong one
                await self._producer.send_and_wait(self._prefix + Topic.USAGE_EVENTS, forwarded, partition=partition)

    async def _is_invoiced(self) -> bool:
        listed = await self._client.get("/api/v1/invoices", params={"subscriptionId": "sub"})
        return any(Decimal(invoice["amount"]) > 0 for invoice in listed.json()["invoices"])

    async def _post(self, path: str, document: dict[str, Any], **headers: str) -> dict[str, Any]:
        answer = await self._client.post(f"/api/v1{path}", json=document, headers=headers)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def at_work(stack: Stack, prefix: str) -> AsyncIterator[None]:
    """While the block runs, usage comes in."""
    async with AsyncExitStack() as closing:
        client = httpx.AsyncClient(
            base_url=stack.http, headers={"Authorization": f"Bearer {stack.api_key}"}, timeout=60, trust_env=False
        )
        producer = AIOKafkaProducer(bootstrap_servers=stack.kafka)
        await closing.enter_async_context(client)
        await producer.start()
        closing.push_async_callback(producer.stop)
        load = Load(client, producer, prefix)
        await load.begin()
        async with asyncio.TaskGroup() as tasks:  # an end of the load by itself is an error
            running = tasks.create_task(load.run())
            yield
            running.cancel()


@asynccontextmanager
async def prometheus(stack: Stack, directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A Prometheus with the configuration of the tree, but for the targets and how often it looks."""
    config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ROOT / "prometheus" / file) for file in config["rule_files"]]
    port = free_port()
    for job in config["scrape_configs"]:
        url = stack.metrics.get(job["job_name"].removeprefix("tally-"), f"http://127.0.0.1:{port}")
        job["static_configs"] = [{"targets": [httpx.URL(url).netloc.decode()]}]
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    process = await asyncio.create_subprocess_exec(
        *("prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'tsdb'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"),
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


async def series(client: httpx.AsyncClient, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers now, numbers only; nothing while it is not up yet."""
    try:
        answer = await client.get("/query", params={"query": query})
    except httpx.TransportError:
        return []
    document = answer.json()
    assert document["status"] == "success", (query, document)
    return [one for one in document["data"]["result"] if isfinite(float(one["value"][1]))]


async def absent_metrics(client: httpx.AsyncClient) -> list[str]:
    """Those of which Prometheus has seen no series."""
    seen = set((await client.get("/label/__name__/values")).json()["data"])
    return [name for name, kind in METRICS if (f"{name}_bucket" if kind == "histogram" else name) not in seen]


async def complaints(url: str) -> str:
    """What promtool says of a page of metrics."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(url)).content
    process = await asyncio.create_subprocess_exec(
        *("promtool", "check", "metrics"), stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate(text)
    return said.decode()


async def shows_promql(client: httpx.AsyncClient, target: dict[str, Any]) -> bool:
    """Whether there is a number, and each series has the labels of its legend."""
    # Grafana looks back over four scrapes at least; here so far that a busy machine has made some in the time.
    found = await series(client, target["expr"].replace("$__rate_interval", "20s").replace("$__range", "5m"))
    legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    return bool(found) and all(legend <= set(one["metric"]) for one in found)


async def shows_sql(reader: asyncpg.Connection, target: dict[str, Any]) -> bool:
    """Whether there are rows, and those of a graph are what Grafana makes one of."""
    sql = re.sub(r"\$__timeFilter\(([\w.]+)\)", r"\1 BETWEEN now() - interval '30 days' AND now()", target["rawSql"])
    rows = await reader.fetch(sql)
    if rows and target["format"] == "time_series":
        time, metric, value = rows[0].values()
        assert list(rows[0].keys())[:2] == ["time", "metric"]
        assert isinstance(time, datetime)
        assert isinstance(metric, str)
        assert value >= 0
    return bool(rows)


async def all_show_something(targets: list[Target], shows: Callable[[dict[str, Any]], Any]) -> None:
    """Ask again and again until each has shown something."""
    waiting = targets
    deadline = time.monotonic() + PATIENCE_SECONDS
    while waiting := [(title, target) for title, target in waiting if not await shows(target)]:
        assert time.monotonic() < deadline, f"these show nothing: {[title for title, _ in waiting]}"
        await asyncio.sleep(0.5)


async def test_each_panel_shows_something(
    kafka_bootstrap: str,
    database_url: str,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TALLY_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("TALLY_WEBHOOK_URL", f"http://127.0.0.1:{free_port()}/")  # where nobody takes them
    monkeypatch.setenv("TALLY_WEBHOOK_SECRET", f"whsec_{base64.b64encode(bytes(32)).decode()}")
    options = StackOptions(
        data=tmp_path / "data", partitions=PARTITIONS, grace_seconds=1, kafka=kafka_bootstrap, database_url=database_url
    )
    said: list[str] = []
    has_prometheus = shutil.which("prometheus") is not None
    async with AsyncExitStack() as closing:
        stack = await closing.enter_async_context(Stack(options, said.append))
        client = await closing.enter_async_context(prometheus(stack, tmp_path)) if has_prometheus else None
        await closing.enter_async_context(at_work(stack, topic_prefix))
        reader = await asyncpg.connect(database_url)
        closing.push_async_callback(reader.close)
        await reader.execute("SET ROLE tally_reader")
        await all_show_something(
            [target for target in TARGETS if "rawSql" in target[1]], lambda target: shows_sql(reader, target)
        )
        if client is None:
            pytest.skip("PromQL was not run: prometheus (Debian's package) is not installed")
        await all_show_something(
            [target for target in TARGETS if "expr" in target[1]], lambda target: shows_promql(client, target)
        )
        assert METRICS
        assert await absent_metrics(client) == []
        assert [await complaints(url) for url in stack.metrics.values()] == [""] * 5
        ringing = {one["metric"]["alertname"] for one in await series(client, 'ALERTS{alertstate="firing"}')}
        assert "TallyRecordSkipped" in ringing
        rules = (await client.get("/rules")).json()["data"]["groups"]
        assert {rule["health"] for group in rules for rule in group["rules"]} == {"ok"}
