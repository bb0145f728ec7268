"""Why a call is refused: a closed set, and one table with the properties of each reason.

The owner sees the reason; the caller sees its public name, which never tells whether a token, a client
or a collection exists. A new reason is a member of `Reason` and a row of `REASONS`.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ostiary.access.stages import STAGES, Basis, Stage


class Reason(enum.StrEnum):
    MALFORMED_PATH = "malformed_path"
    LOOP_DETECTED = "loop_detected"
    CONFLICTING_CREDENTIALS = "conflicting_credentials"
    CREDENTIAL_MISSING = "credential_missing"
    UNKNOWN_CREDENTIAL = "unknown_credential"
    AMBIGUOUS_CREDENTIAL = "ambiguous_credential"
    REVOKED_CREDENTIAL = "revoked_credential"
    EXPIRED_CREDENTIAL = "expired_credential"
    METHOD_MISMATCH = "method_mismatch"
    CLIENT_INACTIVE = "client_inactive"
    PROFILE_INACTIVE = "profile_inactive"
    PROFILE_EXPIRED = "profile_expired"
    ADDRESS_UNPARSABLE = "address_unparsable"
    ADDRESS_DENIED = "address_denied"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    COLLECTION_NOT_FOUND = "collection_not_found"
    COLLECTION_NOT_GRANTED = "collection_not_granted"
    ENDPOINT_NOT_FOUND = "endpoint_not_found"
    ENDPOINT_INACTIVE = "endpoint_inactive"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    INPUT_INVALID = "input_invalid"
    INPUT_TOO_LARGE = "input_too_large"
    RECIPE_STOPPED = "recipe_stopped"
    RECIPE_FAILED = "recipe_failed"
    UPSTREAM_MISSING = "upstream_missing"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    AUTHORITY_UNAVAILABLE = "authority_unavailable"
    OVERLOADED = "overloaded"
    MALFORMED_CREDENTIAL = "malformed_credential"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - a name
    MALFORMED_REQUEST = "malformed_request"
    CREDENTIAL_TOO_LONG = "credential_too_long"
    HEAD_TOO_LARGE = "head_too_large"
    TOO_MANY_CALLS = "too_many_calls"
    LIMITS_UNAVAILABLE = "limits_unavailable"

    @property
    def label(self) -> str:
        """As pages call it; the name itself is for scripts."""
        return self.value.replace("_", " ").capitalize()


class Rule(enum.Enum):
    """The rule of a profile, or of a path, that refuses."""

    ADDRESSES = enum.auto()
    PATHS = enum.auto()
    LIMITS = enum.auto()


class Party(enum.StrEnum):
    """Who can usually resolve what a reason names."""

    CONSUMER = "consumer"
    #: Whoever manages the client, the profile or the collection.
    OWNER = "owner"
    #: Whoever runs Ostiary and the proxies in front of it.
    OPERATOR = "operator"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class Public:
    """The reason that the caller sees; several reasons share one where strangers must not distinguish them."""

    name: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A row of the table of reasons."""

    #: Stored in logs and in running gateways, so a number never changes its meaning.
    code: int
    #: HTTP status of the refusal.
    status: int
    public: Public
    #: Where a call is refused for it.
    stage: Stage
    resolved_by: Party
    #: What happened, and what to do about it, for the owner.
    meaning: str
    remedy: str
    #: None: no rule of an owner refuses with this reason.
    rule: Rule | None = None
    #: Statuses that nginx chooses for what it refuses itself; sent as they are, in place of `status`.
    nginx_statuses: tuple[int, ...] = ()
    #: The gateway repeats the refusal for some seconds without asking. Not where the address decides: it
    #: is one of many, and one caller could fill the memory.
    is_held: bool = True
    #: The authority stores what it saw. Not of strangers, who can make many such calls.
    is_traced: bool = True
    #: Costs a look-up or a verification and proves nothing; above a rate, such calls get neither.
    is_unproved: bool = False

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every status that a call refused for it can have."""
        return tuple(sorted({self.status, *self.nginx_statuses}))

    @property
    def is_admitted(self) -> bool:
        """The call was admitted and failed afterwards: an error, not a violation of a policy."""
        return self.stage is Stage.ANSWER

    @property
    def is_replayed(self) -> bool:
        """A recorded call with it is decided again under other terms of its profile."""
        return STAGES[self.stage].basis is Basis.TERMS

    @property
    def is_of_the_call(self) -> bool:
        """The refusal depends on the call alone: the same call would be refused again."""
        return STAGES[self.stage].basis is Basis.CALL


_UNAUTHORIZED = Public("unauthorized", "A valid credential is required.")
_ADDRESS = Public("address_not_allowed", "Calls from this address are not allowed.")
_NOT_FOUND = Public("not_found", "There is nothing at this path.")

REASONS: Mapping[Reason, Description] = {
    Reason.MALFORMED_PATH: Description(
        code=10,
        status=400,
        public=Public("malformed_path", "The path of this call is not accepted."),
        stage=Stage.PATH,
        resolved_by=Party.CONSUMER,
        meaning="The path could be read in two ways, so it was refused before anything was looked up.",
        remedy="Have the consumer send it without double slashes, backslashes, semicolons, control characters and escaped slashes. If the API needs escaped slashes or semicolons, the collection can let them into paths.",
    ),
    Reason.LOOP_DETECTED: Description(
        code=51,
        status=508,
        public=Public("loop_detected", "This call has come through this gateway before."),
        stage=Stage.REQUEST,
        resolved_by=Party.OWNER,
        meaning="The call has come through this workspace's gateway before (header CDN-Loop): an upstream, or a proxy behind it, sends it back to the gateway.",
        remedy="Point the connection at the API itself, or end the loop in the proxy behind it.",
    ),
    Reason.CONFLICTING_CREDENTIALS: Description(
        code=11,
        status=400,
        public=Public("conflicting_credentials", "A call must present exactly one credential."),
        stage=Stage.PRESENTED,
        resolved_by=Party.CONSUMER,
        meaning="More than one credential was presented, or one twice.",
        remedy="Have the consumer send one: API-TOKEN, or Authorization.",
    ),
    Reason.CREDENTIAL_MISSING: Description(
        code=12,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.PRESENTED,
        resolved_by=Party.CONSUMER,
        meaning="No credential was presented.",
        remedy="Have the consumer send its token as API-TOKEN, or in Authorization.",
    ),
    Reason.UNKNOWN_CREDENTIAL: Description(
        code=13,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.KNOWN,
        resolved_by=Party.CONSUMER,
        meaning="The credential belongs to no access profile: it is mistyped, cut short, made up, or of a profile that was deleted.",
        remedy="Compare its last four characters with those on the client's page; refresh it if it is lost.",
        is_traced=False,
        is_unproved=True,
    ),
    Reason.AMBIGUOUS_CREDENTIAL: Description(
        code=50,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.KNOWN,
        resolved_by=Party.OWNER,
        meaning="The signed token fits several active access profiles that include the collection, so it is not clear whose call it is.",
        remedy="Give one of the profiles another profile key, claim, issuer or audience, switch one off, or take the collection out of one.",
    ),
    Reason.REVOKED_CREDENTIAL: Description(
        code=14,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.CREDENTIAL,
        resolved_by=Party.OWNER,
        meaning="The credential was refreshed or revoked, and no longer works.",
        remedy="Hand the consumer the newer one; an overlap at the next refresh leaves it time.",
    ),
    Reason.EXPIRED_CREDENTIAL: Description(
        code=15,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.CREDENTIAL,
        resolved_by=Party.OWNER,
        meaning="The credential has expired.",
        remedy="Refresh it, and hand the consumer the new one.",
    ),
    Reason.METHOD_MISMATCH: Description(
        code=16,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.METHOD,
        resolved_by=Party.CONSUMER,
        meaning="The credential is known, but was presented in a form that its profile's authentication method does not accept.",
        remedy="Have the consumer present it as the method asks: access tokens and signed tokens as Authorization: Bearer, an auth token in any of its three forms.",
        is_unproved=True,
    ),
    Reason.CLIENT_INACTIVE: Description(
        code=17,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.CLIENT,
        resolved_by=Party.OWNER,
        meaning="The client is switched off, and with it all its profiles.",
        remedy="Switch the client on.",
    ),
    Reason.PROFILE_INACTIVE: Description(
        code=18,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.PROFILE,
        resolved_by=Party.OWNER,
        meaning="The access profile is switched off.",
        remedy="Switch the access profile on.",
    ),
    Reason.PROFILE_EXPIRED: Description(
        code=19,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.PROFILE,
        resolved_by=Party.OWNER,
        meaning="The access profile has expired.",
        remedy="Give it a later end, if the consumer should keep calling.",
    ),
    Reason.ADDRESS_UNPARSABLE: Description(
        code=20,
        status=403,
        public=_ADDRESS,
        stage=Stage.CALLER,
        resolved_by=Party.OPERATOR,
        meaning="A proxy sent a caller's address that isn't an address, or the proxy isn't trusted.",
        remedy="Correct what the proxy writes to X-Forwarded-For, or list it under trusted proxies.",
        rule=Rule.ADDRESSES,
    ),
    Reason.ADDRESS_DENIED: Description(
        code=21,
        status=403,
        public=_ADDRESS,
        stage=Stage.ADDRESS,
        resolved_by=Party.OWNER,
        meaning="The address is on the profile's deny list.",
        remedy="Take it off the deny list, if the consumer should call from there.",
        rule=Rule.ADDRESSES,
        is_held=False,
    ),
    Reason.ADDRESS_NOT_ALLOWED: Description(
        code=22,
        status=403,
        public=_ADDRESS,
        stage=Stage.ADDRESS,
        resolved_by=Party.OWNER,
        meaning="The address is in none of the profile's allowed ranges.",
        remedy="Add it to the allow list, or set the list to watch only until it is complete.",
        rule=Rule.ADDRESSES,
        is_held=False,
    ),
    Reason.COLLECTION_NOT_FOUND: Description(
        code=23,
        status=404,
        public=_NOT_FOUND,
        stage=Stage.COLLECTION,
        resolved_by=Party.CONSUMER,
        meaning="No API collection has this path.",
        remedy="Compare the first segment of the path with the collection's path.",
    ),
    Reason.COLLECTION_NOT_GRANTED: Description(
        code=24,
        status=404,
        public=_NOT_FOUND,
        stage=Stage.COLLECTION,
        resolved_by=Party.OWNER,
        meaning="The collection exists, but the access profile does not include it. To the consumer this looks as if it did not exist.",
        remedy="Include the collection in the access profile.",
    ),
    Reason.ENDPOINT_NOT_FOUND: Description(
        code=25,
        status=404,
        public=_NOT_FOUND,
        stage=Stage.ENDPOINT,
        resolved_by=Party.CONSUMER,
        meaning="The collection has no endpoint with this path.",
        remedy="Compare the path with the collection's endpoints; /orders/ is another path than /orders.",
        rule=Rule.PATHS,
    ),
    Reason.ENDPOINT_INACTIVE: Description(
        code=26,
        status=404,
        public=_NOT_FOUND,
        stage=Stage.ENDPOINT,
        resolved_by=Party.OWNER,
        meaning="The endpoint exists, but is inactive.",
        remedy="Activate the endpoint.",
        rule=Rule.PATHS,
    ),
    Reason.METHOD_NOT_ALLOWED: Description(
        code=27,
        status=405,
        public=Public("method_not_allowed", "This path does not accept this method."),
        stage=Stage.ENDPOINT,
        resolved_by=Party.CONSUMER,
        meaning="The path exists, but accepts other methods.",
        remedy="Have the consumer use one of the methods that the answer's Allow header named; or, if the endpoint of its own method is inactive, activate it.",
        rule=Rule.PATHS,
    ),
    Reason.RATE_LIMITED: Description(
        code=28,
        status=429,
        public=Public("rate_limited", "The rate limit is reached; try again later."),
        stage=Stage.RATE,
        resolved_by=Party.CONSUMER,
        meaning="The policy's rate limit was reached in this window.",
        remedy="Have the consumer wait as Retry-After says, or give the profile a wider policy.",
        rule=Rule.LIMITS,
    ),
    Reason.QUOTA_EXCEEDED: Description(
        code=29,
        status=429,
        public=Public("quota_exceeded", "The usage quota is used up; try again later."),
        stage=Stage.QUOTA,
        resolved_by=Party.CONSUMER,
        meaning="The policy's usage quota was used up in this period.",
        remedy="Have the consumer wait for the next period, or give the profile a wider policy.",
        rule=Rule.LIMITS,
    ),
    Reason.INPUT_INVALID: Description(
        code=30,
        status=400,
        public=Public("input_invalid", "The input is not valid."),
        stage=Stage.ANSWER,
        resolved_by=Party.CONSUMER,
        meaning="The call was admitted, but its input was not valid for the recipe.",
        remedy="The answer names the field; compare it with the recipe's input.",
    ),
    Reason.INPUT_TOO_LARGE: Description(
        code=31,
        status=413,
        public=Public("input_too_large", "The body of this call is too large."),
        stage=Stage.ANSWER,
        resolved_by=Party.CONSUMER,
        meaning="The call was admitted, but its body is larger than recipes accept.",
        remedy="Have the consumer send less than 5 MB.",
        nginx_statuses=(413,),
    ),
    Reason.RECIPE_STOPPED: Description(
        code=32,
        status=404,
        public=_NOT_FOUND,
        stage=Stage.ANSWER,
        resolved_by=Party.OWNER,
        meaning="The recipe behind the endpoint is stopped.",
        remedy="Start the recipe.",
    ),
    Reason.RECIPE_FAILED: Description(
        code=33,
        status=422,
        public=Public("recipe_failed", "The recipe failed."),
        stage=Stage.ANSWER,
        resolved_by=Party.OWNER,
        meaning="The call was admitted, and the recipe failed.",
        remedy="The recipe's job record has the error.",
    ),
    Reason.UPSTREAM_MISSING: Description(
        code=34,
        status=503,
        public=Public("upstream_missing", "This API has no upstream yet."),
        stage=Stage.ANSWER,
        resolved_by=Party.OWNER,
        meaning="The collection has no connection yet, or its host has no address.",
        remedy="Give the collection a connection whose host resolves.",
    ),
    Reason.UPSTREAM_UNAVAILABLE: Description(
        code=35,
        status=502,
        public=Public("upstream_unavailable", "The upstream is not available."),
        stage=Stage.ANSWER,
        resolved_by=Party.UPSTREAM,
        meaning="The call was admitted, but the gateway could not connect to the upstream.",
        remedy="Check that the connection's host is up and reachable from the gateway.",
    ),
    Reason.UPSTREAM_FAILED: Description(
        code=36,
        status=502,
        public=Public("upstream_failed", "The upstream sent an invalid answer."),
        stage=Stage.ANSWER,
        resolved_by=Party.UPSTREAM,
        meaning="The call was admitted, but the upstream closed the connection early, or its answer was not valid HTTP.",
        remedy="Look at the upstream's log of that time.",
    ),
    Reason.UPSTREAM_TIMEOUT: Description(
        code=37,
        status=504,
        public=Public("upstream_timeout", "The upstream did not answer in time."),
        stage=Stage.ANSWER,
        resolved_by=Party.UPSTREAM,
        meaning="The call was admitted, but the upstream did not answer in time.",
        remedy="Find out why it is slow, or give the endpoint or connection a longer timeout.",
    ),
    Reason.AUTHORITY_UNAVAILABLE: Description(
        code=38,
        status=503,
        public=Public("authority_unavailable", "The call cannot be decided now; try again."),
        stage=Stage.AUTHORITY,
        resolved_by=Party.OPERATOR,
        meaning="The gateway had no lease for this call, and the authority did not answer. It fails closed.",
        remedy="Look at the authority's log; calls pass again as soon as it answers.",
    ),
    Reason.OVERLOADED: Description(
        code=39,
        status=503,
        public=Public("overloaded", "The gateway is overloaded; try again."),
        stage=Stage.AUTHORITY,
        resolved_by=Party.OPERATOR,
        meaning="There were too many refused or open calls of one address, too many open calls of one project, a table of the gateway was full, or all recipe workers were busy.",
        remedy="Try again; if it goes on, find out in the logs who calls that often.",
    ),
    Reason.LIMITS_UNAVAILABLE: Description(
        code=62,
        status=503,
        public=Public(
            "limits_unavailable", "The limits of this call cannot be counted now; try again."
        ),
        stage=Stage.AUTHORITY,
        resolved_by=Party.OPERATOR,
        meaning="The profile's limits are counted over several gateways, and the store that they share does not answer. What this gateway may admit without it is used up.",
        remedy="Look at the Valkey or Redis of OSTIARY_REDIS_URL, and at /readyz; calls pass again as soon as it answers. OSTIARY_STORE_DOWN says what a gateway does until then.",
    ),
    Reason.MALFORMED_CREDENTIAL: Description(
        code=40,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.KNOWN,
        resolved_by=Party.CONSUMER,
        meaning="The credential has the form of our tokens, but was not issued here: it is mistyped, made up, or from another workspace.",
        remedy="Have the consumer copy its token again; refresh it if it is lost.",
    ),
    Reason.TOKEN_INVALID: Description(
        code=41,
        status=401,
        public=_UNAUTHORIZED,
        stage=Stage.PROOF,
        resolved_by=Party.CONSUMER,
        meaning="The signed token could not be verified.",
        remedy="The problem names the part that was not as expected; correct it where the token is made, or in the profile's settings.",
        is_unproved=True,
    ),
    Reason.MALFORMED_REQUEST: Description(
        code=42,
        status=400,
        public=Public("malformed_request", "This call is not well-formed."),
        stage=Stage.REQUEST,
        resolved_by=Party.CONSUMER,
        meaning="The request is not well-formed, or a header's name in it could be taken for another one.",
        remedy="Have the consumer check what it sends: names of headers (letters, digits and hyphens), framing, and the request line.",
        nginx_statuses=(400, 403, 404, 405, 408, 411, 416, 421, 501, 505),
    ),
    Reason.CREDENTIAL_TOO_LONG: Description(
        code=60,
        status=431,
        public=Public("credential_too_long", "A credential has at most 12,000 characters."),
        stage=Stage.PRESENTED,
        resolved_by=Party.CONSUMER,
        meaning="The credential is longer than 12,000 characters, the most that is read.",
        remedy="Have the provider put fewer claims into its tokens: lists of groups and roles make them long.",
    ),
    Reason.HEAD_TOO_LARGE: Description(
        code=61,
        status=431,
        public=Public("head_too_large", "The request line or a header of this call exceeds 16 KB."),
        stage=Stage.REQUEST,
        resolved_by=Party.CONSUMER,
        meaning="The request line or one header is longer than 16 KB, so the call was not read to its end.",
        remedy="Have the consumer send less: shorter URLs, fewer cookies, tokens with fewer claims.",
        nginx_statuses=(414,),
    ),
    Reason.TOO_MANY_CALLS: Description(
        code=43,
        status=429,
        public=Public("too_many_calls", "Too many calls are open at once; try again."),
        stage=Stage.RATE,
        resolved_by=Party.CONSUMER,
        meaning="The profile had as many calls open as the gateway allows one profile at once.",
        remedy="Have the consumer open fewer at once, or raise OSTIARY_CONNECTIONS_PER_PROFILE.",
    ),
}
_BY_CODE = {row.code: reason for reason, row in REASONS.items()}


def describe(reason: Reason) -> Description:
    """The row of `reason`; there is one for every reason."""
    return REASONS[reason]


def by_code(code: int) -> Reason:
    """The reason of a number that a gateway reported; raises KeyError for any other."""
    return _BY_CODE[code]
