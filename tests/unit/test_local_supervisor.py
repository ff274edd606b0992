import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.errors import StartError
from deploy.local.process import Command, describe_exit, finished, last_complaint
from deploy.local.supervisor import Supervisor, restart_delay

FOREVER = "import signal; signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('armed', flush=True); signal.pause()"


def python(name: str, code: str, data: Path, **settings: object) -> Command:
    argv = (sys.executable, "-I", "-S", "-c", code)
    return Command(name=name, argv=argv, log=data / f"{name}.log", **settings)  # type: ignore[arg-type]


def log_holds(data: Path, name: str, text: str) -> Callable[[], bool]:
    return lambda: text in (data / f"{name}.log").read_text()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - other processes set no Event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def supervisor(said: list[str]) -> AsyncIterator[Supervisor]:
    running = Supervisor(said.append)
    try:
        yield running
    finally:
        await running.stop()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(
    ("exits", "seconds"), [(1, 0.2), (2, 0.4), (3, 0.8), (4, 1.6), (5, 3.2), (6, 5.0), (7, 5.0), (1_000_000, 5.0)]
)
def test_the_delay_doubles_up_to_five_seconds(exits: int, seconds: float) -> None:
    assert restart_delay(exits) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (0, "exited with code 0"),
        (17, "exited with code 17 (the topic was re-created)"),
        (-9, "was killed by SIGKILL"),
    ],
)
def test_an_exit_is_told_in_words(code: int, sentence: str) -> None:
    assert describe_exit(code, {17: "the topic was re-created"}) == sentence


def test_the_last_complaint_is_the_last_line_marked_as_an_error_of_this_run(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("ERROR of an earlier run\n")
    start = log.stat().st_size
    log.write_text("ERROR of an earlier run\nWARN one\nERROR disk full.\n  at Some.java:1\n\n")
    assert last_complaint(log, start) == "ERROR disk full"
    assert last_complaint(log, start + len("WARN one\nERROR disk full.\n")) == "at Some.java:1"
    assert last_complaint(log, log.stat().st_size) == ""


@pytest.mark.parametrize(("code", "told"), [(0, "exited with code 0"), (3, "exited with code 3 (the engine halted)")])
async def test_a_child_is_restarted_on_any_exit(tmp_path: Path, code: int, told: str) -> None:
    said: list[str] = []
    async with supervisor(said) as running:
        await running.start(
            python("worker", f"raise SystemExit({code})", tmp_path, exit_reasons={3: "the engine halted"})
        )
        await until(lambda: len(said) == 2)
    assert said == [f"worker {told}, restarting in 0.2 s", f"worker {told}, restarting in 0.4 s"]


async def test_a_killed_child_is_replaced_by_another_process(tmp_path: Path) -> None:
    said: list[str] = []
    async with supervisor(said) as running:
        await running.start(python("worker", FOREVER, tmp_path))
        first = running.pid("worker")
        assert first
        os.kill(first, signal.SIGKILL)
        await until(lambda: running.pid("worker") not in (None, first))
        assert said == ["worker was killed by SIGKILL, restarting in 0.2 s"]


async def test_children_stop_in_reverse_order(tmp_path: Path) -> None:
    exits: list[str] = []
    running = Supervisor(pytest.fail)
    for name in ("first", "second", "third"):
        await running.start(python(name, FOREVER, tmp_path, exited=lambda _code, name=name: exits.append(name)))
    await running.stop()
    assert exits == ["third", "second", "first"]


async def test_a_child_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    codes: list[int] = []
    running = Supervisor(pytest.fail)
    await running.start(python("stubborn", STUBBORN, tmp_path, stop_seconds=0.2, exited=codes.append))
    await until(log_holds(tmp_path, "stubborn", "armed"))
    await running.stop()
    assert codes == [-signal.SIGKILL]


async def test_a_start_waits_until_the_check_says_ready(tmp_path: Path) -> None:
    checks: list[int] = []

    async def ready() -> bool:
        checks.append(1)
        return len(checks) == 3

    async with supervisor([]) as running:
        await running.start(python("worker", FOREVER, tmp_path, ready=ready))
        assert len(checks) == 3


async def test_what_exits_again_and_again_before_it_is_ready_fails_the_start(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    said: list[str] = []
    async with supervisor(said) as running:
        with pytest.raises(StartError) as failure:
            await running.start(python("worker", "raise SystemExit('no such topic')", tmp_path, ready=never))
    log = tmp_path / "worker.log"
    assert str(failure.value) == f"worker exited with code 1 while starting (no such topic): see {log}."
    assert said == ["worker exited with code 1, restarting in 0.2 s", "worker exited with code 1, restarting in 0.4 s"]


async def test_what_never_gets_ready_fails_the_start_and_is_stopped(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    async with supervisor([]) as running:
        with pytest.raises(StartError, match=r"worker was not ready after 0 s: see .*worker\.log\."):
            await running.start(python("worker", FOREVER, tmp_path, ready=never, ready_seconds=0.1))
        pid = running.pid("worker")
        assert pid
    assert gone(pid)


async def test_what_is_up_and_not_ready_is_told_once_and_so_is_its_end(tmp_path: Path) -> None:
    is_ready = True

    async def ready() -> bool:
        return is_ready

    said: list[str] = []
    running = Supervisor(said.append, unready_seconds=0.1)
    try:
        await running.start(python("worker", FOREVER, tmp_path, ready=ready))
        is_ready = False
        await until(lambda: len(said) == 1)
        is_ready = True
        await until(lambda: len(said) == 2)
    finally:
        await running.stop()
    assert said == [
        f"worker is up, and has not been ready for 0 s: see {tmp_path / 'worker.log'}",
        "worker is ready again",
    ]


async def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Nothing is left running, and nothing holds the data, where Tally itself gets SIGKILL."""
    parent_code = """
import asyncio, signal, sys
from pathlib import Path
from deploy.local.process import Command, started
command = Command(name="child", argv=(sys.executable, "-c", "import signal; signal.pause()"), log=Path("child.log"))
print(asyncio.run(started(command)).pid, flush=True)
signal.pause()
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else is to run meanwhile
        [sys.executable, "-c", parent_code], stdout=subprocess.PIPE, cwd=tmp_path, env=environment
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.kill()
        parent.wait()
    await until(lambda: gone(child) or zombie(child))


def zombie(pid: int) -> bool:
    """Dead, but not yet collected by whatever process adopts orphans here."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_program_gets_its_standard_input_and_says_why_it_failed(tmp_path: Path) -> None:
    await finished(python("reader", "import sys; print(sys.stdin.read())", tmp_path, standard_input=b"a password"))
    assert log_holds(tmp_path, "reader", "a password")()
    with pytest.raises(StartError, match=r"missing exited with code 1 while starting \(/no/program cannot be started"):
        await finished(Command(name="missing", argv=("/no/program",), log=tmp_path / "missing.log"))
