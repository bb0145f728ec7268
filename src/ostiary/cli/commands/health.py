"""`ostiary health`: whether the Ostiary of a data folder answers; a container's health check."""

import http.client
import socket
import ssl
from urllib.parse import urlsplit

from ostiary.cli.failure import Failure
from ostiary.cli.startup import addresses
from ostiary.settings import Settings

PATH = "/healthz"
#: Seconds that an answer may take.
PATIENCE = 4.0


def check(settings: Settings) -> str:
    """The address that answers; raises Failure if none does."""
    console = addresses.read(settings).console
    url = urlsplit(console)
    host = _listening(url.port) if url.hostname == "localhost" else url.hostname
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        # The certificate is for the public name, and this request goes to a local address.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            host or "", url.port, timeout=PATIENCE, context=context
        )
    else:
        connection = http.client.HTTPConnection(host or "", url.port, timeout=PATIENCE)
    try:
        connection.request("GET", PATH)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"{console}{PATH} does not answer: {error}.") from error
    finally:
        connection.close()
    if status != http.client.OK:
        raise Failure(f"{console}{PATH} answers with {status}.")
    return f"{console}{PATH}"


def _listening(port: int | None) -> str:
    """The loopback address with this port: a container may not know the name of it."""
    with socket.socket(socket.AF_INET) as sock:
        return "127.0.0.1" if sock.connect_ex(("127.0.0.1", port or 0)) == 0 else "::1"
