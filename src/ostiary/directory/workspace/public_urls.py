"""URLs that answers show: the public ones if set, else those of the listeners."""

from ostiary import settings
from ostiary.directory.workspace import workspace_settings
from ostiary.identity.secret import Secret
from ostiary.settings import Bind


def gateway_url() -> str:
    """Where consumers call, without a trailing slash."""
    scheme = "https" if settings.current().certificate else "http"
    local = "localhost" if scheme == "http" else "127.0.0.1"
    return workspace_settings.read().gateway_url or _listener(
        scheme, settings.current().gateway_bind, local=local
    )


def configured_console_url() -> str:
    """The console's public URL as somebody has set it; empty: nobody has.

    The environment's word goes first: a wrong one in the database could keep everybody out.
    """
    return settings.current().console_url or workspace_settings.read().console_url


def is_configured() -> bool:
    """Whether the owner has said where consumers call."""
    return bool(workspace_settings.read().gateway_url)


def console_url() -> str:
    """Where owners sign in; `localhost`, since passkeys do not work at an address."""
    scheme = "https" if settings.current().console_certificate else "http"
    return configured_console_url() or _listener(scheme, settings.current().control_bind)


def sign_in_link(secret: Secret) -> str:
    """Where a one-time secret lets a member in. After the `#`, it never reaches a server's log."""
    return f"{console_url()}/sign-in/link#{secret.reveal()}"


def handover_link(key: Secret) -> str:
    """Where a consumer gets its credential. After the `#`, the key is in no request for the page."""
    return f"{console_url()}/handover#{key.reveal()}"


def _listener(scheme: str, bind: Bind, *, local: str = "localhost") -> str:
    host, port = bind
    if host in {"127.0.0.1", "0.0.0.0", "::", "::1"}:  # noqa: S104 - compared, not bound
        host = local
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
