"""Starting nginx: its files written, tried, and put in place of the last ones, or those used again.

Needs neither the database nor the authority: a gateway comes up from what was last published, and
refuses what it has no lease for until somebody decides. Knows no table of the directory.
"""

import contextlib
import hashlib
import hmac
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from ostiary.gateway import configuration, contract
from ostiary.gateway.configuration import ConfigurationFacts
from ostiary.gateway.control import ControlError, alive
from ostiary.gateway.node import Node, refused_file

log = logging.getLogger(__name__)

OLDEST = (1, 22, 0)
MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
MODULE_FOLDERS = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")
AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
INSTALL = "apt-get install nginx libnginx-mod-http-lua lua-cjson"
#: Seconds that new workers may take to start after a reload.
RELOAD_SECONDS = 10.0
#: Held by whoever writes nginx.conf or reloads: each waits for workers that the other would replace.
_reloading = threading.Lock()
_DIGEST = re.compile(r"[0-9a-f]{16}")
#: How nginx reports an error in its configuration.
_EMERGENCY = re.compile(r"\[emerg\] (?:\d+#\d+: )?(.*)")


class LaunchError(Exception):
    """nginx cannot start; the text is one sentence that says what to do."""


def find_nginx() -> tuple[str, tuple[int, int, int]]:
    """The path of an nginx that is new enough, and its version; raises LaunchError."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise LaunchError(f"nginx is not installed; run: {INSTALL}")
    done = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)
    match = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", done.stderr + done.stdout)
    version = (int(match[1]), int(match[2]), int(match[3])) if match else (0, 0, 0)
    if version < OLDEST:
        shown = ".".join(map(str, version))
        raise LaunchError(f"nginx at {path} is {shown}; Ostiary needs 1.22 or newer.")
    return path, version


def find_modules() -> Path:
    """The folder with nginx's Lua module; raises LaunchError."""
    for name in MODULE_FOLDERS:
        folder = Path(name)
        if all((folder / module).exists() for module in MODULES):
            return folder
    raise LaunchError(f"nginx's Lua module is not installed; run: {INSTALL}")


def check() -> None:
    """Raise LaunchError unless nginx and its Lua module are there."""
    find_nginx()
    find_modules()


def folder(node: Node) -> Path:
    """Where the gateway's files are."""
    return node.run / "gateway"


def facts(node: Node, *, mark: str, authorities: Mapping[str, Path]) -> ConfigurationFacts:
    """What nginx.conf is rendered from on this machine; raises LaunchError."""
    _, version = find_nginx()
    return ConfigurationFacts(
        mark=mark,
        loop=_loop_name((folder(node) / "issue.key").read_bytes()),
        version=version,
        modules=find_modules(),
        lua=Path(str(resources("ostiary.gateway") / "lua")),
        files=_most_files(),
        blocks=_blocks(folder(node) / "published.jsonl"),
        authorities=authorities,
        system_authorities=_system_authorities(),
        as_root=os.geteuid() == 0,
    )


def _loop_name(issue_key: bytes) -> str:
    """A name that all gateways of this workspace share, and no other workspace's."""
    return f"ostiary-{hmac.new(issue_key, b'CDN-Loop', hashlib.sha256).hexdigest()[:16]}"


def _most_files() -> int:
    import resource

    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1_048_576)


def _system_authorities() -> Path:
    for name in AUTHORITIES:
        if Path(name).exists():
            return Path(name)
    raise LaunchError(
        "There are no certificate authorities on this machine; run: apt-get install ca-certificates"
    )


def _blocks(published: Path) -> dict[str, str]:
    """Connections with one plain server, as they were last published: a block for each."""
    blocks: dict[str, str] = {}
    try:
        lines = published.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    prefix = contract.OBJECTS["connection"]
    for line in lines:
        key, _, text = line.partition("\t")
        if len(blocks) < configuration.MOST_BLOCKS and re.fullmatch(rf"{prefix}\d+", key):
            server = _only_server(text)
            if server:
                blocks[f"c{key[1:]}"] = server
    return blocks


def _only_server(text: str) -> str:
    try:
        value: dict[str, Any] = json.loads(text)
        if value["tls"] or len(value["servers"]) != 1:
            return ""
        address, port = str(value["servers"][0]["address"]), int(value["servers"][0]["port"])
    except (ValueError, KeyError, TypeError, IndexError):
        return ""
    if not re.fullmatch(r"[0-9A-Fa-f.:]+", address) or not 0 < port < 65536:
        return ""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def prepare(
    node: Node, *, issue_key: bytes, sockets: Sequence[int]
) -> tuple[list[str], dict[str, str]]:
    """Write what nginx reads; its command line and environment. Raises LaunchError.

    `sockets`: numbers of the listening sockets that it takes over (nginx's own variable NGINX).
    What cannot be written, or is not taken, leaves the files of the last start in force.
    """
    nginx, _ = find_nginx()
    target = folder(node)
    environment = {"PATH": os.defpath, "NGINX": "".join(f"{number};" for number in sockets)}
    command = [nginx, "-e", "stderr", "-p", str(target), "-c", str(target / "nginx.conf")]
    try:
        problem = _renew(node, issue_key, nginx, environment, sockets)
    except OSError as error:
        problem = f"files cannot be written: {error.strerror or error}"
    if problem:
        if not (target / "nginx.conf").exists():
            raise LaunchError(f"nginx rejects its configuration: {problem}")
        log.error("the gateway starts from its last files: %s", problem)
    # A disk that is full is seen by itself.
    with contextlib.suppress(OSError):
        _note(refused_file(node.run), problem)
    return command, environment


def _note(path: Path, problem: str) -> None:
    if problem:
        write(path, problem.encode())
    else:
        path.unlink(missing_ok=True)


def _renew(
    node: Node,
    issue_key: bytes,
    nginx: str,
    environment: Mapping[str, str],
    sockets: Sequence[int],
) -> str:
    """Render, try and put in place; returns the problem, or nothing. Raises OSError."""
    target = folder(node)
    for made in (target, target / "temporary", node.run / "lines"):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(target / "issue.key", issue_key)
    write(target / "contract.lua", contract.lua_module().encode())
    mark = f"{int(time.time()):x}"
    write(target / "mark", mark.encode())
    if node.certificate:
        write(target / "certificate", _signature(node.certificate).encode())
    draft = target / "nginx.conf.new"

    def problem_with(authorities: Mapping[str, Path]) -> str:
        text = configuration.render(node, facts(node, mark=mark, authorities=authorities))
        write(draft, text.encode())
        return _tried(nginx, draft, environment, sockets)

    known = _known(target)
    problem = problem_with(known)
    if problem and known and (good := _good(node, known)) != known:
        # A file that was damaged, or that a newer OpenSSL refuses, costs who trusts it alone.
        log.error("the gateway starts without CA files that nginx rejects: %s", problem)
        for digest in known.keys() - good.keys():
            known[digest].unlink(missing_ok=True)
        problem = problem_with(good)
    if not problem:
        draft.replace(target / "nginx.conf")
    return problem


def _good(node: Node, authorities: Mapping[str, Path]) -> dict[str, Path]:
    """The CA files that nginx accepts."""

    def is_good(path: Path) -> bool:
        try:
            return not try_authority(node, path.read_text())
        except (OSError, UnicodeDecodeError):
            return False

    return {digest: path for digest, path in authorities.items() if is_good(path)}


def _tried(
    nginx: str, path: Path, environment: Mapping[str, str], sockets: Sequence[int] = ()
) -> str:
    """The error of nginx about a configuration; empty if it accepts it."""
    done = subprocess.run(
        [nginx, "-e", "stderr", "-t", "-q", "-p", str(path.parent), "-c", str(path)],
        env=dict(environment),
        pass_fds=tuple(sockets),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    match = _EMERGENCY.search(done.stderr)
    return match[1].strip() if match else done.stderr.strip()[-200:] or "it exits without a message"


def _known(target: Path) -> dict[str, Path]:
    """The CA files that nginx.conf names: those that were found good."""
    found = {path.stem.removeprefix("authority-"): path for path in target.glob("authority-*.pem")}
    return {digest: path for digest, path in sorted(found.items()) if _DIGEST.fullmatch(digest)}


def renew_certificate(node: Node) -> str | None:
    """Put the gateway's certificate in force if its file has changed since that was last done.

    Returns nothing if it has not, else what nginx says against it, empty: nothing. Raises OSError,
    LaunchError or ControlError, and then the last certificate stays.
    """
    noted = folder(node) / "certificate"
    if node.certificate is None:
        return None
    signature = _signature(node.certificate)
    if noted.read_text() == signature:
        return None
    nginx, _ = find_nginx()
    with _reloading:
        problem = _tried_apart(node, nginx, (folder(node) / "nginx.conf").read_text())
        if not problem:
            _reload(node)
            write(noted, signature.encode())
    return problem


def _signature(path: Path) -> str:
    """A file's identity: inode, size and modification time. A change means a new file."""
    state = path.stat()
    return f"{state.st_ino} {state.st_size} {state.st_mtime_ns}"


def trust(node: Node, wanted: Mapping[str, str]) -> dict[str, str]:
    """Have nginx trust exactly these CA files (digest → PEM) besides the system's.

    Each is tried apart, and those that are good are put in force by one reload, which keeps shared
    memory and loses no call. Returns digest → what nginx says against it. Raises OSError,
    LaunchError or ControlError, and then nothing has changed.
    """
    with _reloading:
        return _trust(node, wanted)


def _trust(node: Node, wanted: Mapping[str, str]) -> dict[str, str]:
    target = folder(node)
    problems: dict[str, str] = {}
    good: dict[str, Path] = {}
    nginx, _ = find_nginx()
    now = _known(target)
    for digest, pem in sorted(wanted.items()):
        if digest in now:
            good[digest] = now[digest]
            continue
        problem = try_authority(node, pem)
        if problem:
            problems[digest] = problem
        elif _DIGEST.fullmatch(digest):
            good[digest] = target / f"authority-{digest}.pem"
            write(good[digest], pem.encode())
    if set(good) == set(now):
        return problems
    mark = (target / "mark").read_text()
    text = configuration.render(node, facts(node, mark=mark, authorities=good))
    draft = target / "nginx.conf.new"
    write(draft, text.encode())
    problem = _tried_apart(node, nginx, text)
    if problem:
        for digest in set(good) - set(now):
            good[digest].unlink(missing_ok=True)
        if before := _tried_apart(node, nginx, (target / "nginx.conf").read_text()):
            # No fault of theirs, such as a certificate of the gateway that is being renewed.
            raise LaunchError(f"nginx rejects its configuration: {before}")
        return problems | dict.fromkeys(set(good) - set(now), problem)
    draft.replace(target / "nginx.conf")
    _reload(node)
    for digest in set(now) - set(good):
        now[digest].unlink(missing_ok=True)
    return problems


def _tried_apart(node: Node, nginx: str, text: str) -> str:
    """Try a configuration without binding the listener of the gateway that runs."""
    path = folder(node) / "nginx.conf.trial"
    trial = re.sub(r"listen [^;]*;", "", text)
    trial = trial.replace(str(node.pid_file), str(path.with_suffix(".pid")))
    try:
        write(path, trial.replace("server {", "server { listen unix:trial.sock;", 1).encode())
        return _tried(nginx, path, {"PATH": os.defpath})
    finally:
        path.unlink(missing_ok=True)


def try_authority(node: Node, pem: str) -> str:
    """The error of nginx about a CA file; empty if it accepts it."""
    nginx, _ = find_nginx()
    target = folder(node)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"trial-{os.getpid()}-{time.monotonic_ns()}"
    pem_path, path = target / f"{name}.pem", target / f"{name}.conf"
    trial = (
        f"pid {target}/{name}.pid; error_log stderr; events {{}} http {{ access_log off;"
        + "".join(
            f" {kind}_temp_path {target}/temporary;"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + f" server {{ listen unix:{target}/{name}.sock; location / {{ proxy_pass https://127.0.0.1:1;"
        f" proxy_ssl_verify on; proxy_ssl_trusted_certificate {pem_path}; }} }} }}"
    )
    try:
        write(pem_path, pem.encode())
        write(path, trial.encode())
        problem = _tried(nginx, path, {"PATH": os.defpath})
        return "cannot be read by the gateway" if problem else ""
    finally:
        for made in (pem_path, path, target / f"{name}.pid", target / f"{name}.sock"):
            made.unlink(missing_ok=True)


class CertificateChecker:
    """Shows certificates that a connection is to trust to nginx before they are saved."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def check_certificates(self, pem: str) -> str | None:
        """Why the gateway does not take these certificates; or None."""
        try:
            return try_authority(self._node, pem) or None
        except LaunchError:
            # nginx runs on another machine, where the publisher checks the certificates.
            return None


def _reload(node: Node) -> None:
    """Reload nginx, and wait until only new workers take calls."""
    before = set(alive(node.control_socket, seconds=2.0))
    os.kill(int(node.pid_file.read_text()), signal.SIGHUP)
    deadline = time.monotonic() + RELOAD_SECONDS
    while time.monotonic() < deadline:
        now = set(alive(node.control_socket, seconds=2.0))
        if len(now) >= node.workers and not now & before:
            return
        time.sleep(0.05)
    raise ControlError("nginx did not reload its configuration in time")


def write(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all, for us alone; raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
