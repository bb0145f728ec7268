"""The demo's upstream: a small orders API, such as an owner might have. Keeps nothing on disk."""

import itertools
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LARGEST_BODY = 64 * 1024
MOST_ORDERS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAnswer:
    status: int
    body: Any


@dataclass(slots=True)
class Orders:
    """The orders, in memory."""

    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def sample(cls) -> "Orders":
        orders = cls()
        for item, quantity in (("brass key", 2), ("door bell", 1), ("oil lantern", 4)):
            orders.add({"item": item, "quantity": quantity})
        return orders

    def add(self, content: object) -> DemoAnswer:
        if not isinstance(content, dict) or not isinstance(content.get("item"), str):
            return DemoAnswer(status=422, body={"message": "item is missing"})
        quantity = content.get("quantity", 1)
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
            return DemoAnswer(
                status=422, body={"message": "quantity must be a number of at least 1"}
            )
        if len(self.orders) >= MOST_ORDERS:
            return DemoAnswer(status=507, body={"message": "the demo keeps no more orders"})
        number = next(self.ids)
        self.orders[number] = {"id": number, "item": content["item"], "quantity": quantity}
        return DemoAnswer(status=201, body=self.orders[number])

    def show(self, text: str) -> DemoAnswer:
        order = self.orders.get(int(text)) if text.isascii() and text.isdigit() else None
        if order is None:
            return DemoAnswer(status=404, body={"message": "there is no such order"})
        return DemoAnswer(status=200, body=order)

    def answer(self, method: str, path: str, body: bytes) -> DemoAnswer:
        match method, path.strip("/").split("/"):
            case "GET" | "HEAD", ["health"]:
                return DemoAnswer(status=200, body={"status": "ok"})
            case "GET" | "HEAD", ["orders"]:
                return DemoAnswer(status=200, body=list(self.orders.values()))
            case "GET" | "HEAD", ["orders", number]:
                return self.show(number)
            case "POST", ["orders"]:
                return self._post(body)
        return DemoAnswer(status=404, body={"message": "there is no such path"})

    def _post(self, body: bytes) -> DemoAnswer:
        try:
            return self.add(json.loads(body))
        except ValueError:
            return DemoAnswer(status=400, body={"message": "the body isn't JSON"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await _read(receive)
        if body is None:
            answer = DemoAnswer(status=413, body={"message": "the body is too large"})
        else:
            answer = self.answer(scope["method"], scope["path"], body)
        await _send(send, answer, head=scope["method"] == "HEAD")


async def _read(receive: Receive) -> bytes | None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > LARGEST_BODY:
            return None
    return body


async def _send(send: Send, answer: DemoAnswer, *, head: bool) -> None:
    body = json.dumps(answer.body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})
