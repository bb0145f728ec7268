"""`ostiary protect`: an API behind the gateway in one command, and the first two requests to it."""

import argparse
import contextlib
import shlex
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ostiary.cli.failure import Failure
from ostiary.cli.remote import values
from ostiary.cli.remote.secret_files import SecretFile
from ostiary.cli.startup import addresses, django_setup
from ostiary.settings import Settings

#: Seconds that the gateway may take until it has a new collection.
PATIENCE = 15.0
_UNAUTHORIZED = 401
NOT_SHOWN = (
    "The token is not printed, because the output is not a terminal. Refresh it on the page of the access"
    " profile. --print-secrets prints it, --secret-file FILE writes it to a file."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """An API that was just put behind the gateway."""

    name: str
    #: The first request: its path, and its URL.
    target: str
    url: str
    token: str = field(repr=False)


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Test the API, put it behind the gateway, and print how it is called; raises Failure."""
    document = None
    if arguments.openapi:
        content = values.read_file(arguments.openapi)
        document = content, "json" if content.lstrip().startswith("{") else "yaml"
    if arguments.path and not arguments.path.startswith("/"):
        raise Failure("--path must begin with a slash, such as /books.")
    name = arguments.secret_file
    with contextlib.ExitStack() as stack:
        # Opened before anything is created: a token that cannot be written would be lost.
        file = stack.enter_context(SecretFile(name)) if name else None
        made = _created(arguments, settings, document)
        if made is None:
            return
        if file is not None:
            file.write(made.token)
    statuses = _checked(settings, made.target, made.token)
    with_token = file is None and (arguments.print_secrets or sys.stdout.isatty())
    where = f"The token is in {name}; it can't be read again." if file is not None else NOT_SHOWN
    _show(made, statuses, None if with_token else where)


def _created(
    arguments: argparse.Namespace, settings: Settings, document: tuple[str, str] | None
) -> Created | None:
    """Create what stands in front of the API; None: it was there, and is shown. Raises Failure."""
    with django_setup.opened(settings):
        ca_pem = _authority(arguments.ca_file)
        _tested(arguments.api, ca_pem)
        protection = import_module("ostiary.directory.catalog.protection")
        from ostiary.directory.actor import SYSTEM

        protected = protection.protect(
            by=SYSTEM, url=arguments.api, name=arguments.name or "", document=document,
            ca_pem=ca_pem,
        )  # fmt: skip
        collection = protected.collection
        for warning in protected.warnings:
            sys.stderr.write(f"Warning: {warning}\n")
        gateway = _gateway(settings)
        target = f"/{collection.handle}{arguments.path}" if arguments.path else protected.target
        if protected.secret is None:
            _show_existing(protected, f"{gateway}{target}")
            return None
        return Created(
            name=collection.name, target=target, url=f"{gateway}{target}",
            token=protected.secret.reveal(),
        )  # fmt: skip


def _authority(path: str | None) -> str:
    """The certificates to trust, from their file; raises Failure."""
    if not path:
        return ""
    certificates = import_module("ostiary.directory.catalog.certificates")
    try:
        return str(certificates.read(values.read_file(path)))
    except ValueError as error:
        raise Failure(f"--ca-file {path}: {error}.") from None


def _tested(url: str, ca_pem: str) -> None:
    """Show each step of the test; raises Failure at the first that fails."""
    testing = import_module("ostiary.directory.catalog.connection_tests")
    upstream_url = import_module("ostiary.directory.catalog.upstream_url")
    try:
        tested = testing.of_url(url, ca_pem)
    except upstream_url.BadUrl as error:
        raise Failure(f"{url[:200]} {error}.") from None
    for each in tested.findings:
        mark = "ok    " if each.good else "failed"
        remark = f" {each.remedy}" if each.good and each.remedy else ""
        sys.stdout.write(
            f"{each.step:<4} {mark} {each.milliseconds:>5} ms  {each.detail}{remark}\n"
        )
    if not tested.good:
        last = tested.findings[-1]
        if last.untrusted and not ca_pem:
            raise Failure(
                "Nothing was created, because the API's certificate is not trusted. If a private authority"
                " signed it, name the file with its certificate: --ca-file FILE."
            )
        raise Failure(f"Nothing was created, because the API does not answer. {last.remedy}")


def _gateway(settings: Settings) -> str:
    from ostiary.directory.workspace import workspace_settings

    return workspace_settings.read().gateway_url or addresses.read(settings).gateway


def _show_existing(protected: Any, url: str) -> None:
    collection, profile = protected.collection, protected.profile
    sys.stdout.write(
        f"\n{collection.name} is protected already; nothing was changed.\nAddress:  {url}\n"
    )
    if profile is not None:
        sys.stdout.write(
            f"The token of the access profile {profile.name} was shown once, when it was created. If it is"
            " lost, refresh it on the page of the profile.\n"
        )


def _checked(settings: Settings, target: str, token: str) -> tuple[int, int] | None:
    """The statuses of a request without the token and with it; None: no gateway answers here."""
    import httpx

    url = f"{addresses.read(settings).gateway}{target}"
    ends = time.monotonic() + PATIENCE
    try:
        with httpx.Client(trust_env=False, timeout=PATIENCE) as http:
            while True:
                answer = http.get(url, headers={"API-TOKEN": token})
                if not _is_ours(answer) or time.monotonic() > ends:
                    break
                time.sleep(0.2)
            return http.get(url).status_code, answer.status_code
    except httpx.HTTPError:
        return None


def _is_ours(answer: Any) -> bool:
    """Whether the gateway refused: then it may not have the new collection yet."""
    try:
        content = answer.json()
    except ValueError:
        return False
    return isinstance(content, dict) and {"reason", "request_id"} <= set(content)


def _show(created: Created, statuses: tuple[int, int] | None, hidden: str | None) -> None:
    """Print both requests; `hidden`: why the token is not among them."""
    without, admitted = ("", "") if statuses is None else (f"{each}" for each in statuses)
    shown = "Copy the token; it is not shown again." if hidden is None else hidden
    token = created.token if hidden is None else "TOKEN"
    url = shlex.quote(created.url)
    lines = [
        "",
        f"{created.name} is protected. {shown}",
        f"Without a token ({without or _UNAUTHORIZED}):",
        f"  curl -i {url}",
        f"With the token ({admitted or 'your API answers'}):",
        f"  curl -i -H {shlex.quote(f'API-TOKEN: {token}')} {url}",
    ]
    if statuses is None:
        lines.append("The gateway does not answer here; start Ostiary with `ostiary up`.")
    sys.stdout.write("\n".join(lines) + "\n")
