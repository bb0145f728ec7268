"""Tokens of two more libraries: jose in Node, and joserfc."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwk, jwt
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

PROVIDER = Path(__file__).parents[1] / "provider"
SECRET = "a shared secret of more than sixty-four characters, for every one of them"

RSA = jwk.RSAKey.generate_key(2048, private=True)
P256, P384, P521 = (jwk.ECKey.generate_key(c, private=True) for c in ("P-256", "P-384", "P-521"))
ED = jwk.OKPKey.generate_key("Ed25519", private=True)
KEYS: dict[str, tuple[str, Any]] = {
    **{f"{kind}{size}": ("rsa", RSA) for kind in ("RS", "PS") for size in (256, 384, 512)},
    "ES256": ("ecdsa", P256),
    "ES384": ("ecdsa", P384),
    "ES512": ("ecdsa", P521),
    "EdDSA": ("eddsa", ED),
    **{f"HS{size}": ("hmac", None) for size in (256, 384, 512)},
}


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream)


@pytest.fixture(scope="module")
def claims(stage: Stage, things: Any) -> dict[str, dict[str, Any]]:
    """What a token says, by the algorithm of the profile that it speaks for."""
    found = {}
    for name, (method, key) in KEYS.items():
        shown = SECRET if key is None else key.as_pem(private=False).decode()
        profile = stage.a_profile(things, auth_type="jwt", jwt_method=method, jwt_secret=shown)
        found[name] = {"sub": profile["profile_key"], "exp": int(time.time()) + 300}
    return found


def status(stage: Stage, things: Any, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return stage.call(f"/{things['handle']}/things", headers=headers).status


def test_tokens_of_jose_in_node_are_taken(stage: Stage, things: Any, claims: Any) -> None:
    octets = base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")
    asked = [
        {
            "alg": name,
            "key": {"kty": "oct", "k": octets} if key is None else key.as_dict(private=True),
            "claims": claims[name],
        }
        for name, (_, key) in KEYS.items()
    ]
    node = shutil.which("node") or shutil.which("nodejs")
    assert node
    done = subprocess.run(
        [node, "sign.mjs"], cwd=PROVIDER, input=json.dumps(asked), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    made = dict(zip(KEYS, json.loads(done.stdout), strict=True))
    assert {name: status(stage, things, token) for name, token in made.items()} == dict.fromkeys(
        KEYS, 200
    )


def test_tokens_of_joserfc_are_taken(stage: Stage, things: Any, claims: Any) -> None:
    for name, (_, key) in KEYS.items():
        name_used = "Ed25519" if name == "EdDSA" else name  # RFC 9864 names the curve
        signing = key or jwk.OctKey.import_key(SECRET)
        token = jwt.encode({"alg": name_used}, claims[name], signing, algorithms=[name_used])
        assert status(stage, things, token) == 200, name
