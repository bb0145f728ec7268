"""The recipes folder: its files, which of them load, and the last good version of each file."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import watchfiles

from ostiary.recipes.pool import Died, Pool, TooLong

log = logging.getLogger(__name__)

LARGEST = 1024 * 1024
#: Seconds within which it is noticed that the folder is another one, or gone.
LOOK_SECONDS = 2.0


@dataclass(slots=True)
class _File:
    #: The last source that loaded, and its recipes.
    good: str | None = None
    recipes: list[dict[str, Any]] = field(default_factory=list)
    seen: str | None = None
    error: str = ""


class RecipeFolder:
    """Watches a folder, and gives a pool the sources that work."""

    def __init__(self, path: Path, kept: Path, pool: Pool) -> None:
        self._path, self._kept, self._pool = path, kept, pool
        self._files: dict[str, _File] = {}
        #: Names, sizes and times of the files that were read last.
        self._read: frozenset[tuple[str, int, int]] | None = None

    async def watch(self) -> None:
        """Follow edits until cancelled, also in a folder that takes the place of a removed one."""
        while True:
            folder = self._identity()
            if folder is None:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            await self.read()
            with contextlib.suppress(FileNotFoundError):
                await self._follow(folder)

    async def _follow(self, folder: tuple[int, int]) -> None:
        """Follow edits for as long as this folder is there: nothing is heard of another one."""
        async for changes in watchfiles.awatch(
            self._path, recursive=False, debounce=200, step=50,
            rust_timeout=int(LOOK_SECONDS * 1000), yield_on_timeout=True,
        ):  # fmt: skip
            # What was edited before this began to listen, or in a folder that has taken the place and the
            # number of the old one, is not heard of.
            if changes or self._stamps() != self._read:
                await self.read()
            if self._identity() != folder:
                return

    def _identity(self) -> tuple[int, int] | None:
        try:
            state = self._path.stat()
        except OSError:
            return None
        return state.st_dev, state.st_ino

    async def read(self) -> None:
        """Read the folder; a file that does not load leaves its last good version running.

        A folder that is gone as a whole (a volume that is not mounted, say) leaves everything.
        """
        if self._identity() is None:
            log.error("the folder of recipes is gone; what was read of it goes on")
            return
        self._read = self._stamps()
        sources = await asyncio.to_thread(self._sources)
        changed = False
        for name in [name for name in self._files if name not in sources]:
            del self._files[name]
            (self._kept / name).unlink(missing_ok=True)
            changed = True
        for name, source in sources.items():
            changed |= await self._consider(name, source)
        if changed:
            self._pool.use(self.good())

    def good(self) -> dict[str, str]:
        """File → the source that runs."""
        return {name: f.good for name, f in sorted(self._files.items()) if f.good is not None}

    def recipes(self) -> list[dict[str, Any]]:
        """Every running recipe, with the error of a newer version of its file."""
        return [
            {**recipe, "error": file.error}
            for _, file in sorted(self._files.items())
            for recipe in file.recipes
        ]

    def errors(self) -> Mapping[str, str]:
        """File → its error."""
        return {name: file.error for name, file in self._files.items() if file.error}

    def _stamps(self) -> frozenset[tuple[str, int, int]] | None:
        """What tells whether files have changed; nothing while they can't be looked at."""
        try:
            states = [(path.name, path.stat()) for path in self._path.glob("*.py")]
        except OSError:
            return None
        return frozenset((name, state.st_size, state.st_mtime_ns) for name, state in states)

    def _sources(self) -> dict[str, str]:
        sources = {}
        for path in sorted(self._path.glob("*.py")):
            try:
                if path.stat().st_size <= LARGEST:
                    sources[path.name] = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                log.warning("the recipe file %s cannot be read: %s", path.name, error)
        return sources

    async def _consider(self, name: str, source: str) -> bool:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = _File()
            await self._restore(name, file)
        if source == file.seen:
            return False
        file.seen = source
        others = {n: s for n, s in self.good().items() if n != name}
        told = await self._told({**others, name: source})
        file.error = told["errors"].get(name, "")
        if file.error:
            log.warning("the recipe file %s does not load: %s", name, file.error)
            return False
        self._accept(name, file, source, told)
        return True

    async def _restore(self, name: str, file: _File) -> None:
        """After a restart, a broken file still has its last good version."""
        kept = self._kept / name
        if kept.exists():
            source = kept.read_text(encoding="utf-8")
            told = await self._told({name: source})
            if not told["errors"]:
                self._accept(name, file, source, told)
                self._pool.use(self.good())

    def _accept(self, name: str, file: _File, source: str, told: dict[str, Any]) -> None:
        file.good = source
        file.recipes = [recipe for recipe in told["recipes"] if recipe["file"] == name]
        (self._kept / name).write_text(source, encoding="utf-8")

    async def _told(self, files: Mapping[str, str]) -> dict[str, Any]:
        try:
            return await self._pool.describe(files)
        except (Died, TooLong) as error:
            name = list(files)[-1]
            why = "it takes too long" if isinstance(error, TooLong) else "it ends the process"
            return {"recipes": [], "errors": {name: f"loading it failed: {why}"}}
