"""The supervisor with small real processes."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.children import a_part, a_server, a_working, alive, an_answering

from ostiary.cli.failure import Failure
from ostiary.cli.supervision.supervisor import Part, SupervisorPace, supervise

QUICK = SupervisorPace(first_delay=0.05, longest_delay=0.2, start=10.0, stop=5.0)
#: Hangs are noticed after 0.6 seconds of the supervisor's turns.
WATCHFUL = SupervisorPace(first_delay=0.05, longest_delay=0.2, start=60.0, stop=5.0, probe=0.2)


class Stage:
    """A supervisor at work, and what it said."""

    def __init__(self, folder: Path, pace: SupervisorPace = QUICK) -> None:
        self.folder, self.pace = folder, pace
        self.said: list[str] = []
        self.written: list[str] = []
        self.stop = asyncio.Event()

    async def run(self, *parts: Part) -> None:
        await supervise(
            parts,
            run=self.folder,
            say=self.said.append,
            write=lambda part, line: self.written.append(f"{part}: {line}"),
            stop=self.stop,
            pace=self.pace,
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(90):
            while not condition():
                await asyncio.sleep(0.01)

    def pid(self, name: str) -> int:
        return int((self.folder / f"{name}.pid").read_text())


def play(
    folder: Path,
    *parts: Part,
    scene: Callable[[Stage], Awaitable[None]],
    pace: SupervisorPace = QUICK,
) -> Stage:
    """Run the supervisor and, beside it, a scene, after which it is told to stop."""

    async def both() -> Stage:
        stage = Stage(folder, pace)
        running = asyncio.create_task(stage.run(*parts))
        try:
            await scene(stage)
        finally:
            stage.stop.set()
            await running
        return stage

    return asyncio.run(both())


async def nothing(stage: Stage) -> None:
    await stage.until(lambda: "ready" in stage.said)


def test_parts_start_side_by_side_and_then_all_is_ready(tmp_path: Path) -> None:
    def waiting(name: str, other: str) -> Part:
        return a_part(
            name,
            f"""touch "{tmp_path}/{name}.here"
            until [ -e "{tmp_path}/{other}.here" ]; do sleep 0.01; done
            notify; while :; do sleep 0.05; done""",
        )

    stage = play(tmp_path, waiting("a", "b"), waiting("b", "a"), scene=nothing)
    assert sorted(stage.said[:2]) == ["a ready", "b ready"]
    assert stage.said[2:] == ["ready"]


def test_a_part_starts_after_those_that_it_names(tmp_path: Path) -> None:
    last = replace(a_server("last", tmp_path), after=("slow", "of another role"))
    slow = a_part("slow", "sleep 0.3; notify; while :; do sleep 0.05; done")
    stage = play(tmp_path, last, slow, scene=nothing)
    assert stage.said == ["slow ready", "last ready", "ready"]


def test_a_part_that_dies_is_started_again_and_said_so(tmp_path: Path) -> None:
    async def kill(stage: Stage) -> None:
        await nothing(stage)
        os.kill(stage.pid("a"), signal.SIGKILL)
        await stage.until(lambda: stage.said.count("a ready") == 2)

    stage = play(tmp_path, a_server("a", tmp_path), scene=kill)
    assert stage.said == ["a ready", "ready", "a died (signal 9), restarting", "a ready"]


def test_restarts_back_off_up_to_the_longest_delay(tmp_path: Path) -> None:
    times: list[float] = []

    async def watch(stage: Stage) -> None:
        await stage.until(lambda: len(stage.written) >= 5)
        times.extend(float(line.removeprefix("a: ")) for line in stage.written)

    part = a_part("a", "notify; date +%s.%N; exit 3")
    play(tmp_path, part, scene=watch, pace=SupervisorPace(first_delay=0.1, longest_delay=0.4))
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert [gap >= least for gap, least in zip(gaps, (0.1, 0.2, 0.4, 0.4), strict=False)] == [
        True
    ] * 4


def test_a_part_that_cannot_start_ends_everything(tmp_path: Path) -> None:
    broken = a_part("broken", "echo no luck; exit 7")
    last = replace(a_server("last", tmp_path), after=("broken",))

    async def start() -> Stage:
        stage = Stage(tmp_path)
        with pytest.raises(Failure, match=r"^broken could not be started \(exit status 7\)"):
            await stage.run(a_server("first", tmp_path), broken, last)
        return stage

    stage = asyncio.run(start())
    assert stage.written == ["broken: no luck"] * QUICK.tries
    assert not alive(stage.pid("first"))
    assert not (tmp_path / "last.pid").exists()


def test_a_part_that_never_says_ready_ends_everything(tmp_path: Path) -> None:
    hung = a_part("hung", "while :; do sleep 0.05; done")
    with pytest.raises(Failure, match=r"not ready after 0\.3 seconds"):
        asyncio.run(Stage(tmp_path, SupervisorPace(start=0.3)).run(hung))


def test_parts_are_stopped_in_reverse_order(tmp_path: Path) -> None:
    def stopping(name: str) -> Part:
        return a_part(name, "trap 'echo bye; exit 0' TERM; notify; while :; do sleep 0.05; done")

    stage = play(tmp_path, stopping("a"), stopping("b"), stopping("c"), scene=nothing)
    assert stage.written == ["c: bye", "b: bye", "a: bye"]


def test_who_ignores_the_request_to_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    stubborn = a_part(
        "stubborn",
        f"""trap '' TERM
        (trap '' TERM; while :; do sleep 0.05; done) & echo $! > "{tmp_path}/child.pid"
        echo $$ > "{tmp_path}/stubborn.pid"; notify; while :; do sleep 0.05; done""",
    )
    stage = play(tmp_path, stubborn, scene=nothing, pace=SupervisorPace(stop=0.3))
    deadline = time.monotonic() + 60
    while alive(stage.pid("child")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(stage.pid("stubborn"))
    assert not alive(stage.pid("child"))


def test_a_listening_socket_outlives_the_part_that_serves_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = a_part(
            "server",
            f'notify; exec "{sys.executable}" -c "'
            "import socket, os\n"
            f"s = socket.socket(fileno={listener.fileno()})\n"
            "while True:\n"
            "    c = s.accept()[0]; c.sendall(str(os.getpid()).encode()); c.close()"
            '"',
            sockets=(listener,),
        )

        def ask() -> int:
            with socket.create_connection(listener.getsockname(), timeout=60) as call:
                return int(call.recv(32))

        async def kill(stage: Stage) -> None:
            first = await asyncio.to_thread(ask)
            os.kill(first, signal.SIGKILL)
            # Until then it may take one more call.
            await stage.until(lambda: not alive(first))
            # Asked while nobody serves: the call waits in the socket's queue.
            assert await asyncio.to_thread(ask) != first

        play(tmp_path, server, scene=kill)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def test_a_part_that_hangs_is_killed_and_started_again(
    tmp_path: Path, listener: socket.socket
) -> None:
    pids: list[int] = []

    async def freeze(stage: Stage) -> None:
        await nothing(stage)
        pids.append(stage.pid("a"))
        os.kill(pids[0], signal.SIGSTOP)
        await stage.until(lambda: stage.said.count("a ready") == 2)

    stage = play(tmp_path, an_answering("a", tmp_path, listener), scene=freeze, pace=WATCHFUL)
    assert stage.said == ["a ready", "ready", "a hangs, restarting", "a ready"]
    assert wait_gone(*pids)


def test_a_part_that_answers_late_is_no_part_that_hangs(
    tmp_path: Path, listener: socket.socket
) -> None:
    # Three calls a second are asked, and two answered: some probes are missed.
    pace = SupervisorPace(start=60.0, probe=0.3, misses=10)
    answers: list[bytes] = []
    part = an_answering("a", tmp_path, listener, delay=0.5)

    async def watch(stage: Stage) -> None:
        await nothing(stage)
        assert part.probe is not None
        answers.extend([await part.probe.ask() for _ in range(4)])

    stage = play(tmp_path, part, scene=watch, pace=pace)
    assert stage.said == ["a ready", "ready"]
    assert len(set(answers)) == 1


def test_a_supervisor_that_is_late_blames_nobody(tmp_path: Path, listener: socket.socket) -> None:
    async def doze(stage: Stage) -> None:
        await nothing(stage)
        before = stage.pid("a")
        # Far longer than the silence that means a hang, with the loop itself stopped.
        time.sleep(10 * WATCHFUL.probe * WATCHFUL.misses)
        await asyncio.sleep(2 * WATCHFUL.probe * WATCHFUL.misses)
        assert stage.pid("a") == before

    stage = play(tmp_path, an_answering("a", tmp_path, listener), scene=doze, pace=WATCHFUL)
    assert stage.said == ["a ready", "ready"]


def children(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(word) for word in text.split()}


def test_a_worker_that_hangs_is_replaced_alone(tmp_path: Path, listener: socket.socket) -> None:
    async def freeze(stage: Stage) -> None:
        await nothing(stage)
        parent = stage.pid("a")
        await stage.until(lambda: len(children(parent)) == 2)
        frozen, other = sorted(children(parent))
        os.kill(frozen, signal.SIGSTOP)
        await stage.until(lambda: frozen not in children(parent) and len(children(parent)) == 2)
        assert other in children(parent)
        assert stage.pid("a") == parent

    stage = play(tmp_path, a_working("a", tmp_path, listener), scene=freeze, pace=WATCHFUL)
    assert stage.said == ["a ready", "ready", "a has a worker that hangs, replacing it"]
    # It was asked to end by the signal that is its own.
    assert stage.written == ["a: quit"]


def test_a_parent_that_dies_is_noticed_though_its_workers_live(
    tmp_path: Path, listener: socket.socket
) -> None:
    pids: set[int] = set()

    async def kill(stage: Stage) -> None:
        await nothing(stage)
        parent = stage.pid("a")
        await stage.until(lambda: len(children(parent)) == 2)
        pids.update(children(parent))
        os.kill(parent, signal.SIGKILL)
        await stage.until(lambda: stage.said.count("a ready") == 2)

    stage = play(tmp_path, a_working("a", tmp_path, listener), scene=kill, pace=WATCHFUL)
    assert stage.said == ["a ready", "ready", "a died (signal 9), restarting", "a ready"]
    assert wait_gone(*pids)


def test_a_parent_that_hangs_is_noticed_though_its_workers_answer(
    tmp_path: Path, listener: socket.socket
) -> None:
    pids: set[int] = set()

    async def freeze(stage: Stage) -> None:
        await nothing(stage)
        parent = stage.pid("a")
        await stage.until(lambda: len(children(parent)) == 2)
        pids.update({parent, *children(parent)})
        os.kill(parent, signal.SIGSTOP)
        await stage.until(lambda: stage.said.count("a ready") == 2)

    stage = play(tmp_path, a_working("a", tmp_path, listener), scene=freeze, pace=WATCHFUL)
    assert stage.said == ["a ready", "ready", "a hangs, restarting", "a ready"]
    assert wait_gone(*pids)


def test_who_does_not_end_on_its_own_signal_is_terminated(tmp_path: Path) -> None:
    stubborn = replace(
        a_part(
            "a",
            "trap '' QUIT; trap 'echo terminated; exit 0' TERM; notify;"
            " while :; do sleep 0.05; done",
        ),
        stop_signal=signal.SIGQUIT,
    )
    stage = play(tmp_path, stubborn, scene=nothing, pace=SupervisorPace(stop=0.2, terminate=60))
    assert stage.written == ["a: terminated"]


def test_long_output_is_passed_on_under_the_part_s_name(tmp_path: Path) -> None:
    part = a_part(
        "talker",
        "head -c 200000 /dev/zero | tr '\\0' x; echo; printf 'no end of line' >&2; notify;"
        " while :; do sleep 0.05; done",
    )
    stage = play(tmp_path, part, scene=nothing)
    assert all(line.startswith("talker: ") for line in stage.written)
    assert sum(line.count("x") for line in stage.written) == 200_000
    assert stage.written[-1] == "talker: no end of line"


DRIVER = """
import sys
from pathlib import Path
from ostiary.cli.supervision.supervisor import run
from tests.cli.children import a_server
folder = Path(sys.argv[1])
run(
    [a_server("a", folder), a_server("b", folder)],
    folder=folder,
    say=lambda line: print(line, flush=True),
    write=lambda line: print(line, file=sys.stderr, flush=True),
)
"""


def start_driver(folder: Path) -> subprocess.Popen[str]:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert driver.stdout is not None
    for line in driver.stdout:
        if line == "ready\n":
            return driver
    raise AssertionError("the driver ended before it was ready")


def wait_gone(*pids: int) -> bool:
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(alive(pid) for pid in pids)


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with start_driver(tmp_path) as driver:
        pids = [int((tmp_path / f"{name}.pid").read_text()) for name in ("a", "b")]
        assert all(alive(pid) for pid in pids)
        driver.kill()
        driver.wait()
        assert wait_gone(*pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with start_driver(tmp_path) as driver:
        pids = [int((tmp_path / f"{name}.pid").read_text()) for name in ("a", "b")]
        driver.send_signal(signal.SIGHUP)  # a closed terminal changes nothing
        assert driver.poll() is None
        driver.send_signal(number)
        assert driver.wait(timeout=60) == 0
        assert wait_gone(*pids)
        assert list(tmp_path.glob("*.notify")) == []
