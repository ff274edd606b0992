"""The thresholds to watch: a TOML file with a table `[[alert]]` for each rule."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from aggregator.rules.alerting import AlertRule
from aggregator.rules.rates import KEPT_MS, STEP_MS
from schemas.alert import Measure
from schemas.decimals import Quantity
from schemas.errors import OperatorError
from schemas.text import OptionalText, Text
from schemas.timestamps import SECOND_MS

WINDOW_STEP_SECONDS: Final = STEP_MS // SECOND_MS
WINDOW_SECONDS_MAX: Final = KEPT_MS // SECOND_MS
CLEAR_TENTHS: Final = {"above": 9, "below": 11}
"""Where `clear` is not given, the usage must come back by a tenth of the threshold."""

WindowSeconds = Annotated[int, Field(ge=WINDOW_STEP_SECONDS, le=WINDOW_SECONDS_MAX, multiple_of=WINDOW_STEP_SECONDS)]


class _Alert(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    name: Text
    service_id: OptionalText = None
    meter: OptionalText = None
    measure: Measure
    above: Quantity | None = None
    below: Quantity | None = None
    clear: Quantity | None = None
    window_seconds: WindowSeconds = 60

    @model_validator(mode="after")
    def _is_one_way(self) -> "_Alert":
        if (self.above is None) == (self.below is None):
            raise ValueError("write either above or below")
        if self.below is not None and None in (self.service_id, self.meter):
            raise ValueError("below needs serviceId and meter: usage that is not there has no name")
        if self.clear is not None and not self._clear_is_beyond(self.clear):
            raise ValueError("clear must be at or below what is above, or at or above what is below")
        return self

    def _clear_is_beyond(self, clear: int) -> bool:
        return clear <= self.above if self.above is not None else clear >= (self.below or 0)

    def rule(self) -> AlertRule:
        is_below = self.above is None
        threshold = (self.below if is_below else self.above) or 0
        tenths = CLEAR_TENTHS["below" if is_below else "above"]
        return AlertRule(
            name=self.name,
            measure=self.measure,
            threshold=threshold,
            clear=threshold * tenths // 10 if self.clear is None else self.clear,
            window_seconds=self.window_seconds,
            is_below=is_below,
            service_id=self.service_id,
            meter=self.meter,
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    alert: list[_Alert] = []


def read_alert_rules(path: str) -> list[AlertRule]:
    """The rules of the file; none where there is no file to read. Raises OperatorError."""
    if not path:
        return []
    try:
        # Numbers stay the digits that were written, and become exact decimals.
        document: Any = tomllib.loads(Path(path).read_text(encoding="utf-8"), parse_float=str)
        rules = [alert.rule() for alert in _File.model_validate(document).alert]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OperatorError(f"The alerts in {path} can't be read ({error}): mend the file, or TALLY_ALERTS.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(part) for part in first["loc"])
        raise OperatorError(f"In {path}, {place}: {first['msg'].removeprefix('Value error, ')}.") from error
    names = [rule.name for rule in rules]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OperatorError(f"In {path}, two alerts are called {twice[0]}: a name stands for one rule.")
    return rules
