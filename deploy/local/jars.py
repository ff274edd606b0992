"""Apache Kafka's jars: exactly those of `kafka.lock`, fetched once into a cache.

jgo fetches them, in pure Python, from wherever its own settings say (by default the public Maven repository, or what
`~/.config/jgo.conf` calls `central`), and takes what the machine's own Maven cache already holds. Wherever a jar comes
from, it counts only with the locked sha256.
"""

import asyncio
import hashlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import StartError

LOCK = Path(__file__).with_name("kafka.lock")
PARALLEL_FETCHES = 4
FETCH_ATTEMPTS = 3
FETCH_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Jar:
    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        _group, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def read_lock(text: str) -> list[Jar]:
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return [Jar(coordinate, sha256) for coordinate, sha256 in lines]


JARS = read_lock(LOCK.read_text())
KAFKA_VERSION = next(jar.coordinate.split(":")[2] for jar in JARS if ":kafka-server:" in jar.coordinate)


def default_cache() -> Path:
    return Path(os.environ.get("TALLY_CACHE") or "~/.cache/tally").expanduser()


async def cached_jars(cache: Path) -> list[Path]:
    """The jars in the cache, after fetching those it does not have."""
    folder = cache / f"kafka-{KAFKA_VERSION}"
    missing = [jar for jar in JARS if not (folder / jar.file_name).exists()]
    if missing:
        await _fetch(missing, folder)
    return [folder / jar.file_name for jar in JARS]


async def _fetch(jars: list[Jar], folder: Path) -> None:
    progress = _Progress(len(jars), folder)
    slots = asyncio.Semaphore(PARALLEL_FETCHES)
    failures: list[StartError] = []

    async def fetch(jar: Jar) -> None:
        async with slots:
            if failures:
                return  # what is under way is waited for, so that no thread works on after the error was told
            try:
                await asyncio.to_thread(_fetch_one, jar, folder)
            except StartError as error:
                failures.append(error)
            else:
                progress.advance()

    try:
        await asyncio.gather(*(fetch(jar) for jar in jars))
    finally:
        progress.end()
    if failures:
        raise failures[0]


def _fetch_one(jar: Jar, folder: Path) -> None:
    """Put one jar into the folder, whole and verified or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as draft:
            path = _resolve(jar, Path(draft))
            verified = Path(draft) / jar.file_name
            shutil.copyfile(path, verified)
            _verify(jar, verified)
            verified.replace(folder / jar.file_name)
    except OSError as error:
        raise StartError(
            f"{folder} cannot be written ({error.strerror}): set TALLY_CACHE to a directory that can."
        ) from error


def _verify(jar: Jar, path: Path) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise StartError(
            f"{jar.coordinate} as fetched is not the jar that is locked (sha256 {found[:16]}... instead of "
            f"{jar.sha256[:16]}...): correct the repository that jgo is set to use, or remove the copy in the "
            "machine's Maven cache."
        )


def _resolve(jar: Jar, draft: Path) -> Path:
    # Imported here: with the jars in the cache, which is nearly always, it is not needed.
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartError(
            "What fetches Apache Kafka (the package jgo) is not installed: run `make setup`, or set TALLY_KAFKA and "
            "TALLY_DATABASE_URL to servers that run. The container image has no servers of its own."
        ) from error

    settings = GlobalSettings.load()
    for attempt in range(1, FETCH_ATTEMPTS + 1):
        context = MavenContext(
            # A fresh one for each attempt: jgo writes in place and takes what an interrupted one left for whole.
            repo_cache=draft / f"attempt-{attempt}",
            local_repos=[settings.repo_cache],
            remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories},
            timeout=FETCH_TIMEOUT_SECONDS,
        )
        try:
            return Path(context.create_dependency(jar.coordinate).artifact.resolve())
        except (OSError, RuntimeError) as error:  # the errors of requests are OSErrors; RuntimeError: not found
            failure = error
    raise StartError(
        f"Apache Kafka could not be fetched: no repository gave {jar.coordinate} ({type(failure).__name__}). Connect "
        "this machine to the internet, or name a mirror as `central` under [repositories] in ~/.config/jgo.conf, "
        "then retry; what was fetched is kept."
    ) from failure


class _Progress:
    """One line on stderr: redrawn with each jar on a terminal, written once elsewhere."""

    def __init__(self, total: int, folder: Path) -> None:
        self._total = total
        self._done = 0
        self._title = f"Fetching Apache Kafka {KAFKA_VERSION} into {folder} (once)"
        self._redraws = sys.stderr.isatty()
        if self._redraws:
            self._draw()
        else:
            sys.stderr.write(f"{self._title}: {total} jars\n")

    def advance(self) -> None:
        self._done += 1
        if self._redraws:
            self._draw()

    def _draw(self) -> None:
        sys.stderr.write(f"\r{self._title}: {self._done} of {self._total} jars")
        sys.stderr.flush()

    def end(self) -> None:
        if self._redraws:
            sys.stderr.write("\n")
