"""Small real parts for the supervisor's tests: shell scripts that say when they are ready."""

import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from ostiary.cli.supervision.probes import Http, ListenAddress, Workers
from ostiary.cli.supervision.supervisor import Part

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


#: Answers each call on the inherited socket with its process id, after a delay.
ANSWERING = """
import os, pathlib, socket, sys, time
sock = socket.socket(fileno=int(sys.argv[1]))
pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    call = sock.accept()[0]
    call.recv(4096)
    time.sleep(float(sys.argv[3]))
    try:
        call.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n%d" % os.getpid())
    except OSError:
        pass
    call.close()
"""


def an_answering(name: str, folder: Path, listener: socket.socket, *, delay: float = 0.0) -> Part:
    """A part that answers its probe."""
    pid = folder / f"{name}.pid"
    listener.setblocking(True)
    return Part(
        name=name,
        argv=(sys.executable, "-c", ANSWERING, str(listener.fileno()), str(pid), str(delay)),
        env={"PATH": "/usr/bin:/bin"},
        sockets=(listener,),
        probe=Http(at=ListenAddress.of(listener)),
    )


#: A parent of two workers, which answer for each other, as nginx is.
WORKING = """
import json, mmap, os, pathlib, select, signal, socket, struct, sys, time
sock = socket.socket(fileno=int(sys.argv[1]))
sock.setblocking(False)
pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))
shared = mmap.mmap(-1, 4096)

def work(place):
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    while True:
        shared[place * 16:place * 16 + 16] = struct.pack("qd", os.getpid(), time.time())
        if not select.select([sock], [], [], 0.02)[0]:
            continue
        try:
            call = sock.accept()[0]
        except BlockingIOError:
            continue
        call.recv(4096)
        told = dict(struct.unpack_from("qd", shared, n * 16) for n in range(2))
        text = json.dumps({"workers": told, "now": time.time()}).encode()
        try:
            call.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + text)
        except OSError:
            pass
        call.close()

def start(place):
    pid = os.fork()
    if pid == 0:
        work(place)
    return pid

def end(*_):
    print("quit", flush=True)
    os._exit(0)

signal.signal(signal.SIGQUIT, end)
places = {start(place): place for place in range(2)}
while True:
    pid, _ = os.wait()
    place = places.pop(pid)
    places[start(place)] = place
"""


def a_working(name: str, folder: Path, listener: socket.socket) -> Part:
    """A part with two workers, ready by its probe, that ends on SIGQUIT."""
    pid = folder / f"{name}.pid"
    return Part(
        name=name,
        argv=(sys.executable, "-c", WORKING, str(listener.fileno()), str(pid)),
        env={"PATH": "/usr/bin:/bin"},
        sockets=(listener,),
        stop_signal=signal.SIGQUIT,
        probe=Workers(http=Http(at=ListenAddress.of(listener))),
        ready_by_probe=True,
    )


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
