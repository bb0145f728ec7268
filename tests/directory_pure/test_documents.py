"""Large documents are read within bounds, and say what small ones say."""

import json
import sys

import pytest

from ostiary.directory.catalog import documents, openapi
from ostiary.directory.catalog.openapi import BadDocument


def a_large_document(**more: object) -> str:
    """Two megabytes, most of them of what is not looked at."""
    schema = {"type": "object", "description": "x" * 2000}
    answer = {"content": {"application/json": {"schema": schema}}}
    item = {"get": {"summary": "One", "responses": {"200": answer}}, "trace": {}}
    return json.dumps({
        "openapi": "3.0.0",
        "info": {"title": "Large", "version": "7"},
        "servers": [{"url": "https://api.example.com"}],
        "paths": {f"/things/{{id}}/{i}": item for i in range(1000)} | {"/{all+}": {"get": {}}},
        **more,
    })  # fmt: skip


def test_a_large_document_says_the_same_as_a_small_one() -> None:
    text = a_large_document()
    assert len(text) > documents.SMALL
    read = documents.read(text, "json")
    assert read == openapi.read(text, "json")
    assert (len(read.operations), len(read.skipped), len(read.notes)) == (1001, 1000, 1)
    assert documents.read(text, "yaml") == read


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (a_large_document(openapi="9"), "does not say openapi"),
        (a_large_document()[:-1], "not valid JSON: see line 1"),
        (" " * (openapi.LARGEST + 1), "larger than 50 MB"),
    ],
    ids=["version", "cut off", "too large"],
)
def test_a_large_document_that_is_none_gets_the_same_sentence(text: str, sentence: str) -> None:
    with pytest.raises(BadDocument, match=sentence):
        documents.read(text, "json")


def test_reading_ends_at_its_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "openapi: 3.0.0\nx:\n" + "- abc\n" * 4_000_000
    for ceiling, sentence in (("MEMORY = 2**26", "too much memory"), ("SECONDS = 1", "to read")):
        program = f"from ostiary.directory.catalog import documents as d; d.{ceiling}; d.main()"
        monkeypatch.setattr(documents, "_COMMAND", (sys.executable, "-c", program))
        with pytest.raises(BadDocument, match=sentence):
            documents.read(text, "yaml")
