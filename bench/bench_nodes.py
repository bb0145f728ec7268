"""How long a revocation takes until three gateways have confirmed it, and one that is cut off.

Three gateways on one PostgreSQL, each called every few milliseconds by a thread. The database runs with
`fsync=off`: a disk would add its own time to every commit.
"""

import statistics
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from tests.budgets.redis_server import store_server
from tests.cluster.machines import several
from tests.postgres import cluster as postgresql
from tests.stage import Upstream

from bench.stand import quantile

REVOCATIONS = 200
FENCE = 5
TARGET = "/things-v1/things"


def main() -> None:
    with ExitStack() as stack:
        store = stack.enter_context(store_server())
        env = {"OSTIARY_REDIS_URL": store.url, "OSTIARY_FENCE_SECONDS": str(FENCE)}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(postgresql())
        nodes = stack.enter_context(several(folder, url, env))
        machines = [nodes.add("b"), nodes.add("c")]
        upstream = Upstream()
        stack.callback(upstream.close)
        stage = nodes.stage
        things = stage.a_collection(upstream, name="Things", handle="things-v1")
        steady = stage.a_profile(things)["secret"]
        client = stage.a_client()
        profiles = [stage.a_profile(things, client=client) for _ in range(REVOCATIONS + 1)]
        stop = threading.Event()

        def load(number: int) -> None:
            while not stop.is_set():
                if number:
                    machines[number - 1].call(TARGET, steady)
                else:
                    stage.call(TARGET, steady)
                stop.wait(0.005)

        threads = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(3)]
        for thread in threads:
            thread.start()
        passed, taken = 0, []
        for profile in profiles[:-1]:
            secret = profile["secret"]
            for machine in machines:
                machine.call(TARGET, secret)
            receipt = stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")[
                "revocation"
            ]
            assert receipt["confirmed"] == 3, receipt
            taken.append(float(receipt["ms"]))
            passed += sum(machine.call(TARGET, secret).status == 200 for machine in machines)
            passed += stage.call(TARGET, secret).status == 200
        print(
            f"receipts of three gateways: p50 {statistics.median(taken):.1f} ms,"
            f" p99 {quantile(taken, 0.99):.1f} ms; {passed} calls passed after them"
        )
        last = profiles[-1]
        machines[0].call(TARGET, last["secret"])
        nodes.links["b"].cut()
        began = time.monotonic()
        receipt = stage.done("PUT", f"api_access_profiles/{last['id']}/disable")["revocation"]
        states = {each["name"]: each["state"] for each in receipt["nodes"]}
        print(f"one cut off: {time.monotonic() - began:.1f} s, {states}")
        print(f"its answer afterwards: {machines[0].call(TARGET, last['secret']).status}")
        stop.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
