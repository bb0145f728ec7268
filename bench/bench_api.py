"""Clients with an access profile a minute through the management API, and the CPU of each pair.

Four connections to the running control process over loopback make pairs for some seconds, each client with
one profile. CPU is that of the control process, which repeats on a machine that is busy with other
things. On SQLite; with `--postgresql`, on a cluster of its own.
"""

import contextlib
import http.client
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.postgres import cluster
from tests.stage import Stage, running

CONNECTIONS = 4
SECONDS = 20.0


class Caller:
    """One connection that makes pairs until it is time to end."""

    def __init__(self, stage: Stage, collection: int, number: int) -> None:
        self._stage, self._collection, self._number = stage, collection, number
        self._http = http.client.HTTPConnection("127.0.0.1", stage.control, timeout=60)
        self.pairs = 0

    def run(self, until: float) -> None:
        while time.monotonic() < until:
            name = f"Client {self._number}-{self.pairs}"
            client = self._call("api_clients", {"name": name})["result"]["id"]
            self._call(
                "api_access_profiles",
                {
                    "name": "Production", "api_client_id": client, "auth_type": "token",
                    "api_collection_ids": [self._collection],
                },
            )  # fmt: skip
            self.pairs += 1

    def _call(self, path: str, content: dict[str, Any]) -> Any:
        headers = {
            "Authorization": f"Bearer {self._stage.token}",
            "Content-Type": "application/json",
        }
        self._http.request("POST", f"/api/{path}", json.dumps(content), headers)
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:200]!r}")
        return json.loads(body)


def measure(stage: Stage) -> None:
    """Print the rate and the CPU of pairs."""
    collection = stage.done("POST", "api_collections", {"name": "Orders"})["id"]
    callers = [Caller(stage, collection, number) for number in range(CONNECTIONS)]
    # The first calls import what they need.
    callers[0].run(time.monotonic() + 1)
    before, made, start = _cpu(stage), callers[0].pairs, time.monotonic()
    threads = [threading.Thread(target=each.run, args=(start + SECONDS,)) for each in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pairs, took = sum(each.pairs for each in callers) - made, time.monotonic() - start
    cpu = (_cpu(stage) - before) * 1000 / pairs
    print(f"{pairs * 60 / took:.0f} pairs a minute, {cpu:.1f} ms of CPU each", flush=True)


def _cpu(stage: Stage) -> float:
    """Seconds of CPU that the control process has used."""
    words = Path(f"/proc/{stage.pids('control')[0]}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _database() -> Iterator[dict[str, str]]:
    if "--postgresql" not in sys.argv:
        yield {}
        return
    with cluster() as url:
        yield {"OSTIARY_DATABASE_URL": url}


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as folder,
        _database() as env,
        running(Path(folder) / "data", env=env) as stage,
    ):
        measure(stage)
