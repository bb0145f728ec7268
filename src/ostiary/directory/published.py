"""What gateways must know of the directory, read in one transaction. Nothing here decides."""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import Prefetch, Q

from ostiary.access.methods import AuthMethod
from ostiary.directory import feed, workspace
from ostiary.directory.models import (
    AccessProfile,
    Collection,
    Connection,
    Credential,
    Endpoint,
    Policy,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A consistent picture as of `sequence`; collections come with their active endpoints."""

    sequence: int
    collections: tuple[Collection, ...]
    connections: tuple[Connection, ...]
    policies: tuple[Policy, ...]
    imported: frozenset[str]
    workspace: workspace.Workspace


def read() -> Published:
    """Read everything that a gateway is rendered from."""
    # An endpoint whose recipe is stopped is not there.
    stopped = Q(recipe__started=False) | Q(recipe__present=False)
    active = Endpoint.objects.filter(active=True).exclude(stopped).select_related("recipe")
    with transaction.atomic():
        return Published(
            sequence=feed.latest(),
            collections=tuple(
                Collection.objects.order_by("pk").prefetch_related(
                    Prefetch("endpoints", queryset=active.order_by("pk"))
                )
            ),
            connections=tuple(Connection.objects.order_by("pk")),
            policies=tuple(Policy.objects.order_by("pk")),
            imported=frozenset(
                bytes(print_).hex().upper()
                for print_ in Credential.objects.filter(imported=True, revoked_at=None).values_list(
                    "fingerprint", flat=True
                )
            ),
            workspace=workspace.read(),
        )


def imported_of(profile_id: int) -> list[str]:
    """Digests of a profile's imported credentials that may still be good, upper-case hex."""
    prints = Credential.objects.filter(
        profile_id=profile_id, imported=True, revoked_at=None
    ).values_list("fingerprint", flat=True)
    return [bytes(fingerprint).hex().upper() for fingerprint in prints]


def profiles_of_policy(policy_id: int) -> list[int]:
    """Ids of the profiles that a policy limits."""
    return list(AccessProfile.objects.filter(policy_id=policy_id).values_list("pk", flat=True))


def profiles_of_client(client_id: int) -> list[int]:
    """Ids of a client's profiles."""
    return list(AccessProfile.objects.filter(client_id=client_id).values_list("pk", flat=True))


def provider_of(profile_id: int) -> tuple[str, str] | None:
    """Issuer and key set URL of a profile with OpenID Connect; one of them is empty."""
    found = AccessProfile.objects.filter(pk=profile_id, auth_type=AuthMethod.OIDC).first()
    if found is None:
        return None
    return found.proof.get("issuer", ""), found.proof.get("jwks_uri", "")
