"""A name server of a test's own on loopback, and a product that asks it alone.

The product runs in a mount namespace of its own, whose `resolv.conf` names this server.
"""

import ipaddress
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

#: Types of records (RFC 1035, section 3.2.2; RFC 3596) and answers' codes (section 4.1.1).
A, AAAA = 1, 28
NO_ERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


class NameServer:
    """Answers by `addresses` and `failing`; a name that is in `silent`, or `*` in it: not at all."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        #: Code of the answer for a name.
        self.failing: dict[str, int] = {}
        self.silent: set[str] = set()
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Any of this net is loopback: several tests run at once, all on port 53.
        for number in range(1, 255):
            self.host = f"127.{os.getpid() // 256 % 256}.{os.getpid() % 256}.{number}"
            try:
                self._socket.bind((self.host, 53))
            except OSError:
                continue
            break
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # What wakes the thread.
        self._closing = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", (self.host, 53))
        self._thread.join(10)
        self._socket.close()

    _closing = False

    def _serve(self) -> None:
        while not self._closing:
            query, peer = self._socket.recvfrom(4096)
            if len(query) > 12 and (answer := self._answer(query)):
                self._socket.sendto(answer, peer)

    def _answer(self, query: bytes) -> bytes:
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode("ascii"))
            at += 1 + length
        name, question = ".".join(labels).lower(), query[12 : at + 5]
        (kind,) = struct.unpack_from("!H", query, at + 1)
        self.asked.append(name)
        if "*" in self.silent or name in self.silent:
            return b""
        code = self.failing.get(name, NO_ERROR if name in self.addresses else NXDOMAIN)
        records = b""
        count = 0
        for text in self.addresses.get(name, []) if code == NO_ERROR else []:
            address = ipaddress.ip_address(text)
            if (AAAA if address.version == 6 else A) == kind:
                packed = address.packed
                # The name is that of the question; it lives for no second.
                records += struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(packed)) + packed
                count += 1
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0)
        return head + question + records


def wrapping(server: NameServer, folder: Path) -> list[str]:
    """Words before a command that has it ask `server`; an empty list: that is not permitted here."""
    path = folder / "resolv.conf"
    path.write_text(f"nameserver {server.host}\noptions timeout:2 attempts:2\n")
    words = [
        "unshare", "--mount", "sh", "-c",
        'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(path),
    ]  # fmt: skip
    return words if _works([*words, "true"]) else []


def _works(words: Sequence[str]) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
