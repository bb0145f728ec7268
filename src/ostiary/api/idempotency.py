"""`Idempotency-Key`: of all calls with one key, one has an effect, and the others get its answer.

The call runs in one transaction with the row of its key. What it would wait for within that
transaction, the gateway's confirmation, is waited for afterwards; until then the answer stands as it
is right now: unconfirmed.
"""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac
from ninja.operation import Operation

from ostiary.api.answers import Deferred, Revocation, actor, deferred, shown_receipt
from ostiary.directory.actor import Actor
from ostiary.directory.changes import stored_answers
from ostiary.directory.changes.confirmation import UNCONFIRMED, Saved, confirm
from ostiary.directory.changes.errors import Invalid, KeyReused, NotInForce
from ostiary.directory.changes.inputs import is_printable
from ostiary.directory.models import StoredAnswer
from ostiary.identity.secret import noted

HEADER = "Idempotency-Key"
#: Says that an answer is repeated.
REPLAYED = "Idempotent-Replayed"
LONGEST = 255
MASK = "********"
#: A shorter secret is masked where it is a whole text; within another text it may be a word.
LEAST_WITHIN = 16

View = Callable[..., Any]


@runtime_checkable
class Prepared(Protocol):
    """A body with work that needs no database, such as reading a document."""

    def prepare(self, by: Actor) -> None: ...


def reads(view: View) -> View:
    """Mark the handler of a POST that changes nothing: it needs no transaction."""
    view.reads = True  # type: ignore[attr-defined]  # read by `once`
    return view


def once(operation: Operation) -> None:
    """Make a bound operation heed `Idempotency-Key`."""
    view = operation.view_func

    @functools.wraps(view)
    def call(request: HttpRequest, **values: Any) -> Any:
        key = _key(request)
        if key is None:
            return view(request, **values)
        return _Call(operation, view, request, values, key).answer()

    operation.view_func = call


def _key(request: HttpRequest) -> str | None:
    key = request.headers.get(HEADER)
    if key is None or (0 < len(key) <= LONGEST and is_printable(key, blanks=True)):
        return key
    sentence = f"must have 1 to {LONGEST} printable ASCII characters"
    raise Invalid({HEADER: [sentence]})


class _Call:
    """One call with a key."""

    def __init__(
        self,
        operation: Operation,
        view: View,
        request: HttpRequest,
        values: dict[str, Any],
        key: str,
    ) -> None:
        self._operation, self._view = operation, view
        self._request, self._values = request, values
        self._key = key
        self._token = actor(request).id or 0
        self._digest = _digest(request)

    def answer(self) -> HttpResponse:
        row = stored_answers.find(self._token, self._key)
        if row is None:
            content, row = self._run()
            if content is not None:
                return self._done(row, content)
        if row.request != self._digest:
            raise KeyReused
        answer = self._done(row, json.loads(row.body))
        answer[REPLAYED] = "true"
        return answer

    def _run(self) -> tuple[Any, StoredAnswer]:
        """Run the call; no content if another one with this key came first."""
        if getattr(self._view, "reads", False):
            response = self._respond()
            with transaction.atomic():
                row, first = stored_answers.claim(self._token, self._key, self._digest)
                return (_keep(row, response, Deferred(), set()) if first else None), row
        for value in self._values.values():
            if isinstance(value, Prepared):
                value.prepare(actor(self._request))
        with transaction.atomic():
            row, first = stored_answers.claim(self._token, self._key, self._digest)
            if not first:
                return None, row
            with deferred() as waiting, noted() as secrets:
                response = self._respond()
            return _keep(row, response, waiting, secrets), row

    def _respond(self) -> HttpResponse:
        """The view's answer, as ninja makes it of what the view returns."""
        named = self._operation.signature.response_arg
        response = self._values.get(named or "")
        if response is None:
            response = self._operation.api.create_temporal_response(self._request)
        result = self._view(self._request, **self._values)
        made = self._operation._result_to_response(self._request, result, response)  # noqa: SLF001 - ninja has no public way
        assert isinstance(made, HttpResponse)  # noqa: S101 - no POST of ours streams
        return made

    def _done(self, row: StoredAnswer, content: Any) -> HttpResponse:
        """The answer once the gateway follows; raises NotInForce if it must and does not."""
        receipt = None
        if row.sequence:
            try:
                receipt = shown_receipt(confirm(Saved(value=None, sequence=row.sequence)))
            except NotInForce:
                if row.revokes:
                    raise
            _settle(content, receipt)
        answer = self._operation.api.create_response(self._request, content, status=row.status)
        if row.etag:
            answer["ETag"] = row.etag
        return answer


def _digest(request: HttpRequest) -> str:
    """What the same call has again, keyed: a password in a body must not be guessable from it."""
    try:
        body = json.dumps(json.loads(request.body), sort_keys=True).encode()
    except (ValueError, RecursionError):
        # An operation without a body takes any.
        body = request.body
    target = f"{request.method} {request.get_full_path()}".encode()
    return salted_hmac(__name__, target + b"\0" + body, algorithm="sha256").hexdigest()


def _keep(row: StoredAnswer, response: HttpResponse, waiting: Deferred, secrets: set[str]) -> Any:
    """Store the answer in the caller's transaction; returns it as it is, with its secrets."""
    content = json.loads(response.content)
    row.status, row.etag = response.status_code, response.get("ETag", "")
    row.body = json.dumps(_masked(content, secrets), ensure_ascii=False)
    row.sequence, row.revokes = waiting.sequence, waiting.revokes
    row.save()
    return content


def _masked(content: Any, secrets: set[str]) -> Any:
    if isinstance(content, Mapping):
        return {name: _masked(each, secrets) for name, each in content.items()}
    if isinstance(content, list):
        return [_masked(each, secrets) for each in content]
    if not isinstance(content, str) or not content:
        return content
    if content in secrets:
        return MASK
    for secret in secrets:
        if len(secret) >= LEAST_WITHIN:
            content = content.replace(secret, MASK)
    return content


def _settle(content: Any, receipt: Revocation | None) -> None:
    """Say in an answer that the gateway follows, or that it is not known to: then without a receipt."""
    for part in (content, content.get("result"), content.get("data")):
        if not isinstance(part, dict):
            continue
        if receipt is not None and isinstance(part.get("warnings"), list):
            part["warnings"] = [each for each in part["warnings"] if each != UNCONFIRMED]
        if part.get("revocation") is not None:
            part["revocation"] = receipt.dict() if receipt is not None else None
