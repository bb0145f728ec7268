"""Reading owners' OpenAPI documents within bounds: a large one in a process of its own.

That process has a ceiling on memory and on time, and one document is read at a time. Pure; knows no
table.
"""

import json
import resource
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from typing import Any

from ostiary.directory.catalog import openapi
from ostiary.directory.catalog.openapi import BadDocument, Document, Noted, Operation, Skipped
from ostiary.directory.catalog.openapi_operations import Specification

#: Bytes up to which a document is read here and now.
SMALL = 1024 * 1024
#: Processor seconds and bytes of memory of the process that reads a large one.
SECONDS = 60
MEMORY = 2 * 1024**3
#: Seconds that somebody waits while the document of another is read.
PATIENCE = 30
_COMMAND: tuple[str, ...] = (sys.executable, "-m", "ostiary.directory.catalog.documents")
_TOO_LONG = BadDocument(f"The document takes more than {SECONDS} seconds to read.")
_TOO_LARGE = BadDocument("The document needs too much memory to be read.")
_turn = threading.Lock()


def read(content: str, form: str) -> Document:
    """Read a document; `form` is `json` or `yaml`. Raises BadDocument."""
    if len(content) <= SMALL:
        return openapi.read(content, form)
    raw = content.encode(errors="replace")
    if len(raw) > openapi.LARGEST:
        raise BadDocument(openapi.TOO_LARGE)
    if not _turn.acquire(timeout=PATIENCE):
        raise BadDocument("The document of somebody else is being read; try again.")
    try:
        return _elsewhere(raw, form)
    finally:
        _turn.release()


def _elsewhere(raw: bytes, form: str) -> Document:
    try:
        done = subprocess.run(
            [*_COMMAND, form],
            input=raw,
            capture_output=True,
            timeout=2 * SECONDS,
            check=False,
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise _TOO_LONG from None
    except ValueError:
        # It was killed: by its ceiling on time, or for the memory that it took.
        raise (_TOO_LONG if done.returncode == -signal.SIGXCPU else _TOO_LARGE) from None
    if "bad" in answer:
        raise BadDocument(answer["bad"])
    return _document(answer)


def _document(answer: dict[str, Any]) -> Document:
    read = Document(**answer)
    return replace(
        read,
        operations=tuple(Operation(**each) for each in answer["operations"]),
        skipped=tuple(Skipped(**each) for each in answer["skipped"]),
        notes=tuple(Noted(**each) for each in answer["notes"]),
        specification=Specification(**kept) if (kept := answer["specification"]) else None,
    )


def _answer(read: Document) -> dict[str, Any]:
    """A document to be written as JSON. What is kept of it is large, so it isn't copied."""
    kept = read.specification
    answer = asdict(replace(read, specification=None))
    if kept is not None:
        answer["specification"] = {
            "tags": kept.tags, "schemas": kept.schemas, "operations": kept.operations,
        }  # fmt: skip
    return answer


def main() -> None:
    """Read the document on standard input, and write what it says as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    answer: dict[str, Any]
    try:
        content = sys.stdin.buffer.read().decode()
        answer = _answer(openapi.read(content, sys.argv[1]))
    except BadDocument as error:
        answer = {"bad": str(error)}
    except MemoryError:
        answer = {"bad": str(_TOO_LARGE)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
