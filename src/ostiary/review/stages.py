"""A call's whole way in words: what is asked at each stage, and what every reason means.

`access.decision` has the checks; before and after it come those that the gateway makes itself.
"""

import enum
from dataclasses import dataclass
from typing import assert_never

from ostiary.access.reasons import Reason


class Stage(enum.StrEnum):
    """In the order in which a call passes them; the names of checks are those of `access`."""

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


QUESTIONS = {
    Stage.CALLER: "Where does the call come from?",
    Stage.REQUEST: "Is the request well-formed?",
    Stage.PATH: "Is the path accepted?",
    Stage.PRESENTED: "Is there exactly one credential?",
    Stage.AUTHORITY: "Can it be decided now?",
    Stage.KNOWN: "Is the credential known?",
    Stage.METHOD: "Is it presented as the profile's method asks?",
    Stage.PROOF: "Does the token prove what it says?",
    Stage.CREDENTIAL: "Is the credential still good?",
    Stage.CLIENT: "Is the client active?",
    Stage.PROFILE: "Is the access profile active?",
    Stage.ADDRESS: "May it call from this address?",
    Stage.COLLECTION: "Is the collection granted?",
    Stage.ENDPOINT: "Is there such an endpoint?",
    Stage.QUOTA: "Is some of the usage quota left?",
    Stage.RATE: "Is the rate limit kept?",
    Stage.ANSWER: "Did the API answer?",
}


#: Refusals by a profile's address lists.
OF_ADDRESSES = frozenset(
    {Reason.ADDRESS_DENIED, Reason.ADDRESS_NOT_ALLOWED, Reason.ADDRESS_UNPARSABLE}
)


#: Refusals by what lies at a path.
OF_PATHS = frozenset(
    {Reason.ENDPOINT_NOT_FOUND, Reason.ENDPOINT_INACTIVE, Reason.METHOD_NOT_ALLOWED}
)
#: What these ask is about the call alone, and nothing that an owner changes answers it otherwise.
OF_THE_CALL = frozenset(
    {
        Stage.CALLER, Stage.REQUEST, Stage.PATH, Stage.PRESENTED, Stage.KNOWN, Stage.METHOD,
        Stage.PROOF,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """At which stage a reason refuses, what happened, and what the owner can do."""

    stage: Stage
    what: str
    remedy: str


def meaning(reason: Reason) -> Meaning:
    """What a reason means to an owner; total."""
    stage, what, remedy = _meaning(reason)
    return Meaning(stage=stage, what=what, remedy=remedy)


def _meaning(reason: Reason) -> tuple[Stage, str, str]:
    match reason:
        case Reason.MALFORMED_PATH:
            return (
                Stage.PATH,
                "The path could be read in two ways, so it was refused before anything was looked up.",
                (
                    "Have the consumer send it without double slashes, backslashes, semicolons, control "
                    "characters and escaped slashes. If the API needs escaped slashes or semicolons, the "
                    "collection can let them into paths."
                ),
            )
        case Reason.MALFORMED_REQUEST:
            return (
                Stage.REQUEST,
                "The request is not well-formed, or a header's name in it could be taken for another one.",
                (
                    "Have the consumer look at what it sends: names of headers (letters, digits and hyphens), "
                    "framing, and the request line."
                ),
            )
        case Reason.LOOP_DETECTED:
            return (
                Stage.REQUEST,
                (
                    "The call has come through this workspace's gateway before (header CDN-Loop): an upstream, or "
                    "a proxy behind it, sends it back to the gateway."
                ),
                "Point the connection at the API itself, or end the loop in the proxy behind it.",
            )
        case Reason.HEAD_TOO_LARGE:
            return (
                Stage.REQUEST,
                "The request line or one header is longer than 16 KB, so the call was not read to its end.",
                "Have the consumer send less: shorter URLs, fewer cookies, tokens with fewer claims.",
            )
        case Reason.CREDENTIAL_TOO_LONG:
            return (
                Stage.PRESENTED,
                "The credential is longer than 12,000 characters, the most that is looked at.",
                (
                    "Have the provider put fewer claims into its tokens: lists of groups and roles are what "
                    "makes them long."
                ),
            )
        case Reason.CONFLICTING_CREDENTIALS:
            return (
                Stage.PRESENTED,
                "More than one credential was presented, or one twice.",
                "Have the consumer send one: API-TOKEN, or Authorization.",
            )
        case Reason.CREDENTIAL_MISSING:
            return (
                Stage.PRESENTED,
                "No credential was presented.",
                "Have the consumer send its token as API-TOKEN, or in Authorization.",
            )
        case Reason.MALFORMED_CREDENTIAL:
            return (
                Stage.KNOWN,
                (
                    "The credential has the form of our tokens, and none like it was ever issued here: "
                    "it is mistyped, made up, or of another workspace."
                ),
                "Have the consumer copy its token again; refresh it if it is lost.",
            )
        case Reason.UNKNOWN_CREDENTIAL:
            return (
                Stage.KNOWN,
                (
                    "The credential belongs to no access profile: it is mistyped, cut short, made up, or of "
                    "a profile that was deleted."
                ),
                (
                    "Compare its last four characters with those on the client's page; refresh it if it is "
                    "lost."
                ),
            )
        case Reason.AMBIGUOUS_CREDENTIAL:
            return (
                Stage.KNOWN,
                (
                    "The signed token fits several active access profiles that include the collection, so "
                    "it is not clear whose call it is."
                ),
                (
                    "Give one of the profiles another profile key, claim, issuer or audience, switch one "
                    "off, or take the collection out of one."
                ),
            )
        case Reason.METHOD_MISMATCH:
            return (
                Stage.METHOD,
                (
                    "The credential is known, but was presented in a form that its profile's "
                    "authentication method does not take."
                ),
                (
                    "Have the consumer present it as the method asks: access tokens and signed tokens as "
                    "Authorization: Bearer, an auth token in any of its three forms."
                ),
            )
        case Reason.TOKEN_INVALID:
            return (
                Stage.PROOF,
                "The signed token does not prove what it says.",
                (
                    "The problem says which part was expected to be what; mend it where the token is made, "
                    "or in the profile's settings."
                ),
            )
        case Reason.REVOKED_CREDENTIAL:
            return (
                Stage.CREDENTIAL,
                "The credential was refreshed or cut off, and works no longer.",
                "Hand the consumer the newer one; an overlap at the next refresh leaves it time.",
            )
        case Reason.EXPIRED_CREDENTIAL:
            return (
                Stage.CREDENTIAL,
                "The credential has expired.",
                "Refresh it, and hand the consumer the new one.",
            )
        case Reason.CLIENT_INACTIVE:
            return (
                Stage.CLIENT,
                "The client is switched off, and with it all its profiles.",
                "Switch the client on.",
            )
        case Reason.PROFILE_INACTIVE:
            return (
                Stage.PROFILE,
                "The access profile is switched off.",
                "Switch the access profile on.",
            )
        case Reason.PROFILE_EXPIRED:
            return (
                Stage.PROFILE,
                "The access profile has expired.",
                "Give it a later end, if the consumer is still to call.",
            )
        case Reason.ADDRESS_UNPARSABLE:
            return (
                Stage.CALLER,
                "What a proxy said of the caller's address isn't an address, or the proxy isn't trusted.",
                "Correct what the proxy writes to X-Forwarded-For, or list it under trusted proxies.",
            )
        case Reason.ADDRESS_DENIED:
            return (
                Stage.ADDRESS,
                "The address is on the profile's deny list.",
                "Take it off the deny list, if the consumer is to call from there.",
            )
        case Reason.ADDRESS_NOT_ALLOWED:
            return (
                Stage.ADDRESS,
                "The address is in none of the profile's allowed ranges.",
                "Add it to the allow list, or watch the list only, until it is complete.",
            )
        case Reason.COLLECTION_NOT_FOUND:
            return (
                Stage.COLLECTION,
                "No API collection has this path.",
                "Compare the first segment of the path with the collection's path.",
            )
        case Reason.COLLECTION_NOT_GRANTED:
            return (
                Stage.COLLECTION,
                (
                    "The collection is there, but the access profile does not include it. To the consumer "
                    "this looks as if it did not exist."
                ),
                "Include the collection in the access profile.",
            )
        case Reason.ENDPOINT_NOT_FOUND:
            return (
                Stage.ENDPOINT,
                "The collection has no endpoint with this path.",
                (
                    "Compare the path with the collection's endpoints; /orders/ is another path than "
                    "/orders."
                ),
            )
        case Reason.ENDPOINT_INACTIVE:
            return (
                Stage.ENDPOINT,
                "The endpoint is there, but inactive.",
                "Activate the endpoint.",
            )
        case Reason.METHOD_NOT_ALLOWED:
            return (
                Stage.ENDPOINT,
                "The path is there, but takes other methods.",
                (
                    "Have the consumer use one of the methods that the answer's Allow header named; or, "
                    "if its own has an endpoint that is inactive, activate that."
                ),
            )
        case Reason.RATE_LIMITED:
            return (
                Stage.RATE,
                "The policy's rate limit was reached in this window of the clock.",
                "Have the consumer wait as Retry-After says, or give the profile a wider policy.",
            )
        case Reason.TOO_MANY_CALLS:
            return (
                Stage.RATE,
                "The profile had as many calls open at once as the gateway lets one profile have.",
                "Have the consumer open fewer at once, or raise OSTIARY_CONNECTIONS_PER_PROFILE.",
            )
        case Reason.QUOTA_EXCEEDED:
            return (
                Stage.QUOTA,
                "The policy's usage quota was used up in this period.",
                "Have the consumer wait for the next period, or give the profile a wider policy.",
            )
        case Reason.INPUT_INVALID:
            return (
                Stage.ANSWER,
                "The call was admitted, but its input did not fit the recipe.",
                "The answer named the field; compare it with the recipe's input.",
            )
        case Reason.INPUT_TOO_LARGE:
            return (
                Stage.ANSWER,
                "The call was admitted, but its body is larger than recipes take.",
                "Have the consumer send less than 5 MB.",
            )
        case Reason.RECIPE_STOPPED:
            return (
                Stage.ANSWER,
                "The recipe behind the endpoint is stopped.",
                "Start the recipe.",
            )
        case Reason.RECIPE_FAILED:
            return (
                Stage.ANSWER,
                "The call was admitted, and the recipe failed.",
                "The recipe's job record has the error.",
            )
        case Reason.UPSTREAM_MISSING:
            return (
                Stage.ANSWER,
                "The collection has no connection yet, or its host has no address.",
                "Give the collection a connection whose host resolves.",
            )
        case Reason.UPSTREAM_UNAVAILABLE:
            return (
                Stage.ANSWER,
                "The call was admitted, but the API behind could not be connected to.",
                "Look whether the connection's host is up and reachable from the gateway.",
            )
        case Reason.UPSTREAM_FAILED:
            return (
                Stage.ANSWER,
                "The call was admitted, but the API behind broke off, or answered what is no HTTP.",
                "Look into the log of the API behind at that time.",
            )
        case Reason.UPSTREAM_TIMEOUT:
            return (
                Stage.ANSWER,
                "The call was admitted, but the API behind did not answer in time.",
                "Look why it is slow, or give the endpoint or connection a longer timeout.",
            )
        case Reason.AUTHORITY_UNAVAILABLE:
            return (
                Stage.AUTHORITY,
                (
                    "The gateway had no lease for this call, and the authority did not answer. It fails "
                    "closed."
                ),
                "Look at the authority's log; calls pass again as soon as it answers.",
            )
        case Reason.OVERLOADED:
            return (
                Stage.AUTHORITY,
                (
                    "Too much was going on: too many refused or open calls of one address, too many open "
                    "calls of one project, a full table, or busy recipes."
                ),
                "Try again; if it stays, look who calls so often.",
            )
        case _:
            assert_never(reason)
