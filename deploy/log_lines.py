"""How a process writes its log: a JSON object a line, or text for a person, on stderr; the same fields in both.

The code logs through the standard library, so that whoever uses the producer library has its log where the rest of
theirs is; structlog is only what makes lines of it here. Whatever else goes wrong, no line holds a secret: what looks
like one is replaced last, in the message, in each field and in tracebacks.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from structlog.typing import EventDict, Processor

from deploy.metrics import LOGGED

OWN: Final = ("schemas", "ingest", "aggregator", "deploy")
"""The packages that TALLY_LOG_LEVEL speaks of. Libraries only warn: their lines for debugging hold whole requests."""

TRIED_AGAIN: Final = ("aiokafka", "faust", "mode")
"""What these call an error, they try again, or what they raise ends the process, and our own code says so."""

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("auto", "json", "text")

_FIRST: Final = ("time", "level", "part", "logger", "message")

_SECRETS: Final = (
    (re.compile(r"(://[^\s:/@]*):[^\s/]*@"), r"\1:***@"),
    (re.compile(r"\btally_[A-Za-z0-9_-]{43}"), "tally_***"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]+"), "whsec_***"),
    (re.compile(r"(?i)\b(bearer|basic) +[A-Za-z0-9._~+/=-]+"), r"\1 ***"),
    (re.compile(r"(?i)\b(password|authorization)(['\"]?\s*[=:]\s*)(?!basic|bearer)\S+"), r"\1\2***"),
)


class LogSettings(BaseSettings):
    """How much a process logs, and in which form."""

    model_config = SettingsConfigDict(env_prefix="TALLY_", extra="ignore", frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="how much a process logs to stderr"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto",
        description="json: an object a line; text: for a person; auto: json for a part whose stderr is no terminal",
    )

    def writes_json(self, is_part: bool, stream: TextIO) -> bool:
        """Whether lines are JSON. What a command logs is for who called it."""
        return self.log_format == "json" or (self.log_format == "auto" and is_part and not stream.isatty())


def write_log(settings: LogSettings, name: str, is_part: bool, stream: TextIO) -> bool:
    """Write the log of this process, the part or command of this name, there from now on; returns whether as JSON."""
    as_json = settings.writes_json(is_part, stream)
    handler = logging.StreamHandler(stream)
    handler.addFilter(_weigh)
    handler.setFormatter(_formatter(name, as_json, has_colors=stream.isatty()))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for package in OWN:
        logging.getLogger(package).setLevel(settings.log_level.upper())
    if not is_part:
        # What aiokafka logs as an error, a command says itself, in words that tell what to do.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return as_json


def redacted(text: str) -> str:
    """The text without what looks like a secret."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _shown(value: object) -> object:
    """A field as it is written: whatever is no number may hold a secret."""
    return value if value is None or isinstance(value, int | float) else redacted(str(value))


def _weigh(record: logging.LogRecord) -> bool:
    """Give a line the level that it has for us, and count it. An error is a loss or a halt."""
    if record.levelno >= logging.ERROR and record.name.partition(".")[0] in TRIED_AGAIN:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    LOGGED.labels(record.levelname.lower()).inc()
    return True


def _formatter(name: str, as_json: bool, has_colors: bool) -> logging.Formatter:
    renderer: Processor = (
        structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=has_colors,
            exception_formatter=structlog.dev.plain_traceback,  # the pretty one shows variables, and with them secrets
            timestamp_key="time",
            event_key="message",
            sort_keys=False,
            pad_event_to=0,
        )
    )

    def in_order(_logger: object, _method: str, fields: EventDict) -> Mapping[str, Any]:
        fields["part"] = name
        first = {key: fields.pop(key) for key in _FIRST if key in fields}
        return {key: _shown(value) for key, value in {**first, **fields}.items()}

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper("iso", utc=True, key="time"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            in_order,
            renderer,
        ],
    )
