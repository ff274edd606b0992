"""`tally bench plot`."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from deploy.bench import curve
from schemas.errors import OperatorError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what 'tally bench curve' has written")
    parser.add_argument(
        "--output", type=Path, default=Path("performance.png"), metavar="PNG", help="the picture (performance.png)"
    )


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw. Raises OperatorError where matplotlib is missing."""
    try:
        plot = import_module("deploy.bench.plot")
    except ModuleNotFoundError as error:
        raise OperatorError(
            f"Drawing needs {error.name}, which is not installed; draw in a checkout after 'make setup'."
        ) from error
    measured = curve.read(arguments.file)
    try:
        plot.draw(measured, arguments.output)
    except OSError as error:
        raise OperatorError(
            f"{arguments.output} can't be written ({error.strerror}); name another --output."
        ) from error
    return {"output": str(arguments.output)}
