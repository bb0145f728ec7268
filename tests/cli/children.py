"""Small real parts for the supervisor's tests: shell scripts that say when they are ready."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ostiary.cli.supervisor import Part

READY = (
    "import os, socket;"
    "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
    "s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])"
)
NOTIFY = f'"{sys.executable}" -c "{READY}"'


def a_part(name: str, script: str, *, sockets: Sequence[object] = ()) -> Part:
    """A part that runs a shell script; `notify` in it tells that it is ready."""
    text = f"notify() {{ {NOTIFY}; }}\n{script}"
    return Part(
        name=name,
        argv=("sh", "-c", text),
        env={"PATH": "/usr/bin:/bin"},
        sockets=sockets,  # type: ignore[arg-type]
    )


def a_server(name: str, folder: Path) -> Part:
    """A part that writes its process id, becomes ready, and stays until it is told to end."""
    pid = folder / f"{name}.pid"
    return a_part(name, f'echo $$ > "{pid}"; notify; while :; do sleep 0.05; done')


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
