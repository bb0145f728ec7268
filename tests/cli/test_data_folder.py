"""What is claimed before anything starts."""

import contextlib
import fcntl
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ostiary.cli.failure import Failure
from ostiary.cli.startup import data_folder
from ostiary.settings import Settings, load


def a_setting(data: Path) -> Settings:
    return load({"OSTIARY_DATA": str(data)})


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere; nobody may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_data_folder_is_for_us_alone(tmp_path: Path) -> None:
    settings = a_setting(tmp_path / "new" / "data")
    with data_folder.claimed(settings):
        assert (mode(settings.data), mode(settings.run)) == (0o700, 0o700)


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    settings = a_setting(tmp_path)
    with (
        data_folder.claimed(settings),
        pytest.raises(Failure, match=r"^Another Ostiary is running"),
        data_folder.claimed(settings),
    ):
        raise AssertionError("claimed twice")
    with data_folder.claimed(settings):
        pass


def test_recipes_run_beside_a_gateway_and_neither_beside_everything(tmp_path: Path) -> None:
    settings = a_setting(tmp_path)
    with (
        data_folder.claimed(settings, role="gateway"),
        data_folder.claimed(settings, role="recipes"),
    ):
        for role in ("up", "recipes", "gateway"):
            with pytest.raises(Failure), data_folder.claimed(settings, role=role):
                raise AssertionError("claimed twice")
    with data_folder.claimed(settings, role="up"):
        for role in ("gateway", "recipes"):
            with pytest.raises(Failure), data_folder.claimed(settings, role=role):
                raise AssertionError("claimed twice")


def test_the_lock_is_not_inherited(tmp_path: Path) -> None:
    with data_folder.claimed(a_setting(tmp_path)):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with (tmp_path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.communicate(b"\n")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match=r"cannot be made: not a directory; choose another"):
        data_folder.make(a_setting(tmp_path / "file" / "data"))


def test_a_folder_without_rights_is_one_sentence() -> None:
    with (
        as_nobody(),
        pytest.raises(Failure, match=r"/var/lib/x cannot be made: permission denied; choose"),
    ):
        data_folder.make(a_setting(Path("/var/lib/x")))


def test_a_read_only_folder_is_one_sentence() -> None:
    with as_nobody(), tempfile.TemporaryDirectory(dir="/tmp") as name:
        settings = a_setting(Path(name))
        data_folder.make(settings)
        settings.data.chmod(0o500)
        with pytest.raises(Failure, match=r"cannot be written by this user; correct its owner"):
            data_folder.make(settings)
        settings.data.chmod(0o700)


def test_sockets_find_room_where_the_path_of_the_data_folder_is_long(tmp_path: Path) -> None:
    settings = a_setting(tmp_path / ("x" * 90))
    data_folder.make(settings)
    try:
        data_folder.unix_socket(settings.run / "recipes-control.sock").close()
        assert mode(settings.run) == 0o700
        assert a_setting(tmp_path / ("y" * 90)).run != settings.run
    finally:
        shutil.rmtree(settings.run)


def test_sockets_elsewhere_are_gone_when_the_folder_is_let_go(tmp_path: Path) -> None:
    settings = a_setting(tmp_path / ("x" * 90))
    with data_folder.claimed(settings):
        data_folder.unix_socket(settings.run / "x.sock").close()
        # Who comes too late takes nothing away from who is there.
        with pytest.raises(Failure), data_folder.claimed(settings):
            raise AssertionError("claimed twice")
        assert (settings.run / "x.sock").exists()
    assert not settings.run.exists()


def test_who_is_refused_leaves_the_sockets_of_the_recipes_that_run(tmp_path: Path) -> None:
    settings = a_setting(tmp_path / ("x" * 90))
    with data_folder.claimed(settings, role="recipes"):
        (settings.run / "recipes.sock").touch()
        with (
            pytest.raises(Failure, match=r"^Another Ostiary is running"),
            data_folder.claimed(settings, role="up"),
        ):
            raise AssertionError("claimed twice")
        assert (settings.run / "recipes.sock").exists()
    assert not settings.run.exists()


def test_a_folder_of_sockets_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Failure, match=r"belongs to somebody else; remove it\.$"):
        data_folder.make_run(tmp_path / "run")


def test_a_port_in_use_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "PORT_PATIENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Failure, match=rf"^Port {port} on 127\.0\.0\.1 is in use; .*--here\.$"):
            data_folder.tcp_socket(("127.0.0.1", port), "--here")


def test_a_socket_that_was_handed_down_is_taken_as_it_is() -> None:
    with data_folder.tcp_socket(("127.0.0.1", 0), "--here") as sock:
        os.set_inheritable(sock.fileno(), True)
        adopted = data_folder.adopted_socket("gateway", os.dup(sock.fileno()))
        with adopted:
            assert adopted.getsockname() == sock.getsockname()
            assert not adopted.get_inheritable()
            assert not os.get_blocking(adopted.fileno())


def a_pipe() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


def a_unix_socket() -> int:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("")
    sock.listen()
    return sock.detach()


def a_socket_that_does_not_listen() -> int:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock.detach()


@pytest.mark.parametrize(
    "make", [a_pipe, a_unix_socket, a_socket_that_does_not_listen, lambda: 1_000_000]
)
def test_what_is_no_listening_tcp_socket_is_refused(make: Callable[[], int]) -> None:
    number = make()
    with pytest.raises(Failure, match=r"^The socket gateway .* isn't a listening TCP socket; use"):
        data_folder.adopted_socket("gateway", number)
    with contextlib.suppress(OSError):
        os.close(number)


def test_the_holder_of_the_lock_is_known_without_taking_it(tmp_path: Path) -> None:
    settings = a_setting(tmp_path)
    assert data_folder.holder(settings) is None
    with data_folder.claimed(settings):
        assert data_folder.holder(settings) == os.getpid()
    # The file still names us.
    assert data_folder.holder(settings) is None


def test_a_lock_that_was_held_before_stays_held(tmp_path: Path) -> None:
    settings = a_setting(tmp_path)
    with data_folder.claimed(settings) as lock:
        held = os.dup(lock)
        os.set_inheritable(held, True)
        with data_folder.claimed(settings, held=held) as again:
            assert again == held
            assert not os.get_inheritable(again)


def test_a_descriptor_of_another_file_is_no_lock(tmp_path: Path) -> None:
    settings = a_setting(tmp_path)
    with data_folder.claimed(settings, held=a_pipe()), pytest.raises(Failure, match="is running"):
        with data_folder.claimed(settings, held=a_pipe()):
            raise AssertionError("claimed twice")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7"])
def test_an_address_of_another_machine_is_one_sentence(host: str) -> None:
    with pytest.raises(Failure, match=r"correct --here\.$"):
        data_folder.tcp_socket((host, 0), "--here")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_left_behind_is_replaced(tmp_path: Path, kind: socket.SocketKind) -> None:
    path = tmp_path / "x.sock"
    data_folder.unix_socket(path, kind).close()
    with data_folder.unix_socket(path, kind), socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(str(path))
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_sound_database_or_none_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite3"
    data_folder.check_database(path)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    data_folder.check_database(path)


def damage_header(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 100)


def damage_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096))


@pytest.mark.parametrize("damage", [damage_header, damage_page])
def test_a_damaged_database_is_one_sentence(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "x.sqlite3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [("y" * 1000,)] * 50)
    database.close()
    damage(path)
    with pytest.raises(Failure, match=r"is damaged; restore it from backup\.$"):
        data_folder.check_database(path)


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [("{", 0o600, "is damaged; restore it from backup"), ("{}", 0o644, "run: chmod 600")],
)
def test_a_key_ring_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, content: str, mode: int, said: str
) -> None:
    ring = tmp_path / "keyring.json"
    ring.write_text(content)
    ring.chmod(mode)
    command = Path(sys.executable).with_name("ostiary")
    done = subprocess.run(
        [command, "token", "create", "--data", tmp_path, "--name", "x"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
