"""The HTTP API as commands call it: on whom, with which key, and how patiently."""

import argparse
import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import httpx

from deploy.target import running_target
from schemas.errors import OperatorError

API_KEY: Final = "TALLY_API_KEY"
RETRY_SECONDS: Final = 60.0
"""A gateway may be restarted meanwhile, or ask for patience; what is away for longer is an error."""
WAIT_SECONDS: Final = 30
"""How long it may take for a verdict."""
_RETRY_PAUSE_SECONDS: Final = 0.2
_LATER: Final = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


class CallFailed(OperatorError):
    """The gateway can't be used, or refuses the caller."""


def add_caller_flags(parser: argparse.ArgumentParser, scopes: str) -> None:
    """The flags that name a gateway and the key for it, which must have these scopes."""
    parser.add_argument("--url", help="of the gateway, such as https://tally.example")
    parser.add_argument("--api-key", metavar="KEY", help=f"with the {scopes} ({API_KEY}, which nobody else can see)")
    parser.add_argument("--data", type=Path, default=Path("tally-data"), help="of a running 'tally up' (tally-data)")
    parser.set_defaults(scopes=scopes)


def caller_of(arguments: argparse.Namespace) -> "Caller":
    """A caller of the gateway that the flags name, else of the one that runs on the data directory. Raises
    CallFailed."""
    api_key = arguments.api_key or os.environ.get(API_KEY)
    if arguments.url is not None:
        if not arguments.url.startswith(("http://", "https://")):
            raise CallFailed(f"{arguments.url!r} is no URL: write --url as http://HOST:PORT.")
        if not api_key:
            raise CallFailed(f"Set {API_KEY} to a key with the {arguments.scopes} ('tally keys create').")
        return Caller(arguments.url, api_key)
    target = running_target(arguments.data)
    if target is None:
        raise CallFailed(f"No Tally runs on {arguments.data}: name a gateway with --url, or start 'tally up'.")
    return Caller(target.http, api_key or target.api_key)


class Caller:
    """Asks a gateway; what is away or busy is asked again for a while."""

    def __init__(self, url: str, api_key: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/v1",
            headers={"Authorization": f"Bearer {api_key}", "Prefer": f"wait={WAIT_SECONDS}"},
            timeout=2 * WAIT_SECONDS,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """What a GET answers. Raises CallFailed where that is not 200."""
        return body_of(await self.request("GET", path, parameters or {}))

    async def request(self, method: str, path: str, parameters: Mapping[str, str]) -> httpx.Response:
        """The answer, whatever its status. Raises CallFailed where none comes."""
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            pause = _RETRY_PAUSE_SECONDS
            try:
                response = await self._client.request(method, path, params=parameters)
                if response.status_code not in _LATER:
                    return response
                problem, pause = response.text, float(response.headers.get("retry-after", pause))
            except httpx.TransportError as error:
                problem = repr(error)
            if time.monotonic() + pause > deadline:
                raise CallFailed(
                    f"The gateway at {self._client.base_url.host} can't be used ({problem}): start it, or check --url."
                )
            await asyncio.sleep(pause)


def body_of(response: httpx.Response) -> Any:
    """The body of a 200. Raises CallFailed for anything else."""
    if response.status_code != httpx.codes.OK:
        raise CallFailed(f"The gateway answered {response.status_code}: {_sentence(response)}")
    return response.json()


def _sentence(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, LookupError, TypeError):
        return "that is no answer of Tally's; check --url."
