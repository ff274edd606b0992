"""Copies of the workers' running totals and ledgers in Postgres, for reading."""
