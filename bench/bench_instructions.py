"""Instructions per call in user space, against a bare HAProxy with the same build.

Callgrind counts; the difference of a long and a short run leaves out the start. It repeats within
one per cent on any machine. The cost of a group of rules is what the count falls by without them.
"""

import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stage import Stage, free_port

from bench.stand import BARE, a_guarded_api, h2load, product, upstream, wait_until_listening, wrk

SHORT, LONG = 200, 1200
GROUPS = {
    "log line": r"^  log |^  log-format",
    "RateLimit headers": r"http-after-response (add-header|set-var\(txn.rs\)|allow)",
    # Without them nothing refuses, and nothing is told.
    "limits counted": r"track-sc[12] |http-request set-var\(txn\.(q|back|qn|ql|ri|w|rn|rl|code)\)"
    r"|return status (429|503)|allow if \{ (var\(txn.rl\)|sc_get_gpt\(15)"
    r"|http-request (unset-var\(txn.code|set-var-fmt|sc-inc-gpc\([15678],)"
    r"|http-after-response (add-header|set-var\(txn.rs\)|allow)",
    "usage counted": r"http-re(quest|sponse) sc-inc-gpc|http-response |after-response set-",
    "headers stripped": r"http-request del-header \^",
    "identity headers": r"http-request add-header|option forwardfor|unique-id-header|del-header connection",
    "path rewritten": r"http-request set-uri",
    "host rewritten": r"set-header Host",
    "path checked": r"lua\.normal",
    "trusted proxies": r"lua\.caller|set-src",
}


def count(folder: Path, port: int, uris: Path, *headers: str) -> float:
    """Instructions per call of `haproxy.cfg` in `folder`."""
    totals = []
    for calls in (SHORT, LONG):
        words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "haproxy"]
        with tempfile.TemporaryFile("w+") as told:
            running = subprocess.Popen(
                [*words, "-db", "-C", str(folder), "-f", "haproxy.cfg"],
                stdout=told,
                stderr=subprocess.STDOUT,
            )
            try:
                wait_until_listening(port)
                time.sleep(1)
                # The first call asks the authority.
                h2load(uris, 20, *headers)
                good = h2load(uris, calls, *headers)
            finally:
                running.terminate()
                running.wait()
            told.seek(0)
            match = re.search(r"Collected : (\d+)", told.read())
        if match is None or good != calls:
            raise RuntimeError(f"only {good} of {calls} calls were answered")
        totals.append(int(match[1]))
    return (totals[1] - totals[0]) / (LONG - SHORT)


#: What callers, upstreams and owners are promised of every call, with nothing decided and every value
#: a constant: the headers, the log line, three rows counted on, the target rewritten. No rules of
#: ours can cost less.
PROMISED = """
global
  nbthread 1
ring lines
  format raw
  maxlen 4096
  size 1048576
  timeout connect 1s
  timeout server 1h
  server collector unix@{folder}/log.sock log-proto octet-count
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 30s
  timeout http-keep-alive 60s
backend leases
  stick-table type string len 192 size 1k store gpt(20),gpc(10),bytes_in_cnt,bytes_out_cnt
backend rate
  stick-table type integer size 1k store gpc(1)
backend quota
  stick-table type integer size 1k store gpc(1)
frontend f
  bind 127.0.0.1:{port}
  log ring@lines len 4096 format raw local0 info
  log-format "%ID %ST %U %B"
  unique-id-format %Ts-%ms-%rt
  unique-id-header X-Ostiary-Request-Id
  default_backend b
backend b
  http-request track-sc0 req.fhdr(api-token) table leases
  http-request track-sc1 int(1) table rate
  http-request track-sc2 int(1) table quota
  http-request sc-inc-gpc(0,0)
  http-request sc-inc-gpc(0,1)
  http-request sc-inc-gpc(0,2)
  http-request del-header ^(x-ostiary-.*|authorization|api-token)$ -m reg
  http-request add-header X-Ostiary-Client 1
  http-request add-header X-Ostiary-Profile 1
  option forwardfor
  http-request set-uri /%[pathq,field(3,/,0)]
  http-request set-header Host upstream
  http-after-response add-header RateLimit "\\"rate\\";r=999999;t=60, \\"quota\\";r=99999999;t=600000"
  http-after-response add-header RateLimit-Policy "\\"rate\\";q=1000000;w=60, \\"quota\\";q=100000000"
  http-after-response add-header X-RateLimit-Limit 1000000
  http-after-response add-header X-RateLimit-Remaining 999999
  http-after-response add-header X-RateLimit-Reset 60
  server s 127.0.0.1:{upstream}
"""


@contextmanager
def drain(path: Path) -> Iterator[None]:
    """Take what is sent to a Unix socket, as the collector would."""

    def take(connection: socket.socket) -> None:
        while connection.recv(65_536):
            pass

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=take, args=(connection,), daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=serve, daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


def copied(stage: Stage, target: Path, port: int, *, without: str = "") -> None:
    """The product's own configuration, on a port of its own and without some of its rules."""
    shutil.copytree(stage.data / "run" / "gateway", target, dirs_exist_ok=True)
    text = (target / "haproxy.cfg").read_text()
    text = re.sub(r"bind \S+:\d+", f"bind 127.0.0.1:{port}", text)
    text = re.sub(r"nbthread \d+", "nbthread 1", text)
    text = re.sub(r"stats socket \S+", f"stats socket {target}/s.sock", text)
    text = re.sub(r" check inter 5s", "", text)
    if without:
        text = "\n".join(line for line in text.splitlines() if not re.search(without, line)) + "\n"
    (target / "haproxy.cfg").write_text(text)


def main() -> None:
    with upstream() as server, tempfile.TemporaryDirectory(prefix="ostiary-bench-") as made:
        folder = Path(made)
        port = free_port()
        uris = folder / "uris"
        paths = [f"bench-v1/orders/{n * 7919 % 100_000}" for n in range(LONG)]
        uris.write_text("".join(f"http://127.0.0.1:{port}/{path}\n" for path in paths))
        (folder / "bare").mkdir()
        bare_text = BARE.format(threads=1, port=port, upstream=server)
        (folder / "bare" / "haproxy.cfg").write_text(bare_text)
        bare = count(folder / "bare", port, uris)
        print(f"bare HAProxy: {bare:,.0f} instructions per call")
        (folder / "promised").mkdir()
        with drain(folder / "promised" / "log.sock"):
            text = PROMISED.format(folder=folder / "promised", port=port, upstream=server)
            (folder / "promised" / "haproxy.cfg").write_text(text)
            least = count(folder / "promised", port, uris, "API-TOKEN: any")
        print(f"what is promised, nothing decided: {least:,.0f}, {least / bare:.2f} times bare")
        for endpoints in (30, 1000):
            with product() as stage:
                limits = {"rate": (1_000_000, "minute"), "quota": (100_000_000, "month")}
                _, profile = a_guarded_api(stage, server, endpoints=endpoints, **limits)
                # A start renders what was made; the copies are of that.
                stage.stop()
                stage.start()
                token = f"API-TOKEN: {profile['secret']}"
                copied(stage, folder / "full", port)
                full = count(folder / "full", port, uris, token)
                print(
                    f"everything, {endpoints} endpoints: {full:,.0f}, {full / bare:.2f} times bare"
                )
                if endpoints == 30:
                    copied(stage, folder / "busy", port)
                    text = (folder / "busy" / "haproxy.cfg").read_text()
                    (folder / "busy" / "haproxy.cfg").write_text(
                        re.sub(r"fe_req_rate\(gateway\) gt \d+", "fe_req_rate(gateway) gt 0", text)
                    )
                    busy = count(folder / "busy", port, uris, token)
                    print(
                        f"everything, above the rate of log lines: {busy:,.0f},"
                        f" {busy / bare:.2f} times bare"
                    )
                    for name, pattern in GROUPS.items():
                        shutil.rmtree(folder / "less", ignore_errors=True)
                        copied(stage, folder / "less", port, without=pattern)
                        less = count(folder / "less", port, uris, token)
                        print(f"  {name}: {full - less:,.0f}")
                    throughput(stage, server, token)


def throughput(stage: Stage, server: int, token: str) -> None:
    """Calls a second of the same pair, alternating, each on the same number of threads."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    (folder / "haproxy.cfg").write_text(BARE.format(threads=2, port=port, upstream=server))
    running = subprocess.Popen(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")])
    try:
        wait_until_listening(port)
        rates: dict[str, list[float]] = {"bare": [], "ours": []}
        for _ in range(5):
            rates["bare"].append(wrk(f"http://127.0.0.1:{port}/orders/5", seconds=3)["rate"])
            url = f"http://127.0.0.1:{stage.gateway}/bench-v1/orders/5"
            rates["ours"].append(wrk(url, token, seconds=3)["rate"])
        ratios = sorted(a / b for a, b in zip(rates["ours"], rates["bare"], strict=True))
        print(
            f"throughput, 2 threads and the load on 2 cores: bare {max(rates['bare']):,.0f}/s,"
            f" ours {max(rates['ours']):,.0f}/s, ratio of pairs {ratios[0]:.2f} to {ratios[-1]:.2f}"
        )
    finally:
        running.terminate()
        running.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
