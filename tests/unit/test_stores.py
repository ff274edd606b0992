"""A store knows whose it is."""

from pathlib import Path

import pytest

from aggregator.engine.halt import Halt, HaltReason
from aggregator.engine.stores import Memory, Stores, owner_of

OURS = {"app_id": "tally", "topic_prefix": "a-", "cluster_id": "c1"}


def stores(directory: Path, **changes: str) -> Stores:
    return Stores(Memory(8, 8), directory, owner_of(**{**OURS, **changes}))


def test_a_store_is_opened_again_by_its_own_deployment(tmp_path: Path) -> None:
    for value in (None, b"1"):
        store = stores(tmp_path).open("partition-0")
        assert store.get(b"M") == value
        store.put(b"M", b"1")
        store.close()


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"app_id": "other"}, "'other'"), ({"topic_prefix": "b-"}, "'b-'"), ({"cluster_id": "c2"}, "'c2'")],
)
def test_a_store_of_another_deployment_halts(tmp_path: Path, changes: dict[str, str], word: str) -> None:
    stores(tmp_path).open("partition-0").close()
    with pytest.raises(Halt, match=word) as halt:
        stores(tmp_path, **changes).open("partition-0")
    assert halt.value.reason is HaltReason.STATE_OF_ANOTHER
    stores(tmp_path).open("partition-0").close()


def test_a_store_of_another_partition_halts(tmp_path: Path) -> None:
    stores(tmp_path).open("partition-0").close()
    (tmp_path / "partition-0").rename(tmp_path / "partition-1")
    with pytest.raises(Halt, match=r"that of store 'partition-0'.*needs that of store 'partition-1'"):
        stores(tmp_path).open("partition-1")


def test_a_store_of_another_version_is_built_anew(tmp_path: Path) -> None:
    unversioned = Memory(8, 8).open(tmp_path / "partition-0")
    unversioned.put(b"M", b"1")
    unversioned.close()
    store = stores(tmp_path).open("partition-0")
    assert store.get(b"M") is None
    store.close()
    stores(tmp_path).open("partition-0").close()


def test_a_store_in_use_halts(tmp_path: Path) -> None:
    store = stores(tmp_path).open("partition-0")
    with pytest.raises(Halt) as halt:
        stores(tmp_path).open("partition-0")
    assert halt.value.reason is HaltReason.STATE_LOCKED
    store.close()


def test_a_store_whose_files_are_damaged_halts_and_may_be_deleted(tmp_path: Path) -> None:
    stores(tmp_path).open("partition-0").close()
    for manifest in (tmp_path / "partition-0").glob("MANIFEST-*"):
        manifest.write_bytes(manifest.read_bytes()[:10])
    with pytest.raises(Halt, match="can't be opened") as halt:
        stores(tmp_path).open("partition-0")
    assert halt.value.reason is HaltReason.STATE_FAILED
