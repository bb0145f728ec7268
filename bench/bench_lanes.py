"""How long a revocation and one endpoint's change take, while everything else is being published.

400 collections with 11,000 endpoints are changed again and again, and 100 connections have names
that no name server answers (the product runs in a mount namespace with a name server of ours, for
which this must be run by root; without that, there are no such names).
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.nameserver import NameServer, wrapping
from tests.replanning import (
    Caller,
    Replanning,
    database,
    more_endpoints,
    more_silent_connections,
    multiply,
)
from tests.stage import Stage, Upstream, running

from bench.stand import quantile

COLLECTIONS, EACH, SILENT = 400, 27, 100
REVOCATIONS, CHANGES = 100, 40
#: Endpoints of the collection of which one is changed.
MANY = 10_000


def revocations(stage: Stage, collection: Any) -> tuple[list[float], list[float], int]:
    """Milliseconds of each receipt, and of each answer as its caller sees it; calls that passed."""
    target = f"/{collection['handle']}/things"
    client = stage.a_client()
    profiles = [stage.a_profile(collection, client=client) for _ in range(REVOCATIONS)]
    confirmed, answered, passed = [], [], 0
    for profile in profiles:
        with Caller(stage, target, profile["secret"]) as caller:
            while not any(status == 200 for _, status in caller.calls):
                time.sleep(0.001)
            began = time.perf_counter()
            receipt = stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
            at = time.monotonic()
            answered.append((time.perf_counter() - began) * 1000)
            confirmed.append(float(receipt["revocation"]["ms"]))
            seen = len(caller.calls)
            while len(caller.calls) < seen + 3:
                time.sleep(0.001)
        passed += caller.passed_after(at)
    return confirmed, answered, passed


def changes(stage: Stage, collection: Any, endpoint: Any, token: str) -> list[float]:
    """Milliseconds until one endpoint's new path is called, of the change's answer and all."""
    taken = []
    for number in range(CHANGES):
        path = f"/changed/{number}"
        content = {"name": "Changed", "method": "GET", "path": path, "active": True}
        began = time.perf_counter()
        stage.done("PUT", f"api_endpoints/{endpoint['id']}", content)
        taken.append((time.perf_counter() - began) * 1000)
        answer = stage.call(f"/{collection['handle']}{path}", token)
        if answer.status != 200:
            raise RuntimeError(f"not in force: {answer.status}")
    return taken


def show(what: str, values: list[float], target: float) -> None:
    print(
        f"{what:52} p50 {quantile(values, 0.5):7.1f}  p99 {quantile(values, 0.99):7.1f} ms"
        f"   (target {target:g})"
    )


def main() -> None:
    """Print the figures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ostiary-bench-")))
        server = stack.enter_context(NameServer())
        server.silent.add("*")
        before = wrapping(server, folder)
        upstream = Upstream()
        stack.callback(upstream.close)
        stage = stack.enter_context(running(folder / "data", before=before))
        collection = stage.a_collection(upstream)
        (endpoint,) = (
            each
            for each in stage.done("GET", f"api_endpoints?api_collection_id={collection['id']}")
            if each["path"] == "things" and each["method"] == "GET"
        )
        large = stage.a_collection(upstream, "GET /one")
        (one,) = stage.done("GET", f"api_endpoints?api_collection_id={large['id']}")
        token = stage.a_profile(large)["secret"]
        show("revocation confirmed, at rest", revocations(stage, collection)[0], 50)
        copies = multiply(
            stage.data, collection["id"], endpoint["id"], times=COLLECTIONS, each=EACH
        )
        with database(stage.data) as connection:
            more_endpoints(connection, large["id"], one["id"], MANY)
        if before:
            more_silent_connections(stage.data, collection["proxy_connection_id"], SILENT)
        stage.stop()
        stage.start()
        show(f"one endpoint of {MANY} changed", changes(stage, large, one, token), 100)
        with Replanning(stage, copies) as replanning:
            confirmed, answered, passed = revocations(stage, collection)
            show(f"revocation confirmed, {len(copies)} collections replanned", confirmed, 50)
            show("the same, as its caller sees it", answered, 1000)
            print(f"{'calls that passed after an answer':52} {passed} of {REVOCATIONS} revocations")
            slow = changes(stage, large, one, token)
            show(f"one endpoint of {MANY} changed meanwhile", slow, 1000)
        print(f"{'collections changed meanwhile':52} {replanning.changes}")
        if not before:
            print("without silent names: a mount namespace is not permitted here")


if __name__ == "__main__":
    main()
