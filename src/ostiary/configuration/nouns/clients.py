"""Clients, their defaults and their access profiles in files."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from django.db.models import Prefetch

from ostiary.access.methods import AuthMethod
from ostiary.configuration.nouns.file_noun import Fields, FileNoun, Keys, Made, Reference, saved
from ostiary.configuration.nouns.limits import ADDRESS_LISTS, POLICIES
from ostiary.directory.actor import Actor
from ostiary.directory.changes.inputs import Flag, Input
from ostiary.directory.clients import (
    access_profiles,
    client_defaults,
    clients,
    credentials,
    token_rules,
)
from ostiary.directory.models import (
    AccessProfile,
    AddressList,
    Client,
    ClientDefaults,
    Collection,
)
from ostiary.identity import pasted_keys
from ostiary.identity.secret import Secret


class ClientInFiles(clients.ClientInput):
    """Input for a client in files, which also say whether it is switched on."""

    apart: ClassVar[tuple[str, ...]] = (*clients.ClientInput.apart, "active")

    active: Flag = True


class ClientFiles(FileNoun[Client, None]):
    kind, section, input = "client", "clients", ClientInFiles
    hidden = frozenset({"project_id", "key"})
    defaults: ClassVar[Mapping[str, object]] = {"active": True}

    def rows(self, project_id: int) -> Iterable[Client]:
        found = Client.objects.filter(project_id=project_id).order_by("pk")
        return found.defer("logo_small", "logo_medium")

    def shown(self, row: Client, keys: Keys) -> Fields:
        return {**self.columns(row), "active": row.active}

    def draft(self, project_id: int, parent: None) -> Client:
        return Client(project_id=project_id)

    def check(self, by: Actor, row: Client, fields: Fields) -> None:
        """All of it is checked when it is read."""

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        active = fields.pop("active", True)
        made = clients.create(by=by, given=clients.ClientInput.of(project_id=owner_id, **fields))
        if active:
            return Made(row_id=made.pk)
        return saved(clients.switch(by=by, client_id=made.pk, active=False))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        sequence = 0
        if "active" in fields:
            active = bool(fields.pop("active"))
            sequence = clients.switch(by=by, client_id=row_id, active=active).sequence
        if fields:
            clients.change(by=by, client_id=row_id, given=clients.ClientInput.of(**fields))
        return Made(row_id=row_id, sequence=sequence)

    def delete(self, by: Actor, row_id: int) -> int:
        return clients.delete(by=by, client_id=row_id).sequence


CLIENTS = ClientFiles()


class DefaultsInFiles(client_defaults.FollowedInput):
    """Input for the defaults of a client in files."""

    required: ClassVar[tuple[str, ...]] = ("auth_type", "collection_ids")
    fixed: ClassVar[tuple[str, ...]] = ("auth_type",)
    apart: ClassVar[tuple[str, ...]] = tuple(client_defaults.FollowedInput.model_fields)


#: What rules of signed tokens are that nobody names.
_UNSAID: Mapping[str, object] = {
    **dict.fromkeys(token_rules.ProofInput.model_fields),
    "leeway_seconds": 60,
    "allow_without_exp": False,
}


class DefaultsFiles(FileNoun[ClientDefaults, Client]):
    """What the profiles that follow a client have of it: one for each client, without a key."""

    kind, section, parent, single = "client_defaults", "defaults", "client", True
    input, movable = DefaultsInFiles, False
    defaults: ClassVar[Mapping[str, object]] = _UNSAID
    references: ClassVar[Mapping[str, Reference]] = {
        "collections": Reference("api_collection_ids", "collection", several=True),
        "policy": Reference("api_policy_id", "policy"),
    }
    secrets, secrets_in_files = ("jwt_secret",), frozenset({"jwt_secret"})

    def rows(self, project_id: int) -> Iterable[ClientDefaults]:
        found = ClientDefaults.objects.filter(client__project_id=project_id).order_by("pk")
        found = found.select_related("client", "policy")
        found = found.defer("client__logo_small", "client__logo_medium")
        return found.prefetch_related(
            Prefetch("collections", queryset=Collection.objects.order_by("handle"))
        )

    def key(self, row: ClientDefaults) -> str:
        return CLIENTS.key(row.client)

    def is_keyed(self, row: ClientDefaults) -> bool:
        return True

    def may_stand(self, name: str, fields: Fields) -> bool:
        """A public key may, and the key of an HMAC is a secret."""
        return fields.get("jwt_method") not in ("hmac", None)

    def has_secret(self, row: ClientDefaults, name: str) -> bool:
        return bool(getattr(row, "sealed_secret", ""))

    def holds(self, row: ClientDefaults, name: str, secret: Secret) -> bool:
        return token_rules.hmac_secret(row) == secret.reveal()

    def shown(self, row: ClientDefaults, keys: Keys) -> Fields:
        return {
            "auth_type": row.auth_type,
            "collections": sorted(each.handle for each in row.collections.all()),
            "policy": row.policy and keys.of(POLICIES, row.policy),
            **_proof(token_rules.shown(row)),
        }

    def normal(self, given: Input) -> Fields:
        return _normal_proof(super().normal(given))

    def own(self, key: str) -> Fields:
        return {}

    def draft(self, project_id: int, parent: Client) -> ClientDefaults:
        return ClientDefaults(client=parent)

    def check(self, by: Actor, row: ClientDefaults, fields: Fields) -> None:
        client_defaults.check_rules(row, client_defaults.WithDefaultsInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        made = self.change(by, owner_id, fields)
        if client_defaults.of(owner_id) is None:
            # They are what its profiles have together, which says so from now on.
            client_defaults.adopt(by, clients.locked(by, owner_id))
        return made

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = client_defaults.WithDefaultsInput.of(**fields)
        return saved(client_defaults.change_client(by=by, client_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        """They go with their client."""
        return 0


class ProfileFiles(FileNoun[AccessProfile, Client]):
    kind, section, parent = "profile", "profiles", "client"
    input = access_profiles.NewProfileInput
    defaults: ClassVar[Mapping[str, object]] = {
        "active": True,
        **_UNSAID,
    }
    hidden = frozenset({"api_client_id", "key", "token"})
    references: ClassVar[Mapping[str, Reference]] = {
        "collections": Reference("api_collection_ids", "collection", several=True),
        "policy": Reference("api_policy_id", "policy"),
        "ip_allow_lists": Reference("ip_allow_list_ids", "address_list", several=True),
        "ip_deny_lists": Reference("ip_deny_list_ids", "address_list", several=True),
    }
    #: A secret if the method is hmac, and a public key else.
    secrets, secrets_in_files = ("jwt_secret",), frozenset({"jwt_secret"})
    #: Fields of one that is made; later they say nothing.
    of_new: ClassVar[frozenset[str]] = frozenset({"token_sha256", "profile_key"})

    def rows(self, project_id: int) -> Iterable[AccessProfile]:
        found = AccessProfile.objects.filter(client__project_id=project_id).order_by("pk")
        found = found.select_related("client", "policy")
        found = found.defer("client__logo_small", "client__logo_medium")
        handles = Collection.objects.order_by("handle")
        found = found.prefetch_related(Prefetch("collections", queryset=handles))
        lists = AddressList.objects.defer("text", "packed").order_by("pk")
        return found.prefetch_related(
            Prefetch("allowed_lists", queryset=lists), Prefetch("denied_lists", queryset=lists)
        )

    def holds(self, row: AccessProfile, name: str, secret: Secret) -> bool:
        return token_rules.hmac_secret(row) == secret.reveal()

    def may_stand(self, name: str, fields: Fields) -> bool:
        """A public key may, and the key of an HMAC is a secret."""
        return fields.get("jwt_method") not in ("hmac", None)

    def has_secret(self, row: AccessProfile, name: str) -> bool:
        return not getattr(row, "follows_client", False) and bool(getattr(row, "sealed_secret", ""))

    def shown(self, row: AccessProfile, keys: Keys) -> Fields:
        shown = {
            **self.columns(row),
            "follows_client": row.follows_client,
            "auth_type": row.auth_type,
            "active": row.active,
            "expires_at": row.expires_at,
            "ip_allow_lists": sorted(
                keys.of(ADDRESS_LISTS, each) for each in row.allowed_lists.all()
            ),
            "ip_deny_lists": sorted(
                keys.of(ADDRESS_LISTS, each) for each in row.denied_lists.all()
            ),
        }
        if row.follows_client:
            # The rest is the client's, and changes with it.
            return shown
        shown |= {
            "collections": sorted(each.handle for each in row.collections.all()),
            "policy": row.policy and keys.of(POLICIES, row.policy),
        }
        return shown | _proof(token_rules.shown(row))

    def normal(self, given: Input) -> Fields:
        fields = _normal_proof(super().normal(given))
        return {name: value for name, value in fields.items() if name not in self.of_new}

    def needed(self, fields: Fields) -> Sequence[str]:
        if fields.get("follows_client"):
            return access_profiles.NewFollowerInput.required
        return super().needed(fields)

    def draft(self, project_id: int, parent: Client) -> AccessProfile:
        return AccessProfile(client=parent)

    def check(self, by: Actor, row: AccessProfile, fields: Fields) -> None:
        if row.pk is not None:
            access_profiles.check_own(row, access_profiles.ProfileInput.of(**fields))
            return
        given = access_profiles.NewProfileInput.of(**fields)
        row.auth_type = given.auth_type or ""
        access_profiles.check_own(row, given)

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        follows = bool(fields.get("follows_client"))
        input_ = access_profiles.NewFollowerInput if follows else access_profiles.NewProfileInput
        given = input_.of(api_client_id=owner_id, **fields)
        made, secret = access_profiles.create(by=by, given=given)
        return saved(made, secret, _public_id(made.value))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = access_profiles.ProfileInput.of(**fields)
        return saved(access_profiles.change(by=by, profile_id=row_id, given=given))

    def exists(self, row_id: int) -> bool:
        return AccessProfile.objects.filter(pk=row_id).exists()

    def refresh(self, by: Actor, row_id: int, overlap_seconds: int) -> Made:
        """Issue a new credential."""
        made, secret = credentials.refresh(
            by=by, profile_id=row_id, overlap_seconds=overlap_seconds
        )
        return saved(made, secret, _public_id(made.value))

    def delete(self, by: Actor, row_id: int) -> int:
        return access_profiles.delete(by=by, profile_id=row_id).sequence


def _public_id(profile: AccessProfile) -> str:
    if profile.auth_type != AuthMethod.OAUTH2:
        return ""
    newest = credentials.alive(profile).order_by("-pk").first()
    return newest.public_id if newest is not None else ""


def _normal_proof(fields: Fields) -> Fields:
    """Fields among which are rules of signed tokens, as those are shown."""
    method, key = fields.get("jwt_method"), fields.get("jwt_secret")
    if isinstance(key, str) and isinstance(method, str):
        try:
            fields["jwt_secret"] = pasted_keys.public_key(key, method)
        except pasted_keys.BadKey:
            # Left as it is: the use case says what is wrong.
            fields["jwt_secret"] = key
    rules = {n: v for n, v in fields.items() if n in token_rules.ProofInput.model_fields}
    return fields | _proof(rules)


def _proof(fields: Mapping[str, object]) -> Fields:
    """Rules of signed tokens, of which "none" has several spellings, in one."""
    found = {name: value or None for name, value in fields.items()}
    if "leeway_seconds" in fields and fields["leeway_seconds"] is None:
        found["leeway_seconds"] = ProfileFiles.defaults["leeway_seconds"]
    elif "leeway_seconds" in fields:
        found["leeway_seconds"] = fields["leeway_seconds"]
    if "allow_without_exp" in fields:
        found["allow_without_exp"] = bool(fields["allow_without_exp"])
    return found


DEFAULTS, PROFILES = DefaultsFiles(), ProfileFiles()
