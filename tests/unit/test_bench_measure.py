import os
import time

from deploy.bench.measure import cpu_seconds, stolen_cpu_seconds


def test_what_a_process_has_used_grows_with_its_work() -> None:
    begun = cpu_seconds(os.getpid())
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert cpu_seconds(os.getpid()) > begun


def test_no_more_is_stolen_than_there_was() -> None:
    up_seconds = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert 0 <= stolen_cpu_seconds() <= up_seconds * (os.cpu_count() or 1)
