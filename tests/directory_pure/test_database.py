"""What a database's error means for whoever asked."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError

from ostiary.directory import database


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("database or disk is full", "disk of the database is full"),
        ("could not extend file: No space left on device", "disk of the database is full"),
        ("database is locked", "busy with another change"),
        ("deadlock detected", "busy with another change"),
        ("canceling statement due to lock timeout", "busy with another change"),
        ("canceling statement due to statement timeout", "took too long"),
        ("couldn't get a connection after 10.00 sec", "no connection free"),
        ("FATAL: sorry, too many clients already", "no connection free"),
        ("attempt to write a readonly database", "cannot be written"),
        ("connection refused: secret", "does not answer"),
    ],
)
def test_an_error_of_the_database_is_a_sentence_that_says_what(said: str, expected: str) -> None:
    sentence = database.trouble(OperationalError(said))
    assert expected in sentence
    assert "secret" not in sentence
    assert database.is_trouble(OperationalError(said))


def test_damage_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_damaged", [])
    assert not database.damage()
    database.trouble(DatabaseError("database disk image is malformed"))
    assert "restore a backup" in database.damage()


@pytest.mark.parametrize("error", [IntegrityError("x"), DataError("x"), ValueError("x"), None])
def test_what_was_asked_wrongly_is_no_trouble_of_the_database(error: Exception | None) -> None:
    assert not database.is_trouble(error)


def test_a_connection_that_is_gone_is_a_trouble() -> None:
    assert database.trouble(InterfaceError("connection already closed")) == database.OTHERWISE


def test_a_look_at_a_file_finds_damage_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_damaged", [])
    file = tmp_path / "a b.sqlite3"
    with closing(sqlite3.connect(file)) as made:
        made.execute("CREATE TABLE t (x TEXT)")
        made.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 100)
        made.commit()
    database.look(tmp_path / "none.sqlite3")
    assert not (tmp_path / "none.sqlite3").exists()
    database.look(file)
    assert not database.damage()
    with file.open("r+b") as pages:
        pages.seek(4096 * 5)
        pages.write(b"\xa5" * 4096)
    database.look(file)
    assert "restore a backup" in database.damage()
