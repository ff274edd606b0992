"""A loop that hangs ends its process; one that only works hard, or a process that was stopped as a whole, does not."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

from aggregator.engine.halt import HaltReason

WATCHED = """
import asyncio, sys, time
from deploy.watchdog import watched

async def main():
    with watched(0.8):
        print("watched", flush=True)
        {work}
    print("ended", flush=True)

asyncio.run(main())
"""
SECONDS_MAX = 20


async def run(work: str, while_running: Callable[[int], object] = id) -> tuple[int, str, str]:
    """Exit code, output and errors of a program that does this under a watchdog of 0.8 seconds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WATCHED.format(work=work)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS_MAX):
            assert await process.stdout.readline() == b"watched\n"
            while_running(process.pid)
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def test_a_loop_that_hangs_ends_the_process_and_says_where() -> None:
    code, _, errors = await run("time.sleep(60)")
    assert code == HaltReason.LOOP_STUCK.code
    assert "The event loop has not turned for 1 s; this is a defect" in errors
    assert "in main" in errors, "the place where it hangs"


async def test_a_loop_that_turns_now_and_then_goes_on() -> None:
    code, out, _ = await run("for _ in range(4): time.sleep(0.4); await asyncio.sleep(0)")
    assert (code, out) == (0, "ended\n")


async def test_native_code_that_keeps_the_lock_of_the_interpreter_is_ended_too() -> None:
    # A regular expression of this kind takes years, in one call that never gives up the lock.
    code, _, errors = await run("import re; re.match('(a*)*b', 'a' * 64)")
    assert code == 1
    assert "in main" in errors


async def test_a_process_that_was_stopped_as_a_whole_goes_on() -> None:
    def stop_for_a_while(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(1.5, os.kill, pid, signal.SIGCONT)

    code, out, _ = await run("await asyncio.sleep(0.5)", stop_for_a_while)
    assert (code, out) == (0, "ended\n")
