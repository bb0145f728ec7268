"""JWT: tokens that another library makes, every algorithm, and what must not be believed."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from tests.stage import Answer, Stage, Upstream, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

SECRET = "correct horse battery staple, and then some more, for SHA-512 needs 64"
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED = ed25519.Ed25519PrivateKey.generate()

ALGORITHMS: dict[str, tuple[str, Any]] = {
    **{name: ("hmac", SECRET) for name in ("HS256", "HS384", "HS512")},
    **{name: ("rsa", RSA) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "ES256": ("ecdsa", P256),
    "ES384": ("ecdsa", P384),
    "ES512": ("ecdsa", P521),
    "EdDSA": ("eddsa", ED),
}


def pem(key: Any) -> str:
    raw = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return str(raw.decode())


def openssh(key: Any) -> str:
    raw = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return str(raw.decode())


def certificate(key: Any) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "consumer")])
    now = time.time()
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_moment(now - 60))
        .not_valid_after(_moment(now + 3600))
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


def _moment(seconds: float) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, tz=UTC)


def shared(key: Any) -> str:
    return key if isinstance(key, str) else pem(key)


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream)


def a_profile(stage: Stage, things: Any, method: str, key: str, **more: Any) -> Any:
    return stage.a_profile(things, auth_type="jwt", jwt_method=method, jwt_secret=key, **more)


def call(stage: Stage, things: Any, token: str, **more: Any) -> Answer:
    headers = {"Authorization": f"Bearer {token}"}
    return stage.call(f"/{things['handle']}/things", headers=headers, **more)


def claims(profile: Any, **more: Any) -> dict[str, Any]:
    return {"sub": profile["profile_key"], "exp": int(time.time()) + 300, **more}


@pytest.fixture(scope="module")
def by_algorithm(stage: Stage, things: Any) -> dict[str, Any]:
    return {
        name: a_profile(stage, things, method, shared(key))
        for name, (method, key) in ALGORITHMS.items()
    }


@pytest.mark.parametrize("presented", ALGORITHMS)
@pytest.mark.parametrize("configured", ALGORITHMS)
def test_a_token_is_taken_if_the_profiles_own_key_made_it(
    stage: Stage, things: Any, by_algorithm: Any, configured: str, presented: str
) -> None:
    """Every pair; the profile's family and key decide, the token's header never does."""
    profile = by_algorithm[configured]
    method, key = ALGORITHMS[configured]
    other_method, other_key = ALGORITHMS[presented]
    token = jwt.encode(claims(profile), other_key, algorithm=presented)
    right = method == other_method and key is other_key
    assert call(stage, things, token).status == (200 if right else 401)


def test_what_is_used_is_read_with_a_signed_token(
    stage: Stage, things: Any, by_algorithm: Any
) -> None:
    profile = by_algorithm["RS256"]
    token = jwt.encode(claims(profile), RSA, algorithm="RS256")
    answer = stage.call("/usage", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status, answer.json["windows"]) == (200, [])
    forged_token = jwt.encode(claims(profile), SECRET, algorithm="HS256")
    assert stage.call("/usage", headers={"Authorization": f"Bearer {forged_token}"}).status == 401


@pytest.mark.parametrize("form", [pem, openssh, certificate])
def test_an_rsa_key_is_taken_in_three_forms(stage: Stage, things: Any, form: Any) -> None:
    profile = a_profile(stage, things, "rsa", form(RSA))
    token = jwt.encode(claims(profile), RSA, algorithm="RS256")
    assert call(stage, things, token).status == 200
    assert profile["jwt_secret"] == pem(RSA)


@pytest.mark.parametrize("form", [pem, openssh, certificate])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_never_a_shared_secret(
    stage: Stage, things: Any, by_algorithm: Any, form: Any, algorithm: str
) -> None:
    """CVE-2022-29217 and its neighbours: the public key, in any form, as the HMAC secret."""
    profile = by_algorithm["RS256"]
    for secret in (form(RSA), form(RSA).strip(), pem(RSA)[:-1]):
        token = forged({"alg": algorithm, "typ": "JWT"}, claims(profile), secret.encode())
        assert call(stage, things, token).status == 401
    answer = stage.api("POST", "api_access_profiles", {
        "name": "x", "api_client_id": profile["api_client_id"], "auth_type": "jwt",
        "api_collection_ids": [things["id"]], "jwt_method": "hmac", "jwt_secret": form(RSA),
    })  # fmt: skip
    assert answer.status == 400
    assert "not a shared secret" in str(answer.json["errors"]["jwt_secret"])


def forged(header: Any, payload: Any, secret: bytes, *, signature: bytes | None = None) -> str:
    head, body = (_text(part) for part in (header, payload))
    signed = f"{head}.{body}".encode()
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(
        str(header.get("alg")) if isinstance(header, dict) else "", hashlib.sha256
    )
    made = hmac.new(secret, signed, digest).digest() if signature is None else signature
    return f"{head}.{body}.{_b64(made)}"


def _text(part: Any) -> str:
    return _b64(part if isinstance(part, bytes) else json.dumps(part).encode())


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


ATTACKS: dict[str, Any] = {
    "no algorithm": {"alg": "none"},
    "no algorithm, other case": {"alg": "NoNe"},
    "no alg": {"typ": "JWT"},
    "alg of another type": {"alg": ["HS256"]},
    "unknown crit": {"alg": "HS256", "crit": ["exp2"], "exp2": 1},
    "empty crit": {"alg": "HS256", "crit": []},
    "unencoded payload": {"alg": "HS256", "b64": False, "crit": ["b64"]},
    "compressed": {"alg": "HS256", "zip": "DEF"},
    "kid of another type": {"alg": "HS256", "kid": 5},
    "no object": ["HS256"],
}


@pytest.mark.parametrize("case", ATTACKS)
def test_a_header_that_asks_for_more_is_refused(
    stage: Stage, things: Any, by_algorithm: Any, case: str
) -> None:
    token = forged(ATTACKS[case], claims(by_algorithm["HS256"]), SECRET.encode())
    assert call(stage, things, token).status == 401


def test_a_key_in_the_token_is_not_looked_at(stage: Stage, things: Any, by_algorithm: Any) -> None:
    attacker = rsa.generate_private_key(65537, 2048)
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(attacker.public_key()))
    for header in ({"jwk": jwk}, {"jku": "https://attacker.example/keys"}, {"x5c": ["x"]}):
        token = jwt.encode(
            claims(by_algorithm["RS256"]), attacker, algorithm="RS256", headers=header
        )
        assert call(stage, things, token).status == 401


def test_signatures_are_whole_and_the_tokens_own(
    stage: Stage, things: Any, by_algorithm: Any
) -> None:
    profile = by_algorithm["HS256"]
    good = jwt.encode(claims(profile), SECRET, algorithm="HS256")
    head, body, signature = good.split(".")
    longer = _text(claims(profile, admin=True))
    for token in (
        f"{head}.{body}.", f"{head}.{body}", f"{head}.{longer}.{signature}",
        f"{head}.{body}.{signature[:-4]}", f"{good}.{body}", f"{head}.{body}.{signature}=",
    ):  # fmt: skip
        assert call(stage, things, token).status == 401, token
    assert call(stage, things, good).status == 200


def test_ecdsa_signatures_of_nothing_are_refused(
    stage: Stage, things: Any, by_algorithm: Any
) -> None:
    """CVE-2022-21449: r and s of zero."""
    token = forged({"alg": "ES256"}, claims(by_algorithm["ES256"]), b"", signature=b"\0" * 64)
    assert call(stage, things, token).status == 401


NOW = int(time.time())
WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "expired": {"exp": NOW - 120},
    "exp is null": {"exp": None},
    "exp is a text": {"exp": str(NOW + 300)},
    "exp is true": {"exp": True},
    "exp is infinite": {"exp": 1e999},
    "nbf to come": {"nbf": NOW + 600},
    "nbf is null": {"nbf": None},
}


@pytest.mark.parametrize("case", WRONG_CLAIMS)
def test_times_are_honoured(stage: Stage, things: Any, by_algorithm: Any, case: str) -> None:
    payload = {"sub": by_algorithm["HS256"]["profile_key"], **WRONG_CLAIMS[case]}
    token = forged({"alg": "HS256"}, payload, SECRET.encode())
    assert call(stage, things, token).status == 401


def test_twins_in_a_token_are_refused(stage: Stage, things: Any, by_algorithm: Any) -> None:
    key = by_algorithm["HS256"]["profile_key"].encode()
    body = b'{"sub":"somebody","sub":"' + key + b'","exp":9999999999}'
    assert call(stage, things, forged({"alg": "HS256"}, body, SECRET.encode())).status == 401


def test_issuer_audience_and_required_claims(stage: Stage, things: Any) -> None:
    profile = a_profile(
        stage, things, "hmac", SECRET, allowed_issuers=["https://a.example", "https://b.example"],
        audience="orders", required_claims=["email", "org.id"],
    )  # fmt: skip
    good = {"iss": "https://b.example", "aud": ["x", "orders"], "email": "e", "org": {"id": 7}}
    for wrong, status in (
        ({}, 200), ({"iss": "https://c.example"}, 401), ({"iss": None}, 401),
        ({"iss": ["https://b.example"]}, 401), ({"aud": "order"}, 401), ({"aud": None}, 401),
        ({"email": ""}, 401), ({"email": None}, 401), ({"org": {}}, 401), ({"aud": "orders"}, 200),
    ):  # fmt: skip
        token = forged({"alg": "HS256"}, claims(profile, **{**good, **wrong}), SECRET.encode())
        assert call(stage, things, token).status == status, wrong
    token = jwt.encode(claims(profile, **good), SECRET, algorithm="HS256")
    assert call(stage, things, token).status == 200
    stage.done(
        "PUT", f"api_access_profiles/{profile['id']}", {"allowed_issuers": ["https://a.example"]}
    )
    assert call(stage, things, token).status == 401  # a lease was in force


def test_the_subject_is_the_first_that_is_there(stage: Stage, things: Any) -> None:
    profile = a_profile(stage, things, "hmac", SECRET)
    key = profile["profile_key"]
    later = {"exp": int(time.time()) + 300}
    for payload, header, status in (
        ({"https://www.workato.com/sub": key, "sub": "x"}, {}, 200),
        ({"workato_sub": key, "sub": "x"}, {}, 200),
        ({"workato_sub": "x", "sub": key}, {}, 401),
        ({"workato_sub": "", "sub": key}, {}, 200),
        ({"sub": "x"}, {"kid": key}, 401),
        ({}, {"kid": key}, 200),
    ):
        token = forged({"alg": "HS256", **header}, {**payload, **later}, SECRET.encode())
        assert call(stage, things, token).status == status, payload


def test_a_custom_claim_finds_its_profile_and_only_it(stage: Stage, things: Any) -> None:
    client = f"acme-{time.monotonic_ns()}"
    profile = a_profile(
        stage, things, "hmac", SECRET, access_profile_claim="org.client", profile_key=client
    )
    assert profile["profile_key"] == client
    later = {"exp": int(time.time()) + 300}

    def status(payload: Any) -> int:
        token = forged({"alg": "HS256"}, {**payload, **later}, SECRET.encode())
        return call(stage, things, token).status

    assert status({"org": {"client": client}, "sub": "a person"}) == 200
    assert status({"org.client": client}) == 200
    assert status({"sub": client}) == 401
    assert status({"org.client": "x", "org": {"client": client}}) == 401
    other = a_profile(stage, things, "hmac", SECRET)
    # It fits two profiles: neither.
    assert status({"org": {"client": client}, "sub": other["profile_key"]}) == 401
    stage.done(
        "PUT", f"api_access_profiles/{profile['id']}", {"access_profile_claim": "client_name"}
    )
    assert status({"org": {"client": client}, "sub": "a person"}) == 401
    assert status({"client_name": client}) == 200


def test_a_custom_claim_may_be_a_list_and_have_any_name(stage: Stage, things: Any) -> None:
    for claim, payload in (
        ("groups", lambda key: {"groups": ["x", key, "y"]}),
        ("https://example.com/client", lambda key: {"https://example.com/client": key}),
        (
            "/https:~1~1example.com~1app/a.b",
            lambda key: {"https://example.com/app": {"a.b": [key]}},
        ),
    ):
        key = f"listed-{time.monotonic_ns()}"
        profile = a_profile(
            stage, things, "hmac", SECRET, access_profile_claim=claim, profile_key=key,
            required_claims=[claim],
        )  # fmt: skip
        later = {"exp": int(time.time()) + 300}
        token = jwt.encode({**payload(key), **later}, SECRET, algorithm="HS256")
        assert call(stage, things, token).status == 200, claim
        token = jwt.encode({**payload("other"), **later}, SECRET, algorithm="HS256")
        assert call(stage, things, token).status == 401, claim
        stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
    change = {"access_profile_claim": "/a~b"}
    answer = stage.api("PUT", f"api_access_profiles/{profile['id']}", change)
    assert (answer.status, list(answer.json["errors"])) == (400, ["access_profile_claim"])


def test_tokens_end_unless_their_profile_says_otherwise(stage: Stage, things: Any) -> None:
    profile = a_profile(stage, things, "hmac", SECRET)
    assert profile["allow_without_exp"] is False
    token = jwt.encode({"sub": profile["profile_key"]}, SECRET, algorithm="HS256")
    assert call(stage, things, token).status == 401
    changed = stage.done(
        "PUT", f"api_access_profiles/{profile['id']}", {"allow_without_exp": True}
    )["result"]
    assert "without exp" in changed["warnings"][0]
    assert call(stage, things, token).status == 200
    stage.done("PUT", f"api_access_profiles/{profile['id']}", {"allow_without_exp": False})
    assert call(stage, things, token).status == 401


def test_a_token_that_is_too_long_is_told_so(stage: Stage, things: Any) -> None:
    profile = a_profile(stage, things, "hmac", SECRET)
    fits = jwt.encode(claims(profile, groups="g" * 8_700), SECRET, algorithm="HS256")
    assert len(fits) < 12_000
    assert call(stage, things, fits).status == 200
    answer = call(stage, things, jwt.encode(claims(profile, groups="g" * 9_200), SECRET, "HS256"))
    assert (answer.status, answer.json["reason"]) == (431, "credential_too_long")
    assert "12,000" in answer.json["message"]
    answer = call(stage, things, jwt.encode(claims(profile, groups="g" * 15_000), SECRET, "HS256"))
    assert (answer.status, answer.json["reason"]) == (431, "head_too_large")


def test_a_profile_key_belongs_to_one_profile(stage: Stage, things: Any) -> None:
    first = a_profile(stage, things, "hmac", SECRET, profile_key=f"key-{time.monotonic_ns()}")
    answer = stage.api("POST", "api_access_profiles", {
        "name": "x", "api_client_id": first["api_client_id"], "auth_type": "jwt",
        "api_collection_ids": [things["id"]], "jwt_method": "hmac", "jwt_secret": SECRET,
        "profile_key": first["profile_key"],
    })  # fmt: skip
    assert answer.status == 400
    assert answer.json["errors"]["profile_key"] == [
        f"belongs to the access profile {first['name']} of this project already"
    ]


def test_a_lease_ends_with_the_token(stage: Stage, things: Any) -> None:
    profile = a_profile(stage, things, "hmac", SECRET, leeway_seconds=0)
    token = jwt.encode(
        {"sub": profile["profile_key"], "exp": int(time.time()) + 4}, SECRET, algorithm="HS256"
    )
    assert call(stage, things, token).status == 200
    deadline = time.monotonic() + 60
    while call(stage, things, token).status == 200:
        assert time.monotonic() < deadline
    assert call(stage, things, token).status == 401


def test_switching_off_ends_every_token(stage: Stage, things: Any) -> None:
    profile = a_profile(stage, things, "hmac", SECRET)
    tokens = [jwt.encode(claims(profile, jti=str(n)), SECRET, algorithm="HS256") for n in range(5)]
    assert [call(stage, things, token).status for token in tokens] == [200] * 5
    stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
    assert [call(stage, things, token).status for token in tokens] == [401] * 5


def test_signed_tokens_are_bearer_tokens(stage: Stage, things: Any, by_algorithm: Any) -> None:
    token = jwt.encode(claims(by_algorithm["HS256"]), SECRET, algorithm="HS256")
    basic = base64.b64encode(f"api-token:{token}".encode()).decode()
    path = f"/{things['handle']}/things"
    assert stage.call(path, token).status == 401
    assert stage.call(path, headers={"Authorization": f"Basic {basic}"}).status == 401
    assert call(stage, things, token).status == 200
    assert stage.call(path, token, headers={"Authorization": f"Bearer {token}"}).status == 400


def test_the_challenge_says_what_rfc_6750_wants(stage: Stage, things: Any) -> None:
    path = f"/{things['handle']}/things"
    assert stage.call(path).headers["www-authenticate"] == 'Bearer realm="api"'
    refused = call(stage, things, "a.b.c")
    assert refused.headers["www-authenticate"] == 'Bearer realm="api", error="invalid_token"'
    assert refused.json["request_id"]


def test_an_owner_never_sees_the_shared_secret_again(stage: Stage, things: Any) -> None:
    profile = a_profile(stage, things, "hmac", SECRET)
    shown = stage.api("GET", f"api_access_profiles/{profile['id']}")
    assert shown.json["result"]["jwt_secret"] is None
    assert SECRET.encode() not in shown.body
    for file in stage.data.rglob("*"):
        if file.is_file() and not file.is_socket():
            assert SECRET.encode() not in file.read_bytes(), file


def test_verified_claims_reach_the_upstream_that_asks(stage: Stage, upstream: Upstream) -> None:
    told = stage.a_collection(upstream, forward_claims=True)
    untold = stage.a_collection(upstream)
    profile = stage.a_profile(told, untold, auth_type="jwt", jwt_method="hmac", jwt_secret=SECRET)
    payload = claims(profile, role="buyer")
    headers = {
        "Authorization": f"Bearer {jwt.encode(payload, SECRET, algorithm='HS256')}",
        "X-Ostiary-Claims": "Zm9yZ2Vk",
    }
    assert stage.call(f"/{told['handle']}/things", headers=headers).status == 200
    (seen,) = upstream.seen[-1].header("X-Ostiary-Claims")
    assert json.loads(base64.urlsafe_b64decode(seen + "==")) == payload
    assert not upstream.seen[-1].header("Authorization")
    assert stage.call(f"/{untold['handle']}/things", headers=headers).status == 200
    assert not upstream.seen[-1].header("X-Ostiary-Claims")
    # One that is no signed token has no claims, whatever it looks like.
    imported = stage.a_profile(told, token="aaaaaaaa.Zm9yZ2Vk.bbbbbbbb")
    assert imported["auth_type"] == "token"
    headers["Authorization"] = "Bearer aaaaaaaa.Zm9yZ2Vk.bbbbbbbb"
    assert stage.call(f"/{told['handle']}/things", headers=headers).status == 200
    assert not upstream.seen[-1].header("X-Ostiary-Claims")


class Team:
    """A project with a collection, and an editor's token that sees nothing else."""

    def __init__(self, stage: Stage, upstream: Upstream, name: str) -> None:
        self.stage = stage
        self.project = stage.done("POST", "folders", {"name": name})["id"]
        issued = {"name": name, "role": "editor", "project_ids": [self.project]}
        self.token = stage.done("POST", "v2/tokens", issued)["data"]["secret"]
        given = {"name": f"{name} up", "input": {"base_url": upstream.url}}
        connection = self.done("POST", "connections", given)
        self.things = self.done(
            "POST", "api_collections", {"name": name, "proxy_connection_id": connection["id"]}
        )
        path = f"api_collections/{self.things['id']}/api_endpoints"
        self.done("POST", path, {"name": "E", "method": "GET", "path": "/things", "active": True})
        self.client = self.done("POST", "api_clients", {"name": name})["result"]["id"]

    def ask(self, method: str, path: str, content: object | None = None) -> Answer:
        return self.stage.api(method, path, content, token=self.token)

    def done(self, method: str, path: str, content: object | None = None) -> Any:
        answer = self.ask(method, path, content)
        assert answer.status == 200, answer.json
        return answer.json

    def a_profile(self, **more: Any) -> Any:
        given = {
            "name": "P", "api_client_id": self.client, "auth_type": "jwt", "jwt_method": "hmac",
            "jwt_secret": SECRET, "api_collection_ids": [self.things["id"]],
        }  # fmt: skip
        return self.done("POST", "api_access_profiles", given | more)["result"]

    def call(self, token: str) -> Answer:
        return call(self.stage, self.things, token)


def test_nobody_shuts_out_another_projects_consumers_with_a_key(
    stage: Stage, upstream: Upstream
) -> None:
    ours, theirs = Team(stage, upstream, "Ours"), Team(stage, upstream, "Theirs")
    issuer = "https://idp.example.com"
    profile = ours.a_profile()
    token = jwt.encode(claims(profile, iss=issuer), SECRET, algorithm="HS256")
    assert ours.call(token).status == 200
    key = profile["profile_key"]
    # The very key, another one that all tokens of the issuer carry, and both with our own secret.
    theirs.a_profile(profile_key=key, jwt_secret="another secret of thirty-two letters")
    theirs.a_profile(access_profile_claim="iss", profile_key=issuer, name="all of them")
    stranger = theirs.a_profile(profile_key=key, allowed_issuers=["https://other.example.com"])
    fresh = jwt.encode(claims(profile, iss=issuer, jti="2"), SECRET, algorithm="HS256")
    assert (ours.call(token).status, ours.call(fresh).status) == (200, 200)
    # At their own collection it is whose they verify.
    assert theirs.call(fresh).status == 200
    assert stranger["profile_key"] == key
    # In one project the same is refused when it is saved.
    answer = ours.ask("POST", "api_access_profiles", {
        "name": "x", "api_client_id": ours.client, "auth_type": "jwt", "jwt_method": "hmac",
        "jwt_secret": SECRET, "profile_key": key, "api_collection_ids": [ours.things["id"]],
    })  # fmt: skip
    assert list(answer.json["errors"]) == ["profile_key"]


def test_one_subject_at_two_issuers_is_two_consumers(stage: Stage, upstream: Upstream) -> None:
    team = Team(stage, upstream, "Issuers")
    made = {
        issuer: team.a_profile(profile_key="one-subject", allowed_issuers=[issuer], name=issuer)
        for issuer in ("https://a.example.com", "https://b.example.com")
    }
    for issuer, profile in made.items():
        token = jwt.encode(claims(profile, iss=issuer), SECRET, algorithm="HS256")
        assert team.call(token).status == 200
        stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
        assert team.call(token).status == 401
        stage.done("PUT", f"api_access_profiles/{profile['id']}/enable")
    # Neither may come to fit the other's tokens.
    last = made["https://b.example.com"]["id"]
    change = {"allowed_issuers": ["https://a.example.com"]}
    assert team.ask("PUT", f"api_access_profiles/{last}", change).status == 400


def test_a_token_that_fits_two_profiles_is_told_to_both_owners(
    stage: Stage, upstream: Upstream
) -> None:
    team = Team(stage, upstream, "Twice")
    first = team.a_profile(name="first")
    second = team.a_profile(name="second", access_profile_claim="team", profile_key="ours")
    token = jwt.encode(claims(first, team="ours"), SECRET, algorithm="HS256")
    refused = team.call(token)
    assert refused.status == 401
    assert refused.json["reason"] == "unauthorized"
    request = refused.json["request_id"]

    def explained() -> Any:
        answer = stage.api("POST", "v2/explain", {"request_id": request}, token=team.token)
        return answer.json.get("data", {}) if answer.status == 200 else {}

    wait_for(lambda: explained().get("reason") == "ambiguous_credential", what="the trace")
    told = stage.done("GET", "v2/audit_events?target_kind=profile&per_page=100")["data"]
    found = {e["target_id"]: e for e in told if e["action"] == "profile.ambiguous"}
    assert {first["id"], second["id"]} <= set(found)
    # Of the two, one that is off does not count.
    stage.done("PUT", f"api_access_profiles/{second['id']}/disable")
    again = jwt.encode(claims(first, team="ours", jti="2"), SECRET, algorithm="HS256")
    assert team.call(again).status == 200


def test_only_an_editor_of_a_collection_lets_consumers_into_it(
    stage: Stage, upstream: Upstream
) -> None:
    ours, theirs = Team(stage, upstream, "Granting"), Team(stage, upstream, "Reading")
    issued = {"name": "both", "role": "viewer", "project_ids": [ours.project, theirs.project]}
    assert stage.done("POST", "v2/tokens", issued)
    given = {"api_collection_ids": [ours.things["id"]]}
    profile = theirs.a_profile()
    answer = theirs.ask("PUT", f"api_access_profiles/{profile['id']}", given)
    assert answer.status == 400
    assert "there is no API collection" in answer.json["errors"]["api_collection_ids"][0]
