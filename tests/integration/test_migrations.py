"""The tables as a database has them after `tally migrate`, and who may do what with them."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from deploy.migrate import Migration, migrate, migrations
from schemas.errors import OperatorError

INVOICE = """
INSERT INTO invoices (id, source, service_id, payment_plan_id, user_id, subscription_id, status, amount, currency,
    period_start, period_end, sequence, digest, log_partition)
VALUES ($1, 'CLOSER', 's', 'p', 'u', 'sub', 'OPEN', $2, 'USDC', '2026-01-01Z', '2026-02-01Z', 0, 'd', 0)
"""


async def columns_of(connection: asyncpg.Connection, table: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position", table
    )
    return [row["column_name"] for row in rows]


async def test_migrating_again_applies_nothing(database_url: str) -> None:
    assert await migrate(database_url) == [migration.name for migration in migrations()]
    assert await migrate(database_url) == []


async def test_of_two_that_migrate_at_once_one_waits_for_the_other(database_url: str) -> None:
    applied = await asyncio.gather(migrate(database_url), migrate(database_url))
    assert sorted(applied) == [[], [migration.name for migration in migrations()]]


async def test_a_changed_migration_is_refused(database_url: str) -> None:
    first, *others = migrations()
    await migrate(database_url)
    with pytest.raises(OperatorError, match="0001_roles is not the one"):
        await migrate(database_url, [replace(first, sql=first.sql + "SELECT 1;"), *others])


async def test_a_database_newer_than_the_program_is_refused(database_url: str) -> None:
    await migrate(database_url)
    newest = migrations()[-1].version
    with pytest.raises(OperatorError, match=rf"newer than this version of Tally \(it has migration {newest:04d}\)"):
        await migrate(database_url, migrations()[:2])


async def test_a_migration_that_fails_leaves_nothing_behind(database_url: str) -> None:
    broken = Migration(99, "broken", "CREATE TABLE half_made (id int); SELECT no_such_function();")
    with pytest.raises(asyncpg.UndefinedFunctionError):
        await migrate(database_url, [*migrations(), broken])
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT to_regclass('half_made')") is None
        assert await connection.fetchval("SELECT max(version) FROM schema_migrations") < broken.version
    finally:
        await connection.close()


async def test_a_database_that_is_away_is_one_sentence_without_the_password() -> None:
    with pytest.raises(OperatorError, match=r"^Postgres at 127\.0\.0\.1:1 can't be used .* TALLY_DATABASE_URL\.$"):
        await migrate("postgresql://tally:secret@127.0.0.1:1/tally")


async def test_tables_have_the_columns_of_the_contract(database: asyncpg.Connection) -> None:
    """Dashboards read these tables: columns may be added, none may go (contract section 4)."""
    published = {
        "invoices": "id source service_id payment_plan_id user_id subscription_id status amount currency period_start "
        "period_end sequence digest log_partition first_offset last_offset due_at paid_at created_at updated_at",
        "invoice_lines": "invoice_id meter quantity unit_price amount event_count",
        "usage_totals": "subscription_id period_start period_end meter quantity event_count updated_at",
        "ledger": "partition next_offset received accepted duplicate rejected forwarded updated_at",
    }
    for table, names in published.items():
        missing = set(names.split()) - set(await columns_of(database, table))
        assert not missing, table


async def test_an_amount_can_not_be_nan(database: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute(INVOICE.replace("$2", "'NaN'"), "in_1")


async def test_a_period_has_one_invoice_of_a_sequence(database: asyncpg.Connection) -> None:
    await database.execute(INVOICE.replace("$2", "1"), "in_1")
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.execute(INVOICE.replace("$2", "1"), "in_2")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("tally_closer", "UPDATE invoices SET amount = 0"),
        ("tally_closer", "DELETE FROM invoices"),
        ("tally_closer", "UPDATE invoice_lines SET amount = 0"),
        ("tally_closer", "DELETE FROM invoice_lines"),
        ("tally_closer", "TRUNCATE invoices CASCADE"),
        ("tally_closer", "DELETE FROM held_periods"),
        ("tally_closer", "UPDATE catalog_outbox SET payload = '{}'"),
        ("tally_projector", "UPDATE invoices SET amount = 0"),
        ("tally_projector", "SELECT * FROM api_keys"),
        ("tally_closer", "SELECT * FROM webhook_deliveries"),
        ("tally_insights", "UPDATE invoices SET amount = 0"),
        ("tally_insights", "INSERT INTO invoice_lines VALUES ('in_1', 'm', 1, 1, 1, 1)"),
        ("tally_insights", "UPDATE usage_totals SET quantity = 0"),
        ("tally_gateway", "UPDATE invoices SET subscription_id = 'another'"),
        ("tally_gateway", "UPDATE invoices SET sequence = 7"),
        ("tally_gateway", "DELETE FROM invoices"),
        ("tally_gateway", "UPDATE invoice_lines SET amount = 0"),
        ("tally_gateway", "UPDATE invoices SET digest = 'another'"),
        ("tally_gateway", "INSERT INTO invoice_lines VALUES ('in', 'calls', 1, 1, 1, 1)"),
        ("tally_gateway", "DELETE FROM held_periods"),
        ("tally_gateway", "UPDATE ledger SET received = 0"),
        ("tally_gateway", "UPDATE plans SET document = '{}'"),
        ("tally_reader", "SELECT * FROM api_keys"),
        ("tally_reader", "SELECT * FROM plans"),
        ("tally_reader", "UPDATE invoices SET status = 'PAID'"),
        ("tally_reader", "DELETE FROM ledger"),
    ],
)
async def test_a_process_may_not(database: asyncpg.Connection, role: str, statement: str) -> None:
    await database.execute(f"SET ROLE {role}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute(statement)
