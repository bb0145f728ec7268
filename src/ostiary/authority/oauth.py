"""The OAuth 2.0 endpoints on the gateway: tokens (RFC 6749, section 4.4), introspection (RFC 7662),
revocation (RFC 7009), metadata (RFC 8414) and keys (RFC 7517).

A client proves itself with its id and secret, in the header or the body, never in both.
"""

import base64
import binascii
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from ostiary.access.addresses import parse_address
from ostiary.access.decision import refused_caller
from ostiary.access.facts import Facts, Route
from ostiary.access.methods import AuthMethod
from ostiary.access.reasons import Rule, describe
from ostiary.authority import decisions
from ostiary.authority.address_lists import NamedLists
from ostiary.authority.lookup import Lookup, Row
from ostiary.authority.signing_keys import SigningKeys
from ostiary.identity import access_tokens, signed_tokens
from ostiary.identity.signed_tokens import BadToken, SignedToken
from ostiary.identity.tokens import client_fingerprint, fingerprint

log = logging.getLogger(__name__)

LARGEST_BODY = 16 * 1024
#: What clients of others send, and what may be there more than once (RFC 8707, section 2; RFC 8693,
#: section 2.1). None of it changes what a token may do: the access profile says that.
REPEATED = frozenset({"resource", "audience"})
#: RFC 6749, section 3.3.
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
#: The gateway's own header with the caller's address; what a caller says of it is gone by then.
ADDRESS = b"x-ostiary-address"

Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response of these endpoints: a JSON object, or nothing."""

    status: int
    content: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class OAuthError(Exception):
    """An error of RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.response = Response(
            status=status, content={"error": error, "error_description": description}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthRequest:
    headers: Mapping[bytes, list[bytes]]
    parameters: Mapping[str, str]

    @property
    def address(self) -> str:
        return self.headers.get(ADDRESS, [b""])[0].decode("latin-1")


class OAuth:
    """The ASGI application. `issuer` tells the gateway's public URL; `revoke` makes a revocation
    last and returns whether it is in force.
    """

    def __init__(
        self,
        *,
        lookup: Lookup,
        signing: SigningKeys,
        issuer: Callable[[], Awaitable[str]],
        revoke: Callable[[int, str, int], Awaitable[bool]],
    ) -> None:
        self._lookup, self._signing = lookup, signing
        self._issuer, self._revoke = issuer, revoke
        self._named = NamedLists(lookup)
        self._posts = {
            "/oauth2/token": self._token,
            "/oauth2/introspect": self._introspect,
            "/oauth2/revoke": self._revocation,
        }
        self._gets = {
            "/oauth2/jwks": self._jwks,
            "/oauth2/authorize": self._authorization,
            "/.well-known/openid-configuration": self._configuration,
            # MSAL takes no authority without a path.
            "/oauth2/.well-known/openid-configuration": self._configuration,
            "/.well-known/oauth-authorization-server": self._metadata,
        }

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        try:
            response = await self._answer(scope, receive)
        except OAuthError as refused:
            response = refused.response
        except Exception:
            log.exception("an OAuth call could not be answered")
            response = Response(status=503, content={"error": "temporarily_unavailable"})
        await _send(send, response, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Message, receive: Any) -> Response:
        path, method = scope["path"], scope["method"]
        if path in self._gets:
            if method not in {"GET", "HEAD"}:
                return Response(status=405, headers={"Allow": "GET, HEAD"})
            return await self._gets[path]()
        if path not in self._posts:
            return Response(status=404, content={"error": "not_found"})
        if method != "POST":
            return Response(status=405, headers={"Allow": "POST"})
        if scope["query_string"]:
            raise OAuthError("invalid_request", "parameters belong in the body, never in the URL")
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        parameters = _parameters(headers, await _body(receive))
        return await self._posts[path](OAuthRequest(headers=headers, parameters=parameters))

    async def _token(self, request: OAuthRequest) -> Response:
        grant = request.parameters.get("grant_type")
        if not grant:
            raise OAuthError("invalid_request", "grant_type is missing")
        client_id, row = await self._client(request)
        if grant != "client_credentials":
            raise OAuthError("unsupported_grant_type", "the grant is client_credentials")
        scope = request.parameters.get("scope", "").strip()
        if scope and not _SCOPE.fullmatch(scope):
            raise OAuthError("invalid_scope", "the scope must be words separated by spaces")
        now = int(time.time())
        await self._check(request, row, now)
        key = await self._signing.signing()
        if key is None:
            return Response(status=503, content={"error": "temporarily_unavailable"})
        issued = access_tokens.issue(key, issuer=await self._issuer(), client_id=client_id, now=now)
        return Response(
            status=200,
            content={
                "access_token": issued.token.reveal(),
                "token_type": "bearer",
                "expires_in": issued.expires_in,
                # RFC 6749, section 3.3: another one than was asked for would have to be stated, and clients
                # take that for a failure. The token has none: what it may do is its access profile's.
                **({"scope": scope} if scope else {}),
            },
        )

    async def _check(self, request: OAuthRequest, row: Row, now: int) -> None:
        """Apply the checks of a call that concern the caller and its address."""
        facts = Facts(
            now=now,
            address=parse_address(request.address),
            presented=True,
            method=AuthMethod.OAUTH2,
            known=decisions.known(row, now, await self._named.of(row)),
            route=Route(),
        )
        reason = refused_caller(facts)
        if reason is None:
            return
        if describe(reason).rule is Rule.ADDRESSES:
            raise OAuthError("unauthorized_client", "not from this address", 403)
        raise _invalid_client(request)

    async def _client(self, request: OAuthRequest) -> tuple[str, Row]:
        """The client that a call authenticates as (RFC 6749, section 2.3.1)."""
        client_id, secret = _presented(request)
        row = await self._lookup.find(client_fingerprint(client_id), 0)
        # Compared also where there is no such client, so that it takes the same time.
        stored = bytes(row.secret_fingerprint or b"") if row.credential is not None else b""
        same = hmac.compare_digest(stored.ljust(32, b"\0"), fingerprint(secret))
        if row.credential is None or not stored or not same:
            raise _invalid_client(request)
        return client_id, row

    async def _introspect(self, request: OAuthRequest) -> Response:
        """RFC 7662: a client learns of its own tokens, and of no others."""
        client_id, row = await self._client(request)
        now = int(time.time())
        await self._check(request, row, now)
        token = await self._own(request, client_id)
        alive = (
            token is not None
            and int(token.claims["exp"]) > now
            and not await self._lookup.token_revoked(fingerprint(str(token.claims["jti"])))
        )
        if token is None or not alive:
            return Response(status=200, content={"active": False})
        return Response(
            status=200, content={"active": True, "token_type": "bearer", **token.claims}
        )

    async def _revocation(self, request: OAuthRequest) -> Response:
        """RFC 7009: unknown tokens are answered like revoked ones."""
        client_id, row = await self._client(request)
        token = await self._own(request, client_id)
        if token is None or int(token.claims["exp"]) <= time.time():
            return Response(status=200)
        done = await self._revoke(row.profile, str(token.claims["jti"]), int(token.claims["exp"]))
        if not done:
            return Response(status=503, content={"error": "temporarily_unavailable"})
        return Response(status=200)

    async def _own(self, request: OAuthRequest, client_id: str) -> SignedToken | None:
        """The token of the request, if Ostiary signed it for this client."""
        text = request.parameters.get("token")
        if not text:
            raise OAuthError("invalid_request", "token is missing")
        try:
            token = signed_tokens.read(text)
        except BadToken:
            return None
        key = await self._signing.verifying(token.key_id or "")
        if not access_tokens.is_ours(token) or key is None:
            return None
        mine = access_tokens.proves(token, key) and token.claims.get("client_id") == client_id
        return token if mine else None

    async def _jwks(self) -> Response:
        cached = {"Cache-Control": "public, max-age=300"}
        return Response(
            status=200, content={"keys": await self._signing.published()}, headers=cached
        )

    async def _authorization(self) -> Response:
        """Nobody signs in here; metadata that clients insist on must name the endpoint."""
        content = {
            "error": "unsupported_response_type",
            "error_description": "the only grant is client_credentials, at /oauth2/token",
        }
        return Response(status=400, content=content)

    async def _configuration(self) -> Response:
        """OpenID Connect Discovery 1.0, section 3: what clients such as MSAL ask for, whatever the grant."""
        metadata = await self._metadata()
        content = {
            **(metadata.content or {}),
            "authorization_endpoint": f"{await self._issuer()}/oauth2/authorize",
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [access_tokens.ALGORITHM],
        }
        return Response(status=200, content=content, headers=metadata.headers)

    async def _metadata(self) -> Response:
        issuer = await self._issuer()
        ways = ["client_secret_basic", "client_secret_post"]
        return Response(
            status=200,
            content={
                "issuer": issuer,
                "token_endpoint": f"{issuer}/oauth2/token",
                "jwks_uri": f"{issuer}/oauth2/jwks",
                "introspection_endpoint": f"{issuer}/oauth2/introspect",
                "revocation_endpoint": f"{issuer}/oauth2/revoke",
                "grant_types_supported": ["client_credentials"],
                "response_types_supported": [],
                "token_endpoint_auth_methods_supported": ways,
                "introspection_endpoint_auth_methods_supported": ways,
                "revocation_endpoint_auth_methods_supported": ways,
            },
            headers={"Cache-Control": "public, max-age=300"},
        )


def _invalid_client(request: OAuthRequest) -> OAuthError:
    """401, with the scheme that was used (RFC 6749, section 5.2)."""
    refused = OAuthError("invalid_client", "the client is unknown, or its secret is wrong", 401)
    if b"authorization" in request.headers:
        response = refused.response
        headers = {"WWW-Authenticate": 'Basic realm="oauth2"'}
        refused.response = Response(status=401, content=response.content, headers=headers)
    return refused


def _presented(request: OAuthRequest) -> tuple[str, str]:
    lines = request.headers.get(b"authorization", [])
    in_body = request.parameters.get("client_secret")
    if len(lines) > 1 or (lines and in_body is not None):
        raise OAuthError("invalid_request", "a client authenticates once, in header or body")
    if not lines:
        client_id = request.parameters.get("client_id", "")
        if not client_id or not in_body:
            raise _invalid_client(request)
        return client_id, in_body
    scheme, _, rest = lines[0].decode("latin-1").partition(" ")
    if scheme.lower() != "basic":
        raise _invalid_client(request)
    try:
        decoded = base64.b64decode(rest.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise _invalid_client(request) from None
    # RFC 6749, section 2.3.1: both are form-encoded before they are put together.
    client_id, colon, secret = decoded.partition(":")
    client_id, secret = unquote_plus(client_id), unquote_plus(secret)
    if not colon or request.parameters.get("client_id", client_id) != client_id:
        raise _invalid_client(request)
    return client_id, secret


def _parameters(headers: Mapping[bytes, list[bytes]], body: bytes) -> Mapping[str, str]:
    """The body's parameters; each once (RFC 6749, section 3.2)."""
    types = headers.get(b"content-type", [])
    kind = types[0].decode("latin-1").partition(";")[0].strip().lower() if len(types) == 1 else ""
    try:
        text = body.decode("utf-8")
        if kind == FORM:
            pairs: object = _Pairs(parse_qsl(text, strict_parsing=True, max_num_fields=50))
        elif kind == JSON:
            pairs = json.loads(text, object_pairs_hook=_members)
        else:
            raise OAuthError("invalid_request", f"Content-Type must be {FORM} or {JSON}")
    except (ValueError, RecursionError):
        raise OAuthError("invalid_request", "the body does not match its Content-Type") from None
    if not isinstance(pairs, _Pairs) or any(not isinstance(value, str) for _, value in pairs):
        raise OAuthError("invalid_request", "the body must be an object of texts")
    once = [name for name, _ in pairs if name not in REPEATED]
    parameters = dict(pairs)
    if len(set(once)) != len(once):
        raise OAuthError("invalid_request", "a parameter is given twice")
    return parameters


class _Pairs(list[tuple[str, Any]]):
    """An object's members, as distinct from a list."""


def _members(pairs: list[tuple[str, Any]]) -> _Pairs:
    return _Pairs(pairs)


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > LARGEST_BODY:
            raise OAuthError("invalid_request", "the body is too large", 413)
        if not message.get("more_body"):
            return body


async def _send(send: Any, response: Response, *, head: bool) -> None:
    body = b"" if response.content is None else json.dumps(response.content).encode()
    headers = {
        "Content-Type": JSON,
        "Content-Length": str(len(body)),
        # RFC 6749, section 5.1.
        "Cache-Control": "no-store",
        "Pragma": "no-cache",
        **response.headers,
    }
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": lines})
    await send({"type": "http.response.body", "body": b"" if head else body})
