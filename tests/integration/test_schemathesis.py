"""Whether the OpenAPI document is true: schemathesis sends what it allows and what it forbids to a whole deployment."""

import asyncio
import contextlib
import os
import re
import sys
from pathlib import Path

from aggregator.projector.job import Projector
from aggregator.settings import ProjectorSettings
from ingest.gateway.documentation import examples
from tests.integration.running_gateway import RunningGateway, running_gateway
from tests.integration.stream_world import working
from tests.integration.worker import deployment

ROOT = Path(__file__).parents[2]

EXAMPLES = 5
"""Random requests for each operation, beside the examples of the document and the bounds of every schema."""

REPLACED = ("positive_data_acceptance", "negative_data_rejection", "not_a_server_error")
"""Checks that schemathesis_hooks has in a form that knows the contract."""


async def test_every_operation_keeps_what_the_document_says(
    kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with (
        deployment(kafka_bootstrap, topic_prefix, tmp_path / "state") as deployed,
        deployed.worker(),
        running_gateway(kafka_bootstrap, database_url, topic_prefix) as gateway,
        contextlib.AsyncExitStack() as copying,  # it needs the tables that the gateway makes
    ):
        fields = {**deployed.settings.model_dump(), "database_url": database_url}
        await copying.enter_async_context(working(Projector(ProjectorSettings.model_validate(fields)).run))
        await make_what_the_examples_name(gateway)
        document = (await gateway.client.get("/openapi.json")).json()
        code, report = await schemathesis(gateway, tmp_path)
    assert code == 0, report
    tested = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", report)
    assert tested is not None, report
    assert set(tested.groups()) == {str(sum(len(methods) for methods in document["paths"].values()))}


async def make_what_the_examples_name(gateway: RunningGateway) -> None:
    for path, body in (
        ("/services", examples.NEW_SERVICE),
        ("/plans", examples.NEW_PLAN),
        ("/subscriptions", examples.NEW_SUBSCRIPTION),
        ("/invoices", examples.NEW_INVOICE),
    ):
        answer = await gateway.post(path, body)
        assert answer.status_code == 201, answer.text


async def schemathesis(gateway: RunningGateway, directory: Path) -> tuple[int, str]:
    """The exit code and the report of a run with all checks, the same requests every time."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{gateway.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {gateway.key}", "--checks", "all"),
        *("--exclude-checks", ",".join(REPLACED), "--max-examples", str(EXAMPLES), "--generation-deterministic"),
        cwd=directory,
        env={
            **os.environ,
            "NO_COLOR": "1",
            "SCHEMATHESIS_HOOKS": "tests.integration.schemathesis_hooks",
            "PYTHONPATH": str(ROOT),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    report, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, report.decode()
