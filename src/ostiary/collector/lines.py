"""Lines of the gateway's log, as `gateway.configuration.LOG_FORMAT` writes them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One call. `code` is the number of a refusal; ids are 0 where unknown."""

    at: int
    request_id: str
    status: int
    code: int | None
    route: str
    profile: int
    client: int
    credential: int
    method: str
    address: str
    milliseconds: int
    bytes_in: int
    bytes_out: int


def read(datagram: bytes) -> Line | None:
    """Take a line apart; nothing if it is none of ours."""
    words = datagram.decode(errors="replace").split()
    if len(words) != 14:
        return None
    try:
        return Line(
            at=int(words[0]),
            request_id=words[2],
            status=int(words[3]),
            code=_number(words[4]),
            route="" if words[5] == "-" else words[5],
            profile=_number(words[6]) or 0,
            client=_number(words[7]) or 0,
            credential=_number(words[8]) or 0,
            method=words[9],
            address=words[10],
            milliseconds=int(words[11]),
            bytes_in=int(words[12]),
            bytes_out=int(words[13]),
        )
    except ValueError:
        return None


def _number(word: str) -> int | None:
    return None if word == "-" else int(word)
