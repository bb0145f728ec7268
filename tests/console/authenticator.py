"""What a member has in the pocket: an authenticator app, and Chromium's own virtual passkeys."""

import base64
import hashlib
import hmac
import struct
import time
from typing import Any

from playwright.sync_api import CDPSession, Page


class App:
    """RFC 6238 written a second time, so that ours is not checked by itself."""

    def __init__(self, secret: str) -> None:
        self._key = base64.b32decode(secret.replace(" ", ""))
        self._given = -1

    def _at(self, step: int) -> str:
        digest = hmac.new(self._key, struct.pack(">Q", step), hashlib.sha1).digest()
        start = digest[-1] & 15
        number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF
        return f"{number % 1_000_000:06}"

    def code(self, ahead: int = 0) -> str:
        step = int(time.time()) // 30 + ahead
        self._given = max(self._given, step)
        return self._at(step)

    def next(self) -> str:
        """A code that was not given yet; the server takes the one of the next half minute too."""
        step = max(self._given + 1, int(time.time()) // 30)
        while step > int(time.time()) // 30 + 1:
            time.sleep(0.2)
        self._given = step
        return self._at(step)


def add_authenticator(page: Page, *, verifies: bool = True, **more: Any) -> CDPSession:
    """Chromium plays an authenticator; the session sends it commands, such as `WebAuthn.…`."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": verifies,
        "automaticPresenceSimulation": True,
        **more,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session
