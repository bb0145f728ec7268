"""Starting HAProxy: its files written before every start, and the command line that runs it."""

import os
import re
import shutil
import subprocess
from importlib.resources import files as resources
from pathlib import Path

from ostiary.access.reasons import Reason, refusal
from ostiary.directory import published
from ostiary.gateway import publishing
from ostiary.gateway.configuration import files
from ostiary.gateway.plan import Node, Plan
from ostiary.identity.sealing import KeyRing

OLDEST = (2, 6)
#: Milliseconds that one try of an upcall may take; `httpclient` tries four times.
UPCALL_MS = 250


class LaunchError(Exception):
    """HAProxy cannot be started; the text is one sentence that says what to do."""


def find_haproxy() -> str:
    """The path of a HAProxy that is new enough; raises LaunchError."""
    path = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise LaunchError("HAProxy is not installed; run: apt-get install haproxy")
    shown = subprocess.run([path, "-v"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"version (\d+)\.(\d+)", shown)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < OLDEST:
        raise LaunchError(
            f"HAProxy at {path} is {version[0]}.{version[1]}; Ostiary needs 2.6 or newer."
        )
    return path


def folder(node: Node) -> Path:
    """Where the gateway's files are."""
    return node.run / "gateway"


def plan_now(node: Node, keyring: KeyRing) -> Plan:
    """The plan for what is published now, with backends given out anew."""
    snapshot = published.read()
    slots = publishing.assign_slots(snapshot, {}, node)
    write_certificates(node, snapshot)
    # Tokens for upstreams are not known yet; the authority brings them.
    return publishing.build(
        snapshot, slots=slots, keyring=keyring, certificates=folder(node), bearers={}
    )


def write_certificates(node: Node, snapshot: published.Published) -> None:
    """Write the CA certificates that connections trust, named by their digest."""
    for connection in snapshot.connections:
        if connection.ca_pem:
            write(publishing.certificate_path(folder(node), connection.ca_pem), connection.ca_pem)


def render(node: Node, plan: Plan, keyring: KeyRing, *, cold: bool) -> None:
    """Write every file of the gateway, mode 0600: some hold upstreams' credentials."""
    target = folder(node)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(target / "upcall.lua", _upcall(node))
    for name, text in files(node, plan, issue_key=keyring.issue_key, cold=cold).items():
        write(target / name, text)


def _upcall(node: Node) -> str:
    text = (resources("ostiary.gateway") / "upcall.lua").read_text()
    values = {
        "socket": node.run / "upcall.sock",
        "most": node.upcalls,
        "timeout": UPCALL_MS,
        "malformed": refusal(Reason.MALFORMED_PATH).code,
        "unparsable": refusal(Reason.ADDRESS_UNPARSABLE).code,
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def write(path: Path, text: str) -> None:
    """Write a file as a whole, for us alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def command(node: Node) -> list[str]:
    """The command line of HAProxy in master-worker mode, telling systemd's way when it is ready."""
    return [find_haproxy(), "-Ws", "-C", str(folder(node)), "-f", "haproxy.cfg"]


def prepare(node: Node, keyring: KeyRing) -> list[str]:
    """Render what is published now for a cold start; the command that starts it."""
    render(node, plan_now(node, keyring), keyring, cold=True)
    return command(node)
