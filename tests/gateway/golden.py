"""Six small gateways and the nginx.conf of each, in the folder golden/. `scripts/golden` rewrites them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ostiary.gateway import configuration
from ostiary.gateway.configuration import ConfigurationFacts
from ostiary.gateway.node import Node

FOLDER = Path(__file__).with_name("golden")
ROOT = Path("/srv/ostiary")
NGINX_1_22, NGINX_1_26 = (1, 22, 1), (1, 26, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenNode(Node):
    """A node whose files all lie below its folder, whatever the machine."""

    @property
    def pid_file(self) -> Path:
        return self.run / "gateway" / "nginx.pid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A gateway in the folder `root`; what it listens on and trusts is relative to that."""

    host: str = "127.0.0.1"
    tls: bool = False
    proxy_protocol: bool = False
    version: tuple[int, int, int] = NGINX_1_22
    blocks: Mapping[str, str] = field(default_factory=dict)
    authorities: tuple[str, ...] = ()
    workers: int = 2
    lease_megabytes: int = 256
    upcalls_per_address: int = 16
    connections_per_address: int = 1024
    log_rate: int = 1000
    files: int = 65_536
    as_root: bool = False

    def node(self, root: Path, port: int) -> Node:
        return GoldenNode(
            run=root / "run",
            host=self.host,
            port=port,
            certificate=root / "gateway.pem" if self.tls else None,
            proxy_protocol=self.proxy_protocol,
            workers=self.workers,
            lease_megabytes=self.lease_megabytes,
            upcalls_per_address=self.upcalls_per_address,
            connections_per_address=self.connections_per_address,
            log_rate=self.log_rate,
        )

    def facts(self, root: Path) -> ConfigurationFacts:
        return ConfigurationFacts(
            mark="65920080",
            loop="ostiary-0f1e2d3c4b5a6978",
            version=self.version,
            modules=Path("/usr/lib/nginx/modules"),
            lua=root / "lua",
            files=self.files,
            blocks=self.blocks,
            authorities={
                digest: root / "run" / "gateway" / f"authority-{digest}.pem"
                for digest in self.authorities
            },
            as_root=self.as_root,
        )


CASES = {
    "plain": Case(),
    "any-address": Case(host="::"),
    "tls-nginx-1.22": Case(host="192.0.2.7", tls=True),
    "tls-nginx-1.26": Case(host="192.0.2.7", tls=True, version=NGINX_1_26),
    "proxy-protocol": Case(host="192.0.2.7", tls=True, proxy_protocol=True),
    "own-blocks-and-authorities": Case(
        blocks={"c1": "192.0.2.10:8080", "c3": "[2001:db8::3]:80", "c12": "10.0.0.12:3000"},
        authorities=("1f0c7a52d93be846", "a2b4c6d8e0f21357"),
    ),
    "eight-workers": Case(
        workers=8,
        lease_megabytes=1024,
        upcalls_per_address=64,
        connections_per_address=4096,
        log_rate=20_000,
        files=1_048_576,
        as_root=True,
    ),
}


def rendered(case: Case) -> str:
    """The configuration as the golden file has it."""
    return configuration.render(case.node(ROOT, 8080), case.facts(ROOT))


def rendered_at(
    case: Case, root: Path, *, port: int, version: tuple[int, int, int], modules: Path, lua: Path
) -> str:
    """The same for files that are there, a port that is free, and the nginx of this machine."""
    local = replace(case, host="::" if case.host == "::" else "127.0.0.1")
    as_root = case.as_root and os.geteuid() == 0
    facts = replace(case.facts(root), version=version, modules=modules, lua=lua, as_root=as_root)
    return configuration.render(local.node(root, port), facts)


def write() -> None:
    """Rewrite the golden files; those of no case are removed."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.conf"):
        if path.stem not in CASES:
            path.unlink()
    for name, case in CASES.items():
        (FOLDER / f"{name}.conf").write_text(rendered(case))


if __name__ == "__main__":
    write()
