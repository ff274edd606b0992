import json
import os
import socket
from pathlib import Path

import pytest

from deploy.errors import StartError
from deploy.local.directory import FORMAT, Claim, Lock, hold_data_directory, open_data_directory
from deploy.local.jars import JARS, KAFKA_VERSION, Jar, _verify, read_lock
from deploy.local.ports import FREE_PORTS, LOOPBACK, free_port, usable_port


def test_a_directory_opens_again_for_the_version_that_made_it(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    open_data_directory(data)
    open_data_directory(data)
    assert json.loads((data / "VERSION").read_text()) == FORMAT


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (json.dumps(FORMAT | {"Kafka": "3.9"}), "was written by Kafka 3.9, and this is Kafka 4.1"),
        (json.dumps(FORMAT | {"PostgreSQL": "19"}), "was written by PostgreSQL 19, and this is PostgreSQL 18"),
        (json.dumps(FORMAT | {"Tally data": "2"}), "was written by Tally data 2, and this is Tally data 1"),
        ("{}", "was written by Tally data of an unknown version"),
        ("", "cannot be read as the record"),
        ("7", "cannot be read as the record"),
    ],
)
def test_a_directory_of_another_version_is_refused(tmp_path: Path, version: str, sentence: str) -> None:
    (tmp_path / "VERSION").write_text(version)
    with pytest.raises(StartError, match=sentence):
        open_data_directory(tmp_path)


def test_data_of_unknown_origin_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    with pytest.raises(StartError, match="no VERSION file"):
        open_data_directory(tmp_path)


def test_a_file_is_not_a_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot be used as the data directory"):
        open_data_directory(tmp_path / "file")


def test_a_directory_is_held_by_one_tally_at_a_time(tmp_path: Path) -> None:
    first = hold_data_directory(tmp_path)
    with pytest.raises(StartError, match=f"{tmp_path} is in use by another Tally: stop that one"):
        hold_data_directory(tmp_path)
    first.release()
    hold_data_directory(tmp_path).release()


async def test_a_server_directory_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    first, second = Claim(tmp_path / "kafka"), Claim(tmp_path / "kafka")
    async with first.taking():
        pass
    with pytest.raises(StartError, match=f"{tmp_path} is in use by another Tally"):
        async with second.taking():
            pass
    first.release()
    async with second.taking():
        pass
    second.release()


async def test_a_claim_ends_where_its_preparation_fails(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "kafka")
    with pytest.raises(StartError, match=r"cannot be used \(No space left on device\)"):
        async with claim.taking():
            raise OSError(28, "No space left on device")
    async with claim.taking():
        pass
    claim.release()


def test_a_lock_lasts_until_its_last_inheritor_lets_go(tmp_path: Path) -> None:
    lock, other = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert lock.acquire()
    inherited = os.dup(lock.fd)
    lock.release()
    assert not other.acquire()
    os.close(inherited)
    assert other.acquire()
    other.release()


def test_a_free_port_is_none_that_outgoing_connections_use() -> None:
    assert usable_port(0, "Kafka", "--kafka-port") in FREE_PORTS


def test_a_taken_port_is_refused_with_the_option_that_changes_it() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            StartError,
            match=f"Port {port} for Kafka is taken: stop what listens there, or choose another with --kafka-port.",
        ):
            usable_port(port, "Kafka", "--kafka-port")
    free = free_port()
    assert usable_port(free, "Kafka", "--kafka-port") == free


def test_a_number_that_is_no_port_is_refused() -> None:
    with pytest.raises(StartError, match="Kafka cannot listen on port 70000"):
        usable_port(70000, "Kafka", "--kafka-port")


def test_the_lock_names_jars_by_coordinate_and_no_place_to_fetch_them_from() -> None:
    assert KAFKA_VERSION.startswith(FORMAT["Kafka"] + ".")
    assert len({jar.file_name for jar in JARS}) == len(JARS)
    assert all(len(jar.sha256) == 64 and jar.coordinate.count(":") == 2 for jar in JARS)


def test_a_jar_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    (jar,) = read_lock("# a comment\norg.example:one:1.0 " + "0" * 64 + "\n")
    assert jar == Jar("org.example:one:1.0", "0" * 64)
    path = tmp_path / jar.file_name
    path.write_bytes(b"not it")
    with pytest.raises(StartError, match="as fetched is not the jar that is locked"):
        _verify(jar, path)
