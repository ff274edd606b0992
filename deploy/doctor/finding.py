"""What a check has found, as a value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

NAMED_MAX = 5
"""Of many that have the same thing wrong, a sentence names so many."""


class Outcome(StrEnum):
    """From good to bad."""

    OK = "ok"
    WARN = "warn"
    UNKNOWN = "unknown"
    """It could not be checked."""
    FAIL = "fail"


@dataclass(slots=True, frozen=True)
class Finding:
    """What a check says: a fact, and what to do where it is not as it ought to be."""

    check: str
    outcome: Outcome
    fact: str
    remedy: str = ""

    def __post_init__(self) -> None:
        assert (self.outcome is Outcome.OK) == (self.remedy == ""), "what is wrong comes with what to do"

    def wire(self) -> dict[str, str | None]:
        """The finding as JSON has it."""
        return {
            "check": self.check,
            "outcome": self.outcome.value,
            "fact": self.fact,
            "remedy": self.remedy or None,
        }


Findings = Iterator[Finding]


def ok(check: str, fact: str) -> Finding:
    """It is as it ought to be."""
    return Finding(check, Outcome.OK, fact)


def warn(check: str, fact: str, remedy: str) -> Finding:
    """It works, and a person should know."""
    return Finding(check, Outcome.WARN, fact, remedy)


def fail(check: str, fact: str, remedy: str) -> Finding:
    """Something is wrong."""
    return Finding(check, Outcome.FAIL, fact, remedy)


def unknown(check: str, fact: str, remedy: str) -> Finding:
    """It could not be checked."""
    return Finding(check, Outcome.UNKNOWN, fact, remedy)


def named(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    more = len(names) - NAMED_MAX
    shown = ", ".join(names[:NAMED_MAX])
    return f"{shown} and {more} more" if more > 0 else shown
