"""The file of log lines: every line is read once, however files are exchanged and collectors end."""

import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from ostiary.collector.tail import AT_ONCE, NAME, Tail
from ostiary.usage.recording import Position


class Writer:
    """A worker of nginx: appends to the file that it has open, until it opens it anew."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file: FileIO | None = None
        self.reopen()

    def write(self, *lines: str, end: str = "\n") -> None:
        assert self._file is not None
        self._file.write("".join(f"{line}{end}" for line in lines).encode())

    def reopen(self) -> None:
        self.close()
        self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


class Reader:
    """A collector that stores what it reads, and remembers how far."""

    def __init__(self, folder: Path, *, largest: int = 100, quiet: float = 0) -> None:
        self.folder, self.largest, self.quiet = folder, largest, quiet
        self.lines: list[str] = []
        self.strange = 0
        self.positions: dict[str, Position] = {}
        self.asked = 0
        self.start()

    def start(self) -> None:
        self.tail = Tail(
            self.folder, self.positions, reopen=self._reopen,
            largest=self.largest, quiet=self.quiet,
        )  # fmt: skip

    def _reopen(self) -> bool:
        self.asked += 1
        return True

    def restart(self) -> None:
        self.tail.close()
        self.start()

    def read(self, *, most: int = 1000) -> None:
        while most and (piece := self.tail.next()) is not None:
            self.lines += piece.lines
            self.strange += piece.strange
            self.positions[piece.identity] = Position(
                identity=piece.identity, offset=piece.end, timed=piece.end
            )
            self.tail.taken(piece)
            most -= 1

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path)
    yield writer
    writer.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.tail.close()


def test_there_may_be_no_file_and_no_folder(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "none", {}, reopen=lambda: False)
    assert tail.next() is None
    tail.tidy()
    tail.close()


def test_lines_are_read_when_they_are_whole(writer: Writer, reader: Reader) -> None:
    writer.write("half", end="")
    reader.read()
    assert reader.lines == []
    writer.write("", "b")
    reader.read()
    assert reader.lines == ["half", "b"]


def test_a_piece_comes_again_until_it_is_taken(writer: Writer, reader: Reader) -> None:
    writer.write("a")
    assert reader.tail.next() == reader.tail.next() is not None
    reader.read()
    assert reader.tail.next() is None


def test_many_lines_come_in_parts(writer: Writer, reader: Reader) -> None:
    wanted = [f"line {number}" for number in range(AT_ONCE * 2 + 5)]
    writer.write(*wanted)
    piece = reader.tail.next()
    assert piece is not None
    assert len(piece.lines) == AT_ONCE
    reader.read()
    assert reader.lines == wanted


def test_a_collector_goes_on_where_the_one_before_it_was(writer: Writer, reader: Reader) -> None:
    writer.write("a", "b")
    reader.read()
    writer.write("c")
    reader.restart()
    reader.read()
    assert reader.lines == ["a", "b", "c"]


def test_lines_that_are_stored_and_not_timed_come_again_and_say_so(
    writer: Writer, reader: Reader
) -> None:
    writer.write("a", "b")
    reader.read()
    (identity,) = reader.positions
    reader.positions[identity] = Position(identity=identity, offset=4, timed=2)
    writer.write("c")
    reader.restart()
    pieces = []
    while (piece := reader.tail.next()) is not None:
        pieces.append((piece.lines, piece.is_stored))
        reader.tail.taken(piece)
    assert pieces == [(["b"], True), (["c"], False)]


def test_a_large_file_is_exchanged_and_deleted_when_nobody_writes_to_it(
    writer: Writer, reader: Reader
) -> None:
    writer.write("a" * 200)
    reader.read()
    reader.tail.tidy()
    assert (reader.files(), reader.asked >= 1) == ([f"{NAME}.1"], True)
    writer.write("b")
    reader.read()
    reader.tail.tidy()
    assert reader.files() == [f"{NAME}.1"]
    writer.reopen()
    writer.write("c")
    reader.read()
    reader.tail.tidy()
    assert reader.files() == [NAME]
    assert len(reader.tail.gone) == 1
    assert reader.lines == ["a" * 200, "b", "c"]


def test_nginx_is_asked_again_while_there_is_no_new_file(writer: Writer, reader: Reader) -> None:
    writer.write("a" * 200)
    reader.read()
    for _ in range(3):
        reader.tail.tidy()
    assert reader.asked >= 3


def test_a_file_that_grows_is_not_deleted(writer: Writer, tmp_path: Path) -> None:
    reader = Reader(tmp_path, quiet=3600)
    writer.write("a" * 200)
    reader.read()
    reader.tail.tidy()
    writer.reopen()
    reader.read()
    reader.tail.tidy()
    assert reader.files() == [NAME, f"{NAME}.1"]
    reader.tail.close()


def test_files_of_a_former_run_are_read_the_oldest_first(writer: Writer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.9").write_text("a\n")
    (tmp_path / f"{NAME}.10").write_text("b\n")
    (tmp_path / f"{NAME}.old").write_text("no number: not ours\n")
    writer.write("c")
    reader = Reader(tmp_path)
    reader.read()
    reader.tail.tidy()
    assert reader.lines == ["a", "b", "c"]
    assert reader.files() == [NAME, f"{NAME}.old"]
    reader.tail.close()


def test_an_inode_that_is_used_again_is_another_file(tmp_path: Path) -> None:
    """As the same file is, with another first line."""
    path = tmp_path / NAME
    path.write_text("a\nb\n")
    reader = Reader(tmp_path)
    reader.read()
    reader.tail.close()
    inode = path.stat().st_ino
    with path.open("r+") as file:
        file.write("c\nd\n")
    assert path.stat().st_ino == inode
    reader.start()
    reader.read()
    assert reader.lines == ["a", "b", "c", "d"]
    reader.tail.close()


def test_a_file_that_is_cut_is_read_from_its_start(writer: Writer, reader: Reader) -> None:
    writer.write("a", "b")
    reader.read()
    os.truncate(reader.folder / NAME, 0)
    reader.read()
    writer.write("c")
    reader.read()
    assert reader.lines == ["a", "b", "c"]


def test_a_file_that_somebody_else_renames_is_read_to_its_end(
    writer: Writer, reader: Reader
) -> None:
    writer.write("a")
    reader.read()
    (reader.folder / NAME).rename(reader.folder / "mine")
    writer.write("b")
    reader.read()
    writer.reopen()
    writer.write("c")
    reader.read()
    reader.tail.tidy()
    assert reader.lines == ["a", "b", "c"]
    assert reader.files() == [NAME, "mine"]


def test_what_is_no_line_is_skipped_and_counted(writer: Writer, reader: Reader) -> None:
    """A crash of the machine leaves zeros in a file."""
    writer.write("\0" * 3_000_000, end="")
    writer.write("", "a\0b")
    reader.read()
    assert reader.lines[-1] == "a?b"
    assert reader.strange >= 5


def test_a_last_line_without_an_end_is_counted_as_lost(writer: Writer, reader: Reader) -> None:
    writer.write("a" * 200)
    writer.write("half", end="")
    reader.read()
    reader.tail.tidy()
    writer.reopen()
    reader.tail.tidy()
    assert reader.tail.torn == 1
