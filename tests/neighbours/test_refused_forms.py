"""What a refused form says: which setting is wrong, and what it should be; nothing to a forger."""

from dataclasses import replace

import pytest

from ostiary.console.frame.refused_forms import RefusedForm, explained

PUBLIC = "https://console.example.com"
GOOD = RefusedForm(
    public=PUBLIC,
    asked=PUBLIC,
    origin=PUBLIC,
    fetch_site="same-origin",
    has_cookie=True,
    secure=True,
)
PLAIN = replace(GOOD, public="", asked="http://localhost:8000", origin="http://localhost:8000")


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(GOOD, id="at the public URL"),
        pytest.param(replace(GOOD, origin=""), id="a browser that says nothing"),
        pytest.param(replace(GOOD, asked="http://127.0.0.1:8000"), id="Host changed on the way"),
        pytest.param(PLAIN, id="no public URL"),
        pytest.param(
            replace(PLAIN, public=PUBLIC), id="beside the public URL, on the machine itself"
        ),
    ],
)
def test_where_the_address_is_right_the_form_is_old(form: RefusedForm) -> None:
    assert not explained(form)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        pytest.param(
            replace(PLAIN, asked="http://console.example.com", origin=PUBLIC, fetch_site=""),
            f"Set OSTIARY_CONSOLE_URL={PUBLIC} and start Ostiary again",
            id="TLS in front, nothing set",
        ),
        pytest.param(
            replace(PLAIN, asked="http://127.0.0.1:8000", origin=PUBLIC),
            f"Set OSTIARY_CONSOLE_URL={PUBLIC} and start Ostiary again",
            id="Host changed as well",
        ),
        pytest.param(
            replace(
                GOOD, origin="https://ostiary.example.com", asked="https://ostiary.example.com:8000"
            ),
            "to https://ostiary.example.com.",
            id="another public URL",
        ),
        pytest.param(
            replace(GOOD, origin="http://console.example.com", fetch_site=""),
            f"its public URL is {PUBLIC}. Open it there",
            id="http behind https",
        ),
        pytest.param(
            replace(
                GOOD,
                origin="http://192.0.2.1:8000",
                asked="http://192.0.2.1:8000",
                has_cookie=False,
            ),
            f"Open {PUBLIC}",
            id="by address and http",
        ),
        pytest.param(
            replace(PLAIN, secure=True, has_cookie=False),
            "OSTIARY_SECURE_COOKIES is 1",
            id="cookies",
        ),
        pytest.param(
            replace(PLAIN, secure=False, has_cookie=False),
            "Allow its cookies",
            id="no cookies at all",
        ),
        pytest.param(replace(GOOD, origin="null"), "Referrer-Policy", id="Origin: null"),
    ],
)
def test_a_wrong_address_is_named_with_what_to_set(form: RefusedForm, words: str) -> None:
    assert words in explained(form)


@pytest.mark.parametrize("public", ["", PUBLIC])
@pytest.mark.parametrize("fetch_site", ["cross-site", "same-site", "none", ""])
def test_no_other_site_is_suggested_as_the_public_url(public: str, fetch_site: str) -> None:
    form = replace(PLAIN, public=public, origin="https://evil.example.com", fetch_site=fetch_site)
    told = explained(form)
    assert told
    assert "evil" not in told
