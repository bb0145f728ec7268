"""The management API: authentication, error responses, and one router per noun."""

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, RawPostDataException
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.security import HttpBearer

from ostiary import __version__
from ostiary.api import (
    body_bounds,
    call_limits,
    configuration,
    idempotency,
    parsing,
    projects,
    webhooks,
)
from ostiary.api.answers import answered, in_words_of_the_api
from ostiary.api.catalog import collections, connections, endpoints, recipes
from ostiary.api.clients import (
    access_profiles,
    address_lists,
    api_keys,
    client_defaults,
    clients,
    credentials,
    handovers,
    offboarding,
    policies,
    profile_bulk,
    profile_limits,
)
from ostiary.api.error_codes import ERRORS, ErrorCode, of_field, of_status
from ostiary.api.insight import advice, explanations, previews, request_log, usage
from ostiary.api.people import management_tokens, members, users
from ostiary.api.rendering import Renderer
from ostiary.api.workspace import (
    audit_log,
    deleted_objects,
    nodes,
    properties,
    signing_keys,
    workspace_settings,
)
from ostiary.directory import database
from ostiary.directory.changes import errors
from ostiary.directory.changes.inputs import sentences_of
from ostiary.directory.people.management_tokens import authenticate

log = logging.getLogger(__name__)


def _take_larger(request: HttpRequest) -> None:
    """Read the body of a call that may be larger than others."""
    largest = body_bounds.largest(str(request.method), request.path)
    if largest is None:
        return
    body = request.read(largest + 1)
    if len(body) > largest:
        raise RequestDataTooBig
    request._body = body  # noqa: SLF001 - Django has one bound for all


class ManagementToken(HttpBearer):
    """`Authorization: Bearer` with a management token (RFC 6750, section 2.1).

    Counts the call on the limits of token and address; raises TooManyCalls.
    """

    def __call__(self, request: HttpRequest) -> object | None:
        counters, whose = call_limits.counters, call_limits.whose(request)
        limits = counters.limits()
        call_limits.note(request, counters.count(limits.address, whose))
        actor: object | None = super().__call__(request)
        if actor is None:
            call_limits.note(request, counters.count(limits.failures, whose))
        return actor

    def authenticate(self, request: HttpRequest, token: str) -> object | None:
        counters = call_limits.counters
        limits = counters.limits()
        if not counters.is_proven(token):
            # Also whose token is right waits, if it has not come lately: else it could be guessed on.
            counters.look(limits.failures, call_limits.whose(request))
        actor = authenticate(token, str(request.META.get("REMOTE_ADDR", "")))
        if actor is None:
            return None
        counters.prove(token)
        call_limits.note(request, counters.count(limits.token, actor.id))
        _take_larger(request)
        return actor


class Api(NinjaAPI):
    """Answers of one object have an ETag, whichever operation gives them."""

    def create_response(
        self,
        request: HttpRequest,
        data: Any,
        *,
        status: int | None = None,
        temporal_response: HttpResponse | None = None,
    ) -> HttpResponse:
        response = super().create_response(
            request, data, status=status, temporal_response=temporal_response
        )
        return answered(request, response, data)


api = Api(
    title="Ostiary management API",
    version=__version__,
    description=(
        "Manage projects, connections, API collections, endpoints, clients, access profiles and "
        "policies. Every call needs a management token as bearer token. Errors have a `message` for "
        "people and a `code` for programs; where input does not fit (400), `errors` and `codes` say so "
        "by field. Operation ids are verb and noun, as `list_clients`; they stay as they are."
    ),
    auth=ManagementToken(),
    docs_url=None,
    # Served by `document`.
    openapi_url=None,
    parser=parsing.BodyParser(),
    renderer=Renderer(),
    urls_namespace="api",
)

api.add_decorator(parsing.strict_query, mode="operation")

for prefix, module in (
    ("", projects),
    ("", properties),
    ("", connections),
    ("", collections),
    ("", endpoints),
    ("", recipes),
    ("", nodes),
    ("", signing_keys),
    ("", clients),
    ("", client_defaults),
    ("", api_keys),
    ("", access_profiles),
    ("", profile_limits),
    ("", profile_bulk),
    ("", credentials),
    ("", handovers),
    ("", offboarding),
    ("", address_lists),
    ("", audit_log),
    ("", deleted_objects),
    ("", policies),
    ("", members),
    ("", management_tokens),
    ("", usage),
    ("", request_log),
    ("", users),
    ("", webhooks),
    ("", workspace_settings),
    ("", explanations),
    ("", previews),
    ("", advice),
    ("", configuration),
):
    api.add_router(prefix, module.router)

for bound in api._get_bound_routers():  # noqa: SLF001 - ninja has no public way to its operations
    for path in bound.path_operations.values():
        for operation in path.operations:
            if "POST" in operation.methods:
                idempotency.once(operation)


def _answer(request: HttpRequest, code: ErrorCode, message: str, **content: object) -> HttpResponse:
    """An error as every operation answers it."""
    said = {"message": message, "code": code.value, **content}
    return api.create_response(request, said, status=ERRORS[code].status)


Handler = Callable[[HttpRequest, Any], HttpResponse]


def _handles(*kinds: type[Exception]) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        for kind in kinds:
            api.add_exception_handler(kind, handler)
        return handler

    return register


@_handles(errors.Invalid)
def _invalid(request: HttpRequest, error: errors.Invalid) -> HttpResponse:
    named = [(in_words_of_the_api(each, error.noun), each) for each in error.problems]
    return _refused(request, [(name, each.code, each.sentence) for name, each in named])


@_handles(ValidationError)
def _unfit(request: HttpRequest, error: ValidationError) -> HttpResponse:
    sent = _sent(request)
    return _refused(
        request,
        [
            (".".join(_place(each["loc"], sent)) or "body", each["type"], sentence)
            for each in error.errors
            for sentence in sentences_of(each)
        ],
    )


def _refused(request: HttpRequest, problems: list[tuple[str, str, str]]) -> HttpResponse:
    sentences: dict[str, list[str]] = {}
    codes: dict[str, list[str]] = {}
    for name, code, sentence in problems:
        sentences.setdefault(name, []).append(sentence)
        codes.setdefault(name, []).append(of_field(code))
    return _answer(
        request, ErrorCode.INVALID_INPUT, "Validation failed", errors=sentences, codes=codes
    )


def _sent(request: HttpRequest) -> object:
    try:
        return json.loads(request.body)
    except (ValueError, RawPostDataException):
        # No JSON, or a form that was read already.
        return None


#: Objects of a body whose fields are named alone, as the use case names them.
_UNNAMED = frozenset({"input"})


def _place(loc: Sequence[str | int], sent: object) -> Iterator[str]:
    """The names and places of a problem in what was sent.

    Pydantic's own names of the branches of a union, and ninja's of a handler's arguments, are none.
    """
    if loc[0] != "body":
        yield from map(str, loc[1:])
        return
    for index, part in enumerate(loc[2:], start=3):
        if isinstance(sent, dict) and (part in sent or index == len(loc)):
            if part not in _UNNAMED or index == len(loc):
                yield str(part)
            sent = sent.get(part)
        elif isinstance(sent, list) and isinstance(part, int) and part < len(sent):
            yield str(part)
            sent = sent[part]


@_handles(errors.NotFound)
def _not_found(request: HttpRequest, error: errors.NotFound) -> HttpResponse:
    return _answer(request, ErrorCode.NOT_FOUND, "Not found")


@_handles(errors.Forbidden)
def _forbidden(request: HttpRequest, error: errors.Forbidden) -> HttpResponse:
    return _answer(request, ErrorCode.FORBIDDEN, str(error))


@_handles(errors.InUse)
def _in_use(request: HttpRequest, error: errors.InUse) -> HttpResponse:
    if isinstance(error, errors.CannotDestroy):
        return _answer(
            request, ErrorCode.CANNOT_DESTROY, str(error), errors={"folder": [error.why]}
        )
    return _answer(request, ErrorCode.IN_USE, str(error))


@_handles(errors.KeyReused)
def _key_reused(request: HttpRequest, error: errors.KeyReused) -> HttpResponse:
    return _answer(request, ErrorCode.KEY_REUSED, str(error))


@_handles(errors.Stale)
def _stale(request: HttpRequest, error: errors.Stale) -> HttpResponse:
    return _answer(request, ErrorCode.STALE, str(error))


@_handles(errors.NotInForce)
def _not_in_force(request: HttpRequest, error: errors.NotInForce) -> HttpResponse:
    answer = _answer(request, ErrorCode.NOT_IN_FORCE, str(error))
    answer["Retry-After"] = "1"
    return answer


@_handles(DatabaseError, InterfaceError)
def _no_database(request: HttpRequest, error: Exception) -> HttpResponse:
    if not database.is_trouble(error):
        return _unexpected(request, error)
    log.error("management API: the database fails", exc_info=error)
    answer = _answer(
        request,
        ErrorCode.DATABASE_UNAVAILABLE,
        f"Nothing was saved. {database.trouble(error)}",
    )
    answer["Retry-After"] = "1"
    return answer


@_handles(AuthenticationError)
def _unauthorized(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    answer = _answer(request, ErrorCode.UNAUTHORIZED, "Unauthorized")
    answer["WWW-Authenticate"] = 'Bearer realm="management"'
    return answer


@_handles(call_limits.TooManyCalls)
def _too_many_calls(request: HttpRequest, error: call_limits.TooManyCalls) -> HttpResponse:
    standing = error.standing
    request.META["ostiary.limits"] = [standing]
    what = {
        "token": "This token makes more calls than it may",
        "address": "There are more calls from this address than there may be",
        "failures": "There are too many calls without a valid token from this address",
    }[standing.policy.name]
    message = f"{what}, {standing.policy.limit} a minute; try again in {standing.wait} seconds."
    answer = _answer(request, ErrorCode.TOO_MANY_CALLS, message)
    answer["Retry-After"] = str(standing.wait)
    return answer


@_handles(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    if isinstance(error.__cause__, errors.Invalid):
        return _invalid(request, error.__cause__)
    return _answer(request, of_status(error.status_code), str(error))


@_handles(RequestDataTooBig)
def _too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    larger = body_bounds.largest(str(request.method), request.path)
    largest = larger or django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    megabytes = largest // 1024**2
    return _answer(
        request, ErrorCode.TOO_LARGE, f"The body of this call is larger than {megabytes} MB"
    )


@_handles(Exception)
def _broken(request: HttpRequest, error: Exception) -> HttpResponse:
    return _unexpected(request, error)


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    """An unexpected error: logged with an id; the caller gets only the id."""
    number = str(uuid.uuid4())
    log.error("management API error %s", number, exc_info=error)
    return _answer(request, ErrorCode.SERVER_ERROR, "Server error", id=number)
