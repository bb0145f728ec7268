"""The whole product over a restart, and with parts that hang: nobody is refused."""

import contextlib
import http.client
import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_restart import Hammer, restart
from tests.stage import Stage, Upstream, running, wait_for

from ostiary.telemetry import exposition

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("data"), first_start=True) as stage:
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
    # What a part needs for one kind of request alone, or for PostgreSQL, is loaded by who needs it.
    mapped = Path(f"/proc/{server}/maps").read_text()
    assert not [name for name in ("/PIL/", "/lxml/", "/psycopg") if name in mapped]
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


CLIENT = {"name": "Once"}


def clients_of(stage: Stage, key: str) -> int:
    """How many answers are stored for an `Idempotency-Key`, and so committed."""
    path = f"file:{stage.data / 'ostiary.sqlite3'}?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as database:
        counted = database.execute(
            "SELECT count(*) FROM directory_storedanswer WHERE key = ?", [key]
        ).fetchone()
    return int(counted[0])


def test_parallel_calls_with_one_key_make_one_object(stage: Stage) -> None:
    answers = []

    def create() -> None:
        answers.append(stage.api("POST", "api_clients", CLIENT, headers={"Idempotency-Key": "p"}))

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 6
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 5
    names = [each["name"] for each in stage.done("GET", "api_clients?per_page=100")]
    assert names.count("Once") == 1


def test_a_kill_between_commit_and_answer_makes_no_second_object(
    stage: Stage, call: tuple[str, str]
) -> None:
    profile = stage.done("GET", "api_access_profiles")[0]
    content = {
        "name": "Killed", "api_client_id": profile["api_client_id"], "auth_type": "token",
        "api_collection_ids": profile["api_collection_ids"],
    }  # fmt: skip
    headers = {"Idempotency-Key": "killed"}
    outcome: list[object] = []

    def create() -> None:
        try:
            outcome.append(stage.api("POST", "api_access_profiles", content, headers=headers))
        except (OSError, http.client.HTTPException) as error:
            outcome.append(error)

    pids, ready = parts(stage), stage.lines.count("control ready")
    # Nothing is confirmed meanwhile, so that the answer has to wait.
    os.kill(pids["authority"], signal.SIGSTOP)
    try:
        thread = threading.Thread(target=create)
        thread.start()
        wait_for(lambda: clients_of(stage, "killed") == 1, what="the commit")
        os.kill(pids["control"], signal.SIGKILL)
        thread.join()
    finally:
        os.kill(pids["authority"], signal.SIGCONT)
    assert isinstance(outcome[0], Exception), outcome
    wait_for(lambda: stage.lines.count("control ready") > ready, what="control replaced")
    wait_for(lambda: stage._status("/readyz") == 200, what="all parts ready")
    again = stage.api("POST", "api_access_profiles", content, headers=headers)
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    found = [p for p in stage.done("GET", "api_access_profiles") if p["name"] == "Killed"]
    assert [each["id"] for each in found] == [again.json["result"]["id"]]
