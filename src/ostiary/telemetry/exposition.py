"""Metrics between the parts of one machine: each shows its own on a socket, the control part asks.

There is no protocol but this: whoever connects is sent the registry in Prometheus' text format,
and the connection ends. The event loop of the part itself answers, so an answer also tells that
the part is not stuck.
"""

import asyncio
import contextlib
import socket
import time
from pathlib import Path

from prometheus_client import Metric, disable_created_metrics, generate_latest
from prometheus_client.parser import text_string_to_metric_families

#: The parts that show metrics; the gateway is asked on its own socket.
PARTS = ("supervisor", "authority", "recipes", "collector", "publisher")
#: The largest answer that is read, in bytes; ours have a few thousand lines at most.
LARGEST = 4 * 1024 * 1024

disable_created_metrics()  # type: ignore[no-untyped-call]  # without types in the library


class PartSilent(Exception):
    """A part does not answer in time, or not with metrics."""


def socket_path(run: Path, part: str) -> Path:
    """Where a part shows its metrics."""
    return run / f"{part}.metrics"


async def show(run: Path, part: str) -> asyncio.Server:
    """Show this process's metrics as those of `part`, until the server is closed."""
    path = socket_path(run, part)
    path.unlink(missing_ok=True)
    # The folder is ours alone.
    return await asyncio.start_unix_server(_answer, path)


async def _answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.write(generate_latest())
        await writer.drain()
    writer.close()


def read(run: Path, part: str, *, seconds: float) -> list[Metric]:
    """What a part shows now; raises PartSilent."""
    give_up = time.monotonic() + seconds
    content = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(seconds)
            sock.connect(str(socket_path(run, part)))
            while chunk := sock.recv(65536):
                content += chunk
                left = give_up - time.monotonic()
                if left <= 0 or len(content) > LARGEST:
                    raise PartSilent(f"{part} does not come to an end")
                sock.settimeout(left)
        return list(text_string_to_metric_families(content.decode()))
    except (OSError, ValueError) as error:
        raise PartSilent(f"{part} does not answer") from error


def forget(run: Path) -> None:
    """Take away what parts that are gone have left, before others start."""
    for part in PARTS:
        socket_path(run, part).unlink(missing_ok=True)
