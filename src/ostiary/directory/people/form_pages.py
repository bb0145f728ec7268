"""Pages that answer a member's forms: kept sealed under a draft's id, for a while, and not too many."""

import base64
import hashlib
import secrets
import zlib
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from ostiary import settings
from ostiary.directory.models import FormPage, Member
from ostiary.identity.sealing import KeyRing, SealingError

#: How long a page can be gone back to, and how long a secret waits to be shown.
LIFE, LIFE_OF_SECRETS = timedelta(hours=2), timedelta(minutes=10)
#: Most pages of a member; the oldest go first.
MOST_PAGES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPage:
    """A page that was found; no content: it was shown already, and is shown once."""

    content: bytes | None
    #: Where its secret can be replaced.
    replace: str = ""


def keep(
    member: Member, content: bytes, *, once: bool = False, replace: str = "", draft: str = ""
) -> str:
    """Keep a page; the id of its draft, for an address. `draft`: the id that it is to have."""
    draft = draft or secrets.token_urlsafe(18)
    digest, now = _digest(member, draft), timezone.now()
    text = base64.b64encode(zlib.compress(content)).decode()
    FormPage.objects.update_or_create(
        digest=digest,
        defaults={
            "member": member,
            "sealed": _ring().seal(text, _place(digest)),
            "once": once,
            "replace": replace,
            "expires_at": now + (LIFE_OF_SECRETS if once else LIFE),
        },
    )
    _bound(member)
    return draft


def _bound(member: Member) -> None:
    kept = FormPage.objects.filter(member=member).order_by("-created_at", "digest")
    oldest = list(kept.values_list("pk", flat=True)[MOST_PAGES : MOST_PAGES + 100])
    FormPage.objects.filter(pk__in=oldest).delete()


def show(member: Member, draft: str) -> OpenedPage | None:
    """A member's page; nothing if it has expired or is somebody else's."""
    digest = _digest(member, draft)
    found = FormPage.objects.filter(pk=digest, member=member).first()
    if found is None:
        return None
    if found.once and not found.sealed:
        return OpenedPage(content=None, replace=found.replace)
    if found.expires_at <= timezone.now():
        return None
    try:
        content = zlib.decompress(base64.b64decode(_ring().open(found.sealed, _place(digest))))
    except SealingError:
        return None
    if found.once and not _spend(digest):
        return OpenedPage(content=None, replace=found.replace)
    return OpenedPage(content=content, replace=found.replace)


def keep_document(member: Member, content: bytes) -> str:
    """Keep a document that a member sent, which no address shows; the id that a form carries."""
    name = secrets.token_urlsafe(18)
    digest = _digest_of_document(member, name)
    text = base64.b64encode(zlib.compress(content)).decode()
    FormPage.objects.create(
        digest=digest,
        member=member,
        sealed=_ring().seal(text, _place(digest)),
        expires_at=timezone.now() + LIFE,
    )
    _bound(member)
    return name


def document(member: Member, name: str) -> bytes | None:
    """A member's document; nothing if it has expired or is somebody else's."""
    digest = _digest_of_document(member, name)
    found = FormPage.objects.filter(pk=digest, member=member).first()
    if found is None or found.expires_at <= timezone.now():
        return None
    try:
        return zlib.decompress(base64.b64decode(_ring().open(found.sealed, _place(digest))))
    except SealingError:
        return None


def _spend(digest: str) -> bool:
    """Forget a secret. Of two that show it at once, one does."""
    shown = FormPage.objects.filter(pk=digest).exclude(sealed="")
    # The note that it was shown stays as long as other pages do.
    later = F("created_at") + LIFE
    return bool(shown.update(sealed="", expires_at=later))


def _digest(member: Member, draft: str) -> str:
    """With the member: an id that one browser chose means nothing for others."""
    return hashlib.sha256(f"{member.pk}:{draft}".encode("utf-8", "replace")).hexdigest()


def _digest_of_document(member: Member, name: str) -> str:
    """No page has it: before the first colon of a page's stands a number."""
    return hashlib.sha256(f"document:{member.pk}:{name}".encode("utf-8", "replace")).hexdigest()


def _place(digest: str) -> str:
    return f"form_page:{digest}:sealed"


def _ring() -> KeyRing:
    return KeyRing.load(settings.current().data / "keyring.json")
