"""The parts of Tally, as they say themselves over HTTP."""

import json
from typing import Final

import httpx

from deploy.doctor.finding import Finding, fail, ok

CHECK: Final = "part"
READY: Final = "/health/ready"
ADDRESS: Final = "the address of its /health: the gateway's own, or TALLY_METRICS_HOST and _PORT of the others."


async def look_at_part(url: str, seconds: float) -> Finding:
    """Ask a part whether it is ready."""
    url = url.rstrip("/")
    try:
        async with httpx.AsyncClient(timeout=seconds) as client:
            answer = await client.get(url + READY)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fact = f"{url} does not answer ({error or type(error).__name__})"
        return fail(CHECK, fact, f"Start it, or name {ADDRESS}")
    return judge_part(url, answer.status_code, answer.text)


def judge_part(url: str, status: int, body: str) -> Finding:
    """What its answer says; whatever is not as a part says it comes from something else."""
    try:
        document = json.loads(body)
        if document.get("status") == "ready":
            return ok(CHECK, f"{url} is ready")
        reasons = " ".join(detail["message"] for detail in document["details"])
    except (ValueError, AttributeError, KeyError, TypeError):
        reasons = ""
    if status != httpx.codes.SERVICE_UNAVAILABLE or not reasons:
        return fail(CHECK, f"{url}{READY} answers {status}, and not as a part of Tally does", f"Name {ADDRESS}")
    return fail(CHECK, f"{url} is not ready: {reasons}", "Mend what it waits for; a restart brings that no sooner.")
