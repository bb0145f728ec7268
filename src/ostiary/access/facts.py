"""The facts of a decision: plain values that the caller of `decide` gathers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from ostiary.access.addresses import Address, NamedList, Network
from ostiary.access.limits import Quota, RateLimit
from ostiary.access.methods import AuthMethod

ProfileId = NewType("ProfileId", int)
ClientId = NewType("ClientId", int)
CollectionId = NewType("CollectionId", int)
EndpointId = NewType("EndpointId", int)
CredentialId = NewType("CredentialId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A stored credential. Times are Unix seconds; empty: never."""

    id: CredentialId
    revoked_at: int | None = None
    expires_at: int | None = None
    #: A newer one replaced it, and it still works until then.
    overlap_until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    id: ProfileId
    active: bool = True
    #: An inactive one is active again from then on, Unix seconds; empty: when somebody says so.
    inactive_until: int | None = None
    method: AuthMethod = AuthMethod.TOKEN
    expires_at: int | None = None
    allowed: tuple[Network, ...] = ()  # empty: any address
    denied: tuple[Network, ...] = ()
    #: Lists that profiles share, beside the profile's own.
    allowed_lists: tuple[NamedList, ...] = ()
    denied_lists: tuple[NamedList, ...] = ()
    #: Watch-only lists: they refuse nobody, and calls that they would refuse are counted and logged.
    addresses_watched: bool = False
    #: One for each interval at most, the shortest first; all of them count.
    rates: tuple[RateLimit, ...] = ()
    quota: Quota | None = None
    #: When each limit was last reset, by its name (`limits.WINDOWS`); Unix seconds.
    resets: Mapping[str, int] = field(default_factory=dict)
    #: Until when `rates` and `quota` are wider than the policy's; empty: they are the policy's.
    raised_until: int | None = None
    #: Watch-only limits: they refuse nothing, and calls that they would refuse are counted and logged.
    limits_watched: bool = False
    #: When the policy was given to it.
    policy_since: int = 0

    @property
    def has_lists(self) -> bool:
        """Whether the decision depends on the caller's address."""
        return bool(self.allowed or self.denied or self.allowed_lists or self.denied_lists)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    id: ClientId
    active: bool = True
    #: As of a profile.
    inactive_until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What the path and method mean, before anyone asks who calls."""

    collection: CollectionId | None = None
    granted: bool = False
    endpoint: EndpointId | None = None
    inactive: bool = False
    #: The path at which a consumer reads what is used of its limits; it belongs to no collection.
    usage: bool = False
    #: Methods that the path takes, where no endpoint takes the call's own.
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A known credential, with its profile and client."""

    credential: Credential
    profile: Profile
    client: Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One call, as far as a decision depends on it. `now` is Unix seconds."""

    now: int
    address: Address | None
    presented: bool
    #: More than one credential, or one twice.
    several: bool = False
    #: Authentication method that the form of the credential belongs to.
    method: AuthMethod
    known: Known | None
    route: Route
    #: Why the signed token was rejected, for the owner; empty: it is valid, or there is none.
    problem: str = ""
    #: Profiles that the signed token fits, if it fits more than one.
    fitting: tuple[ProfileId, ...] = ()
    #: When the proof ends: the token's `exp`, or the next refresh of the key that verified it.
    proved_until: int | None = None
