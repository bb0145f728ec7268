"""How long others' first calls take while one floods, and how long open streams go on after a revocation."""

import http.client
import itertools
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

from tests.gateway.test_streams import PATHS, Call, Streaming
from tests.stage import Stage, Upstream, wait_for

from bench.stand import product, quantile, upstream

#: Profiles whose first call is measured at each flood.
OTHERS = 300
#: Streams of each kind that are ended.
STREAMS = 100
#: Processes that flood, with so many connections each.
FLOODERS, CONNECTIONS = 2, 8
HALVES = 8000


def first_calls(stage: Stage, profiles: list[Any]) -> list[float]:
    """Milliseconds of each profile's first call, connecting included; each one is answered 200."""
    taken = []
    for profile in profiles:
        began = time.perf_counter()
        answer = stage.call("/things-v1/things", profile["secret"])
        taken.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"another's first call: {answer.status} {answer.body!r}")
        time.sleep(0.01)
    return taken


def _flood(port: int, target: str, secret: str, start: int, count: Any) -> None:
    """Call from ever new addresses, each of which needs a first call: with a valid key, or none."""
    addresses = itertools.count(start)

    def one() -> None:
        while True:
            n = next(addresses)
            source = f"127.{10 + n // 62_500 % 200}.{n // 250 % 250}.{1 + n % 250}"
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection(
                    "127.0.0.1", port, timeout=10, source_address=(source, 0)
                )
                connection.request("GET", target, headers={"API-TOKEN": secret})
                connection.getresponse().read()
                connection.close()
                with count.get_lock():
                    count.value += 1

    threads = [threading.Thread(target=one, daemon=True) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def flooding(stage: Stage, target: str, secret: str) -> Iterator[Callable[[], float]]:
    """Flood meanwhile; yields what tells the calls a second so far."""
    count = multiprocessing.Value("i", 0)
    processes = [
        multiprocessing.Process(
            target=_flood, args=(stage.gateway, target, secret, i * 5_000_000, count), daemon=True
        )
        for i in range(FLOODERS)
    ]
    for process in processes:
        process.start()
    began = time.monotonic()
    try:
        time.sleep(1)
        yield lambda: count.value / (time.monotonic() - began)
    finally:
        for process in processes:
            process.kill()
            process.join()


@contextmanager
def half_heads(stage: Stage) -> Iterator[None]:
    """Open half-sent heads from one address, again and again."""
    stop = threading.Event()

    def open_them() -> None:
        sockets: list[socket.socket] = []
        while not stop.is_set():
            with suppress(OSError):
                sock = socket.create_connection(
                    ("127.0.0.1", stage.gateway), source_address=("127.0.0.2", 0)
                )
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nAPI-TO")
                sockets.append(sock)
            if len(sockets) > HALVES:
                for each in sockets[: HALVES // 2]:
                    each.close()
                del sockets[: HALVES // 2]
        for each in sockets:
            each.close()

    process = multiprocessing.Process(target=open_them, daemon=True)
    process.start()
    try:
        time.sleep(1)
        yield
    finally:
        process.kill()
        process.join()


def show(what: str, values: list[float], target: float) -> None:
    """Print quantiles in milliseconds."""
    print(
        f"{what:52} p50 {quantile(values, 0.5):7.1f}  p99 {quantile(values, 0.99):7.1f}"
        f"  max {max(values):7.1f} ms  n {len(values)}   (target {target:g})",
        flush=True,
    )


class _Api:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"


def floods(stage: Stage, port: int) -> None:
    """First calls of others at rest and under each flood."""
    api = cast("Upstream", _Api(port))
    collection = stage.a_collection(api, handle="things-v1", name="Things")
    client = stage.a_client()

    def others() -> list[Any]:
        return [stage.a_profile(collection, client=client) for _ in range(OTHERS)]

    flooder = stage.a_profile(collection, client=stage.a_client(), ip_allow_list=["127.0.0.0/8"])
    show("first call, at rest", first_calls(stage, others()), 20)
    measured = others()
    with flooding(stage, "/things-v1/things", flooder["secret"]) as rate:
        show("first call, one floods with a valid key", first_calls(stage, measured), 20)
        print(f"{'':52} {rate():.0f} flooding calls a second", flush=True)
    measured = others()
    with flooding(stage, "/things-v1/things", "unknown-token") as rate:
        show("first call, one floods with unknown keys", first_calls(stage, measured), 20)
        print(f"{'':52} {rate():.0f} flooding calls a second", flush=True)
    measured = others()
    with half_heads(stage):
        show("first call, one floods with half-sent heads", first_calls(stage, measured), 20)


def ends_of_streams(stage: Stage) -> None:
    """From the revoking call, and from its answer, to the end of the stream as its caller sees it."""
    streaming = Streaming()
    collection = stage.a_collection(
        cast("Upstream", streaming), *PATHS, name="Streams", handle="streams-v1"
    )
    client = stage.a_client()
    for path, what in (
        ("/socket", "WebSocket"), ("/events", "event stream"), ("/silent", "silent event stream"),
        ("/download", "long download"),
    ):  # fmt: skip
        profiles = [stage.a_profile(collection, client=client) for _ in range(STREAMS)]
        after_call, after_answer = [], []
        for profile in profiles:
            call = Call(stage, path, profile["secret"])
            wait_for(lambda call=call: call.opened, what="a stream")  # type: ignore[misc]  # a default of a lambda has no type
            # A stream is a call that is open at two looks.
            time.sleep(0.6)
            began = time.monotonic()
            stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
            answered = time.monotonic()
            wait_for(lambda call=call: bool(call.ended_at), what="its end")  # type: ignore[misc]  # a default of a lambda has no type
            after_call.append((call.ended_at - began) * 1000)
            after_answer.append(max(0.0, call.ended_at - answered) * 1000)
            call.close()
        show(f"{what} ends after the revoking call began", after_call, 1000)
        show("the same, after its answer", after_answer, 1000)
    streaming.close()


def main() -> None:
    """Print the figures."""
    with product() as stage, upstream() as port:
        floods(stage, port)
        ends_of_streams(stage)


if __name__ == "__main__":
    main()
