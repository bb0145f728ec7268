"""Sessions in the database, under a digest of their key and with what the account page shows.

Django's own table holds the keys themselves: whoever reads it, a backup say, is signed in.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.db import IntegrityError, transaction
from django.utils import timezone

from ostiary.directory.models import MemberSession

#: What a session remembers of its sign-in: when, by which steps, from where, with what.
ENTRY = "entry"


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class SessionStore(SessionBase):
    """What `SESSION_ENGINE` asks for; its asynchronous methods are these, in a thread."""

    def exists(self, session_key: str) -> bool:
        return MemberSession.objects.filter(digest=digest_of(session_key)).exists()

    def create(self) -> None:
        while True:
            self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]  # private in Django's stubs
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            self.create()
            return
        digest = digest_of(self.session_key)
        data = self._get_session(no_load=must_create)  # type: ignore[attr-defined]  # private in Django's stubs
        values = self._values(data)
        if must_create:
            try:
                with transaction.atomic():
                    MemberSession.objects.create(digest=digest, **values)
            except IntegrityError:
                raise CreateError from None
        # An update alone: a session that was ended meanwhile does not come back.
        elif not MemberSession.objects.filter(digest=digest).update(**values):
            raise UpdateError

    def _values(self, data: Mapping[str, Any]) -> dict[str, Any]:
        entry = data.get(ENTRY, {})
        member = data.get(SESSION_KEY)
        return {
            "content": self.encode(dict(data)),
            "expires_at": self.get_expiry_date(),
            "member_id": int(member) if member else None,
            "signed_in_at": datetime.fromisoformat(entry["at"]) if entry else None,
            "address": entry.get("address", ""),
            "browser": entry.get("browser", ""),
        }

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            MemberSession.objects.filter(digest=digest_of(key)).delete()

    def load(self) -> dict[str, Any]:
        key = self.session_key
        found = (
            key
            and MemberSession.objects.filter(
                digest=digest_of(key), expires_at__gt=timezone.now()
            ).first()
        )
        if not found:
            self._session_key = None
            return {}
        return dict(self.decode(found.content))

    @classmethod
    def clear_expired(cls) -> None:
        MemberSession.objects.filter(expires_at__lt=timezone.now()).delete()
