"""HAProxy's runtime socket: commands out, answers in (management guide, section 9.3).

One connection in prompt mode, so that its end tells that the process behind it is gone. Nothing a
user typed goes into a command but as the payload of a map, which cannot hold a line end.
"""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

#: A command and its payload must fit HAProxy's buffer of 16,384 bytes.
CHUNK = 12_000
_PROMPT = b"\n> "
#: HAProxy answers within milliseconds, but for a table of very many rows.
SECONDS = 10.0


class RuntimeGone(Exception):
    """HAProxy does not answer on its socket."""


class RuntimeRefused(Exception):
    """HAProxy answered a command with something other than what was expected."""


class Runtime:
    """A connection to one HAProxy worker. Not for concurrent use: callers hold `lock`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.lock = asyncio.Lock()

    @classmethod
    async def connect(cls, path: Path) -> "Runtime":
        """Open the socket; raises RuntimeGone."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(path), limit=64 * 1024 * 1024)
        except OSError as error:
            raise RuntimeGone from error
        runtime = cls(reader, writer)
        await runtime._exchange("prompt")
        await runtime.command("set timeout cli 86400")
        await runtime.command("experimental-mode on")
        return runtime

    @property
    def closed(self) -> bool:
        return self._reader.at_eof() or self._writer.is_closing()

    async def command(self, line: str) -> str:
        """Send one line (or several commands joined by `;`) and read the answer."""
        return await self._exchange(line)

    async def _exchange(self, text: str) -> str:
        payload = "<<" in text
        # Each of several commands on a line is answered with a prompt of its own.
        prompts = 1 if payload else text.count(";") + 1
        shown = []
        try:
            self._writer.write(text.encode() + b"\n")
            await self._writer.drain()
            async with asyncio.timeout(SECONDS):
                for _ in range(prompts):
                    answer = await self._reader.readuntil(_PROMPT)
                    shown.append(answer[: -len(_PROMPT)].decode(errors="replace").strip())
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            await self.close()
            raise RuntimeGone from error
        told = "\n".join(part for part in shown if part)
        # In a payload, the prompt is a plus sign.
        return told.lstrip("+ ").strip() if payload else told

    async def close(self) -> None:
        self._writer.close()

    async def expect_silence(self, line: str) -> None:
        """Send commands that answer nothing when they worked."""
        answer = await self.command(line)
        if answer:
            raise RuntimeRefused(answer[:200])

    async def set_rows(self, table: str, rows: Iterable[tuple[str | int, int]]) -> None:
        """Set element 0 of rows of a table, many to a command."""
        commands = [f"set table {table} key {key} data.gpt0 {value}" for key, value in rows]
        for start in range(0, len(commands), 100):
            await self.expect_silence(";".join(commands[start : start + 100]))

    async def floor(self) -> int:
        """The sequence that this process has had in force; raises RuntimeRefused if it has none."""
        answer = await self.command("get var proc.floor")
        value = answer.partition("<")[2].partition(">")[0]
        if not value.isdigit():
            raise RuntimeRefused(answer[:200])
        return int(value)

    async def raise_floor(self, sequence: int) -> None:
        """Say that `sequence` is in force: answers that were decided before it are asked again."""
        await self.expect_silence(f"set var proc.floor int({sequence})")

    async def replace_map(self, name: str, entries: Mapping[str, str]) -> None:
        """Put other entries in place of a map's, in one step for the traffic."""
        answer = await self.command(f"prepare map {name}")
        version = answer.rpartition(" ")[2]
        if not version.isdigit():
            raise RuntimeRefused(answer[:200])
        for payload in _payloads(entries):
            await self.expect_silence(f"add map @{version} {name} <<\n{payload}")
        await self.expect_silence(f"commit map @{version} {name}")

    async def add_to_map(self, name: str, key: str, value: str) -> None:
        await self.expect_silence(f"add map {name} <<\n{key} {value}\n")

    async def servers(self) -> dict[tuple[str, str], str]:
        """(backend, server) → address, of every server there is."""
        lines = (await self.command("show servers state")).splitlines()[1:]
        rows = [line.split() for line in lines if line and not line.startswith("#")]
        return {(row[1], row[3]): row[4] for row in rows if len(row) > 4}

    async def stopping(self) -> bool:
        """Whether the process is on its way out, and another one has its place."""
        return await self.info("Stopping") == "1"

    async def info(self, name: str) -> str:
        """One field of `show info`."""
        for line in (await self.command("show info")).splitlines():
            field, _, value = line.partition(": ")
            if field == name:
                return value
        raise RuntimeRefused(f"no {name} in show info")

    async def calls(self) -> int:
        """Calls that are under way at any backend."""
        words = (line.split(",") for line in (await self.command("show stat")).splitlines())
        return sum(int(w[4] or 0) for w in words if len(w) > 4 and w[1] == "BACKEND")

    async def rows(self, table: str) -> list[str]:
        """The lines of `show table`, without its header."""
        return (await self.command(f"show table {table}")).splitlines()[1:]


def _payloads(entries: Mapping[str, str]) -> Iterable[str]:
    lines: list[str] = []
    size = 0
    for key, value in entries.items():
        line = f"{key} {value}\n"
        if lines and size + len(line.encode()) > CHUNK:
            yield "".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line.encode())
    if lines:
        yield "".join(lines)
