"""What each process may do in the database: exactly what the migrations grant.

What they grant is read from their text, so that it is written once. `GRANT ... ON tables TO role` is all they use;
`granted` raises where it finds a grant that it does not understand.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import asyncpg

from deploy.doctor.database import SQL
from deploy.doctor.finding import Finding, fail, named, ok
from deploy.migrate import Migration

OF_COLUMNS: Final = ("SELECT", "INSERT", "UPDATE")

_COMMENT = re.compile(r"--[^\n]*")
_GRANT = re.compile(r"^GRANT\s+(.+?)\s+ON\s+([\w\s,]+?)\s+TO\s+(\w+);", re.MULTILINE | re.DOTALL)
_ANY_GRANT = re.compile(r"^(?:GRANT|REVOKE)\b", re.MULTILINE)
_PRIVILEGE = re.compile(r"\s*(\w+)(?:\s*\(([^)]*)\))?\s*(?:,|$)")


class Privilege(NamedTuple):
    """A role may do this to a table; `column` None: to the table as a whole."""

    role: str
    table: str
    privilege: str
    column: str | None


class Grant(NamedTuple):
    """As a migration has it; no columns: all of the table's."""

    role: str
    table: str
    privilege: str
    columns: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Access:
    """What roles can do in effect, the columns of each table, and the roles that this user lacks or can't take."""

    privileges: frozenset[Privilege]
    columns: Mapping[str, Sequence[str]]
    absent: Sequence[str]
    untakeable: Sequence[str]


async def find_access(connection: asyncpg.Connection, names: Sequence[str]) -> Access:
    """Ask the database about the roles of these names."""
    roles = await connection.fetch(SQL["roles"], names)
    privileges = await connection.fetch(SQL["privileges"], names)
    columns: dict[str, list[str]] = {}
    for row in await connection.fetch(SQL["columns"]):
        columns.setdefault(row["table"], []).append(row["column"])
    return Access(
        frozenset(Privilege(row["role"], row["table"], row["privilege"], row["column"]) for row in privileges),
        columns,
        [row["role"] for row in roles if not row["exists"]],
        [row["role"] for row in roles if row["exists"] and not row["can_be_taken"]],
    )


def granted(migrations: Iterable[Migration]) -> list[Grant]:
    """All that the migrations grant."""
    grants: list[Grant] = []
    for migration in migrations:
        text = _COMMENT.sub("", migration.sql)
        found = _GRANT.findall(text)
        assert len(found) == len(_ANY_GRANT.findall(text)), f"{migration.name} has a grant that is not understood"
        for privileges, tables, role in found:
            for privilege, columns in _PRIVILEGE.findall(privileges):
                names = tuple(name.strip() for name in columns.split(",")) if columns else ()
                grants += [Grant(role, table.strip(), privilege, names) for table in tables.split(",")]
    return grants


def roles_of(grants: Iterable[Grant]) -> list[str]:
    """Whom they are for."""
    return sorted({grant.role for grant in grants})


def judge_access(access: Access, grants: Sequence[Grant]) -> Iterator[Finding]:
    """Whether each role can do what it must, and nothing else."""
    check = "roles"
    if access.absent:
        yield fail(
            check,
            f"there is no role {named(access.absent)}",
            "Roles belong to the server, and a dump of a database has none: make them by the statements of"
            " the migrations in schemas/sql that create them, then make the grants named below.",
        )
    if access.untakeable:
        yield fail(
            check,
            f"this user can't take the role {named(access.untakeable)}: the parts that connect as it can't work",
            f"GRANT {', '.join(access.untakeable)} TO the user of TALLY_DATABASE_URL.",
        )
    expected = set(_expanded(grants, access.columns))
    found = {privilege for privilege in access.privileges if privilege.table in access.columns}
    lacking = _sentences(expected - found, access.columns, "GRANT {} ON {} TO {};")
    excess = _sentences(found - expected, access.columns, "REVOKE {} ON {} FROM {};")
    if lacking and not access.absent:
        yield fail(check, f"a role lacks what its process needs ({len(lacking)})", " ".join(lacking))
    if excess:
        yield fail(
            check,
            f"a role may do more than its process does ({len(excess)}), and a defect could change what is written",
            " ".join(excess) + " Where that changes nothing, PUBLIC or another role has it: see \\dp.",
        )
    if not (access.absent or access.untakeable or lacking or excess):
        yield ok(check, f"{', '.join(roles_of(grants))} may do what the migrations grant, and nothing else")


def _expanded(grants: Iterable[Grant], columns: Mapping[str, Sequence[str]]) -> Iterator[Privilege]:
    """The grants on tables that exist, column by column."""
    for role, table, privilege, some in grants:
        if table not in columns:
            continue
        if privilege in OF_COLUMNS:
            yield from (Privilege(role, table, privilege, column) for column in some or columns[table])
        else:
            yield Privilege(role, table, privilege, None)


def _sentences(privileges: set[Privilege], columns: Mapping[str, Sequence[str]], statement: str) -> list[str]:
    """The statements that would make or take these privileges."""
    of: dict[tuple[str, str, str], list[str]] = {}
    for role, table, privilege, column in privileges:
        of.setdefault((role, table, privilege), []).extend([column] if column else [])
    return [
        statement.format(_with_columns(privilege, some, columns[table]), table, role)
        for (role, table, privilege), some in sorted(of.items())
    ]


def _with_columns(privilege: str, some: Sequence[str], every: Sequence[str]) -> str:
    return privilege if not some or set(some) == set(every) else f"{privilege} ({', '.join(sorted(some))})"
