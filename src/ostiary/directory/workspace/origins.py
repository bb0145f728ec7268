"""Origins as browsers send them: scheme, host and port (RFC 6454, section 6.2). Knows no database."""

import ipaddress
import re

import idna

LONGEST = 300
#: What is stored matches this: printable ASCII without blanks, in the form that browsers send.
STORED = re.compile(
    r"https?://(\[[0-9a-f:.]{2,45}\]|[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?)(:[0-9]{1,5})?"
)
#: The same of what may be allowed: an origin, an app's, or a pattern.
ALLOWED = re.compile(
    r"\*|null|https?://(\*\.)?(\[[0-9a-f:.]{2,45}\]|[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?)(:[0-9]{1,5})?"
    r"|(?!https?:)[a-z][a-z0-9+.-]{0,31}://[A-Za-z0-9_]([A-Za-z0-9_.-]{0,200}[A-Za-z0-9_])?(:[0-9]{1,5})?"
)

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(\[(?P<v6>[0-9a-f:.]*)\]|(?P<name>[^\[\]:/?#@\\]+))(:(?P<port>[0-9]{1,5}))?",
    # Without ASCII, a long s would pass for an s.
    re.IGNORECASE | re.ASCII,
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_USUAL_PORTS = {"http": 80, "https": 443}


#: Every origin; pages of sandboxes, files and redirects, whose origin says nothing.
ANY, OPAQUE = "*", "null"
#: Origins of apps and extensions of browsers, such as capacitor://localhost.
_APP = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,31})://(?P<host>[A-Za-z0-9_]([A-Za-z0-9_.-]{0,200}[A-Za-z0-9_])?)(:[0-9]{1,5})?",
    re.ASCII,
)
#: Schemes whose pages send another origin.
_NEVER = {
    "file": "pages from files send the origin null",
    "data": "such pages send the origin null",
    "blob": "such pages send the origin of the page that made them",
    "about": "such pages send the origin null",
    "javascript": "it isn't an origin",
    "ws": "the origin of a WebSocket is its page's, such as https://app.example.com",
    "wss": "the origin of a WebSocket is its page's, such as https://app.example.com",
    "ftp": "such pages send the origin null",
}


class BadOrigin(ValueError):
    """A text that isn't an origin; the message is a sentence without a subject."""


def parse(text: str) -> str:
    """An origin in the form that browsers send; raises BadOrigin.

    Lower-case, a name of other letters in its form in the DNS, without the scheme's own port.
    """
    if len(text) > LONGEST:
        raise BadOrigin(f"is longer than {LONGEST} characters")
    if any(c.isspace() or not c.isprintable() for c in text):
        raise BadOrigin("must not hold blanks, control characters or invisible ones")
    parts = _ORIGIN.fullmatch(text)
    if parts is None:
        raise BadOrigin("isn't an origin such as https://app.example.com")
    scheme, port = parts["scheme"].lower(), parts["port"]
    host = _name(parts["name"]) if parts["name"] is not None else _ipv6(parts["v6"])
    if port is None:
        return f"{scheme}://{host}"
    number = int(port)
    if not 1 <= number <= 65_535:
        raise BadOrigin("must have a port from 1 to 65535")
    usual = number == _USUAL_PORTS[scheme]
    return f"{scheme}://{host}" if usual else f"{scheme}://{host}:{number}"


def parse_allowed(text: str) -> str:
    """What may be allowed to call: an origin, `https://*.example.com` for every name below it, an
    app's (capacitor://localhost), `null`, or `*`. Raises BadOrigin for what no browser sends.
    """
    if text in {ANY, OPAQUE}:
        return text
    scheme, mark, rest = text.partition("://")
    if mark and scheme.lower() not in _USUAL_PORTS:
        return _of_app(text, scheme.lower())
    if mark and rest.startswith("*."):
        return _below(scheme, rest.removeprefix("*."))
    if "*" in text:
        raise BadOrigin(
            "may have a star only for the names below one: https://*.example.com, or alone"
        )
    return parse(text)


def _below(scheme: str, rest: str) -> str:
    whole = parse(f"{scheme}://{rest}")
    start, _, host = whole.partition("://")
    labels = host.partition(":")[0].split(".")
    if "*" in host or host.startswith("["):
        raise BadOrigin("may have one star, before a name")
    if labels[-1].isdigit():
        raise BadOrigin("can match nothing: there are no names below an address")
    if len(labels) == 1 and labels != ["localhost"]:
        raise BadOrigin("would allow everybody's names; write at least https://*.example.com")
    return f"{start}://*.{host}"


def _of_app(text: str, scheme: str) -> str:
    if why := _NEVER.get(scheme):
        raise BadOrigin(f"can match nothing: {why}")
    if len(text) > LONGEST or not _APP.fullmatch(text):
        raise BadOrigin("isn't an origin such as https://app.example.com or capacitor://localhost")
    return scheme + text[len(scheme) :]


def _name(text: str) -> str:
    name = text.lower()
    if not name.isascii():
        try:
            name = idna.encode(text, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            raise BadOrigin("has no valid host name") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise BadOrigin("has no valid host name")
    return name


def _ipv6(text: str) -> str:
    try:
        return f"[{ipaddress.IPv6Address(text)}]"
    except ValueError:
        raise BadOrigin("has no valid IPv6 address between its brackets") from None
