"""Closed periods into invoices, each exactly once (design section 6)."""
