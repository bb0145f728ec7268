"""A certificate for localhost that signs itself."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    #: The certificate, its key, and a file with both, as the test servers take them.
    certificate: Path
    key: Path
    both: Path

    @property
    def pem(self) -> bytes:
        return self.certificate.read_bytes()


def made_in(folder: Path) -> Certificate:
    made = Certificate(folder / "cert.pem", folder / "key.pem", folder / "both.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", str(made.key), "-out", str(made.certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    made.both.write_text(made.certificate.read_text() + made.key.read_text())
    return made
