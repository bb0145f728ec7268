"""The management API in this process, on the test database, with a gateway that confirms at once."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from ostiary import settings
from ostiary.api import call_limits
from ostiary.directory.actor import SYSTEM
from ostiary.directory.changes import confirmation
from ostiary.directory.changes.confirmation import Receipt
from ostiary.directory.changes.errors import NotInForce
from ostiary.directory.people import management_tokens
from ostiary.directory.workspace import setup
from ostiary.identity.sealing import KeyRing


class AtOnce:
    """A confirmer that remembers what it was asked to confirm."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        #: Streams of what is revoked.
        self.streams = 0
        #: Whether the gateway answers at all.
        self.answers = True

    def confirm(self, sequence: int) -> Receipt:
        self.asked.append(sequence)
        if not self.answers:
            raise NotInForce
        return Receipt(confirmed=1, of=1, ms=0.1, streams=self.streams)


class Api:
    """Calls with a management token; answers are status and JSON."""

    def __init__(self, token: str, confirmer: AtOnce) -> None:
        self.token, self.confirmer = token, confirmer
        self._client = Client()
        self.token_id = 0
        #: The id of the project *Home*.
        self.home = setup.home().pk

    def __call__(
        self, method: str, path: str, content: object | None = None, **headers: str
    ) -> tuple[int, Any]:
        answer = self.answer(method, path, content, **headers)
        return answer.status_code, json.loads(answer.content)

    def answer(self, method: str, path: str, content: object | None = None, **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        body = b"" if content is None else json.dumps(content).encode()
        return self._client.generic(
            method, f"/api/{path}", body, content_type="application/json", headers=sent
        )

    def done(self, method: str, path: str, content: object | None = None) -> Any:
        status, answer = self(method, path, content)
        assert status == 200, (status, answer)
        return answer

    def as_(self, **token: Any) -> "Api":
        """The same API for another management token."""
        issued = management_tokens.create(by=SYSTEM, name="other", **token)
        return Api(issued.secret.reveal(), self.confirmer)


@pytest.fixture
def api(db: None) -> Iterator[Api]:
    data = settings.current().data
    data.mkdir(parents=True, exist_ok=True)
    KeyRing.load_or_create(data / "keyring.json")
    setup.ensure()
    call_limits.counters.forget()
    confirmer = AtOnce()
    confirmation.install(confirmer)
    issued = management_tokens.create(by=SYSTEM, name="tests", admin=True)
    api = Api(issued.secret.reveal(), confirmer)
    api.token_id = issued.token.pk
    yield api
