"""The gateway alone: nginx with our Lua, started from the product's own configuration.

Authority and collector are stand-ins (`bench.stand_in`), and objects are laid where the publisher
leaves them. What is measured is nginx: everything that the product does in it, and nothing else.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.stage import free_port, wait_for

from bench.stand import Server, certificate, process, wait_until_listening
from ostiary.gateway import control, launch
from ostiary.gateway.node import Node
from ostiary.identity.tokens import issue_token

ISSUE_KEY = b"the key of a benchmark, 32 bytes"

FILLER = """
  server {{
    listen unix:{folder}/filler.sock;
    client_body_buffer_size 8m;
    location / {{ content_by_lua_block {{ {lua} }} }}
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lone(Server):
    """A gateway that runs, with a collection `bench-v1`."""

    node: Node
    #: Process id of the stand-in.
    stand_in: int


def endpoints(count: int) -> Iterator[tuple[str, str]]:
    """Method and path of so many endpoints, half of them with a parameter; the last is called."""
    for i in range(count - 1):
        yield "GET", f"/r{i}/{{id}}" if i % 2 else f"/r{i}"
    yield "GET", "/orders/{id}"


def objects(count: int, upstream: int, *, trusted: bool) -> Iterator[tuple[str, object]]:
    """What the publisher would have brought: key and object."""
    public = {
        "scheme": "https", "host": "api.example.com", "port": 443, "authority": "api.example.com",
        "origin": "https://api.example.com",
    }  # fmt: skip
    yield "s", {"trusted": ["127.0.0.0/8", "10.0.0.0/8"] if trusted else [], "public": public}
    yield "u1", {
        "id": 1, "servers": [{"address": "127.0.0.1", "port": upstream, "down": False}],
        "tls": None, "host": f"127.0.0.1:{upstream}", "base": "", "header": None, "query": "",
        "timeout": 30, "told": "x_forwarded", "translate": True, "authorities": [],
    }  # fmt: skip
    yield "k1", {
        "id": 1, "handle": "bench-v1", "connection": 1, "recipes": False, "origins": [],
        "forward_credential": False, "forward_claims": False,
    }  # fmt: skip
    for number, (method, path) in enumerate(endpoints(count), 1):
        yield f"e{number}", {
            "id": number, "collection": 1, "method": method, "path": path, "target": "",
            "timeout": 0, "recipe": None,
        }  # fmt: skip


@contextmanager
def gateway(
    upstream: int,
    *,
    count: int = 30,
    log_rate: int = 1000,
    profiles: int = 1,
    workers: int = 1,
    tls: bool = False,
    alone: bool = False,
    dynamic: bool = False,
    legacy: bool = False,
    trusted: bool = False,
    shared: bool = False,
    lease_megabytes: int = 256,
    filler: str = "",
    around: Sequence[str] = (),
    beside: Sequence[str] = (),
) -> Iterator[Lone]:
    """A gateway in front of `upstream` with so many endpoints.

    `alone`: one process without a master. `dynamic`: the connection has no block of its own, as one
    that was made since nginx started. `around`: a command line that nginx runs under, such as
    valgrind's; `beside`: one for the stand-in. `legacy`: answers have the X-RateLimit headers.
    `shared`: limits are counted over several gateways.
    `trusted`: a proxy that the gateway trusts says who calls.
    `filler`: Lua that a call to the socket `filler.sock` runs in a worker.
    """
    folder = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    # Sockets' paths may have 107 bytes.
    node = Node(
        run=folder, host="127.0.0.1", port=free_port(), workers=workers, log_rate=log_rate,
        certificate=certificate(folder) if tls else None, lease_megabytes=lease_megabytes,
        upcalls_per_address=200, connections_per_address=100_000,
        shares_limits=shared,
    )  # fmt: skip
    try:
        made = folder / "gateway"
        made.mkdir(mode=0o700)
        lines = (
            f"{key}\t{json.dumps(value)}\n"
            for key, value in objects(count, upstream, trusted=trusted)
        )
        (made / "published.jsonl").write_text("".join(lines))
        words, env = launch.prepare(node, issue_key=ISSUE_KEY, sockets=())
        del env["NGINX"]
        conf = made / "nginx.conf"
        text = conf.read_text()
        if alone:
            text = f"master_process off;\n{text}"
        if dynamic:
            text = re.sub(r"(rendered = )\{.*?\},", r"\1{ },", text)
        if filler:
            text = text.rstrip().removesuffix("}") + FILLER.format(folder=folder, lua=filler)
        conf.write_text(text)
        stand_in = (sys.executable, "-m", "bench.stand_in")
        paths = (str(folder / "upcall.sock"), str(folder / "counts.sock"))
        with ExitStack() as stack:
            more = (str(profiles), *(["legacy"] if legacy else []))
            helper = stack.enter_context(process(*beside, *stand_in, *paths, *more))
            wait_for(lambda: all(map(os.path.exists, paths)), what="the stand-in")
            with (folder / "nginx.log").open("w") as log:
                nginx = subprocess.Popen([*around, *words], env=env, stdout=log, stderr=log)
            stack.callback(_end, nginx)
            wait_until_listening(node.port)
            wait_for(lambda: _raised(node), what="the gateway's control socket")
            headers = [f"API-TOKEN: {issue_token(ISSUE_KEY).reveal()}"]
            if trusted:
                headers.append("X-Forwarded-For: 203.0.113.7, 10.1.2.3")
            yield Lone(
                name="Ostiary's gateway", port=node.port, pid=nginx.pid, path="/bench-v1/orders/5",
                headers=tuple(headers), scheme="https" if tls else "http", node=node,
                stand_in=helper.pid,
            )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        node.pid_file.unlink(missing_ok=True)


def _raised(node: Node) -> bool:
    """Let the gateway know that leases of sequence 1 are good."""
    try:
        control.raise_floor(node.control_socket, 1, seconds=10)
    except control.ControlError:
        return False
    return True


def _end(nginx: subprocess.Popen[bytes]) -> None:
    nginx.terminate()
    nginx.wait()
