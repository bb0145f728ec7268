"""`ostiary protect`: an API behind the gateway in one command, and the first two requests to it."""

import argparse
import shlex
import sys
import time
from importlib import import_module
from typing import Any

from ostiary.cli.failure import Failure
from ostiary.cli.remote import values
from ostiary.cli.startup import addresses, django_setup
from ostiary.settings import Settings

#: Seconds that the gateway may take until it has a new collection.
PATIENCE = 15.0
_UNAUTHORIZED = 401


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Test the API, put it behind the gateway, and print how it is called; raises Failure."""
    document = None
    if arguments.openapi:
        content = values.read_file(arguments.openapi)
        document = content, "json" if content.lstrip().startswith("{") else "yaml"
    if arguments.path and not arguments.path.startswith("/"):
        raise Failure("--path must begin with a slash, such as /books.")
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
            return
        token = protected.secret.reveal()
    statuses = _checked(settings, target, token)
    _show(f"{gateway}{target}", token, collection.name, statuses)


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
        if "not trusted" in last.detail:
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


def _show(url: str, token: str, name: str, statuses: tuple[int, int] | None) -> None:
    without, admitted = ("", "") if statuses is None else (f"{each}" for each in statuses)
    lines = [
        "",
        f"{name} is protected. Copy the token; it is not shown again.",
        f"Without a token ({without or _UNAUTHORIZED}):",
        f"  curl -i {shlex.quote(url)}",
        f"With the token ({admitted or 'your API answers'}):",
        f"  curl -i -H {shlex.quote(f'API-TOKEN: {token}')} {shlex.quote(url)}",
    ]
    if statuses is None:
        lines.append("The gateway does not answer here; start Ostiary with `ostiary up`.")
    sys.stdout.write("\n".join(lines) + "\n")
