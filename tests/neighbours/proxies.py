"""What stands in front of Ostiary: certificates of a test's own, and real proxies set up as the manual says.

The blocks of the how-to guides are read from there; paths, ports and host names are put in place.
"""

import datetime as dt
import ipaddress
import re
import shutil
import socket
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.stage import free_port, wait_for

GUIDES = Path("docs/how-to")
#: Host names of the manual; the tests' browser finds them on loopback.
CONSOLE, API = "console.example.com", "api.example.com"


def block(language: str, *, guide: str) -> str:
    """The first code block in a language of a how-to guide."""
    page = GUIDES / f"{guide}.md"
    found = re.search(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)
    assert found, f"{page} has no block {language}"
    return found[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A certificate's files: apart, and in one."""

    certificate: Path
    key: Path
    both: Path
    #: Digest of the public key, as Chromium takes it for a certificate that it is to trust.
    fingerprint: str


class Authority:
    """A certificate authority of the tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority of tests")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        signed = (
            self._builder(self._name, self._key, days=2)
            .add_extension(constraints, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = folder / "authority.pem"
        self.path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=30))
            .not_valid_after(now + dt.timedelta(days=days))
        )

    def issue(self, *names: str, stem: str = "example", days: int = 60) -> Files:
        """A certificate for names and addresses; the files of a stem are written anew."""
        key = ec.generate_private_key(ec.SECP256R1())
        kinds = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
            for name in names
        ]
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        signed = (
            self._builder(name, key, days=days)
            .add_extension(x509.SubjectAlternativeName(kinds), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = signed.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        files = Files(
            certificate=self._folder / f"{stem}.pem",
            key=self._folder / f"{stem}.key",
            both=self._folder / f"{stem}-with-key.pem",
            fingerprint=b64encode(sha256(public).digest()).decode(),
        )
        files.certificate.write_bytes(pem)
        files.key.write_bytes(secret)
        files.both.write_bytes(pem + secret)
        return files

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Ostiary's two ports, and the proxy's."""

    console: int
    gateway: int
    proxy: int


@contextmanager
def _process(words: list[str], folder: Path, port: int, env: Mapping[str, str]) -> Iterator[None]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *words],
            stdout=output, stderr=subprocess.STDOUT, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env},
        )  # fmt: skip
    try:
        wait_for(lambda: _takes(process, folder, port), what=words[0])
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _takes(process: "subprocess.Popen[bytes]", folder: Path, port: int) -> bool:
    assert process.poll() is None, (folder / "output").read_text()
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _placed(text: str, ports: Ports, files: Files) -> str:
    """The manual's text with our ports and files in place of its own."""
    folder = files.certificate.parent
    return (
        text.replace("127.0.0.1:8000", f"127.0.0.1:{ports.console}")
        .replace("127.0.0.1:8080", f"127.0.0.1:{ports.gateway}")
        .replace("/etc/ssl/", f"{folder}/")
    )


@contextmanager
def nginx(http: str, folder: Path, ports: Ports, files: Files) -> Iterator[None]:
    """A real nginx with what stands in its `http` block, as a file in conf.d does."""
    http = re.sub(r"listen 443\b", f"listen 127.0.0.1:{ports.proxy}", _placed(http, ports, files))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n"
    path = folder / "nginx.conf"
    path.write_text(
        f"{user}worker_processes 1;\ndaemon off;\npid {folder}/pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{http}\n}}\n"
    )
    words = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(path)]
    with _process(words, folder, ports.proxy, {}):
        yield


#: What people write first: no header, no version.
AS_IT_COMES = "".join(
    f"""
server {{
  listen 443 ssl;
  server_name {name};
  ssl_certificate /etc/ssl/example.pem;
  ssl_certificate_key /etc/ssl/example.key;
  location / {{ proxy_pass http://127.0.0.1:{port}; }}
}}
"""
    for name, port in ((CONSOLE, 8000), (API, 8080))
)


@contextmanager
def haproxy(text: str, folder: Path, ports: Ports, files: Files) -> Iterator[None]:
    text = re.sub(r"bind :443\b", f"bind 127.0.0.1:{ports.proxy}", _placed(text, ports, files))
    path = folder / "haproxy.cfg"
    path.write_text(text)
    with _process(["haproxy", "-db", "-f", str(path)], folder, ports.proxy, {}):
        yield


@contextmanager
def caddy(text: str, folder: Path, ports: Ports, files: Files) -> Iterator[None]:
    """Caddy with our certificate: its own would come from outside."""
    tls = f"  tls {files.certificate} {files.key}\n"
    text = re.sub(
        r"^(\S+\.example\.com) \{\n",
        rf"\1:{ports.proxy} {{\n  bind 127.0.0.1\n{tls}",
        _placed(text, ports, files),
        flags=re.MULTILINE,
    )
    path = folder / "Caddyfile"
    path.write_text(f"{{\n  admin off\n  auto_https disable_redirects\n}}\n{text}")
    words = ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)]
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with _process(words, folder, ports.proxy, home):
        yield


#: Proxy → how it is started in front of both ports.
PROXIES = {
    "nginx as it comes": lambda *more: nginx(AS_IT_COMES, *more),
    "nginx": lambda *more: nginx(block("nginx", guide="nginx"), *more),
    "haproxy": lambda *more: haproxy(block("haproxy", guide="haproxy"), *more),
    "caddy": lambda *more: caddy(block("caddy", guide="caddy"), *more),
}


def missing(name: str) -> bool:
    return shutil.which(name) is None


def proxy_port() -> int:
    return free_port()
