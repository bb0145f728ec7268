"""What a call presents: one credential in one of three forms, or a reason why there is none."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.extraction import Form, Presented, extract

from ostiary.access.reasons import Reason
from ostiary.identity.secret import Secret

MISSING = Reason.CREDENTIAL_MISSING
CONFLICT = Reason.CONFLICTING_CREDENTIALS
MALFORMED = Reason.MALFORMED_CREDENTIAL
SEVERAL = Reason.CONFLICTING_CREDENTIALS

#: Values that an imported credential may have.
CREDENTIALS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


def basic(pair: str) -> str:
    return "Basic " + b64encode(pair.encode("latin-1")).decode()


def found(form: Form, text: str) -> Presented:
    return Presented(form=form, credential=Secret(text))


@pytest.mark.parametrize(
    ("name", "value", "outcome"),
    [
        pytest.param("API-TOKEN", "abc", found(Form.API_TOKEN, "abc"), id="api token"),
        pytest.param("aPi-ToKeN", "abc", found(Form.API_TOKEN, "abc"), id="any case"),
        pytest.param("API-TOKEN", " \tabc ", found(Form.API_TOKEN, "abc"), id="blanks around"),
        pytest.param("API-TOKEN", "a,b", found(Form.API_TOKEN, "a,b"), id="comma is no separator"),
        pytest.param("API-TOKEN", "", MISSING, id="api token empty"),
        pytest.param("API-TOKEN", "a\x00b", MALFORMED, id="api token with NUL"),
        pytest.param("API_TOKEN", "abc", MISSING, id="underscore is another header"),
        pytest.param("Authorization", "Bearer abc", found(Form.BEARER, "abc"), id="bearer"),
        pytest.param("AUTHORIZATION", "bEARER abc", found(Form.BEARER, "abc"), id="bearer case"),
        pytest.param("Authorization", "Bearer   abc", found(Form.BEARER, "abc"), id="more spaces"),
        pytest.param("Authorization", "Bearer", MISSING, id="bearer alone"),
        pytest.param("Authorization", "Bearer ", MISSING, id="bearer empty"),
        pytest.param("Authorization", "Bearer a b", MALFORMED, id="bearer with a space"),
        pytest.param("Authorization", "Bearer a,b", SEVERAL, id="bearer with a comma"),
        pytest.param("Authorization", "Bearer a, Bearer b", SEVERAL, id="two in one line"),
        pytest.param("Authorization", "Bearer \xfc", MALFORMED, id="bearer beyond ASCII"),
        pytest.param("Authorization", "Bearer\tabc", MISSING, id="tab after the scheme"),
        pytest.param("Authorization", "Bear abc", MISSING, id="a prefix of a scheme"),
        pytest.param("Authorization", "Bearerabc", MISSING, id="no space"),
        pytest.param("Authorization", "abc", MISSING, id="no scheme"),
        pytest.param("Authorization", "", MISSING, id="authorization empty"),
        pytest.param("Authorization", "Digest abc", MISSING, id="other scheme"),
        pytest.param("Authorization", basic("api-token:pw"), found(Form.BASIC, "pw"), id="basic"),
        pytest.param(
            "Authorization", basic("API-Token:pw"), found(Form.BASIC, "pw"), id="user in any case"
        ),
        pytest.param(
            "Authorization", basic("api-token:p:w"), found(Form.BASIC, "p:w"), id="colon in it"
        ),
        pytest.param(
            "Authorization", basic("api-token: p "), found(Form.BASIC, " p "), id="spaces in it"
        ),
        pytest.param("Authorization", basic("api-token:"), MISSING, id="basic empty"),
        pytest.param("Authorization", basic("someone:pw"), MISSING, id="other user"),
        pytest.param("Authorization", basic("api-token\x00:pw"), MISSING, id="user with NUL"),
        pytest.param("Authorization", basic("api-token:p\x00w"), MALFORMED, id="basic with NUL"),
        pytest.param("Authorization", basic("api-token:p\nw"), MALFORMED, id="basic with LF"),
        pytest.param("Authorization", basic("api-token"), MALFORMED, id="no colon"),
        pytest.param("Authorization", basic("api-token:pw") + " x", MALFORMED, id="more behind"),
        pytest.param("Authorization", basic("api-token:p") + "=AAAA", MALFORMED, id="two base64s"),
        pytest.param("Authorization", basic("api-token:p").rstrip("="), MALFORMED, id="unpadded"),
        pytest.param("Authorization", basic("api-token:pw") + "=", MALFORMED, id="too padded"),
        pytest.param("Authorization", "Basic !!!!", MALFORMED, id="no base64"),
        pytest.param("Authorization", "Basic", MALFORMED, id="basic alone"),
        pytest.param("Proxy-Authorization", "Bearer abc", MISSING, id="for a proxy"),
        pytest.param("Cookie", "api-token=abc", MISSING, id="cookie"),
    ],
)
def test_one_line_is_read_as_documented(name: str, value: str, outcome: Presented | Reason) -> None:
    assert extract([("Host", "a"), (name, value), ("Accept", "*/*")]) == outcome


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("API-TOKEN", "a"), ("API-TOKEN", "b")], id="two tokens"),
        pytest.param([("API-TOKEN", "a"), ("api-token", "a")], id="one token twice"),
        pytest.param([("API-TOKEN", "a"), ("Authorization", "Bearer b")], id="two forms"),
        pytest.param([("API-TOKEN", "a"), ("Authorization", "Digest b")], id="a foreign scheme"),
        pytest.param([("API-TOKEN", "a"), ("Authorization", basic("me:pw"))], id="another user"),
        pytest.param([("API-TOKEN", ""), ("Authorization", "Bearer b")], id="one is empty"),
        pytest.param([("Authorization", "Bearer b")] * 2, id="one bearer twice"),
        pytest.param([("Authorization", "Bearer b")] * 3, id="three times"),
    ],
)
def test_more_than_one_credential_is_a_conflict(headers: list[tuple[str, str]]) -> None:
    assert extract(headers) == CONFLICT


def test_a_call_without_headers_presents_nothing() -> None:
    assert extract([]) == MISSING


@given(CREDENTIALS)
def test_what_is_sent_in_a_form_is_what_is_read(text: str) -> None:
    assert extract([("API-TOKEN", text)]) == found(Form.API_TOKEN, text)
    assert extract([("Authorization", basic(f"api-token:{text}"))]) == found(Form.BASIC, text)
    bearer = extract([("Authorization", f"Bearer {text}")])
    assert bearer == (SEVERAL if "," in text else found(Form.BEARER, text))


LINES = st.tuples(
    st.sampled_from(["API-TOKEN", "Authorization", "authorization", "Host", "api_token"]),
    st.one_of(
        st.text(st.characters(max_codepoint=0xFF)),
        st.sampled_from(["Bearer", "Basic", "basic "]).flatmap(
            lambda scheme: st.text(st.characters(max_codepoint=0xFF)).map(
                lambda rest: f"{scheme} {rest}"
            )
        ),
        st.text(st.characters(max_codepoint=0xFF)).map(basic),
    ),
)


@given(st.lists(LINES, max_size=4))
def test_whatever_is_sent_has_an_outcome_of_the_closed_set(headers: list[tuple[str, str]]) -> None:
    outcome = extract(headers)
    lines = [name for name, _ in headers if name.lower() in {"api-token", "authorization"}]
    if len(lines) > 1:
        assert outcome == CONFLICT
    elif outcome == SEVERAL:
        assert any(name.lower() == "authorization" and "," in value for name, value in headers)
    elif isinstance(outcome, Presented):
        assert len(lines) == 1
        assert outcome.credential
        assert (
            outcome.credential.reveal().isprintable() or not outcome.credential.reveal().isascii()
        )
    else:
        assert outcome in {MISSING, MALFORMED}


def test_what_was_presented_is_not_shown() -> None:
    assert "hush" not in repr(extract([("API-TOKEN", "hush-hush")]))
