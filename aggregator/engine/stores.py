"""The RocksDB stores of a process: what they share, and whose each of them is.

A store is a cache of one partition (or of the catalog) of one deployment on one cluster. Opened for another it would
be a state that nobody's log accounts for; so it remembers whose it is, under the key H, and halts anybody else.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBufferManager

from aggregator.engine.halt import Halt, HaltReason

log = logging.getLogger(__name__)

STATE_VERSION = 1
"""Of what stands in a store. One of another version is deleted and built anew from the log."""
_HOME = b"H"


class _Halting:
    """A store that fails stops the process: a record must never be refused for a broken disk."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception):  # rocksdict raises bare Exceptions
            raise Halt(HaltReason.STATE_FAILED, f"RocksDB failed ({error})") from error


halting = _Halting()
"""A context manager without a state: where a store is asked for one key after the other, its cost is seen."""


class Memory:
    """What all stores of a process share: block cache and write buffers, whatever the number of partitions."""

    def __init__(self, cache_mib: int, write_buffer_mib: int) -> None:
        self._cache = Cache(cache_mib << 20)
        self._buffers = WriteBufferManager.new_write_buffer_manager_with_cache(
            write_buffer_mib << 20, allow_stall=False, cache=self._cache
        )

    def open(self, path: Path) -> Rdict:
        """The store in a directory. Raises Halt where another process has it open, or it can't be read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = BlockBasedOptions()
        blocks.set_bloom_filter(10, False)
        blocks.set_block_cache(self._cache)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_manager(self._buffers)
        options.set_write_buffer_size(64 << 20)
        options.set_max_background_jobs(2)
        options.set_allow_concurrent_memtable_write(False)
        options.set_enable_write_thread_adaptive_yield(False)
        options.set_memtable_prefix_bloom_ratio(0.1)
        options.set_memtable_whole_key_filtering(True)
        options.set_block_based_table_factory(blocks)
        try:
            return Rdict(str(path), options=options)
        except Exception as error:  # rocksdict raises bare Exceptions
            if "lock" in str(error).lower():
                raise Halt(HaltReason.STATE_LOCKED, f"The store {path} is in use") from error
            raise Halt(HaltReason.STATE_FAILED, f"The store {path} can't be opened ({error})") from error


class Stores:
    """The stores of one worker, in its state directory."""

    def __init__(self, memory: Memory, directory: Path, owner: Mapping[str, str]) -> None:
        self._memory = memory
        self._directory = directory
        self._owner = owner

    def open(self, name: str) -> Rdict:
        """The store of this name. Raises Halt where it is another deployment's, or in use."""
        path = self._directory / name
        store = self._memory.open(path)
        with halting:
            kept = store.get(_HOME)
            if kept is None and next(iter(store.keys()), None) is None:
                kept = self._home(name)
                store.put(_HOME, kept)
        home = {} if kept is None else json.loads(kept)
        if home.pop("version", None) != STATE_VERSION:
            store.close()
            return self._anew(path, name)
        own = {"store": name, **self._owner}
        if home != own:
            store.close()
            what = f"The state in {path} is that of {_described(home)}, and this worker needs that of {_described(own)}"
            raise Halt(HaltReason.STATE_OF_ANOTHER, what)
        return store

    def _anew(self, path: Path, name: str) -> Rdict:
        log.warning("%s holds a state of another version, which is deleted and built anew from the log", path)
        shutil.rmtree(path)
        return self.open(name)

    def _home(self, name: str) -> bytes:
        return json.dumps({"version": STATE_VERSION, "store": name, **self._owner}).encode()


def owner_of(app_id: str, topic_prefix: str, cluster_id: str) -> dict[str, str]:
    """Whose the stores of a deployment are."""
    return {"app": app_id, "prefix": topic_prefix, "cluster": cluster_id}


def _described(home: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in home.items())
