"""Fetching from addresses that an owner typed, and sending there, without being led inside.

A name is resolved by us, every address that it has is checked, and the connection goes to a checked
address: what the name means a moment later does not matter. Redirects are followed by the same
rules, or not at all. Hosts that an admin has allowed may be private, and may speak plain HTTP.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

from ostiary.access.addresses import METADATA, Address, destinations
from ostiary.identity.key_sets import LARGEST

# Eight megabytes, which parts that never fetch anything do without: it is imported where it is used.
if TYPE_CHECKING:
    import httpx

SECONDS = 5.0
MOST_REDIRECTS = 3


class FetchRefused(Exception):
    """The URL, or what it leads to, is not fetched; one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    url: str
    content: bytes


def check_url(url: str, allowed: Collection[str]) -> SplitResult:
    """The parts of a URL that may be fetched, as far as it can be told without asking anybody.

    `allowed`: hosts, or `host:port`, that may be private and plain. Raises FetchRefused.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise FetchRefused("It isn't a valid URL.") from None
    if any(c.isspace() or not c.isprintable() for c in url) or "\\" in url:
        raise FetchRefused("It isn't a valid URL.")
    if parts.scheme not in {"http", "https"} or not host or not host.isascii():
        raise FetchRefused("It must be an https URL.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise FetchRefused("It must have no user, password or fragment.")
    address = _literal(host)
    if address is not None and is_link_local(address):
        raise FetchRefused(f"{host} is a link-local address, where clouds keep their secrets.")
    if is_allowed(parts, allowed):
        return parts
    if parts.scheme != "https":
        raise FetchRefused(f"It must be https, unless an admin allows the host {host}.")
    if address is not None and not is_public(address):
        raise FetchRefused(f"{host} is not a public address, and no admin has allowed it.")
    return parts


def is_allowed(parts: SplitResult, allowed: Collection[str]) -> bool:
    """Whether an admin allows the host of a URL; with a port, only that port."""
    host = (parts.hostname or "").lower().rstrip(".")
    return host in allowed or f"{host}:{_port(parts)}" in allowed


def is_public(address: Address) -> bool:
    """Whether an address is public, also inside IPv6 forms that carry an IPv4 address."""
    return all(each.is_global and not each.is_multicast for each in destinations(address))


def is_link_local(address: Address) -> bool:
    """Whether an address is where clouds keep metadata and secrets of a machine; no admin allows it."""
    return any(each.is_link_local or each in METADATA for each in destinations(address))


def link_local(host: str) -> bool:
    """Whether a host is such an address, in whatever spelling."""
    address = _literal(host)
    return address is not None and is_link_local(address)


def _literal(host: str) -> Address | None:
    """An address, also in the spellings that a C library takes: `127.1`, `0x7f000001`."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


async def resolve(host: str, port: int) -> tuple[Address, ...]:
    """Every address of a name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple({ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found})


class Fetcher:
    """Fetches small documents. `verify`: trust for TLS, the system's if not given."""

    def __init__(self, verify: ssl.SSLContext | None = None) -> None:
        self._verify = verify or ssl.create_default_context()

    async def fetch(
        self, url: str, allowed: Collection[str], *, headers: Mapping[str, str] | None = None
    ) -> Fetched:
        """The document at `url`, at most 64 KB; raises FetchRefused.

        `headers`, which may hold a secret, go to that URL alone: with them no redirect is followed.
        """
        with _sentences(url):
            async with asyncio.timeout(SECONDS):
                for _ in range(1 if headers else MOST_REDIRECTS + 1):
                    answer = await self._document("GET", url, allowed, headers=headers or {})
                    if isinstance(answer, Fetched):
                        return answer
                    url = urljoin(url, answer)
        raise FetchRefused(f"{url} redirects too often.")

    async def submit(
        self,
        url: str,
        form: Mapping[str, str],
        allowed: Collection[str],
        *,
        headers: Mapping[str, str],
    ) -> Fetched:
        """What `url` answers to a form, which goes to no other address; raises FetchRefused."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        content = urlencode(form).encode()
        with _sentences(url):
            async with asyncio.timeout(SECONDS):
                answer = await self._document("POST", url, allowed, headers=sent, content=content)
        if isinstance(answer, Fetched):
            return answer
        raise FetchRefused(f"{url} redirects a form.")

    async def post(
        self,
        url: str,
        allowed: Collection[str],
        *,
        content: bytes,
        headers: Mapping[str, str],
        seconds: float,
    ) -> int:
        """Send `content` to `url`; the status that it answered, of a redirect too.

        Nothing of the answer but its status is read: it may come from where nobody should look.
        Raises FetchRefused, whose text does not repeat the URL.
        """
        try:
            async with (
                asyncio.timeout(seconds),
                self._asked("POST", url, allowed, headers=headers, content=content) as answer,
            ):
                return answer.status_code
        except _errors() as error:
            raise FetchRefused(f"It cannot be reached: {_said(error)}.") from None

    async def _document(
        self,
        method: str,
        url: str,
        allowed: Collection[str],
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
    ) -> Fetched | str:
        """The document, or where it has moved."""
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        async with self._asked(method, url, allowed, headers=sent, content=content) as answer:
            if answer.is_redirect:
                return answer.headers["location"]
            if answer.status_code != 200:
                raise FetchRefused(f"{url} answered {answer.status_code}.")
            got = b""
            async for part in answer.aiter_raw():
                got += part
                if len(got) > LARGEST:
                    raise FetchRefused(f"{url} answered with more than 64 KB.")
        return Fetched(url=url, content=got)

    @asynccontextmanager
    async def _asked(
        self,
        method: str,
        url: str,
        allowed: Collection[str],
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
    ) -> "AsyncIterator[httpx.Response]":
        """The beginning of an answer from a checked address."""
        # The first time takes a fifth of a second: nobody else of this event loop waits for it.
        await asyncio.to_thread(import_module, "httpx")
        import httpx

        parts = check_url(url, allowed)
        host = parts.hostname or ""
        address = await self._address(parts, allowed)
        bracketed = f"[{address}]" if address.version == 6 else str(address)
        target = httpx.URL(url).copy_with(host=bracketed, port=_port(parts))
        async with (
            # Time is taken over the whole by who asks.
            httpx.AsyncClient(verify=self._verify, trust_env=False, timeout=None) as client,  # noqa: S113 - time is taken over the whole
            client.stream(
                method,
                target,
                headers={"Host": parts.netloc, **headers},
                content=content,
                extensions={"sni_hostname": host},
            ) as answer,
        ):
            yield answer

    async def _address(self, parts: SplitResult, allowed: Collection[str]) -> Address:
        host = parts.hostname or ""
        found = await resolve(host, _port(parts))
        if any(is_link_local(address) for address in found):
            raise FetchRefused(f"{host} leads to a link-local address, which is not public.")
        if not is_allowed(parts, allowed) and not all(is_public(a) for a in found):
            raise FetchRefused(f"{host} leads to an address that is not public.")
        return min(found, key=lambda a: (a.version, int(a)))


def _errors() -> tuple[type[Exception], ...]:
    """What it raises that an address cannot be asked."""
    import httpx

    return TimeoutError, OSError, httpx.HTTPError, httpx.InvalidURL


@contextmanager
def _sentences(url: str) -> Iterator[None]:
    try:
        yield
    except _errors() as error:
        raise FetchRefused(f"{url} cannot be fetched: {_said(error)}.") from None


def _said(error: Exception) -> str:
    import httpx

    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "it took too long"
    return str(error).partition("\n")[0][:200].rstrip(".") or type(error).__name__
