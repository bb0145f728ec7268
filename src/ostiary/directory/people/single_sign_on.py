"""Single sign-on: the OpenID provider that members sign in with, and who is who there.

Nobody becomes a member by it. Somebody's first sign-in finds the active member with the address
that the provider has verified; from then on the provider's own id of them counts, and the address
no more: it can change hands there.
"""

from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from ostiary import settings
from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log, fields
from ostiary.directory.changes.errors import Forbidden, NotFound
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.clients.token_rules import DISCOVERY
from ostiary.directory.models import Member, Provider, ProviderLink
from ostiary.directory.people import members
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import fetching
from ostiary.identity.openid import OpenIdPerson, RelyingParty
from ostiary.identity.sealing import KeyRing
from ostiary.identity.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class VouchedMember:
    """A member that the provider vouches for; `link` if they are not linked yet."""

    member: Member
    link: tuple[str, str] | None


def _context(provider: Provider) -> str:
    return f"provider:{provider.pk}:sealed_secret"


def provider() -> Provider | None:
    return Provider.objects.first()


def client_at(provider: Provider) -> RelyingParty:
    """What we are to the provider, with the secret that it gave us."""
    ring = KeyRing.load(settings.current().data / "keyring.json")
    sealed = provider.sealed_secret
    return RelyingParty(
        issuer=provider.issuer,
        id=provider.client_id,
        secret=Secret(ring.open(sealed, _context(provider)) if sealed else ""),
        allowed_hosts=workspace_settings.read().fetch_hosts,
    )


def configure(
    *, by: Actor, issuer: object, client_id: object, client_secret: str, label: object
) -> Provider:
    """Set the provider; an empty secret leaves the one that is there. Raises Invalid, Forbidden."""
    require_admin(by)
    problems = fields.Problems()
    url = fields.text(problems, "issuer", issuer, maximum=500).removesuffix(DISCOVERY)
    if url:
        try:
            fetching.check_url(url, workspace_settings.read().fetch_hosts)
        except fetching.FetchRefused as error:
            problems.add("issuer", f"cannot be used: {error}")
    name = fields.text(problems, "client_id", client_id)
    shown = fields.text(problems, "label", label, maximum=64)
    if len(client_secret) > 1000:
        problems.add("client_secret", "is too long (maximum is 1000 characters)")
    with transaction.atomic():
        found = Provider.objects.select_for_update().first()
        before = _shown(found) if found else {}
        if found and found.issuer != url and found.sealed_secret and not client_secret:
            # Else a secret would be sent to whoever the new issuer is.
            problems.add("client_secret", "must be entered again for another issuer")
        problems.raise_if_any()
        found = found or Provider()
        found.issuer, found.client_id, found.label = url, name, shown
        found.save()
        if client_secret:
            ring = KeyRing.load(settings.current().data / "keyring.json")
            found.sealed_secret = ring.seal(client_secret, _context(found))
            found.save(update_fields=["sealed_secret"])
        after = {**_shown(found), "client_secret": "changed" if client_secret else "as it was"}
        _record_setting(by, before, after)
    return found


def remove(*, by: Actor) -> None:
    """Switch single sign-on off; who is who is kept, should it come back."""
    require_admin(by)
    with transaction.atomic():
        found = Provider.objects.select_for_update().first()
        if found is None:
            raise NotFound("provider")
        _record_setting(by, _shown(found), {})
        found.delete()


def _shown(provider: Provider) -> dict[str, object]:
    return {
        "issuer": provider.issuer,
        "client_id": provider.client_id,
        "label": provider.label,
    }


def _record_setting(by: Actor, before: dict[str, object], after: dict[str, object]) -> None:
    audit_log.record(
        by,
        "settings.single_sign_on",
        target_kind="settings",
        target_id=None,
        target_name="single sign-on",
        before=before,
        after=after,
    )


def find(person: OpenIdPerson) -> VouchedMember | None:
    """The active member that somebody at the provider is, or nothing."""
    known = ProviderLink.objects.filter(issuer=person.issuer, subject=person.subject)
    link = known.select_related("member").first()
    if link is not None:
        return VouchedMember(member=link.member, link=None) if link.member.is_active else None
    # Beyond ASCII, two addresses can be one in small letters: the Kelvin sign becomes a k.
    address = person.email.lower() if person.email.isascii() else person.email
    if not address:
        return None
    member = Member.objects.filter(email=address, is_active=True).first()
    # Linked to somebody else there: the address has changed hands.
    if member is None or ProviderLink.objects.filter(member=member, issuer=person.issuer).exists():
        return None
    return VouchedMember(member=member, link=(person.issuer, person.subject))


def link(*, by: Actor, member: Member, issuer: str, subject: str) -> bool:
    """Link a member to who they are at the provider; false if either is linked otherwise."""
    try:
        with transaction.atomic():
            ProviderLink.objects.create(member=member, issuer=issuer, subject=subject)
            _record(by, "single_sign_on_link", member, issuer)
    except IntegrityError:
        return ProviderLink.objects.filter(member=member, issuer=issuer, subject=subject).exists()
    return True


def links(member: Member) -> QuerySet[ProviderLink]:
    return ProviderLink.objects.filter(member=member).order_by("pk")


def linked_members() -> int:
    """How many members have signed in at a provider."""
    return ProviderLink.objects.values("member").distinct().count()


def unlink(*, by: Actor, member: Member, link_id: int) -> None:
    """Take a link away; the member's next sign-in there looks at the address again."""
    if by.kind != "member" or by.id != member.pk:
        raise Forbidden("Only the member may do this")
    with transaction.atomic():
        found = ProviderLink.objects.filter(member=member, pk=link_id).first()
        if found is None:
            raise NotFound("link")
        _record(by, "single_sign_on_unlink", member, found.issuer)
        found.delete()


def unlink_all(*, by: Actor, member: Member) -> None:
    """An admin takes every link of a member away, and ends the sessions that came of them."""
    require_admin(by)
    if by.kind == "member" and by.id == member.pk:
        raise Forbidden("Remove your own link on your account page")
    with transaction.atomic():
        for found in links(member):
            _record(by, "single_sign_on_unlink", member, found.issuer)
            found.delete()
        members.end_sessions(by=by, member=member)


def _record(by: Actor, verb: str, member: Member, issuer: str) -> None:
    audit_log.record(
        by,
        f"member.{verb}",
        target_kind="member",
        target_id=member.pk,
        target_name=member.email,
        after={"issuer": issuer},
    )
