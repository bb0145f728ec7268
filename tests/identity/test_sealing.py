"""Sealed values open where they were sealed, and nowhere else."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.identity.sealing import KeyRing, SealingError

RING = KeyRing.new()
SEALED = RING.seal("hush", "t:1:f")


@given(st.text())
def test_what_is_sealed_opens(text: str) -> None:
    sealed = RING.seal(text, "t:1:f")
    assert RING.open(sealed, "t:1:f") == text
    assert text == "" or len(text) < 4 or text not in sealed


def test_a_value_does_not_open_elsewhere_or_changed() -> None:
    sealed = RING.seal("hush", "t:1:f")
    for value, context in ((sealed, "t:2:f"), (sealed[:-2] + "AA", "t:1:f"), ("x.y", "t:1:f")):
        with pytest.raises(SealingError):
            RING.open(value, context)


def test_a_ring_with_a_newer_first_key_opens_what_the_old_one_sealed() -> None:
    sealed = RING.seal("hush", "t:1:f")
    rotated = replace(RING, keys=(*KeyRing.new().keys, *RING.keys))
    assert rotated.open(sealed, "t:1:f") == "hush"
    assert rotated.seal("hush", "t:1:f").split(".")[0] != sealed.split(".")[0]
    with pytest.raises(SealingError):
        RING.open(rotated.seal("hush", "t:1:f"), "t:1:f")


def test_the_file_is_for_us_alone_and_comes_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    ring = KeyRing.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing.load_or_create(path) == ring
    assert "issue_key" not in repr(ring)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"keys": []}', "\x00"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keyring.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SealingError, match="damaged"):
        KeyRing.load(path)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    KeyRing.load_or_create(path)
    os.chmod(path, 0o640)
    with pytest.raises(SealingError, match="chmod 600"):
        KeyRing.load(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SealingError, match="cannot be read"):
        KeyRing.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("sealed", "sentence"),
    [
        ("my-plain-secret", "is not sealed"),
        ("sk_live.secret", "is not sealed"),
        ("deadbeef.AAAA", "has no key 'deadbeef'"),
    ],
    ids=["plain", "plain with a dot", "unknown key"],
)
def test_what_cannot_be_opened_is_one_sentence_without_it(sealed: str, sentence: str) -> None:
    with pytest.raises(SealingError, match=sentence) as caught:
        RING.open(sealed, "t:1:f")
    assert "secret" not in str(caught.value)
    assert str(caught.value).endswith(".")


@given(st.data())
def test_a_change_anywhere_is_noticed(data: st.DataObject) -> None:
    # The last character of base64 has bits that mean nothing.
    position = data.draw(st.integers(0, len(SEALED) - 2))
    char = data.draw(st.sampled_from("Aa0-.\x00ü"))
    changed = SEALED[:position] + char + SEALED[position + 1 :]
    if changed != SEALED:
        with pytest.raises(SealingError):
            RING.open(changed, "t:1:f")


def test_two_seals_of_one_value_differ() -> None:
    assert RING.seal("hush", "t:1:f") != RING.seal("hush", "t:1:f")


def test_those_that_start_together_have_one_ring(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(KeyRing.load_or_create, [path] * 8))
    assert all(ring == rings[0] for ring in rings)
    assert [file.name for file in tmp_path.iterdir()] == ["keyring.json"]


def _content(**changes: object) -> bytes:
    key = "A" * 43
    whole = {"keys": [{"id": "0123abcd", "key": key}], "issue_key": key, "secret_key": "s" * 64}
    return json.dumps(whole | changes).encode()


def test_the_content_that_the_next_test_damages_is_good(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    path.write_bytes(_content())
    path.chmod(0o600)
    assert KeyRing.load(path).issue_key == bytes(32)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"[" * 100_000,
        _content(keys=[]),
        _content(keys=[{"id": 5, "key": "A" * 43}]),
        _content(keys=[{"id": "a.b", "key": "A" * 43}]),
        _content(keys=[{"id": "0123abcd", "key": "A" * 43}] * 2),
        _content(keys=[{"id": "0123abcd", "key": "A" * 40}]),
        _content(issue_key="A" * 42 + "!"),
        _content(issue_key=None),
        _content(secret_key="short"),
    ],
    ids=["bytes", "deep", "none", "number", "dot", "twice", "short", "sign", "null", "secret"],
)
def test_a_ring_that_is_half_right_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keyring.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SealingError, match="damaged"):
        KeyRing.load(path)


def test_a_ring_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SealingError, match="cannot be written"):
        KeyRing.load_or_create(tmp_path / "none" / "keyring.json")
