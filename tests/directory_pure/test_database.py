"""What a database's error means for whoever asked."""

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
