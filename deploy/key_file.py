"""An API key in a file: the same one after every restart, as long as nobody revokes it."""

import os
import secrets
from pathlib import Path

import asyncpg

from ingest.keys import Scope, bearer_hash, create_key, find_key, live_keys
from schemas.errors import OperatorError


async def ensure_key_file(connection: asyncpg.Connection, file: Path, name: str) -> str:
    """The key that the file holds, if it is a live one; else a new key with all scopes, which is written to it.

    Only the file's owner can read it. Raises OperatorError.
    """
    kept = _kept_key(file)
    key_hash = bearer_hash(f"Bearer {kept}".encode())
    if key_hash is not None and find_key(await live_keys(connection), key_hash) is not None:
        return kept
    async with connection.transaction():  # a key that could not be written is none
        _, key = await create_key(connection, name, list(Scope))
        _keep_key(file, key)
    return key


def _kept_key(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(file, "read", error) from error


def _keep_key(file: Path, key: str) -> None:
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(key + "\n")
        draft.replace(file)
    except OSError as error:
        raise _unusable(file, "written", error) from error


def _unusable(file: Path, how: str, error: Exception) -> OperatorError:
    return OperatorError(f"The key file {file} can't be {how} ({error}): name one in a directory that is yours.")
