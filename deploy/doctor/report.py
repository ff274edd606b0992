"""All findings of an examination, for a person and for a program."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.doctor.finding import Finding, Outcome

EXIT_CODES = {Outcome.OK: 0, Outcome.WARN: 0, Outcome.UNKNOWN: 2, Outcome.FAIL: 1}
ORDER = tuple(Outcome)
COLORS = {Outcome.OK: 32, Outcome.WARN: 33, Outcome.UNKNOWN: 35, Outcome.FAIL: 31}
"""As terminals number them: green, yellow, magenta, red."""
WIDTH_MIN = 60


@dataclass(slots=True, frozen=True)
class Report:
    """The findings, in the order in which the checks were made."""

    findings: Sequence[Finding]

    @property
    def worst(self) -> Outcome:
        """What is wrong goes before what could not be checked, which goes before what a person should know."""
        return max((finding.outcome for finding in self.findings), key=ORDER.index, default=Outcome.OK)

    @property
    def exit_code(self) -> int:
        """0 where nothing is wrong, 1 where something is, 2 where all that could be checked is as it ought to be."""
        return EXIT_CODES[self.worst]

    @property
    def summary(self) -> str:
        """How many checks came to what, worst first."""
        counts = Counter(finding.outcome for finding in self.findings)
        return ", ".join(f"{counts[outcome]} {outcome}" for outcome in reversed(ORDER) if counts[outcome])

    def wire(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {"outcome": self.worst.value, "findings": [finding.wire() for finding in self.findings]}

    def lines(self, width: int, *, colored: bool) -> Iterator[str]:
        """A table: outcome, check, fact, and beneath it what to do."""
        checks = max((len(finding.check) for finding in self.findings), default=0)
        margin = len(Outcome.UNKNOWN) + 2 + checks + 2
        for finding in self.findings:
            beginning = f"{finding.outcome:<{len(Outcome.UNKNOWN)}}  {finding.check:<{checks}}  "
            texts = [finding.fact, *([f"-> {finding.remedy}"] if finding.remedy else [])]
            wrapped = [line for text in texts for line in _wrapped(text, max(width, WIDTH_MIN) - margin)]
            for number, line in enumerate(wrapped):
                before = beginning if number == 0 else " " * margin
                yield (_colored(before, finding.outcome) if colored and number == 0 else before) + line


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False)


def _colored(text: str, outcome: Outcome) -> str:
    length = len(outcome)
    return f"\x1b[{COLORS[outcome]}m{text[:length]}\x1b[0m{text[length:]}"
