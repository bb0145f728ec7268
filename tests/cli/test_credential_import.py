"""A CSV file of credentials becomes access profiles; its values stay on the machine."""

import hashlib
from datetime import UTC, datetime

import pytest

from ostiary.cli.commands.credential_import import read_csv
from ostiary.cli.failure import Failure

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SECRET = "a-key-of-the-earlier-gateway-1"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()


def test_values_become_digests_and_rows_keep_their_lines() -> None:
    text = (
        "\ufeffclient,collections,profile,token,policy_id,expires_at\r\n"
        f'Acme,orders-v1 books-v1,"Two\nlines",{SECRET},3,90d\r\n'
        "\r\n"
        f"Wayne,orders-v1;7,,{SECRET}2,,\r\n"
    )
    read = read_csv(text, NOW)
    assert read.problems == []
    assert read.lines == [3, 5]
    assert read.rows[0] == {
        "client": "Acme", "collections": ["orders-v1", "books-v1"], "profile": "Two\nlines",
        "token_sha256": DIGEST, "api_policy_id": "3", "expires_at": "2030-04-01T00:00:00+00:00",
    }  # fmt: skip
    assert read.rows[1]["collections"] == ["orders-v1", "7"]
    assert SECRET not in str(read.rows)


def test_every_problem_names_its_line_and_no_value() -> None:
    text = (
        "client,collections,token,token_sha256,expires_at\n"
        f"A,c,{SECRET},,\n"
        "A,c,short-secret,,\n"
        f"A,c,{SECRET},,\n"
        f"A,c,,{DIGEST},\n"
        "A,c,,,\n"
        f"A,c,,{DIGEST[:-1]},\n"
        f"A,c,{SECRET}9,,soon\n"
        "A,c\n"
    )
    read = read_csv(text, NOW)
    assert read.problems == [
        "line 3: token must have 16 to 512 characters",
        "line 4: has the token of line 2",
        "line 5: has the token of line 2",
        "line 6: give the token or its SHA-256, and not both",
        "line 7: token_sha256 must be 64 hex characters",
        ("line 8: expires-at must be a time such as 2030-01-31T12:00:00Z, or a span such as 30d"),
        "line 9: has 2 columns, not 5",
    ]
    assert len(read.rows) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "client,collections\n",
        f"Acme,orders,{SECRET}\n",
        "client,client,collections,token\n",
        "client,collections,token,secret\n",
        f'client,collections,token\nA,c,"{SECRET}',
        "client,collections,token\n\n",
    ],
)
def test_a_file_that_is_none_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(Failure) as failed:
        read_csv(text, NOW)
    assert SECRET not in str(failed.value)
