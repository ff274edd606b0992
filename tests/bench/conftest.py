"""Short forms of the benchmarks, each on a broker of its own: what they print has its shape, and is audited."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from deploy.bench.peer import built
from deploy.local import kafka

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short form is over before an optimizing compiler pays for itself."""
    monkeypatch.setattr(kafka, "MEASURED", kafka.QUICK_TO_START)


@pytest.fixture
def peer_directory(pytestconfig: pytest.Config) -> Path:
    """The Kafka Streams program: that of TALLY_PEER_DIR, else that beside the checkout. It is built once."""
    directory = Path(os.environ.get("TALLY_PEER_DIR") or ROOT.parent / "shared" / "peers")
    if not directory.is_dir():
        pytest.skip(f"there is no peer in {directory} (set TALLY_PEER_DIR)")
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("the peer needs java and mvn")
    assert pytestconfig.cache is not None
    kept = pytestconfig.cache.mkdir("peer") / "program"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as scratch:
            program = asyncio.run(built(directory, Path(scratch)))
            draft = kept.with_name(f"draft-{os.getpid()}")
            shutil.copytree(program.target.parent, draft)
            draft.rename(kept)
    return kept
