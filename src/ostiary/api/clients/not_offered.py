"""Fields of the newer dialect that Ostiary does not have. Empty, they are accepted, for tools always send them."""

from typing import Annotated

from ostiary.directory.changes.inputs import Checked, Input, refusal


class _Empty(Checked):
    """Nothing, be it null, false or empty; else it is refused, so that nobody relies on it."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def checked(self, value: object) -> object:
        if value is None or value is False or value in ("", []):
            return value
        raise refusal("not_offered", self._sentence)


CERTIFICATES = "is not supported: Ostiary does not check client certificates"
PORTALS = "is not supported: Ostiary has no API portals"


class NotOfferedOfProfiles(Input):
    """What protects a client's calls elsewhere, and would not here."""

    mtls_enabled: Annotated[bool | None, _Empty(CERTIFICATES)] = None
    validation_formula: Annotated[
        str | None, _Empty("is not supported: Ostiary does not evaluate formulas")
    ] = None
    cert_bundle_ids: Annotated[list[int] | None, _Empty(CERTIFICATES)] = None


class NotOfferedOfClients(NotOfferedOfProfiles):
    """And what invites its owner to a portal."""

    api_portal_id: Annotated[int | None, _Empty(PORTALS)] = None
    email: Annotated[str | None, _Empty(PORTALS)] = None
