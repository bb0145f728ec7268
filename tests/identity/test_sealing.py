"""Sealed values open where they were sealed, and nowhere else."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.identity.sealing import KeyRing, SealingError

RING = KeyRing.new()


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


def test_a_rotated_ring_opens_what_the_old_one_sealed() -> None:
    sealed = RING.seal("hush", "t:1:f")
    rotated = RING.rotated()
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
