"""Other people's tools, as published, pointed at a running product."""

import json
import os
import re
import ssl
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from socket import SHUT_WR, create_connection, socket
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, ClassVar

from tests.stage import Stage

HERE = Path(__file__).parent


def tool(name: str, program: str) -> Path:
    """A program of one of the environments that scripts/dialect-tools makes."""
    return HERE / f".venv-{name}" / "bin" / program


class Workato:
    """The vendor's command, with a home and a folder of its own."""

    def __init__(self, stage: Stage, folder: Path, *, signed_in: bool = True) -> None:
        self.folder = folder
        bin_ = tool("platform", "").resolve()
        self.env = {
            "PATH": f"{bin_}:{os.environ['PATH']}",  # noqa: TID251 - the environment of what it starts
            "HOME": str(folder),
            "WORKATO_DISABLE_UPDATE_CHECK": "1",
            "WORKATO_DISABLE_DEPRECATION_WARNING": "1",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "LC_ALL": "C.UTF-8",
        }
        if signed_in:
            self.env |= {
                "WORKATO_HOST": f"http://127.0.0.1:{stage.control}",
                "WORKATO_API_TOKEN": stage.token,
            }

    def __call__(self, *words: object) -> str:
        """Run a command that must work; what a reader sees of its output.

        Its own refusals have the exit status 0, and begin a line with a cross.
        """
        done = subprocess.run(
            [str(tool("platform", "workato")), *map(str, words)],
            cwd=self.folder, env=self.env, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        lines = [line.rpartition("\r")[2] for line in done.stdout.split("\n")]
        output = "\n".join(lines)
        assert done.returncode == 0, (words, output, done.stderr)
        assert not any(line.startswith("❌") for line in lines), (words, output)
        return output

    def in_project(self, project_id: int) -> None:
        """Stand in for `workato init`."""
        content = {"project_id": project_id, "project_name": "Orders", "folder_id": project_id}
        (self.folder / ".workatoenv").write_text(json.dumps(content))


def value(output: str, label: str) -> str:
    """What a line of the command's output says after a label."""
    found = re.search(rf"{re.escape(label)}: *(\S+)", output)
    assert found, (label, output)
    return found[1]


def run(command: Sequence[object], folder: Path, env: Mapping[str, str]) -> str:
    """Run another tool that must work; its standard output."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder, env={"PATH": os.environ["PATH"], "HOME": str(folder), **env},  # noqa: TID251 - the environment of what it starts
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


class _Passing(BaseRequestHandler):
    port: ClassVar[int]
    context: ClassVar[ssl.SSLContext]

    def handle(self) -> None:
        with suppress(OSError), self.context.wrap_socket(self.request, server_side=True) as near:
            with create_connection(("127.0.0.1", self.port)) as far:
                back = threading.Thread(target=_pass, args=(far, near), daemon=True)
                back.start()
                _pass(near, far)
                back.join()


def _pass(source: socket, target: socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(SHUT_WR)


class _Front(ThreadingTCPServer):
    daemon_threads = True


def tls_front(port: int, certificate: Path, key: Path) -> Any:
    """A server that speaks TLS in front of a port of this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = type("Passing", (_Passing,), {"port": port, "context": context})
    front = _Front(("127.0.0.1", 0), handler)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    return front
