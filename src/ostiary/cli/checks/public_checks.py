"""Checks of `ostiary doctor` that go out and come back: through the public URLs to ourselves."""

import ipaddress
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from ostiary.cli.checks import machine_checks
from ostiary.cli.checks.result import Finding, ok, problem, skipped, warning
from ostiary.cli.startup import addresses, data_folder
from ostiary.settings import Settings

SECONDS = 10.0
#: Seconds within which the collector has stored the line of a refused call.
LINE_SECONDS = 6.0
#: A refused call's own answer is small; of a stranger's not more is read.
LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What came back from a URL."""

    status: int
    body: bytes
    #: The address that we asked from.
    own: str
    #: Why the certificate was not trusted here; empty: it was, or there is none.
    distrust: str

    def json(self) -> Mapping[str, Any]:
        try:
            content = httpx.Response(200, content=self.body).json()
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


class NotReached(Exception):
    """Nothing answers at a URL; the text is one sentence."""


def _ask(url: str, headers: Mapping[str, str]) -> Reached:
    """Ask a URL; a certificate that is not trusted is noted. Raises NotReached."""
    try:
        return _asked(url, headers, ssl.create_default_context(), "")
    except httpx.ConnectError as error:
        said = str(error)
        if "CERTIFICATE_VERIFY_FAILED" not in said and "certificate verify failed" not in said:
            raise NotReached(_sentence(url, said)) from None
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            return _asked(url, headers, context, said.partition("failed: ")[2].partition(" (")[0])
        except httpx.HTTPError:
            raise NotReached(_sentence(url, "")) from None
    except httpx.HTTPError as error:
        raise NotReached(_sentence(url, str(error))) from None


def _asked(url: str, headers: Mapping[str, str], context: ssl.SSLContext, distrust: str) -> Reached:
    with (
        httpx.Client(verify=context, trust_env=False, timeout=SECONDS) as client,
        client.stream("GET", url, headers=dict(headers)) as answer,
    ):
        own = str(answer.extensions["network_stream"].get_extra_info("client_addr")[0])
        body = b""
        for part in answer.iter_bytes():
            body += part
            if len(body) > LARGEST:
                break
        return Reached(status=answer.status_code, body=body, own=own, distrust=distrust)


def _sentence(url: str, said: str) -> str:
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}"
    if any(word in said for word in ("Name or service", "No address", "name resolution")):
        return f"The name {parts.hostname} of {place} is not known here."
    if "WRONG_VERSION_NUMBER" in said or "record layer" in said:
        return f"What answers at {place} does not speak TLS."
    return f"Nothing answers at {place}."


def console(settings: Settings) -> Iterator[Finding]:
    """Console: through its public URL, or its own port if none is set."""
    check = "console URL"
    if data_folder.holder(settings) is None:
        yield skipped(check, "Ostiary does not run.")
        return
    from ostiary.directory.workspace import workspace_settings

    running = addresses.read(settings)
    public = settings.console_url or running.public_console or workspace_settings.read().console_url
    url = public or running.console
    if settings.console_url != running.public_console:
        yield warning(
            check,
            f"OSTIARY_CONSOLE_URL is {_or_unset(settings.console_url)} here, and was"
            f" {_or_unset(running.public_console)} at the start.",
            "Stop Ostiary and start it again for a new value.",
        )
    try:
        answer, report = _arrived(url)
    except NotReached as error:
        where = "OSTIARY_CONSOLE_URL, or “Public URL of the console” under Settings"
        yield problem(check, str(error), f"Correct {where}, the name's address, or the proxy.")
        return
    if report is None:
        yield problem(
            check,
            f"Something else than this Ostiary answers at {url}, with status {answer.status}.",
            "Correct the public URL of the console, or where the proxy leads.",
        )
        return
    yield from _trust(check, url, answer)
    if public:
        yield _of_public(url, report)
    else:
        yield ok(check, f"No public URL is set; the console answers at {url}.")
    yield from _own_certificate(check, settings, url)
    yield _proxies(report, workspace_settings.read().trusted_proxies)


def _or_unset(text: str) -> str:
    return text or "not set"


def _arrived(url: str) -> tuple[Reached, Mapping[str, str] | None]:
    """Ask the console how a request arrives; nothing if another one answers. Raises NotReached."""
    from django.core import signing

    from ostiary.operations import arrival

    nonce = secrets.token_urlsafe(16)
    question = signing.dumps(nonce, salt=arrival.QUESTION)
    answer = _ask(f"{url}/doctor", {arrival.HEADER: question})
    try:
        report = signing.loads(answer.json().get("answer", ""), salt=arrival.ANSWER, max_age=60)
    except (signing.BadSignature, TypeError, AttributeError):
        return answer, None
    return answer, report if report["nonce"] == nonce else None


def _trust(check: str, url: str, answer: Reached) -> Iterator[Finding]:
    if answer.distrust:
        yield warning(
            check,
            f"This machine does not trust the certificate at {url}: {answer.distrust}.",
            "Use one of an authority that browsers and consumers know.",
        )


def _of_public(url: str, report: Mapping[str, str]) -> Finding:
    check, parts = "console URL", urlsplit(url)
    if parts.scheme == "http" and not _is_local(parts.hostname or ""):
        return warning(
            check,
            f"{url} is not https: passwords and cookies pass in the clear, and passkeys do not work.",
            "Put TLS in front, or set OSTIARY_CONSOLE_CERTIFICATE, and set the public URL to https.",
        )
    shown = report["asked"]
    if shown == url:
        return ok(check, f"{url} leads here, from {report['peer']}.")
    return ok(check, f"{url} leads here, from {report['peer']}, which asks for {shown}.")


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_certificate(check: str, settings: Settings, url: str) -> Iterator[Finding]:
    """Where the control port has the public URL's own port, its certificate must have its name."""
    path = settings.console_certificate
    port = urlsplit(url).port or 443
    if path is None or not url.startswith("https:") or port != settings.control_bind[1]:
        return
    if not machine_checks.is_for(machine_checks.leaf_of(path), url):
        yield problem(
            check,
            f"The certificate in {path} is not for {urlsplit(url).hostname}.",
            "Get one for that name, or correct the public URL.",
        )


def _proxies(report: Mapping[str, str], trusted: Sequence[str]) -> Finding:
    from ostiary.access import addresses as networks

    check, peer, forwarded = "trusted proxies", report["peer"], report["forwarded"]
    address = networks.parse_address(peer)
    is_trusted = address is not None and networks.contains(
        networks.parse_list(trusted).networks, address
    )
    if forwarded and not is_trusted:
        return warning(
            check,
            f"{peer} speaks for callers of the console (X-Forwarded-For: {forwarded}), and is not listed.",
            "If it is your proxy, list it under trusted proxies in the settings.",
        )
    if forwarded and networks.parse_hop(networks.hops(forwarded)[-1]) is None:
        return warning(
            check,
            f"{peer} wrote no address into X-Forwarded-For: {forwarded}.",
            "Correct what the proxy writes there.",
        )
    if is_trusted and not forwarded and report["asked"] != report["public"]:
        return warning(
            check,
            f"{peer} is listed, and sent no caller's address.",
            "If the call came through your proxy, have it send X-Forwarded-For.",
        )
    listed = ", ".join(trusted) or "none"
    return ok(check, f"Listed: {listed}. The check's request came from {report['address']}.")


def gateway(settings: Settings) -> Iterator[Finding]:
    """Gateway: a call without a credential through its public URL must be refused by this nginx."""
    check = "gateway URL"
    mark = settings.run / "gateway" / "mark"
    if data_folder.holder(settings) is None or not mark.exists():
        yield skipped(check, "No gateway runs on this data folder.")
        return
    from ostiary.directory.workspace import workspace_settings

    public = workspace_settings.read().gateway_url
    url = public or addresses.read(settings).gateway
    if not public and settings.proxy_protocol:
        yield skipped(check, "No public URL is set, and the listener speaks the PROXY protocol.")
        return
    try:
        answer = _ask(f"{url}/ostiary-doctor-{secrets.token_hex(4)}", {})
    except NotReached as error:
        todo = (
            "Correct “Public URL of the gateway” under Settings, the name's address, or the proxy."
        )
        yield problem(check, str(error), todo)
        return
    number = str(answer.json().get("request_id", ""))
    if number.partition("-")[0] != mark.read_text():
        yield problem(
            check,
            f"Something else than this gateway answers at {url}, with status {answer.status}.",
            "Correct the public URL of the gateway, or where the proxy leads.",
        )
        return
    yield from _trust(check, url, answer)
    yield from _called_from(
        check, url, number, answer.own, workspace_settings.read().trusted_proxies
    )


def _called_from(
    check: str, url: str, number: str, own: str, trusted: Sequence[str]
) -> Iterator[Finding]:
    from ostiary.usage.models import LoggedCall

    deadline = time.monotonic() + LINE_SECONDS
    while (call := LoggedCall.objects.filter(request_id=number).first()) is None:
        if time.monotonic() > deadline:
            yield warning(
                check,
                f"{url} leads here, but the call has no line in the log yet.",
                "See `collector` in /readyz.",
            )
            return
        time.sleep(0.2)
    if call.reason and (unread := call.details.get("unread")):
        yield problem(
            check,
            f"{url} leads here, and the caller's address could not be read: {unread}.",
            "Correct what the proxy writes, or list it under trusted proxies.",
        )
    elif call.address != own and not trusted:
        yield warning(
            check,
            f"{url} leads here; the call from {own} arrived from {call.address}.",
            "If that is a proxy, list it under trusted proxies in the settings.",
        )
    else:
        yield ok(check, f"{url} leads here, and the call arrived from {call.address}.")
