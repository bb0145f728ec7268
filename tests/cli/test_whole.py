"""The whole product over a restart, and with parts that hang: nobody is refused."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_restart import Hammer, restart
from tests.stage import Stage, Upstream, running, wait_for

from ostiary.telemetry import exposition

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("data")) as stage:
        yield stage


@pytest.fixture(scope="module")
def call(stage: Stage) -> Iterator[tuple[str, str]]:
    """Path and token of a call that is admitted."""
    upstream = Upstream()
    things = stage.a_collection(upstream)
    yield f"/{things['handle']}/things", stage.a_profile(things)["secret"]
    upstream.close()


@pytest.fixture
def hammer(stage: Stage, call: tuple[str, str]) -> Iterator[Hammer]:
    """Calls through the gateway, all the time; none may fail."""
    with Hammer(stage.gateway, *call) as hammer:
        wait_for(lambda: hammer.answered > 0)
        yield hammer
    assert hammer.failed == []


def parts(stage: Stage) -> dict[str, int]:
    """Process ids of the parts themselves, without what they have started."""
    text = Path(f"/proc/{stage.pid}/task/{stage.pid}/children").read_text()
    found = {}
    for pid in map(int, text.split()):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        name = "gateway" if b"nginx" in words[0] else words[4].decode() if len(words) > 4 else ""
        if b"ostiary.cli.supervision.fork_server" in words:
            name = "fork server"
        found[name] = pid
    return found


FORKED = ("authority", "collector", "recipes", "control", "publisher")


def kilobytes(pid: int, kind: str) -> int:
    """Of a process's memory, as in proc(5)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1])
    raise AssertionError(kind)


def test_parts_are_forked_and_each_is_a_process_of_its_own(stage: Stage) -> None:
    pids = parts(stage)
    server = pids["fork server"]
    # Who forks must have one thread, no database, and no socket but the one that it is asked on.
    assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
    files = [os.readlink(path) for path in Path(f"/proc/{server}/fd").iterdir()]
    assert sum(name.startswith("socket:") for name in files) == 1
    assert not any("sqlite" in name for name in files)
    for part in FORKED:
        pid = pids[part]
        assert os.getsid(pid) == os.getpgid(pid) == pid
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert kilobytes(pid, "Private_Dirty") < kilobytes(pid, "Shared_Dirty"), part
        with socket.socket(socket.AF_UNIX) as sock:
            if part != "control":
                sock.connect(str(exposition.socket_path(stage.data / "run", part)))
                shown = sock.makefile().read()
                assert ("ostiary_upcalls_total" in shown) == (part == "authority")
                assert ("ostiary_collector_calls_total" in shown) == (part == "collector")
                assert "ostiary_http_requests" not in shown


def test_a_part_is_replaced_though_what_it_was_forked_from_is_gone(
    stage: Stage, hammer: Hammer
) -> None:
    before = parts(stage)
    os.kill(before["fork server"], signal.SIGKILL)
    os.kill(before["collector"], signal.SIGKILL)
    wait_for(lambda: stage.lines.count("collector ready") > 1, what="the collector replaced")
    after = parts(stage)
    assert after["fork server"] != before["fork server"]
    assert {part for part in FORKED if after[part] != before[part]} == {"collector"}
    assert hammer.failed == []


def test_no_call_is_refused_over_a_restart(stage: Stage, hammer: Hammer) -> None:
    ready, server = stage.lines.count("ready"), parts(stage)["fork server"]
    with Hammer(stage.control) as console:
        wait_for(lambda: console.answered > 0)
        done = restart(stage.data)
        assert (done.returncode, done.stderr) == (0, "")
        answered = hammer.answered, console.answered
        wait_for(lambda: hammer.answered > answered[0] and console.answered > answered[1])
    assert hammer.failed + console.failed == []
    assert stage.lines.count("ready") == ready + 1
    # Else its parts would run the old code.
    assert parts(stage)["fork server"] != server


@pytest.mark.parametrize("part", FORKED)
def test_a_part_that_hangs_is_replaced(stage: Stage, hammer: Hammer, part: str) -> None:
    ready = stage.lines.count(f"{part} ready")
    os.kill(parts(stage)[part], signal.SIGSTOP)
    wait_for(lambda: stage.lines.count(f"{part} ready") > ready, what=f"{part} replaced")
    assert f"{part} hangs, restarting" in stage.lines
    assert hammer.failed == []


# Without calls meanwhile: those that a worker has at hand when it is killed are lost with it.
def test_a_worker_of_the_gateway_that_hangs_is_replaced_alone(stage: Stage) -> None:
    master = parts(stage)["gateway"]
    children = Path(f"/proc/{master}/task/{master}/children")
    before = len(children.read_text().split())
    worker = int(children.read_text().split()[0])
    os.kill(worker, signal.SIGSTOP)
    wait_for(lambda: str(worker) not in children.read_text().split(), what="the worker replaced")
    wait_for(lambda: len(children.read_text().split()) == before)
    assert parts(stage)["gateway"] == master
    wait_for(
        lambda: "gateway has a worker that hangs, replacing it" in stage.lines, what="its line"
    )


def test_a_gateway_that_hangs_is_replaced(stage: Stage) -> None:
    ready = stage.lines.count("gateway ready")
    master = parts(stage)["gateway"]
    for pid in (
        *map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split()),
        master,
    ):
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: stage.lines.count("gateway ready") > ready, what="the gateway replaced")
    assert "gateway hangs, restarting" in stage.lines
    assert stage.call("/").status == 401
