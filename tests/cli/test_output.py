"""What `ostiary up` prints: to people on a terminal, to machines in a pipe, and at its end."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.stage import OSTIARY, ask, free_port, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

ENV = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts
SECRETS = re.compile(r"\bost[a-z]?_[\w-]{8,}")


class Terminal:
    """`ostiary up` on a terminal of its own, and what that shows."""

    def __init__(self, *options: str) -> None:
        self.text = ""
        self._keys, shown = os.openpty()
        try:
            self.process = subprocess.Popen(
                # Who runs the tests in the background may ignore the key; a terminal's shell does not.
                ["setsid", "--ctty", "--wait", "env", "--default-signal=INT", *OSTIARY, "up", *options],
                env=ENV, stdin=shown, stdout=shown, stderr=shown, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(shown)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # A terminal that nobody has open any more answers with an error.
        try:
            while part := os.read(self._keys, 65536):
                self.text += part.decode().replace("\r", "")
        except OSError:
            return

    def wait_for(self, pattern: str) -> str:
        def match() -> re.Match[str] | None:
            return re.search(pattern, self.text, re.MULTILINE)

        wait_for(
            lambda: match() is not None or self.process.poll() is not None,
            seconds=180,
            what=pattern,
        )
        found = match()
        assert found, self.text
        return found[1]

    def press_ctrl_c(self) -> int:
        """The exit status."""
        os.write(self._keys, b"\x03")
        status = self.process.wait(90)
        self._reader.join(60)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._keys)


@contextmanager
def terminal(*options: str) -> Iterator[Terminal]:
    opened = Terminal(*options)
    try:
        yield opened
    finally:
        opened.close()


def test_a_terminal_shows_the_way_in_at_each_start_and_the_end_without_an_alarm(
    tmp_path: Path,
) -> None:
    gateway, control = free_port(), free_port()
    binds = ("--gateway-bind", f"127.0.0.1:{gateway}", "--control-bind", f"127.0.0.1:{control}")
    options = ("--demo", "--data", str(tmp_path / "data"), *binds)
    console = f"http://localhost:{control}/"
    with terminal(*options) as first:
        assert first.wait_for(r"^Console: +(\S+)$") == console
        token = first.wait_for(r"^Call: .*API-TOKEN: (ost_[\w-]+)'")
        assert ask(gateway, "GET", "/orders-v1/orders", headers={"API-TOKEN": token}).status == 200
        assert first.press_ctrl_c() == 0
    end = first.text.partition("^C")[2]
    assert end.strip() == "stopped"
    lines = first.text.splitlines()
    assert len(lines) == len(set(lines)), first.text

    with terminal(*options) as second:
        assert second.wait_for(r"^Console: +(\S+)$") == console
        command = second.wait_for(r"^Sign in: .* from: (.+)$")
        assert not SECRETS.search(second.text)
        link = subprocess.run(
            command, shell=True, env=ENV, check=True, capture_output=True, text=True
        ).stdout
        assert link.startswith(f"{console}sign-in/link#osts_")
        assert second.press_ctrl_c() == 0
    assert second.text.endswith("^Cstopped\n")


def _events(printed: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed]


def test_a_pipe_gets_events_alone_each_once_and_no_secret(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", first_start=True) as stage:
        wait_for(lambda: any('"console"' in line for line in stage.printed))
        stage.stop()
        events = _events(stage.printed)
        assert not SECRETS.search("\n".join(stage.printed))
        by_supervisor = [each for each in events if each["part"] == "supervisor"]
        told = [(each["event"], each.get("name_of_part")) for each in by_supervisor]
        assert len(told) == len(set(told))
        assert told.count(("ready", None)) == 1
        assert told[-1] == ("stopped", None)
        assert {each["level"] for each in by_supervisor} == {"info"}
        assert not [each for each in events if each["level"] == "critical"]
        (console,) = (each for each in by_supervisor if each["event"] == "console")
        assert console["console"] == f"http://localhost:{stage.control}/"
        assert "member link" in console["sign_in"]


def test_secrets_are_printed_in_a_pipe_if_that_was_asked_for(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", "--print-secrets", first_start=True) as stage:
        wait_for(lambda: any(line.startswith("Call:") for line in stage.printed))
        token = re.search(r"API-TOKEN: (ost_[\w-]+)'", "\n".join(stage.printed))
        assert token
        assert stage.call("/orders-v1/orders", token[1]).status == 200


def test_a_first_start_that_is_interrupted_is_made_good_by_the_next(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ports = f"--gateway-bind=127.0.0.1:{free_port()}", f"--control-bind=127.0.0.1:{free_port()}"
    with terminal("--demo", "--data", str(data), *ports) as interrupted:
        # It is written just before the demo is made.
        wait_for((data / "demo.json").exists, what="the demo begun")
        assert interrupted.press_ctrl_c() in {0, 128 + signal.SIGINT}
    assert "Traceback" not in interrupted.text
    assert interrupted.text.rstrip().endswith("stopped")
    with running(data, "--demo") as stage:
        assert stage.api("GET", "api_clients").json


def test_a_missing_program_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [*OSTIARY, "up", "--data", str(tmp_path / "data")],
        env={**ENV, "PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"ostiary: setpriv is missing; install it .*\.\n", done.stderr)
