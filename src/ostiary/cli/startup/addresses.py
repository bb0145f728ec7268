"""Where the running `ostiary up` is reached, written down for the commands run beside it."""

import json
from dataclasses import asdict, dataclass

from ostiary.settings import Bind, Settings

FILE = "addresses.json"
ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - shown, not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """URLs without a slash at the end."""

    console: str
    gateway: str
    #: The console's public URL from the environment; empty if it is not set.
    public_console: str = ""


def of(settings: Settings) -> Addresses:
    """The addresses that these settings lead to."""
    host, port = settings.control_bind
    # Passkeys work at `localhost` and fail at 127.0.0.1.
    console = ("localhost" if host in {"127.0.0.1", "::1"} else host, port)
    scheme = "http" if settings.certificate is None else "https"
    console_scheme = "http" if settings.console_certificate is None else "https"
    return Addresses(
        console=_url(console_scheme, console),
        gateway=_url(scheme, settings.gateway_bind),
        public_console=settings.console_url,
    )


def _url(scheme: str, bind: Bind) -> str:
    host, port = bind
    name = "localhost" if host in ANY else f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}"


def write(settings: Settings) -> None:
    """Write down where this start is reached."""
    (settings.data / FILE).write_text(json.dumps(asdict(of(settings))))


def read(settings: Settings) -> Addresses:
    """Where the last start on this data folder is, or was, reached."""
    try:
        return Addresses(**json.loads((settings.data / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return of(settings)
