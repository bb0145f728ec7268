"""OAuth 2.0 at the gateway: RFC by RFC, with clients that other people wrote."""

import base64
import json
import time
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import pytest
from authlib.integrations.httpx_client import OAuth2Client
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session
from tests.stage import Answer, Stage, Upstream

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

FORM = "application/x-www-form-urlencoded"
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream)


@pytest.fixture
def profile(stage: Stage, things: Any) -> Any:
    return stage.a_profile(things, auth_type="oauth2")


def basic(profile: Any, secret: str | None = None) -> dict[str, str]:
    pair = f"{quote(profile['oauth_client_id'])}:{quote(secret or profile['oauth_client_secret'])}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def post(
    stage: Stage,
    path: str,
    content: dict[str, str] | list[tuple[str, str]],
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Answer:
    sent = {"Content-Type": FORM, **(headers or {})}
    body = urlencode(content).encode()
    return stage.call(f"/oauth2/{path}", method="POST", headers=sent, body=body, **more)


def a_token(stage: Stage, profile: Any) -> str:
    answer = post(stage, "token", GRANT, basic(profile))
    assert answer.status == 200, answer.body
    return str(answer.json["access_token"])


def status(stage: Stage, things: Any, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return stage.call(f"/{things['handle']}/things", headers=headers).status


def test_a_token_is_given_in_three_forms(stage: Stage, things: Any, profile: Any) -> None:
    both = {
        "client_id": profile["oauth_client_id"],
        "client_secret": profile["oauth_client_secret"],
    }
    as_json = json.dumps(GRANT | both).encode()
    for answer in (
        post(stage, "token", GRANT, basic(profile)),
        post(stage, "token", GRANT | both),
        post(stage, "token", GRANT | both, {"Content-Type": f"{FORM}; charset=UTF-8"}),
        stage.call(
            "/oauth2/token", method="POST", body=as_json,
            headers={"Content-Type": "application/json"},
        ),
    ):  # fmt: skip
        assert answer.status == 200, answer.body
        assert set(answer.json) == {"access_token", "token_type", "expires_in"}
        assert (answer.json["token_type"], answer.json["expires_in"]) == ("bearer", 3600)
        assert answer.headers["cache-control"] == "no-store"
        assert status(stage, things, answer.json["access_token"]) == 200


def test_clients_of_others_get_a_token_and_call(
    stage: Stage, things: Any, profile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # plain HTTP on loopback
    url = f"http://127.0.0.1:{stage.gateway}"
    client_id, secret = profile["oauth_client_id"], profile["oauth_client_secret"]
    for method in ("client_secret_basic", "client_secret_post"):
        with OAuth2Client(client_id, secret, token_endpoint_auth_method=method) as authlib:
            authlib.fetch_token(f"{url}/oauth2/token", grant_type="client_credentials")
            assert authlib.get(f"{url}/{things['handle']}/things").status_code == 200
    for in_body in (False, True):
        with OAuth2Session(client=BackendApplicationClient(client_id=client_id)) as session:
            session.trust_env = False
            session.fetch_token(
                token_url=f"{url}/oauth2/token", client_id=client_id, client_secret=secret,
                include_client_id=in_body,
            )  # fmt: skip
            assert session.get(f"{url}/{things['handle']}/things", timeout=10).status_code == 200


def test_requests_as_clients_of_other_providers_send_them_get_a_token(
    stage: Stage, things: Any, profile: Any
) -> None:
    both = {
        "client_id": profile["oauth_client_id"],
        "client_secret": profile["oauth_client_secret"],
    }
    scope = "api://orders/.default"
    # MSAL: the endpoints are discovered, and a scope is always sent.
    configuration = stage.call("/.well-known/openid-configuration").json
    assert {
        "issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported",
        "subject_types_supported", "id_token_signing_alg_values_supported",
    } <= set(configuration)  # fmt: skip
    assert stage.call("/oauth2/.well-known/openid-configuration").json == configuration
    metadata = stage.call("/.well-known/oauth-authorization-server").json
    assert configuration["token_endpoint"] == metadata["token_endpoint"]
    assert stage.call("/oauth2/authorize").json["error"] == "unsupported_response_type"
    azure = GRANT | both | {"scope": scope, "client_info": "1"}
    auth0 = GRANT | both | {"audience": "https://orders.example/"}
    as_json = {"Content-Type": "application/json"}
    resources = [
        *(GRANT | both).items(),
        ("resource", "https://a.example"),
        ("resource", "https://b.example"),
    ]
    for answer in (
        post(stage, "token", azure, {"x-client-sku": "MSAL.Python"}),
        stage.call(
            "/oauth2/token", method="POST", headers=as_json, body=json.dumps(auth0).encode()
        ),
        post(stage, "token", auth0),
        post(stage, "token", resources),
        post(
            stage, "token", GRANT | {"scope": scope, "client_id": both["client_id"]}, basic(profile)
        ),
    ):
        assert answer.status == 200, answer.body
        assert status(stage, things, answer.json["access_token"]) == 200
        assert answer.json.get("scope") in {None, scope}
        assert "scope" not in jwt.decode(
            answer.json["access_token"], options={"verify_signature": False}
        )


def test_the_token_is_shaped_as_rfc_9068_says(stage: Stage, profile: Any) -> None:
    token = a_token(stage, profile)
    metadata = stage.call("/.well-known/oauth-authorization-server").json
    keys = jwt.PyJWKSet.from_dict(stage.call("/oauth2/jwks").json)
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "at+jwt"
    claims = jwt.decode(
        token, keys[header["kid"]], algorithms=["ES256"],
        audience=metadata["issuer"], issuer=metadata["issuer"],
    )  # fmt: skip
    assert claims["sub"] == claims["client_id"] == profile["oauth_client_id"]
    assert {"jti", "iat", "exp"} <= set(claims)
    for name in ("token", "introspection", "revocation"):
        assert metadata[f"{name}_endpoint"].startswith(f"{metadata['issuer']}/oauth2/")


def _errors(profile: Any) -> dict[str, tuple[Any, dict[str, str], int, str]]:
    client_id, secret = profile["oauth_client_id"], profile["oauth_client_secret"]
    both = {"client_id": client_id, "client_secret": secret}
    as_json = {"Content-Type": "application/json"}
    return {
        "no grant": (both, {}, 400, "invalid_request"),
        "another grant": (both | {"grant_type": "password"}, {}, 400, "unsupported_grant_type"),
        "no client": (GRANT, {}, 401, "invalid_client"),
        "no secret": (GRANT | {"client_id": client_id}, {}, 401, "invalid_client"),
        "another secret": (GRANT | both | {"client_secret": "x"}, {}, 401, "invalid_client"),
        "another client": (GRANT | both | {"client_id": "x"}, {}, 401, "invalid_client"),
        "no scope": (GRANT | both | {"scope": 'a "b"'}, {}, 400, "invalid_scope"),
        "twice": ([*both.items(), *GRANT.items(), *GRANT.items()], {}, 400, "invalid_request"),
        "two ways": (GRANT | both, basic(profile), 400, "invalid_request"),
        "two ids": (GRANT | {"client_id": "x"}, basic(profile), 401, "invalid_client"),
        "wrong secret in Basic": (GRANT, basic(profile, "x"), 401, "invalid_client"),
        "no Basic": (GRANT, {"Authorization": "Basic !!"}, 401, "invalid_client"),
        "another scheme": (GRANT, {"Authorization": "Bearer x"}, 401, "invalid_client"),
        "a form said to be JSON": (GRANT | both, as_json, 400, "invalid_request"),
        "another type": (GRANT | both, {"Content-Type": "text/plain"}, 400, "invalid_request"),
        "no type": (GRANT | both, {"Content-Type": ""}, 400, "invalid_request"),
    }


def test_errors_are_those_of_rfc_6749(stage: Stage, profile: Any) -> None:
    for case, (content, headers, code, error) in _errors(profile).items():
        answer = post(stage, "token", content, headers)
        assert (answer.status, answer.json["error"]) == (code, error), case
        assert answer.headers["cache-control"] == "no-store"
        if code == 401 and "Authorization" in headers:
            assert answer.headers["www-authenticate"].startswith("Basic"), case


@pytest.mark.parametrize(
    "body", [b"[]", b'[["grant_type","client_credentials"]]', b'"x"', b"{", b'{"a":{}}', b"\xff",
             b'{"grant_type":"client_credentials","grant_type":"password"}', b"[" * 9000],
)  # fmt: skip
def test_a_json_body_must_be_an_object_of_texts(stage: Stage, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = stage.call("/oauth2/token", method="POST", headers=headers, body=body)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")


def test_secrets_do_not_belong_in_the_url(stage: Stage, profile: Any) -> None:
    answer = post(stage, f"token?client_secret={profile['oauth_client_secret']}", GRANT)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert stage.call("/oauth2/token").status == 405
    assert stage.call("/oauth2/nothing").status == 404
    big = post(stage, "token", GRANT | {"x": "y" * 20_000}, basic(profile))
    assert big.status == 413


def test_refresh_ends_the_old_secret_and_what_it_obtained(
    stage: Stage, things: Any, profile: Any
) -> None:
    token = a_token(stage, profile)
    assert status(stage, things, token) == 200
    path = f"api_access_profiles/{profile['id']}"
    new = stage.done("PUT", f"{path}/refresh_secret")["result"]
    assert status(stage, things, token) == 401
    assert post(stage, "token", GRANT, basic(profile)).status == 401
    assert new["oauth_client_id"] != profile["oauth_client_id"]
    second = a_token(stage, new)
    assert status(stage, things, second) == 200
    # With an overlap both work, until the old one is revoked.
    third = stage.done("PUT", f"{path}/refresh_secret", {"overlap_seconds": 600})["result"]
    assert status(stage, things, second) == 200
    assert status(stage, things, a_token(stage, new)) == 200
    listed = stage.done("GET", f"v2/access_profiles/{profile['id']}/credentials")["data"]
    assert len(listed) == 2
    stage.done("DELETE", f"v2/access_profiles/{profile['id']}/credentials/{listed[1]['id']}")
    assert status(stage, things, second) == 401
    assert post(stage, "token", GRANT, basic(new)).status == 401
    assert status(stage, things, a_token(stage, third)) == 200


def test_what_is_switched_off_gets_no_token(stage: Stage, things: Any, profile: Any) -> None:
    token = a_token(stage, profile)
    assert status(stage, things, token) == 200
    stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
    assert status(stage, things, token) == 401
    assert post(stage, "token", GRANT, basic(profile)).json["error"] == "invalid_client"
    stage.done("PUT", f"api_access_profiles/{profile['id']}/enable")
    assert status(stage, things, token) == 200


def test_a_client_that_is_switched_off_gets_no_token(stage: Stage, things: Any) -> None:
    client = stage.a_client()
    profile = stage.a_profile(things, auth_type="oauth2", client=client)
    path = f"v2/api_clients/{client['id']}/{{}}"
    assert post(stage, "token", GRANT, basic(profile)).status == 200
    stage.done("PUT", path.format("disable"))
    answer = post(stage, "token", GRANT, basic(profile))
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    stage.done("PUT", path.format("enable"))
    assert post(stage, "token", GRANT, basic(profile)).status == 200


def test_tokens_are_given_to_allowed_addresses(stage: Stage, things: Any) -> None:
    profile = stage.a_profile(things, auth_type="oauth2", ip_allow_list=["127.0.0.9"])
    assert post(stage, "token", GRANT, basic(profile), source="127.0.0.9").status == 200
    forged = {**basic(profile), "X-Ostiary-Address": "127.0.0.9"}
    refused = post(stage, "token", GRANT, forged)
    assert (refused.status, refused.json["error"]) == (403, "unauthorized_client")


def test_a_client_learns_of_its_own_tokens_and_revokes_them(
    stage: Stage, things: Any, profile: Any
) -> None:
    other = stage.a_profile(things, auth_type="oauth2")
    token, kept = a_token(stage, profile), a_token(stage, profile)
    told = post(stage, "introspect", {"token": token}, basic(profile)).json
    assert (told["active"], told["client_id"]) == (True, profile["oauth_client_id"])
    for strange in (other, profile):
        text = token if strange is other else token[:-3]
        answer = post(stage, "introspect", {"token": text}, basic(strange))
        assert answer.json == {"active": False}
    assert post(stage, "introspect", {"token": token}).status == 401
    assert post(stage, "introspect", {}, basic(profile)).json["error"] == "invalid_request"
    assert post(stage, "revoke", {"token": token}, basic(other)).status == 200
    assert status(stage, things, token) == 200
    assert status(stage, things, kept) == 200
    assert post(stage, "revoke", {"token": token}, basic(profile)).status == 200
    assert status(stage, things, token) == 401
    assert status(stage, things, kept) == 200
    assert post(stage, "introspect", {"token": token}, basic(profile)).json == {"active": False}
    assert post(stage, "revoke", {"token": token}, basic(profile)).status == 200
    assert post(stage, "revoke", {"token": "nothing"}, basic(profile)).status == 200


def test_signing_keys_rotate_without_an_outage(stage: Stage, things: Any, profile: Any) -> None:
    old = a_token(stage, profile)
    before = {key["kid"] for key in stage.call("/oauth2/jwks").json["keys"]}
    rotated = stage.done("POST", "v2/signing_keys/rotate")["data"]
    deadline = time.monotonic() + 60
    while True:
        fresh = a_token(stage, profile)
        assert status(stage, things, fresh) == status(stage, things, old) == 200
        if jwt.get_unverified_header(fresh)["kid"] == rotated["kid"]:
            break
        assert time.monotonic() < deadline
    after = {key["kid"] for key in stage.call("/oauth2/jwks").json["keys"]}
    assert after == before | {rotated["kid"]}
    assert all("d" not in key for key in stage.call("/oauth2/jwks").json["keys"])
    listed = stage.done("GET", "v2/signing_keys")["data"]
    assert [key["retired_at"] is None for key in listed] == [True, *[False] * (len(listed) - 1)]


def test_a_client_id_or_secret_is_no_token(stage: Stage, things: Any, profile: Any) -> None:
    for text in (profile["oauth_client_id"], profile["oauth_client_secret"]):
        assert status(stage, things, text) == 401
        assert stage.call(f"/{things['handle']}/things", text).status == 401


def test_a_token_signed_by_another_key_is_refused(stage: Stage, things: Any, profile: Any) -> None:
    token = a_token(stage, profile)
    header, payload, _ = token.split(".")
    good = jwt.get_unverified_header(token)
    secret = stage.call("/oauth2/jwks").json["keys"][0]["x"].ljust(64, "=")
    forged = jwt.encode(
        jwt.decode(token, options={"verify_signature": False}),
        secret,
        algorithm="HS256",
        headers={"kid": good["kid"], "typ": "at+jwt"},
    )
    assert status(stage, things, forged) == 401
    assert status(stage, things, f"{header}.{payload}.{'A' * 86}") == 401


@given(st.binary(max_size=300), st.sampled_from([FORM, "application/json", "", "x/y"]))
def test_whatever_is_sent_is_answered(stage: Stage, body: bytes, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = stage.call("/oauth2/token", method="POST", headers=headers, body=body)
    assert answer.status in {400, 401, 503}
    assert answer.json
