"""The management API as the command calls it, here or on another machine."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from ostiary import __version__
from ostiary.cli.failure import Failure

#: Seconds that an answer may take: a large plan takes long.
SECONDS = 300
#: Bytes of a token file that are read.
_LONGEST_TOKEN = 4096
#: Problems of a refused call that are shown.
_MOST_SHOWN = 50


class ApiRefusal(Failure):
    """The API refused a call: its status, and the sentences by the field's place."""

    def __init__(
        self,
        status: int,
        message: str,
        errors: Mapping[str, object] | None = None,
        content: object = None,
    ) -> None:
        self.status, self.message, self.content = status, message, content
        self.errors: Mapping[str, list[str]] = {
            str(place): [str(each) for each in said] if isinstance(said, list) else [str(said)]
            for place, said in (errors or {}).items()
        }
        super().__init__(self.text(lambda place: place))

    def text(self, named: Any) -> str:
        """The refusal in words; `named` turns the place of a problem into what the reader knows."""
        lines = [
            f"{named(place)}: {sentence}" if place else sentence
            for place, said in self.errors.items()
            for sentence in said
        ]
        more = len(lines) - _MOST_SHOWN
        shown = [*lines[:_MOST_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        return "\n  ".join([self.message, *shown])


class ManagementApi:
    """Calls to the API of one Ostiary with one token. Use it as a context."""

    def __init__(self, url: str, token: str, *, certificates: Path | None = None) -> None:
        try:
            trust = ssl.create_default_context(cafile=certificates)
        except (OSError, ssl.SSLError):
            raise Failure(f"The certificates in {certificates} can't be read.") from None
        self._url = url
        self._http = httpx.Client(
            base_url=f"{url}/api/",
            headers={
                "Authorization": f"Bearer {token}",
                "User-Agent": f"ostiary/{__version__}",
            },
            verify=trust,
            timeout=SECONDS,
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str | int] | None = None,
    ) -> Any:
        """What the API answers to a call, read from JSON; raises ApiRefusal, Failure."""
        try:
            answer = self._http.request(method, path, json=body, params=query)
        except httpx.TimeoutException:
            raise Failure(f"{self._url} did not answer within {SECONDS} seconds.") from None
        except httpx.HTTPError as error:
            raise Failure(f"{self._url} can't be reached: {error}") from None
        if answer.is_redirect:
            raise Failure(
                f"{self._url} redirects to {answer.headers.get('Location', 'elsewhere')}:"
                " give that address."
            )
        try:
            content = answer.json()
        except ValueError:
            raise Failure(
                f"{self._url} answered {answer.status_code} without JSON: it is not the address of"
                " Ostiary's console and management API."
            ) from None
        if answer.is_success:
            return content
        fields = content if isinstance(content, dict) else {}
        errors = fields.get("errors")
        message = str(fields.get("message") or f"The API answered {answer.status_code}")
        named = errors if isinstance(errors, dict) else None
        raise ApiRefusal(answer.status_code, message, named, content)


def connected(url: str, *, token: str, token_file: str, certificates: str = "") -> ManagementApi:
    """The API at an address, with a token or that of a file, which counts more; raises Failure."""
    if not url.startswith(("https://", "http://")):
        raise Failure(f"{url[:200]} is not a URL: it begins with https:// or http://.")
    return ManagementApi(
        url.rstrip("/"),
        _token(token, token_file),
        certificates=Path(certificates) if certificates else None,
    )


def _token(token: str, file: str) -> str:
    """The management token: never an argument, since every user of a machine can read those."""
    token = (_read(Path(file)) if file else token).strip()
    if not token:
        raise Failure("The management token is empty.")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Failure("The management token holds characters that no token has.")
    return token


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_TOKEN).decode()
    except UnicodeDecodeError:
        raise Failure(f"The token file {path} is not a text.") from None
    except OSError as error:
        raise Failure(f"The token file {path} can't be read: {error.strerror}.") from None
