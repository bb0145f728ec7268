"""`ostiary import-credentials`: access profiles of credentials that consumers already have, from a CSV file.

A value in the file stays on this machine: the API gets its SHA-256.
"""

import argparse
import csv
import io
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ostiary.cli.commands import objects
from ostiary.cli.failure import Failure
from ostiary.cli.remote import output, values
from ostiary.cli.remote.management_api import ApiRefusal, ManagementApi
from ostiary.cli.remote.nouns.declarations import Option, OptionKind
from ostiary.identity import tokens
from ostiary.settings import Settings

#: Rows of one call; each call is one transaction.
PER_CALL = 200
#: Problems that are shown.
MOST_SHOWN = 50

NEEDED = ("client", "collections")
COLUMNS = (*NEEDED, "profile", "token", "token_sha256", "policy_id", "expires_at")
_EXPIRY = Option(name="expires_at", kind=OptionKind.TIME, help="")
_PLACE = re.compile(r"rows\.([0-9]+)\.?(.*)")


@dataclass(kw_only=True)
class Read:
    """The rows of a file as the API takes them, their lines, and what is wrong with others."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Check every row, and with `--apply` import them; raises Failure with the lines that do not fit."""
    read = read_csv(values.read_file(arguments.file), datetime.now(UTC))
    body = {"create_clients": arguments.create_clients}
    if arguments.project_id is not None:
        body["project_id"] = int(arguments.project_id)
    with objects.connected(arguments, settings) as api:
        checked, problems = _checked(api, body, read)
        problems = sorted([*read.problems, *problems], key=_line_of)
        if problems:
            raise Failure("\n  ".join(["Nothing was imported.", *_first(problems)]))
        if arguments.apply:
            checked = _applied(api, body, read)
    _show(arguments, read, checked)


def read_csv(text: str, now: datetime) -> Read:
    """The rows of a file; values become their SHA-256. Raises Failure for a wrong heading."""
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    read, seen = Read(), dict[str, int]()
    try:
        heading = [name.strip().lower() for name in next(lines, [])]
        _check_heading(heading)
        for cells in lines:
            # A quoted cell may have line ends: the line is that of the row's end.
            number = lines.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(heading):
                read.problems.append(f"line {number}: has {len(cells)} columns, not {len(heading)}")
                continue
            given = {n: c.strip() for n, c in zip(heading, cells, strict=True) if c.strip()}
            problems = list(_row_into(read, given, number, seen, now))
            read.problems += [f"line {number}: {each}" for each in problems]
    except csv.Error:
        # Not repeated: it may hold a part of a token.
        raise Failure(f"Line {lines.line_num} is not CSV: look at its quotes.") from None
    if not read.rows and not read.problems:
        raise Failure("There is no row to import.")
    return read


def _check_heading(heading: list[str]) -> None:
    unknown = [name for name in heading if name not in COLUMNS]
    missing = [name for name in NEEDED if name not in heading]
    twice = [name for name in heading if heading.count(name) > 1]
    if unknown or missing or twice or not {"token", "token_sha256"} & set(heading):
        # Not repeated: a file without a heading begins with a credential.
        raise Failure(
            f"The first line must name the columns: {', '.join(NEEDED)}, token or token_sha256, and if you"
            " like profile, policy_id and expires_at; each once."
        )


def _row_into(
    read: Read, given: Mapping[str, str], line: int, seen: dict[str, int], now: datetime
) -> Iterator[str]:
    """Add a row, or say what is wrong with it; never with the value itself."""
    digest, problem = _digest(given)
    if problem:
        yield problem
        return
    if digest in seen:
        yield f"has the token of line {seen[digest]}"
        return
    seen[digest] = line
    row: dict[str, Any] = {
        "client": given.get("client", ""),
        "collections": re.split(r"[\s;]+", given.get("collections", "")),
        "token_sha256": digest,
    }
    if "profile" in given:
        row["profile"] = given["profile"]
    if "policy_id" in given:
        row["api_policy_id"] = given["policy_id"]
    if "expires_at" in given:
        try:
            row["expires_at"] = values.value(_EXPIRY, given["expires_at"], now)
        except Failure as failure:
            yield str(failure).removeprefix("--").rstrip(".")
            return
    read.rows.append(row)
    read.lines.append(line)


def _digest(given: Mapping[str, str]) -> tuple[str, str]:
    """The SHA-256 of a row's token in hex, and what is wrong with it."""
    token, digest = given.get("token"), given.get("token_sha256")
    if (token is None) == (digest is None):
        return "", "give the token or its SHA-256, and not both"
    if digest is not None:
        parsed = tokens.parse_digest(digest)
        return (parsed.hex(), "") if parsed else ("", "token_sha256 must be 64 hex characters")
    problem = tokens.problem_with_import(token or "")
    return ("", f"token {problem}") if problem else (tokens.fingerprint(token or "").hex(), "")


def _checked(
    api: ManagementApi, body: Mapping[str, Any], read: Read
) -> tuple[list[dict[str, Any]], list[str]]:
    """What each row would make, and what is wrong, by line."""
    made: list[dict[str, Any]] = []
    problems: list[str] = []
    for start in range(0, len(read.rows), PER_CALL):
        rows = read.rows[start : start + PER_CALL]
        try:
            answer = api.call("POST", "v2/credential_imports", body={**body, "rows": rows})
        except ApiRefusal as refused:
            if not refused.errors:
                raise
            problems += _by_line(refused, read.lines[start:])
        else:
            made += answer["data"]["rows"]
    return made, problems


def _by_line(refused: ApiRefusal, lines: list[int]) -> Iterator[str]:
    for place, sentences in refused.errors.items():
        found = _PLACE.fullmatch(place)
        where = f"line {lines[int(found[1])]}" if found else place
        name = f"{found[2]} " if found and found[2] else ""
        yield from (f"{where}: {name}{sentence}" for sentence in sentences)


def _applied(api: ManagementApi, body: Mapping[str, Any], read: Read) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for start in range(0, len(read.rows), PER_CALL):
        rows = read.rows[start : start + PER_CALL]
        try:
            answer = api.call(
                "POST", "v2/credential_imports", body={**body, "rows": rows, "apply": True}
            )
        except Failure as failure:
            if not made:
                raise
            last = read.lines[start - 1]
            raise Failure(
                f"The rows up to line {last} were imported, those after it were not: {failure}"
            ) from failure
        made += answer["data"]["rows"]
        for warning in answer["warnings"]:
            sys.stderr.write(f"Warning: {warning}\n")
    return made


def _show(arguments: argparse.Namespace, read: Read, made: list[dict[str, Any]]) -> None:
    rows = [{"line": line, **row} for line, row in zip(read.lines, made, strict=True)]
    if arguments.output == "json":
        sys.stdout.write(output.json_text({"applied": arguments.apply, "rows": rows}))
        return
    columns = ("line", "api_client", "new_client", "access_profile", "access_profile_id")
    sys.stdout.write(output.rows_text(rows, columns if arguments.apply else columns[:-1]))
    many = f"{len(rows)} access profile{'s' if len(rows) != 1 else ''}"
    new = len({row["api_client"] for row in rows if row["new_client"]})
    also = f" and {new} client{'s' if new != 1 else ''}" if new else ""
    sys.stdout.write(
        f"{many}{also} made.\n"
        if arguments.apply
        else f"{many}{also} would be made. Nothing was saved; --apply makes them.\n"
    )


def _line_of(problem: str) -> int:
    found = re.match(r"line ([0-9]+)", problem)
    return int(found[1]) if found else 0


def _first(problems: list[str]) -> list[str]:
    more = len(problems) - MOST_SHOWN
    return [*problems[:MOST_SHOWN], *([f"and {more} more"] if more > 0 else [])]
