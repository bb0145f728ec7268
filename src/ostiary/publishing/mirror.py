"""A mirror of the gateway's objects, and the file from which it starts without the publisher."""

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from ostiary.gateway import launch
from ostiary.gateway.contract import OBJECTS
from ostiary.gateway.objects import digest, key

log = logging.getLogger(__name__)

#: Names, their last good addresses, and when these were good (Unix seconds).
NamesToSave = Callable[[], Mapping[str, tuple[Collection[str], float]]]
#: Stands for a digest where an exchange failed, and nobody knows what the gateway holds.
UNKNOWN = "?"
#: Seconds that the file waits for further changes, and for the next try after a failure.
QUIET_SECONDS, RETRY_SECONDS = 1.0, 10.0


class Mirror:
    """Keys and digests at the gateway; texts of what was published since this process started."""

    def __init__(self) -> None:
        self.birth = ""
        #: Whether every object was compared with this gateway: only then may the file be written.
        self.complete = False
        self._digests: dict[str, str] = {}
        self._texts: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, name: str) -> bool:
        return name in self._digests

    def reset(self, birth: str, digests: Mapping[str, str]) -> None:
        """Take over what a gateway lists."""
        if birth != self.birth:
            self.birth, self.complete = birth, False
        self._digests = dict(digests)
        self._texts = {n: t for n, t in self._texts.items() if digests.get(n) == digest(t)}

    def differs(self, name: str, text: str) -> bool:
        """Whether the gateway lacks this; remembers the text if it does not."""
        if self._digests.get(name) != digest(text):
            return True
        self._texts[name] = text
        return False

    def put(self, name: str, text: str) -> None:
        self._digests[name], self._texts[name] = digest(text), text

    def drop(self, name: str) -> None:
        self._digests.pop(name, None)
        self._texts.pop(name, None)

    def doubt(self, names: Iterable[str]) -> None:
        """An exchange about these failed: whatever comes next is sent."""
        for name in names:
            self._digests[name] = UNKNOWN
            self._texts.pop(name, None)

    def ids(self, kind: str) -> list[int]:
        """Ids of a kind's objects at the gateway."""
        letter = OBJECTS[kind]
        return [int(n[1:]) for n in self._digests if n[:1] == letter and n[1:].isdigit()]

    def strays(self) -> list[str]:
        """Keys that this version does not publish."""
        letters = {OBJECTS[kind] for kind in ("collection", "endpoint", "connection")}
        return [
            name
            for name in self._digests
            if name != key("settings") and not (name[:1] in letters and name[1:].isdigit())
        ]

    @property
    def known(self) -> bool:
        """Whether the text of everything that the gateway holds is known."""
        return self.complete and len(self._texts) == len(self._digests)

    def lines(self) -> list[tuple[str, str]]:
        """Every object's key and text."""
        return list(self._texts.items())


class StateWriter:
    """Writes the last good state: `published.jsonl`, from which the gateway starts, and names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._wanted = asyncio.Event()
        self.failures = 0

    def want(self) -> None:
        """Something changed; the files are written soon."""
        self._wanted.set()

    async def run(self, mirror: Mirror, names: NamesToSave) -> None:
        """Write after changes until cancelled."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(QUIET_SECONDS)
            self._wanted.clear()
            if not await self.write(mirror, names):
                self._wanted.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def write(self, mirror: Mirror, names: NamesToSave) -> bool:
        """Write both files now; says whether that worked. A full disk is logged."""
        if not mirror.known:
            # Written by now it would lack what the gateway holds; the last one is better.
            return True
        try:
            await asyncio.to_thread(self._write, mirror.lines(), names())
        except OSError as error:
            self.failures += 1
            log.warning("the last good state cannot be written: %s", error.strerror)
            return False
        return True

    def _write(
        self, lines: list[tuple[str, str]], names: Mapping[str, tuple[Collection[str], float]]
    ) -> None:
        objects = "".join(f"{name}\t{text}\n" for name, text in sorted(lines))
        launch.write(self._folder / "published.jsonl", objects.encode())
        addresses = {n: {"addresses": list(a), "at": at} for n, (a, at) in names.items()}
        launch.write(self._folder / "names.json", json.dumps(addresses).encode())

    def names(self) -> dict[str, tuple[tuple[str, ...], float]]:
        """Names and their last good addresses, as an earlier process knew them."""
        try:
            stored = json.loads((self._folder / "names.json").read_text())
            return {
                str(name): (tuple(map(str, entry["addresses"])), float(entry["at"]))
                for name, entry in stored.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}
