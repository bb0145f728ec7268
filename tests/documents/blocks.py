"""The fenced blocks of a page, and a reader who pastes them: one product, one folder, one shell.

A block `sh` runs as it stands, with the ports of the documents exchanged for free ones. The words after the
language say what is special: `{.norun reason}` needs what a test has not, `{.background text}` runs in a second
terminal, and is taken to be ready when it has printed the text. A block `{.output}` is what the block
before it must print; `…` stands for anything.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.stage import free_port, prepared, wait_for

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Its first block defines what the examples of the guides use.
PRELUDE = DOCS / "how-to/call-the-api.md"
#: Ports of the documents: the gateway's, the control port, and those of APIs and proxies.
GATEWAY, CONTROL = "8080", "8000"
OTHERS = ("9000", "8081", "8001", "8443", "8444")

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
_SPECIAL = re.compile(r"\{\.(?P<kind>[\w-]+) ?(?P<value>[^}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    language: str
    #: `norun`, `background`, `output`, or empty.
    kind: str
    value: str
    text: str
    line: int

    @property
    def starts_the_product(self) -> bool:
        """On the usual ports; with others it is one more, beside that."""
        starts = re.search(r"\b(make|ostiary) up\b", self.text)
        return self.kind == "background" and bool(starts) and "--gateway-bind" not in self.text

    @property
    def needs_the_product(self) -> bool:
        return bool(re.search(rf"\bapi |\b{GATEWAY}\b|\b{CONTROL}\b|\bostiary \w", self.text))


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = page.read_text()
    return [
        _block(match, text.count("\n", 0, match.start()) + 1) for match in _FENCE.finditer(text)
    ]


def _block(match: re.Match[str], line: int) -> Block:
    language, _, more = match["info"].strip().partition(" ")
    special = _SPECIAL.search(more)
    lines = match["text"].splitlines()
    return Block(
        language=language,
        kind=special["kind"] if special else "",
        value=special["value"] if special else "",
        text="".join(f"{each.removeprefix(match['indent'])}\n" for each in lines),
        line=line,
    )


_FUNCTIONS = f"""
# The clone's Makefile, with the data in this folder.
make() {{ command make -C {ROOT} DATA="$PWD/ostiary-data" "$@"; }}
# What takes a second on a reader's machine can take three on one that runs other tests.
sleep() {{ command sleep $((3 * $1)); }}
"""


class Reader:
    """Pastes blocks into one shell in a folder of its own."""

    def __init__(self, folder: Path, texts: Mapping[str, str]) -> None:
        self._folder = folder
        self._texts = texts
        self._ports = {port: str(free_port()) for port in (GATEWAY, CONTROL, *OTHERS)}
        self._count = 0
        self._open = ExitStack()
        (folder / ".venv").symlink_to(ROOT / ".venv")
        self._shell = self._open.enter_context(self._process("shell"))

    def close(self) -> None:
        self._open.close()

    @property
    def _env(self) -> Mapping[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts
        binds = {
            name: f"127.0.0.1:{self._ports[port]}"
            for name, port in (("GATEWAY_BIND", GATEWAY), ("CONTROL_BIND", CONTROL))
        }
        return {
            **env,
            "PATH": f"{ROOT}/.venv/bin:{env['PATH']}",
            **binds,
            **{f"OSTIARY_{name}": bind for name, bind in binds.items()},
            # As on a terminal.
            "OSTIARY_LOG_FORMAT": "text",
        }

    @contextmanager
    def _process(self, name: str) -> Iterator[subprocess.Popen[str]]:
        with (self._folder / f".{name}.out").open("w") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", "bash"],
                cwd=self._folder, env=self._env, text=True, start_new_session=True,
                stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            yield process
        finally:
            # As Ctrl-C in its terminal would.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _printed(self, name: str) -> str:
        return (self._folder / f".{name}.out").read_text()

    def _write(self, process: subprocess.Popen[str], text: str) -> None:
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.flush()

    def _own(self, text: str) -> str:
        """A page's text with what is this reader's own: ports, and hosts or secrets of a provider."""
        for port, free in self._ports.items():
            text = re.sub(rf"(?<!\d){port}(?!\d)", free, text)
        for there, here in self._texts.items():
            text = text.replace(there, here)
        return text

    def _file(self, text: str) -> str:
        self._count += 1
        text = self._own(text)
        name = f".block-{self._count}"
        (self._folder / name).write_text(f"set -eu -o pipefail\n{_FUNCTIONS}{text}")
        return name

    def start(self, block: Block) -> None:
        """Run a block in a terminal of its own, until it has printed the words that say it is ready."""
        name = f"terminal-{block.line}"
        process = self._open.enter_context(self._process(name))
        self._write(process, f"exec bash {self._file(block.text)}\n")
        wanted = block.value or "ready"

        def is_ready() -> bool:
            printed = self._printed(name)
            assert process.poll() is None, printed
            return wanted in printed.splitlines() or (wanted != "ready" and wanted in printed)

        wait_for(is_ready, seconds=180, what=f"line {block.line} prints {wanted!r}")

    def start_product(self) -> None:
        """For a page that says nothing of the start: on a folder that is prepared already."""
        prepared.copied_to(self._folder / "ostiary-data")
        text = "exec ostiary up --demo\n"
        self.start(Block(language="sh", kind="background", value="ready", text=text, line=0))

    def paste(self, block: Block) -> str:
        """Run a block in the first terminal; what it printed."""
        before = len(self._printed("shell"))
        end = f"~~~ {self._count} ~~~"
        self._write(self._shell, f". ./{self._file(block.text)}\necho '{end}'\n")

        def is_done() -> bool:
            return end in self._printed("shell") or self._shell.poll() is not None

        wait_for(is_done, seconds=180, what=f"the block at line {block.line}")
        printed = self._printed("shell")[before:]
        assert end in printed, f"The block at line {block.line} failed:\n{block.text}\n{printed}"
        return printed.partition(end)[0]

    def expect(self, block: Block, printed: str) -> None:
        """Compare what was printed with a block `{.output}`."""
        wanted = self._own(block.text)
        pieces = [r"\s+".join(map(re.escape, piece.split())) for piece in wanted.split("…")]
        pattern = r"[\s\S]*?".join(rf"\s*{piece}\s*" if piece else "" for piece in pieces)
        assert re.search(pattern, printed), (
            f"line {block.line} wants\n{wanted}\nand it is\n{printed}"
        )


def read(page: Path, folder: Path, texts: Mapping[str, str] | None = None) -> None:
    """Paste every block of a page, in order, with `texts` of the page exchanged for others."""
    found = [each for each in blocks(page) if each.language == "sh" or each.kind == "output"]
    reader = Reader(folder, texts or {})
    try:
        run = [each for each in found if each.language == "sh" and each.kind != "norun"]
        if any(each.needs_the_product for each in run if each.kind != "background") and not any(
            each.starts_the_product for each in run
        ):
            reader.start_product()
            if page != PRELUDE:
                reader.paste(blocks(PRELUDE)[0])
        printed = ""
        for block in found:
            if block.kind == "output":
                reader.expect(block, printed)
            elif block.kind == "background":
                reader.start(block)
            elif block.kind != "norun":
                printed = reader.paste(block)
    finally:
        reader.close()
