"""Where claims are found by their names, and which profile keys they hold."""

from typing import Any

import pytest
from joserfc.jwk import RSAKey

from ostiary.identity.key_sets import KeySet
from ostiary.identity.signed_tokens import (
    MOST_KEYS,
    ClaimRules,
    SignedToken,
    TokenProblem,
    claim,
    is_pointer,
    judge,
    keys_of,
)

CLAIMS = {
    "https://example.com/client": "exact",
    "https://example.com/app": {"client": "below", "a.b": {"c~d": "deep"}},
    "org": {"client": "dotted", "list": ["a", "b"]},
    "org.client": "flat",
    "": {"x": 1},
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("https://example.com/client", "exact"),
        ("https://example.com/app.client", None),
        ("/https:~1~1example.com~1app/client", "below"),
        ("/https:~1~1example.com~1app/a.b/c~0d", "deep"),
        ("org.client", "flat"),
        ("/org/client", "dotted"),
        ("/org.client", "flat"),
        ("org.list", ["a", "b"]),
        ("org.nothing", None),
        ("/org/client/x", None),
        ("/nothing", None),
    ],
)
def test_a_claim_is_found_by_its_name_path_or_pointer(name: str, value: Any) -> None:
    assert claim(CLAIMS, name) == value


@pytest.mark.parametrize("name", ["/", "//a", "/a/", "/a~", "/a~2", "a"])
def test_what_is_no_pointer_is_told(name: str) -> None:
    assert not is_pointer(name)
    assert is_pointer("/a~1b/c~0")


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("one", ("one",)), (7, ("7",)), (True, ()), (None, ()), ("", ()), ({}, ()), (1.5, ()),
        (["a", "b", "a", 3, None, ["c"], ""], ("a", "b", "3")),
        ([str(n) for n in range(MOST_KEYS)], tuple(str(n) for n in range(MOST_KEYS))),
        ([str(n) for n in range(MOST_KEYS + 1)], ()),
    ],
)  # fmt: skip
def test_a_claim_holds_one_key_or_a_few(value: object, keys: tuple[str, ...]) -> None:
    assert keys_of(value) == keys


def test_a_token_without_exp_is_good_only_where_that_is_allowed() -> None:
    problem = judge({}, ClaimRules(), 0)
    assert isinstance(problem, TokenProblem)
    assert problem.part == "exp"
    assert judge({}, ClaimRules(without_exp=True), 0) is None
    assert judge({"exp": 100}, ClaimRules(), 0) == 160


@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_a_required_claim_that_is_empty_is_not_there(empty: object) -> None:
    rules = ClaimRules(required=("roles",))
    assert isinstance(judge({"exp": 100, "roles": empty}, rules, 0), TokenProblem)
    assert judge({"exp": 100, "roles": ["a"]}, rules, 0) == 160


def test_keys_without_an_id_serve_tokens_with_one_that_is_not_there() -> None:
    first, second = (RSAKey.generate_key(2048, {"kid": kid} if kid else {}) for kid in ("a", ""))
    second = RSAKey.import_key({k: v for k, v in second.as_dict().items() if k != "kid"})
    keys = KeySet(keys=(first, second))

    def token(kid: str | None) -> SignedToken:
        header = {"alg": "RS256"} | ({"kid": kid} if kid else {})
        return SignedToken(text="", header=header, claims={})

    assert keys.candidates(token("a")) == (first,)
    assert keys.candidates(token("b")) == (second,)
    assert keys.candidates(token(None)) == (first, second)
    assert keys.unnamed and keys.knows(token("b"))
    assert not KeySet(keys=(first,)).knows(token("b"))
