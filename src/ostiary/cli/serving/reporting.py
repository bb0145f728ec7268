"""A control process's reports to the directory that it lives."""

import contextlib
import logging
import threading
from collections.abc import Iterator

from django.db import Error, close_old_connections, connection

from ostiary.directory.workspace import nodes
from ostiary.directory.workspace.nodes import Identity

log = logging.getLogger(__name__)


@contextlib.contextmanager
def reporting(identity: Identity) -> Iterator[None]:
    """Report until the block ends; then that the node has stopped."""
    ended = threading.Event()
    thread = threading.Thread(target=_report, args=(identity, ended), name="node", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        # It may wait for a database that does not answer; the process ends all the same.
        thread.join(timeout=1.0)


def _report(identity: Identity, ended: threading.Event) -> None:
    seconds = nodes.report_seconds()
    while True:
        close_old_connections()
        try:
            if not nodes.report(identity) and nodes.register(identity):
                log.warning(
                    "another control reports as node %s; set OSTIARY_NODE to another name on one of"
                    " them",
                    identity.name,
                )
        except Error:
            log.warning("the node could not be reported to the database")
            connection.close()
        if ended.wait(seconds):
            break
    with contextlib.suppress(Error):
        nodes.leave(identity)
    connection.close()
