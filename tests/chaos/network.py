"""Machines of the chaos: network namespaces on one bridge, with packets that can be dropped.

All is made in namespaces of their own (`unshare`), so that the kernel takes everything away when
the program ends, however it ends. Without the right to make them, machines are loopback addresses,
and what needs a network of its own or a small disk is left out and named.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Set for the program that runs inside of its namespaces.
INSIDE = "--inside"
PREFIX = "10.77.0"
_NAMESPACES = Path("/run/netns")
_UNSHARE = (
    "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--",
)  # fmt: skip


def missing() -> str:
    """Why this machine does not allow namespaces; empty if it does."""
    if os.geteuid() != 0:
        return "this user is not root"
    for program in ("ip", "nft", "nsenter", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is missing"
    words = [*_UNSHARE, "sh", "-c", "ip link add name v0 type veth peer name v1 && nft list tables"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip() or "namespaces are not allowed")


def unshared(words: Sequence[str]) -> list[str]:
    """The words that run a program in namespaces of its own, with all that it starts."""
    return [*_UNSHARE, *words]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@dataclass(slots=True)
class Machine:
    """A place with an address; in a network of its own, or on loopback."""

    name: str
    address: str
    namespace: Path | None

    def words(self, *words: str) -> list[str]:
        """The words that run a program there."""
        inside = () if self.namespace is None else ("nsenter", f"--net={self.namespace}", "--")
        return [*inside, *words]


@dataclass(slots=True)
class Network:
    """The machines; the program itself is one of them, and reaches all others."""

    real: bool
    machines: dict[str, Machine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.real:
            _ip("link", "set", "lo", "up")
            _NAMESPACES.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(_NAMESPACES)], check=True)
            _ip("link", "add", "bridge0", "type", "bridge")
            _ip("addr", "add", f"{PREFIX}.1/24", "dev", "bridge0")
            _ip("link", "set", "bridge0", "up")
        self.machines["here"] = Machine("here", self._address(1), None)

    def _address(self, number: int) -> str:
        return f"{PREFIX}.{number}" if self.real else f"127.77.0.{number}"

    def add(self, name: str) -> Machine:
        number = len(self.machines) + 1
        made = Machine(name, self._address(number), _NAMESPACES / name if self.real else None)
        if self.real:
            _ip("netns", "add", name)
            _ip("link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", f"v-{name}", "master", "bridge0", "up")
            _ip("-n", name, "addr", "add", f"{made.address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", "eth0", "up")
        self.machines[name] = made
        return made

    def cut(self, one: str, *others: str) -> None:
        """Drop every packet between a machine and others, without a word to either."""
        rules = ["add table ip cut"]
        rules += [
            f"add chain ip cut {way} {{ type filter hook {way} priority 0; policy accept; }}"
            for way in ("output", "input")
        ]
        for other in others:
            address = self.machines[other].address
            rules.append(f"add rule ip cut output ip daddr {address} drop")
            rules.append(f"add rule ip cut input ip saddr {address} drop")
        self._nft(one, "\n".join(rules))

    def mend(self, one: str) -> None:
        self._nft(one, "delete table ip cut")

    def _nft(self, name: str, rules: str) -> None:
        words = self.machines[name].words("nft", "-f", "-")
        subprocess.run(words, input=f"{rules}\n", text=True, check=True)


def small_disk(folder: Path, megabytes: int) -> None:
    """Mount a file system of its own there, seen by this program alone."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(folder)],
        check=True,
    )


def enter(arguments: Sequence[str]) -> int:
    """Run this program again inside of its namespaces; its exit status."""
    words = unshared([sys.executable, "-m", "tests.chaos", INSIDE, *arguments])
    return subprocess.run(words, check=False).returncode
