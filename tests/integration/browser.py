"""Headless Chromium, driven over its own protocol (Chrome DevTools): what a person sees, and what is asked for."""

import asyncio
import base64
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PATIENCE_SECONDS: Final = 60
_FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    "--remote-debugging-port=0",
)
_KEYS: Final = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "Home": 36}


class Page:
    """One tab. `complaints` are the errors and warnings of its console, `requested` the addresses that it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        """Take what the browser says, until it ends."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self._note(said["method"], said["params"])

    async def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and return its result."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = await answer
        assert "error" not in said, (method, said)
        result: dict[str, Any] = said["result"]
        return result

    async def open(self, url: str) -> None:
        """Go to an address."""
        await self.tell("Page.navigate", url=url)
        await self.until(f"location.href === '{url}' && document.readyState === 'complete'")

    async def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        said = await self.tell("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in said, (expression, said)
        return said["result"].get("value")

    async def until(self, expression: str) -> None:
        """Return once an expression holds."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await self.value(expression):  # noqa: ASYNC110 - it may hold for any reason
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            text = await self.value("document.body.innerText")
            raise AssertionError(
                f"never came true: {expression}; complaints: {self.complaints}; on the page:\n{text}"
            ) from error

    async def text(self, selector: str) -> str:
        """What can be read in an element."""
        return str(await self.value(f"document.querySelector({selector!r}).innerText"))

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.tell("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        """Press a key."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.tell("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        await self.tell("Input.dispatchKeyEvent", type="keyUp", **common)

    async def tab_to(self, selector: str) -> None:
        """Give an element the focus by the key Tab, as somebody without a mouse does."""
        for _ in range(100):
            if await self.value(f"document.activeElement.matches({selector!r})"):
                return
            await self.press("Tab")
        raise AssertionError(f"no way to {selector} by the keyboard")

    async def prefer(self, scheme: str, width: int, height: int) -> None:
        """Show a scheme of colours, light or dark, in a window of a size."""
        await self.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        size = (await self.tell("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        taken = await self.tell("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(taken["data"]))

    def _note(self, method: str, said: dict[str, Any]) -> None:
        notes: dict[str, Callable[[], None]] = {
            "Network.requestWillBeSent": lambda: self.requested.append(said["request"]["url"]),
            "Runtime.exceptionThrown": lambda: self.complaints.append(str(said["exceptionDetails"])),
            "Runtime.consoleAPICalled": lambda: self.complaints.append(str(said["args"])),
            "Log.entryAdded": lambda: self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}"),
        }
        notes.get(method, lambda: None)()


@asynccontextmanager
async def browsing(directory: Path) -> AsyncIterator[Page]:
    """A page of a new Chromium, which keeps nothing."""
    assert CHROMIUM is not None
    profile = directory / "chromium"
    process = await asyncio.create_subprocess_exec(
        *(CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = await _port(process, profile / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (address,) = [tab["webSocketDebuggerUrl"] for tab in await answer.json() if tab["type"] == "page"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                for domain in ("Page", "Runtime", "Network", "Log"):
                    await page.tell(f"{domain}.enable")
                yield page
                await socket.close()
                await listening
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _port(process: asyncio.subprocess.Process, file: Path) -> int:
    """The port that Chromium has chosen; it writes it down when it listens."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if lines := await asyncio.to_thread(_lines, file):
                return int(lines[0])
            assert process.returncode is None, f"Chromium ended with {process.returncode}"
            await asyncio.sleep(0.05)


def _lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []
