"""The gateway and the model read the same credential out of the same headers."""

import base64
from typing import Any

import pytest
from tests.models.extraction import Presented, extract
from tests.stage import Stage, Upstream, raw

from ostiary.access.reasons import Reason

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

T = "{token}"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode("latin-1")).decode()


#: Header lines; `{token}` stands for a token that works.
LINES: dict[str, list[tuple[str, str]]] = {
    "nothing": [],
    "API-TOKEN": [("API-TOKEN", T)],
    "another case": [("Api-Token", T)],
    "bearer": [("Authorization", f"Bearer {T}")],
    "bearer in another case": [("AUTHORIZATION", f"bEARER {T}")],
    "no scheme": [("Authorization", T)],
    "empty": [("API-TOKEN", "")],
    "empty bearer": [("Authorization", "Bearer")],
    "another scheme": [("Authorization", f"Digest {T}")],
    "a scheme that begins like it": [("Authorization", f"Bearers {T}")],
    "twice": [("API-TOKEN", T), ("API-TOKEN", T)],
    "two kinds": [("API-TOKEN", T), ("Authorization", f"Bearer {T}")],
    "an empty one beside": [("API-TOKEN", T), ("API-TOKEN", "")],
    "another scheme beside": [("API-TOKEN", T), ("Authorization", "Digest x")],
    "two in one line": [("API-TOKEN", f"{T}, {T}")],
    "two bearers in one line": [("Authorization", f"Bearer {T}, Bearer {T}")],
    "something after it": [("Authorization", f"Bearer {T} x")],
    "one letter more": [("API-TOKEN", f"{T}x")],
    "Basic": [("Authorization", "BASIC:api-token:{token}")],
    "Basic, another case": [("Authorization", "BASIC:API-Token:{token}")],
    "Basic, another user": [("Authorization", "BASIC:somebody:{token}")],
    "Basic, no colon": [("Authorization", "BASIC:api-token")],
    "Basic, no password": [("Authorization", "BASIC:api-token:")],
    "Basic that is none": [("Authorization", "Basic !!!")],
    "in a cookie": [("Cookie", f"api-token={T}")],
    "in a name like it": [("X-API-TOKEN", T)],
}


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream)


@pytest.fixture(scope="module")
def token(stage: Stage, things: Any) -> str:
    return str(stage.a_profile(things)["secret"])


@pytest.mark.parametrize("case", LINES)
def test_the_gateway_takes_what_extraction_takes(
    stage: Stage, things: Any, token: str, case: str
) -> None:
    lines = []
    for name, value in LINES[case]:
        text = value.replace(T, token)
        lines.append((name, basic(text[6:]) if text.startswith("BASIC:") else text))
    found = extract(lines)
    if isinstance(found, Presented):
        expected = 200 if found.credential.reveal() == token else 401
    else:
        expected = 400 if found is Reason.CONFLICTING_CREDENTIALS else 401
    sent = "".join(f"{name}: {value}\r\n" for name, value in lines)
    call = f"GET /{things['handle']}/things HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{sent}\r\n"
    answer = raw(stage.gateway, call.encode("latin-1"))
    assert int(answer.split(b" ")[1]) == expected
