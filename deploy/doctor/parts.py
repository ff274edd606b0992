"""The parts of Tally, as they say themselves over HTTP."""

from typing import Any

import httpx

from deploy.doctor.finding import Finding, fail, ok

READY = "/health/ready"


async def look_at_part(url: str, seconds: float) -> Finding:
    """Ask a part whether it is ready."""
    url = url.rstrip("/")
    try:
        async with httpx.AsyncClient(timeout=seconds) as client:
            answer = await client.get(url + READY)
            document = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return fail(
            "part",
            f"{url} does not answer ({error or type(error).__name__})",
            "Start it, or name the address of its /health: the gateway's own, or TALLY_METRICS_HOST and _PORT of the"
            " others.",
        )
    return judge_part(url, answer.status_code, document)


def judge_part(url: str, status: int, document: Any) -> Finding:
    """What its answer says."""
    if status == httpx.codes.OK:
        return ok("part", f"{url} is ready")
    details = document.get("details") or [] if isinstance(document, dict) else []
    reasons = " ".join(str(detail.get("message")) for detail in details) or f"it answers {status}"
    return fail("part", f"{url} is not ready: {reasons}", "Mend what it waits for; a restart brings that no sooner.")
