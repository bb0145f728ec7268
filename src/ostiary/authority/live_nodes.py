"""How many gateways may spend limits now: those that live, and silent ones whose leases are still good."""

import asyncio
import logging

from django.db import Error, connection

from ostiary.directory.workspace import nodes

log = logging.getLogger(__name__)

#: Seconds between two looks at the table of nodes.
SECONDS = 1.0


class LiveNodes:
    """Their number as it was last read; at first this node alone."""

    def __init__(self) -> None:
        self.count = 1

    async def follow(self) -> None:
        """Read the table of nodes until cancelled."""
        while True:
            self.count = await asyncio.to_thread(self._read)
            await asyncio.sleep(SECONDS)

    def _read(self) -> int:
        try:
            found = sum(_may_serve(node) for node in nodes.gateways())
        except Error:
            log.warning("the number of nodes could not be read")
            connection.close()
            return self.count
        return max(1, found)


def _may_serve(node: nodes.NodeState) -> bool:
    return node.state != nodes.SILENT or node.silence <= node.rights_end_after
