"""A pasted token is judged as the authority judges real ones, and is in no answer."""

import time
from typing import Any

import jwt
import pytest
from tests.review.conftest import World

SECRET = "0123456789abcdefghijklmnopqrstuv"


@pytest.fixture
def profile(world: World) -> Any:
    return world.a_profile(
        auth_type="jwt", jwt_method="hmac", jwt_secret=SECRET, audience="orders",
        required_claims=["tenant"], allowed_issuers=["https://issuer.example"],
    )  # fmt: skip


def a_token(profile: Any, *, key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    said = {
        "sub": profile["profile_key"],
        "exp": int(time.time()) + 600,
        "iss": "https://issuer.example",
        "aud": "orders",
        "tenant": "acme",
        **claims,
    }
    kept = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm)


def explained(world: World, profile: Any, token: str) -> Any:
    call = {"access_profile_id": profile["id"], "path": "/orders-v1/orders", "token": token}
    answer = world.api.done("POST", "v2/explain", call)["data"]
    assert token not in str(answer)
    return answer


def inputs(data: Any, check: str) -> Any:
    return next(step["inputs"] for step in data["steps"] if step["check"] == check)


def test_a_good_token_is_admitted_and_says_until_when_it_is_good(
    world: World, profile: Any
) -> None:
    data = explained(world, profile, a_token(profile))
    assert (data["verdict"], data["reason"]) == ("admitted", None)
    assert inputs(data, "known")["the token says"] == profile["profile_key"]
    assert int(inputs(data, "proof")["good until"]) > time.time()


@pytest.mark.parametrize(
    ("claims", "part"),
    [
        ({"exp": 1}, "exp"),
        ({"nbf": 2**33}, "nbf"),
        ({"iss": "https://other.example"}, "iss"),
        ({"aud": "other"}, "aud"),
        ({"tenant": None}, "tenant"),
        ({"key": "another secret of at least 32 letters"}, "signature"),
    ],
    ids=["expired", "not yet", "issuer", "audience", "required", "signature"],
)
def test_the_part_that_does_not_prove_it_is_named(
    world: World, profile: Any, claims: dict[str, Any], part: str
) -> None:
    data = explained(world, profile, a_token(profile, **claims))
    assert data["reason"] == "token_invalid"
    assert inputs(data, "proof")["problem"].startswith(f"{part}: expected ")


def test_a_token_that_does_not_name_the_profile_is_shown_what_would(
    world: World, profile: Any
) -> None:
    data = explained(world, profile, a_token(profile, sub="somebody"))
    assert data["reason"] == "unknown_credential"
    seen = inputs(data, "known")
    assert seen["the token says"] == "somebody"
    assert seen["the profile's key"] == profile["profile_key"]
    other = world.a_profile(auth_type="jwt", jwt_method="hmac", jwt_secret=SECRET)
    data = explained(world, profile, a_token(other))
    # That it is another profile's is not told: that may be another project's.
    assert inputs(data, "known")["the token says"] == other["profile_key"]
    assert data["reason"] == "unknown_credential"


def test_of_openid_connect_the_claims_are_judged_and_the_signature_is_said_not_to_be(
    world: World,
) -> None:
    profile = world.a_profile(
        auth_type="oidc", oidc_issuer="https://issuer.example", audience="orders"
    )
    data = explained(world, profile, a_token(profile))
    assert data["verdict"] == "admitted"
    assert inputs(data, "proof")["signature"].startswith("not judged here")
    data = explained(world, profile, a_token(profile, aud="other"))
    assert inputs(data, "proof")["problem"].startswith("aud: expected orders")


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "x" * 13_000], ids=["no", "bad", "long"])
def test_what_is_no_token_is_said(world: World, profile: Any, token: str) -> None:
    call = {"access_profile_id": profile["id"], "path": "/orders-v1/orders", "token": token}
    status, answer = world.api("POST", "v2/explain", call)
    assert status == 400
    assert list(answer["errors"]) == ["token"]
    assert token not in str(answer)
    of_ours = call | {"access_profile_id": world.a_profile()["id"]}
    assert "token" in world.api("POST", "v2/explain", of_ours)[1]["errors"]
