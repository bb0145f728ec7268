"""The gateway's own certificate: put in force again when its file has changed, without a restart."""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

#: Seconds between two looks at the file.
LOOK_SECONDS = 5.0

#: Puts a changed file in force. What it says: nothing, if the file is the one in force; else what the
#: gateway has against it, or an empty text. Raises what applying raises.
Renew = Callable[[], str | None]


async def follow(renew: Renew, *, seconds: float = LOOK_SECONDS) -> None:
    """Look for ever. A file that cannot be put in force is tried at each look, and said once."""
    said = ""
    while True:
        await asyncio.sleep(seconds)
        try:
            problem = await asyncio.to_thread(renew)
        except Exception as error:  # Whatever fails now may work at the next look.
            problem = str(error) or type(error).__name__
        if problem == "":
            log.info("the gateway has a new certificate")
        elif problem and problem != said:
            log.error("the gateway goes on with its last certificate: %s", problem)
        said = problem or ""
