"""Every part and pairs of them killed or stopped under load: nothing revoked passes, counts hold."""

import contextlib
import http.client
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import psycopg
import pytest
from tests.postgres import cluster, program
from tests.stage import Answer, Stage, Upstream, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

CALLERS = 3


class Load:
    """Calls by some profiles in turn, on connections that are kept; each answer is known."""

    def __init__(self, port: int, target: str, tokens: list[str], pause: float = 0.0) -> None:
        self._port, self._target, self._tokens, self._pause = port, target, tokens, pause
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CALLERS)
        ]
        #: When a call was begun (monotonic), its token, and its status; 0: there was no answer.
        self.calls: list[tuple[float, str, int]] = []

    def _run(self, number: int) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(self._pause):
            token = self._tokens[number % len(self._tokens)]
            number += 1
            began, status = time.monotonic(), 0
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
                connection.request("GET", self._target, headers={"API-TOKEN": token})
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                if connection is not None:
                    connection.close()
                connection = None
            self.calls.append((began, token, status))
        if connection is not None:
            connection.close()

    def answered(self, status: int = 200) -> int:
        return sum(each[2] == status for each in self.calls)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


class Scene:
    """A product with one collection, and what was counted of its calls."""

    def __init__(self, stage: Stage, upstream: Upstream) -> None:
        self.stage, self.upstream = stage, upstream
        self.collection = stage.a_collection(upstream, "GET /things", "GET /slow")
        self.target = f"/{self.collection['handle']}/things"

    def profile(self) -> Any:
        return self.stage.a_profile(self.collection)

    def status(self, profile: Any) -> int:
        """The status of one call; 0: there was no answer."""
        try:
            return self.stage.call(self.target, profile["secret"]).status
        except (OSError, http.client.HTTPException):
            return 0

    def counted(self, *profiles: Any) -> int:
        """Admitted calls of these profiles that are stored."""
        marks = ",".join(str(each["id"]) for each in profiles)
        with closing(sqlite3.connect(self.stage.data / "ostiary.sqlite3", timeout=30)) as database:
            statement = (
                "SELECT COALESCE(SUM(calls), 0) FROM usage_minutecount"
                f" WHERE profile_id IN ({marks}) AND reason = 0 AND status = 2"
            )
            return int(database.execute(statement).fetchone()[0])

    def settled(self, *profiles: Any) -> int:
        """What is counted once it changes no more."""
        seen = [-1]

        def quiet() -> bool:
            seen.append(self.counted(*profiles))
            time.sleep(1.5)
            return seen[-1] == self.counted(*profiles)

        wait_for(quiet, what="counts at rest")
        return seen[-1]

    def master(self) -> int:
        (master,) = (
            pid
            for pid in children(self.stage.pid)
            if b"nginx" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        return master

    def workers(self) -> list[int]:
        return workers_of(self.master())

    def pids(self, blow: str) -> list[int]:
        """Processes of `worker`, `master`, `gateway` (all of nginx), or of another part."""
        if blow == "worker":
            return self.workers()[:1]
        if blow == "master":
            return [self.master()]
        return self.stage.pids(blow)


def workers_of(master: int) -> list[int]:
    """Those of nginx's children that answer calls; others look after cached answers."""
    return [pid for pid in children(master) if title(pid).startswith("nginx: worker process")]


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""  # It ended meanwhile.


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def stage(own_stage: Stage) -> Stage:
    return own_stage


@pytest.fixture(scope="module")
def scene(stage: Stage, upstream: Upstream) -> Scene:
    return Scene(stage, upstream)


def revoked(stage: Stage, profile: Any) -> float:
    """Revoke, again and again where it is not confirmed; when it was (monotonic)."""
    path = f"api_access_profiles/{profile['id']}/disable"

    def confirmed() -> bool:
        try:
            return stage.api("PUT", path).status == 200
        except (OSError, http.client.HTTPException):
            return False

    wait_for(confirmed, what="the revocation")
    return time.monotonic()


#: What is killed at once, and whether nginx's own processes are among it.
BLOWS = (
    "authority", "collector", "publisher", "authority+collector", "control+authority",
    "worker", "worker+authority", "worker+collector", "gateway",
    "authority+collector+control+publisher+recipes+gateway",
)  # fmt: skip


@pytest.mark.parametrize("blow", BLOWS)
def test_a_kill_under_load(scene: Scene, blow: str) -> None:
    stage = scene.stage
    doomed, steady, also = scene.profile(), scene.profile(), scene.profile()
    tokens = [each["secret"] for each in (steady, doomed, also)]
    parts = blow.split("+")
    touches_nginx = {"worker", "master", "gateway"} & set(parts)
    with Load(stage.gateway, scene.target, tokens) as load:
        wait_for(lambda: load.answered() > 60)
        pids = [pid for part in parts for pid in scene.pids(part)]
        stored = scene.counted(steady, also, doomed)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        before = len(load.calls)
        at = revoked(stage, doomed)
        late = scene.profile()
        wait_for(lambda: scene.status(late) == 200, what="a first call")
        seen = len(load.calls)
        wait_for(lambda: len(load.calls) > seen + 100 and load.calls[-1][2] != 0)
    # Nothing that was begun after the receipt.
    passed = [each for each in load.calls if each[0] > at and each[1] == doomed["secret"]]
    assert passed
    assert {status for _, _, status in passed} == {401}
    if not touches_nginx:
        # Nobody who had a lease noticed.
        others = {status for _, token, status in load.calls if token != doomed["secret"]}
        assert others == {200}
    answered, unanswered = load.answered(), load.answered(0)
    if not touches_nginx:
        assert unanswered == 0
        wait_for(lambda: scene.counted(steady, doomed, also) == answered, what="the counts")
        return
    counted = scene.settled(steady, doomed, also)
    assert counted <= answered + unanswered
    if parts[0] == "worker":
        # Its own calls alone: each caller has one.
        assert counted >= answered - CALLERS
        assert unanswered <= CALLERS
    else:
        # What was stored is; and of what came after that and before the kill, less than is made in
        # the second between two pushes, or in what a busy machine makes of it.
        later = sum(status == 200 for _, _, status in load.calls[before:])
        assert counted >= stored + later - 2 * CALLERS


@pytest.mark.parametrize("blow", ["authority+collector", "worker+authority", "master"])
def test_parts_that_hang_together_are_replaced(scene: Scene, blow: str) -> None:
    stage = scene.stage
    doomed, steady = scene.profile(), scene.profile()
    parts = blow.split("+")
    with Load(stage.gateway, scene.target, [steady["secret"], doomed["secret"]]) as load:
        wait_for(lambda: load.answered() > 20)
        wait_for(lambda: scene.counted(steady, doomed) > 0)
        stored = scene.counted(steady, doomed)
        pids = [pid for part in parts for pid in scene.pids(part)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        at = revoked(stage, doomed)
        wait_for(lambda: not any(map(alive, pids)), what="they are replaced")
        late = scene.profile()
        wait_for(lambda: scene.status(late) == 200, what="a first call")
        seen = load.answered()
        wait_for(lambda: load.answered() > seen + 20)
        wait_for(lambda: load.answered(401) > 0)
    passed = [each for each in load.calls if each[0] > at and each[1] == doomed["secret"]]
    assert {status for _, _, status in passed} <= {401, 0}
    counted = scene.settled(steady, doomed)
    answered, unanswered = load.answered(), load.answered(0)
    if blow == "master":
        # Its workers go with it, and what they had not pushed in their last second.
        assert stored <= counted <= answered + unanswered
    elif "worker" in parts:
        assert answered - CALLERS <= counted <= answered + unanswered
    else:
        assert (counted, unanswered) == (answered, 0)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def test_calls_that_nobody_disturbs_outlive_the_death_of_another_worker(scene: Scene) -> None:
    """Long calls, one on each worker at least: those of the other worker end as they should."""
    stage, profile = scene.stage, scene.profile()
    target = f"/{scene.collection['handle']}/slow"
    statuses: list[int] = []

    def call() -> None:
        try:
            statuses.append(stage.call(target, profile["secret"]).status)
        except (OSError, http.client.HTTPException):
            statuses.append(0)

    threads = [threading.Thread(target=call) for _ in range(12)]
    for thread in threads:
        thread.start()
    wait_for(lambda: sum("/slow" in each.target for each in scene.upstream.seen) >= 12)
    victim = scene.workers()[0]
    held = callers_of(victim, stage.gateway)
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(statuses) >= held and len(scene.workers()) == 2)
    scene.upstream.slow.set()
    for thread in threads:
        thread.join(60)
    scene.upstream.slow.clear()
    assert statuses.count(0) == held
    assert statuses.count(200) == 12 - held
    assert scene.settled(profile) == 12 - held


def callers_of(worker: int, port: int) -> int:
    """How many callers' connections a worker of nginx holds; pooled ones to the upstream don't count."""
    inodes = set()
    for each in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(each))
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        # Established, with our port on nginx's side.
        ours = words[3] == "01" and int(words[1].partition(":")[2], 16) == port
        if ours and f"socket:[{words[9]}]" in inodes:
            count += 1
    return count


# --- the log file is exchanged ---------------------------------------------------------------------


def logged(scene: Scene, profile: Any) -> tuple[int, int]:
    """Lines of a profile that are stored, and how many request ids they have."""
    with closing(sqlite3.connect(scene.stage.data / "ostiary.sqlite3", timeout=30)) as database:
        return tuple(
            database.execute(
                "SELECT COUNT(*), COUNT(DISTINCT request_id) FROM usage_loggedcall"
                " WHERE profile_id = ?",
                (profile["id"],),
            ).fetchone()
        )


def files(scene: Scene) -> dict[str, int]:
    """Names and inodes of nginx's log files."""
    folder = scene.stage.data / "run" / "lines"
    return {each.name: each.stat().st_ino for each in folder.iterdir()}


@pytest.mark.parametrize("blow", ["", "collector", "gateway"])
def test_no_line_is_lost_or_stored_twice_when_the_log_file_is_exchanged(
    scene: Scene, blow: str
) -> None:
    stage, profile = scene.stage, scene.profile()
    path = stage.data / "run" / "lines" / "calls.log"
    # Slower than the rate up to which each call has a line.
    with Load(stage.gateway, scene.target, [profile["secret"]], pause=0.01) as load:
        wait_for(lambda: load.answered() > 50)
        before = files(scene)["calls.log"]
        # It has grown, by lines that are none.
        with path.open("ab", buffering=0) as file:
            for _ in range(18):
                file.write((b"x" * 1023 + b"\n") * 1024)
        if blow:
            wait_for(lambda: files(scene).get("calls.log") != before, what="it is exchanged")
        if blow == "collector":
            for pid in stage.pids("collector"):
                os.kill(pid, signal.SIGKILL)
        if blow == "gateway":
            # A clean end of nginx, in the middle of it: its lines are written.
            os.kill(scene.master(), signal.SIGTERM)
        wait_for(
            lambda: set(files(scene)) == {"calls.log"} and files(scene)["calls.log"] != before,
            what="the old file is read and deleted",
        )
        seen = load.answered()
        wait_for(lambda: load.answered() > seen + 50)
    answered, unanswered = load.answered(), load.answered(0)
    if not blow or blow == "collector":
        assert unanswered == 0
        wait_for(lambda: logged(scene, profile)[0] >= answered, what="all lines")
        time.sleep(1.5)
        assert logged(scene, profile) == (answered, answered)
    else:
        wait_for(lambda: logged(scene, profile)[0] >= answered, what="all lines")
        lines, ids = logged(scene, profile)
        assert lines == ids
        assert lines <= answered + unanswered


# --- without a database, without room ------------------------------------------------------------


class Postgres:
    """A cluster that can be stopped and started."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.folder = Path(unquote(url.partition("host=")[2]))

    def stop(self) -> None:
        program("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=off"
        program(
            "pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", options,
            "-l", str(self.folder / "log"), "start",
        )  # fmt: skip


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with cluster() as url:
        yield Postgres(url)


def refuses_what_it_knows(
    call: Callable[[str, str | None], Answer], target: str, token: str
) -> None:
    """A gateway with nobody to ask: no call passes, and it knows its routes."""
    answer = call(target, token)
    assert (answer.status, answer.json["reason"]) == (503, "authority_unavailable")
    assert call(target, None).status == 401
    # A token that cannot be one of ours needs nobody to be asked.
    assert call(target, f"ost_{'x' * 61}").status == 401
    assert answer.headers["retry-after"]


@pytest.mark.postgres
def test_a_gateway_starts_without_its_database_and_recovers_by_itself(
    tmp_path: Path, upstream: Upstream, postgres: Postgres
) -> None:
    with running(tmp_path / "data", env={"OSTIARY_DATABASE_URL": postgres.url}) as stage:
        scene = Scene(stage, upstream)
        profile, gone = scene.profile(), scene.profile()
        assert scene.status(profile) == scene.status(gone) == 200
        stage.done("PUT", f"api_access_profiles/{gone['id']}/disable")
        wait_for((stage.data / "run" / "gateway" / "published.jsonl").exists)
        wait_for(lambda: scene.collection["handle"] in published(stage))
        postgres.stop()
        try:
            # A lease serves; and then everything that could know more is killed.
            assert scene.status(profile) == 200
            for part in ("authority", "publisher", "collector", "gateway"):
                for pid in stage.pids(part):
                    os.kill(pid, signal.SIGKILL)
            wait_for(lambda: scene.status(profile) == 503, what="the gateway is back")
            refuses_what_it_knows(stage.call, scene.target, profile["secret"])
            refuses_what_it_knows(stage.call, scene.target, gone["secret"])
            # So does the whole, when the machine is started anew.
            stage.stop()
            stage.start()
            assert any("starts from its last state" in line for line in stage.lines)
            refuses_what_it_knows(stage.call, scene.target, profile["secret"])
        finally:
            postgres.start()
        wait_for(lambda: scene.status(profile) == 200, what="it recovers")
        assert scene.status(gone) == 401
        new = wait_for_profile(stage, scene)
        assert scene.status(new) == 200
        # What was counted meanwhile is stored, and no part died of a database that is away.
        wait_for(lambda: counted_in(postgres, new) == 1, what="the counts")
        assert not any("the part ended by an error" in line for line in stage.lines)


def counted_in(postgres: Postgres, profile: Any) -> int:
    """Admitted calls of a profile that are stored."""
    host = str(postgres.folder)
    with psycopg.connect(dbname="ostiary", user="ostiary", host=host) as connection:
        row = connection.execute(
            "SELECT COALESCE(SUM(calls), 0) FROM usage_minutecount"
            " WHERE profile_id = %s AND reason = 0 AND status = 2",
            [profile["id"]],
        ).fetchone()
        return int(row[0]) if row else 0


def wait_for_profile(stage: Stage, scene: Scene) -> Any:
    """A profile, once the management API can make one."""

    def works() -> bool:
        try:
            return stage.api("GET", "users/me").status == 200
        except (OSError, http.client.HTTPException):
            return False

    wait_for(works, what="the management API")
    return scene.profile()


def published(stage: Stage) -> str:
    path = stage.data / "run" / "gateway" / "published.jsonl"
    return path.read_text() if path.exists() else ""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 60 MB in memory, which can be filled."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all room that there is."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as file:
        for size in (65_536, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return path


def test_with_a_full_disk_calls_pass_and_a_gateway_that_dies_comes_back(
    tmp_path: Path, upstream: Upstream
) -> None:
    with small_disk(tmp_path / "disk") as disk, running(disk / "data") as stage:
        scene = Scene(stage, upstream)
        profile, gone = scene.profile(), scene.profile()
        assert scene.status(profile) == scene.status(gone) == 200
        stage.done("PUT", f"api_access_profiles/{gone['id']}/disable")
        wait_for(lambda: scene.collection["handle"] in published(stage))
        filler = fill(disk)
        for _ in range(50):
            assert scene.status(profile) == 200
        assert scene.status(gone) == 401
        for pid in stage.pids("gateway"):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: scene.status(profile) == 200, what="the gateway is back")
        assert scene.status(gone) == 401
        # Nothing can be taken away now; and it says so.
        answer = stage.api("PUT", f"api_access_profiles/{profile['id']}/disable")
        assert (answer.status, "make room" in answer.json["message"]) == (503, True)
        filler.unlink()
        wait_for(lambda: stage.api("GET", "users/me").status == 200)
        revoked(stage, profile)
        assert scene.status(profile) == 401
