"""A real OpenID provider for tests: its process, and keys that it signs with."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.stage import free_port

PROVIDER = Path(__file__).parent / "provider"


def a_key(kid: str) -> tuple[rsa.RSAPrivateKey, dict[str, Any]]:
    key = rsa.generate_private_key(65537, 2048)
    shown = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key))
    del shown["key_ops"]
    return key, {**shown, "kid": kid, "use": "sig", "alg": "RS256"}


def public(jwk: dict[str, Any]) -> dict[str, Any]:
    return {name: jwk[name] for name in ("kty", "kid", "use", "alg", "n", "e")}


class Provider:
    """The npm package `oidc-provider`, certified by the OpenID Foundation, on a loopback port."""

    def __init__(self, folder: Path, *, token_seconds: int = 600) -> None:
        self._token_seconds = str(token_seconds)
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._keys = folder / "provider-keys.json"
        self._process: subprocess.Popen[str] | None = None

    def start(self, *keys: dict[str, Any]) -> None:
        self._keys.write_text(json.dumps({"keys": keys}))
        node = shutil.which("node") or shutil.which("nodejs")
        assert node
        self._process = subprocess.Popen(
            [node, "provider.mjs", str(self.port), str(self._keys), "", self._token_seconds],
            cwd=PROVIDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def token(self) -> str:
        answer = httpx.post(
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials"},
            auth=("acme", "a secret of the tests alone"),
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])
