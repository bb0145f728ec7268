"""The control side's way to ask the recipe runner."""

import contextlib
import json
from pathlib import Path
from typing import Any

from ostiary.directory.catalog.recipes import ReportedRecipe, learn
from ostiary.telemetry.unix_http import UnixConnection

SECONDS = 5.0


class RunnerGone(Exception):
    """The recipe runner does not answer."""


def _ask(path: Path, target: str, *, seconds: float = SECONDS) -> dict[str, Any]:
    connection = UnixConnection(path, seconds=seconds)
    try:
        connection.request("GET", target)
        answer = connection.getresponse().read()
        return json.loads(answer)  # type: ignore[no-any-return]  # what JSON holds
    except (OSError, ValueError) as error:
        raise RunnerGone from error
    finally:
        connection.close()


def recipes(path: Path, *, seconds: float = SECONDS) -> list[ReportedRecipe]:
    """What the runner found in its folder; raises RunnerGone."""
    found = _ask(path, "/recipes", seconds=seconds)["recipes"]
    return [ReportedRecipe(**recipe) for recipe in found]


def refresh(path: Path) -> None:
    """Copy the runner's state; while the runner is away, the last known state stays."""
    with contextlib.suppress(RunnerGone):
        learn(recipes(path))


def jobs(path: Path, *, recipe: str = "", limit: int = 100) -> list[dict[str, Any]]:
    """The newest jobs, of one recipe if named (a name is an identifier); raises RunnerGone."""
    return list(_ask(path, f"/jobs?recipe={recipe}&limit={limit}")["jobs"])
