"""What `tally recount` prints, and when it speaks of a difference."""

from decimal import Decimal

import pytest

from aggregator.audit.recounted import InvoiceRecount, MeterRecount, PeriodRecount, SubscriptionRecount, Usage
from aggregator.audit.report import Check, Disagreement
from deploy.cli import main
from deploy.commands.recount import report

ONE = Usage(Decimal(1), 1, Decimal("0.25"))
TWO = Usage(Decimal(2), 2, Decimal("0.5"))
OFTEN = ONE._replace(events=2)
NONE = Usage()
WRITTEN = InvoiceRecount(0, "inv", "OPEN", Decimal("0.5"), Decimal("0.5"), "USDC", 3, 7)
DISAGREEMENT = Disagreement(Check.HELD, "A closed period is held.", partition=1, offset=9)


def tokens(recounted: Usage, invoiced: Usage | None, waiting: Usage = NONE) -> MeterRecount:
    return MeterRecount("tokens", recounted, invoiced, waiting)


def period(*meters: MeterRecount, sequences: int = 1, **fields: object) -> PeriodRecount:
    found = PeriodRecount(0, 86_400_000, "plan", "USAGE_BASED", "AUTOMATIC", "USDC", sequences, (3, 7), list(meters))
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def of(*periods: PeriodRecount, disagreements: tuple[Disagreement, ...] = ()) -> SubscriptionRecount:
    positions = {"usage-events": 12, "usage-forwarded": 0, "usage-corrections": 1}
    cut = {"partitions": [{"partition": 0, "positions": positions}], "catalog": 5, "closedPeriods": 4, "closer": 3}
    return SubscriptionRecount("sub", "svc", "user", 0, cut, list(periods), list(disagreements))


@pytest.mark.parametrize(
    ("found", "agrees", "said"),
    [
        (
            period(tokens(TWO, TWO), invoices=[WRITTEN]),
            True,
            "inv 0 OPEN 0.500000 0.500000 3 to 7",
        ),
        (
            period(tokens(ONE, TWO)),
            False,
            "tokens 1 1.000000 2.000000 0.250000 0.500000 0.250000",
        ),
        (
            period(tokens(TWO, ONE)),
            False,
            "tokens 2 2.000000 1.000000 0.500000 0.250000 -0.250000",
        ),
        # too many events in a line that costs the same
        (
            period(tokens(ONE, OFTEN)),
            False,
            "tokens 1 1.000000 1.000000",
        ),
        (period(tokens(ONE, ONE, TWO)), True, "No invoice has this usage yet:"),
        (period(tokens(NONE, NONE, TWO), sequences=0), True, "The period has not closed."),
        (period(tokens(TWO, None)), True, "tokens 2 2.000000 by hand 0.500000 by hand -"),
        (period(invoices=[InvoiceRecount(0, None, None, None, ONE.amount, "USDC", None, None)]), True, "to be written"),
        (period(invoices=[InvoiceRecount(0, "inv", None, None, ONE.amount, "USDC", 1, 2)]), False, "missing"),
        (period(invoices=[InvoiceRecount(None, "inv", "PAID", ONE.amount, None, "EUR", None, None)]), True, "as asked"),
        (period(invoices=[InvoiceRecount(0, "inv", "OPEN", ONE.amount, TWO.amount, "USDC", 1, 2)]), False, "0.500000"),
        (period(disagreements=[DISAGREEMENT]), False, "A closed period is held. partition 1, offset 9"),
        (period(), True, "No usage counts in it."),
        (period(end=None), True, "Period 1970-01-01T00:00:00.000Z for ever"),
    ],
)
def test_only_what_is_not_as_it_must_be_is_a_difference(found: PeriodRecount, agrees: bool, said: str) -> None:
    recount = of(found)
    assert (recount.agrees, recount.wire()["agrees"]) == (agrees, agrees)
    assert said in " ".join("\n".join(report(recount)).split())


def test_a_disagreement_of_no_known_period_counts() -> None:
    recount = of(period(), disagreements=(DISAGREEMENT,))
    assert not recount.agrees
    assert "Of no known period:" in list(report(recount))


def test_a_report_says_up_to_where_it_was_counted() -> None:
    assert list(report(of()))[1:] == [
        "Nothing was counted, closed or invoiced of it.",
        "",
        "Recounted up to these offsets (its own partition is 0):",
        "  partition 0: usage-corrections 1, usage-events 12, usage-forwarded 0",
        "  closed-periods 4, of which the closer has invoiced up to 3",
    ]


def test_a_period_that_is_no_time_is_refused_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["recount", "--subscription", "sub", "--period", "in January"])
    assert stopped.value.code == 2
    assert "'in January' is no time of 2000 to 2100: give one like 2026-01-01T00:00:00Z" in capsys.readouterr().err
