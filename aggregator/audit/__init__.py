"""An independent recount of everything that Tally says: from the log, beside the log and Postgres.

Its worth is that it shares nothing. It imports no other part of Tally (tests/test_tidy.py holds it), only the names of
topics, settings, reasons and errors; and it does by other means what the engine does: JSON by the standard library,
decimals that trap what is not exact, prices as fractions, billing periods looked up among written-down boundaries,
duplicates found by sorting on disk. What both have in common is the contract.

    cut -> Postgres' rows and the catalog into temporary databases
        -> of each partition: sources judged record by record, verdicts beside them, keys settled, sums
        -> totals, closed periods, invoices, copies beside the sums
        -> what was forwarded between the partitions

The recount of one subscription goes the same way, with a selection before each topic, and ends with what was invoiced
for each of its billing periods.
"""
