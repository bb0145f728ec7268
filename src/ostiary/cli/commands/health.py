"""`ostiary health`: whether the Ostiary of a data folder answers, for what restarts containers."""

import http.client
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
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        # Its certificate is for its public name, and we ask on this machine.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(url.netloc, timeout=PATIENCE, context=context)
    else:
        connection = http.client.HTTPConnection(url.netloc, timeout=PATIENCE)
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
