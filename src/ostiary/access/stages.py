"""The stages of a call, in order: what each one asks, and what the answer depends on.

`access.decision` makes the checks of some; the gateway makes those before and after.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Stage(enum.StrEnum):
    """In the order in which a call passes them. Traces that are stored hold the values."""

    CALLER = "caller"
    REQUEST = "request"
    PATH = "path"
    PRESENTED = "presented"
    AUTHORITY = "authority"
    KNOWN = "known"
    METHOD = "method"
    PROOF = "proof"
    CREDENTIAL = "credential"
    CLIENT = "client"
    PROFILE = "profile"
    ADDRESS = "address"
    COLLECTION = "collection"
    ENDPOINT = "endpoint"
    QUOTA = "quota"
    RATE = "rate"
    ANSWER = "answer"


class Basis(enum.Enum):
    """What the answer of a stage depends on."""

    #: The call alone: a change in the directory does not change the answer.
    CALL = enum.auto()
    #: The state of the credential, the client or the authority at that moment.
    MOMENT = enum.auto()
    #: The profile's terms, and what they lead to: a recorded call can be decided again under others.
    TERMS = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDescription:
    question: str
    basis: Basis


STAGES: Mapping[Stage, StageDescription] = {
    stage: StageDescription(question=question, basis=basis)
    for stage, question, basis in (
        (Stage.CALLER, "Where does the call come from?", Basis.CALL),
        (Stage.REQUEST, "Is the request well-formed?", Basis.CALL),
        (Stage.PATH, "Is the path accepted?", Basis.CALL),
        (Stage.PRESENTED, "Is there exactly one credential?", Basis.CALL),
        (Stage.AUTHORITY, "Can it be decided now?", Basis.MOMENT),
        (Stage.KNOWN, "Is the credential known?", Basis.CALL),
        (Stage.METHOD, "Is it presented as the profile's method asks?", Basis.CALL),
        (Stage.PROOF, "Does the token prove what it says?", Basis.CALL),
        (Stage.CREDENTIAL, "Is the credential still good?", Basis.MOMENT),
        (Stage.CLIENT, "Is the client active?", Basis.MOMENT),
        (Stage.PROFILE, "Is the access profile active?", Basis.TERMS),
        (Stage.ADDRESS, "May it call from this address?", Basis.TERMS),
        (Stage.COLLECTION, "Is the collection granted?", Basis.TERMS),
        (Stage.ENDPOINT, "Is there such an endpoint?", Basis.TERMS),
        (Stage.QUOTA, "Is some of the usage quota left?", Basis.TERMS),
        (Stage.RATE, "Is the rate limit kept?", Basis.TERMS),
        (Stage.ANSWER, "Did the API answer?", Basis.TERMS),
    )
}
