"""The console's own certificate: read from its files, and read again when they change."""

import logging
import os
import ssl
import time
from pathlib import Path

from ostiary.cli.failure import Failure
from ostiary.settings import Settings

log = logging.getLogger(__name__)

#: Seconds between two looks at the files, which a new connection causes.
LOOK_SECONDS = 5.0
#: RFC 9325, section 4.2: forward secrecy and authenticated encryption. The gateway has the same.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

#: A file's identity: inode, size and modification time. A change means a new file.
Signature = tuple[tuple[int, int, int], ...]


class Certificate:
    """A TLS context that follows its files. One that cannot be read leaves the last good one."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._signature = self._signed()
        self._looked = time.monotonic()
        self._context = context(certificate, key)

    def context(self) -> ssl.SSLContext:
        """What the next connection is greeted with."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self.look()
        return self._context

    def look(self) -> None:
        """Read the files again if they are others than before."""
        self._looked = time.monotonic()
        signature = self._signed()
        if signature == self._signature:
            return
        # Tried once: certificate and key are seldom written in one step, and the second step tells.
        self._signature = signature
        try:
            self._context = context(*self._files)
        except Failure as failure:
            log.error("the console goes on with its last certificate: %s", failure)
        else:
            log.info("the console has a new certificate")

    def _signed(self) -> Signature:
        try:
            states = [os.stat(path) for path in self._files]
        except OSError:
            return ()
        return tuple((state.st_ino, state.st_size, state.st_mtime_ns) for state in states)


def of(settings: Settings) -> Certificate | None:
    """The certificate that the settings name, if any; raises Failure."""
    if settings.console_certificate is None:
        return None
    return Certificate(settings.console_certificate, settings.console_key_file)


#: Settings that name the files.
CONSOLE = ("OSTIARY_CONSOLE_CERTIFICATE", "OSTIARY_CONSOLE_KEY")


def context(certificate: Path, key: Path, settings: tuple[str, str] = CONSOLE) -> ssl.SSLContext:
    """A server's TLS context; raises Failure with a sentence that names the setting."""
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    made.set_alpn_protocols(["http/1.1"])
    made.options |= ssl.OP_NO_RENEGOTIATION
    for name, path in zip(settings, (certificate, key), strict=True):
        try:
            path.read_bytes()
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise Failure(f"{name}: {path} can't be read: {reason}.") from error
    try:
        # Without the password function, OpenSSL would ask at the terminal.
        made.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise Failure(_sentence(error, certificate, key, settings)) from error
    return made


def _no_password() -> str:
    raise ValueError("encrypted")


def _sentence(error: Exception, certificate: Path, key: Path, settings: tuple[str, str]) -> str:
    reason = getattr(error, "reason", "") or ""
    if reason == "KEY_VALUES_MISMATCH":
        return f"{settings[1]}: the key in {key} isn't that of the certificate in {certificate}."
    if "encrypted" in str(error):
        return f"{settings[1]}: the key in {key} has a password; store it without one."
    if key != certificate:
        return (
            f"{settings[0]}: {certificate} must hold a certificate, and {key} its private key, both in"
            " PEM form."
        )
    elsewhere = f"; or name the key's file in {settings[1]}" if settings[0] != settings[1] else ""
    return (
        f"{settings[0]}: {certificate} must hold a certificate and its private key in PEM form"
        f"{elsewhere}."
    )
