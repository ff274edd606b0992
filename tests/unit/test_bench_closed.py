"""The benchmark of the closer is worth what its expectation is: that is worked out without the rules it checks."""

from aggregator.closer.assembly import Assembly, Invoice
from deploy.bench.closed import ClosedWorkload, ExpectedInvoices, Row, closed_records
from schemas.decimals import decimal_text


def test_closed_periods_come_to_the_invoices_that_are_expected() -> None:
    for lines in (0, 1, 4):
        expected, found = ExpectedInvoices(), set[Row]()
        records = list(closed_records(ClosedWorkload(periods=50, lines=lines, partitions=3, seed=7), expected))
        assembly = Assembly(0, 0)
        for offset, (_, _, value) in enumerate(records):
            for invoice in assembly.add(offset, value):
                assert isinstance(invoice, Invoice)
                found.update(rows_of(invoice))
        assert len(records) == 50
        assert found == expected.rows


def rows_of(invoice: Invoice) -> set[Row]:
    subscription_id, amount = invoice.part.subscription_id, decimal_text(invoice.bill.amount)
    lines = invoice.bill.lines
    return {
        (subscription_id, amount, line.meter, decimal_text(line.quantity), decimal_text(line.amount), line.event_count)
        for line in lines
    } or {(subscription_id, amount, None, None, None, None)}


def test_the_same_seed_closes_the_same_periods() -> None:
    one, same, other = (list(closed_records(ClosedWorkload(20, 2, 3, seed), ExpectedInvoices())) for seed in (1, 1, 2))
    assert one == same
    assert one != other
