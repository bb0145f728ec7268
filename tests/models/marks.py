"""Whether the mark of a token is ours, as the gateway's Lua tells it."""

import hmac

from ostiary.identity import tokens

#: Characters between the prefix and the mark.
BODY_LENGTH = 43


def mark_ok(text: str, issue_key: bytes) -> bool:
    """Whether a value of our form was issued under `issue_key`."""
    start = len(tokens.TOKEN_PREFIX)
    end = start + BODY_LENGTH
    expected = tokens.mark(text[start:end], issue_key)
    found = text[end : end + tokens.MARK_LENGTH].encode("utf-8", "surrogatepass")
    return hmac.compare_digest(expected.encode(), found)
