"""The recipe runner's process: calls from the gateway on one socket, owners' questions on another."""

import asyncio
import base64
import contextlib
import json
import logging
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.resources import files as resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn
import uvloop

from ostiary.access.reasons import Reason, describe
from ostiary.recipes import measures
from ostiary.recipes.folder import RecipeFolder
from ostiary.recipes.inputs import BadInput, merged
from ostiary.recipes.jobs import Job, Jobs, now
from ostiary.recipes.pool import Died, Overloaded, Pool, TooLong
from ostiary.telemetry import exposition, tracing

log = logging.getLogger(__name__)

LARGEST_BODY = 5 * 1024 * 1024
WORKERS = 2
#: Headers that a recipe does not see: credentials, and what we say to the runner.
HIDDEN = frozenset({"authorization", "api-token", "cookie", "proxy-authorization"})
OURS = "x-ostiary-"

Headers = Mapping[str, str]


def serve(
    *,
    data: Path,
    recipes: Path,
    run: Path,
    calls: socket.socket,
    control: socket.socket,
    ready: Callable[[], None],
) -> None:
    """Run until SIGTERM. Both sockets are listening already; `ready` is called once."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(data, recipes, run, calls, control, ready))


async def _serve(
    data: Path,
    recipes: Path,
    run: Path,
    calls: socket.socket,
    control: socket.socket,
    ready: Callable[[], None],
) -> None:
    kept = data / "recipes-kept"
    for folder_path in (recipes, kept):
        folder_path.mkdir(parents=True, exist_ok=True)
    if (data / "demo.json").exists():
        install_demo(recipes)
    pool, jobs = Pool(WORKERS), Jobs(data / "jobs.sqlite3")
    folder = RecipeFolder(recipes, kept, pool)
    await folder.read()
    await pool.warm()
    tasks = [asyncio.create_task(folder.watch()), asyncio.create_task(_flush(jobs))]
    servers = [_server(Calls(pool, jobs)), _server(RunnerControl(folder, jobs))]
    running = [
        asyncio.create_task(server.serve(sockets=[sock]))
        for server, sock in zip(servers, (calls, control), strict=True)
    ]
    while not all(server.started for server in servers):  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.01)
    measures.WORKERS.set(WORKERS)
    shown = await exposition.show(run, "recipes")
    ready()
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*running)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    shown.close()
    jobs.close()
    await pool.close()


def install_demo(folder: Path) -> None:
    """Copy the demo's recipes into a folder; files that are there stay."""
    for source in (resources("ostiary.recipes") / "demo").iterdir():
        target = folder / source.name
        if source.name.endswith(".py") and source.name != "__init__.py" and not target.exists():
            with source.open("rb") as inward, target.open("wb") as outward:
                shutil.copyfileobj(inward, outward)


async def _flush(jobs: Jobs) -> None:
    while True:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(jobs.flush)


def _server(application: Any) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            application, http="httptools", lifespan="off", log_config=None, access_log=False,
            server_header=False, timeout_keep_alive=75,
        )
    )  # fmt: skip


class Calls:
    """Calls that the gateway let through."""

    def __init__(self, pool: Pool, jobs: Jobs) -> None:
        self._pool, self._jobs = pool, jobs

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        body = await _body(receive)
        if body is None:
            await _refuse(send, Reason.INPUT_TOO_LARGE, headers)
            return
        try:
            given = merged(
                template=headers.get("x-ostiary-base", "") + headers.get("x-ostiary-template", ""),
                path=scope["raw_path"].decode("latin-1").partition("?")[0],
                query=scope["query_string"].decode("latin-1"),
                content_type=headers.get("content-type", ""),
                body=body,
            )
        except BadInput as error:
            await _refuse(send, Reason.INPUT_INVALID, headers, {error.field: [error.sentence]})
            return
        await self._run(send, headers, given)

    async def _run(self, send: Any, headers: Headers, given: dict[str, Any]) -> None:
        with tracing.span("recipe", headers) as span:
            outcome = measures.bounded(await self._called(send, headers, given))
            span.rename(f"recipe {headers.get('x-ostiary-recipe', '')}")
            span.tell(
                ostiary__outcome=outcome,
                ostiary__profile=int(headers.get("x-ostiary-profile", "0")),
                ostiary__request_id=headers.get("x-ostiary-request-id", ""),
            )
            if outcome not in {"ok", "invalid", "absent"}:
                span.fail()

    async def _called(self, send: Any, headers: Headers, given: dict[str, Any]) -> str:
        """Call a recipe and answer; how it ended, in a word."""
        began, clock = now(), time.perf_counter()
        trace = ""
        answer: dict[str, Any] = {}
        try:
            with measures.CALLING.track_inprogress():
                answer = await self._pool.call(
                    _message(headers, given), seconds=float(headers.get("x-ostiary-timeout", "30"))
                )
            outcome, trace = str(answer["outcome"]), str(answer.get("trace", ""))
        except Overloaded:
            measures.called("overloaded", time.perf_counter() - clock)
            await _refuse(send, Reason.OVERLOADED, headers)
            return "overloaded"
        except TooLong:
            outcome, trace = "timeout", "The recipe did not end in its time and was stopped."
        except Died:
            outcome, trace = "died", "The recipe's process ended: out of memory, or ended by it."
        measures.called(outcome, time.perf_counter() - clock)
        if outcome == "absent":
            await _refuse(send, Reason.RECIPE_STOPPED, headers)
            return outcome
        self._jobs.add(
            Job(
                recipe=headers.get("x-ostiary-recipe", ""),
                client=int(headers.get("x-ostiary-client", "0")),
                profile=int(headers.get("x-ostiary-profile", "0")),
                request_id=headers.get("x-ostiary-request-id", ""),
                started=began,
                milliseconds=round((time.perf_counter() - clock) * 1000),
                outcome=outcome,
                trace=trace,
            )
        )
        await _present(send, headers, outcome, answer)
        return outcome


async def _present(send: Any, headers: Headers, outcome: str, answer: dict[str, Any]) -> None:
    if outcome == "ok":
        await _send(send, 200, answer["result"])
    elif outcome == "invalid":
        await _refuse(send, Reason.INPUT_INVALID, headers, answer["errors"])
    elif outcome == "timeout":
        await _refuse(send, Reason.UPSTREAM_TIMEOUT, headers)
    else:
        log.warning(
            "recipe %s: %s",
            headers.get("x-ostiary-recipe"), outcome,
            extra={"request_id": headers.get("x-ostiary-request-id")},
        )  # fmt: skip
        await _refuse(send, Reason.RECIPE_FAILED, headers)


def _message(headers: Headers, given: dict[str, Any]) -> dict[str, Any]:
    claims = headers.get("x-ostiary-claims", "")
    padded = claims + "=" * (-len(claims) % 4)
    return {
        "op": "call",
        "recipe": headers.get("x-ostiary-recipe", ""),
        "input": given,
        "validate": headers.get("x-ostiary-validate") != "0",
        "context": {
            "address": headers.get("x-ostiary-address", ""),
            "caller": {
                "client": int(headers.get("x-ostiary-client", "0")),
                "profile": int(headers.get("x-ostiary-profile", "0")),
                "auth_method": headers.get("x-ostiary-auth-method", ""),
            },
            "request_id": headers.get("x-ostiary-request-id", ""),
            "headers": {
                name: value
                for name, value in headers.items()
                if name not in HIDDEN and not name.startswith(OURS)
            },
            "claims": json.loads(base64.urlsafe_b64decode(padded)) if claims else {},
        },
    }


class RunnerControl:
    """Questions of the control side: which recipes there are, and how their jobs went."""

    def __init__(self, folder: RecipeFolder, jobs: Jobs) -> None:
        self._folder, self._jobs = folder, jobs

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        query = {k: v[0] for k, v in parse_qs(scope["query_string"].decode("latin-1")).items()}
        if scope["path"] == "/alive":
            # For the supervisor, which asks every second.
            await _send(send, 200, {})
        elif scope["path"] == "/recipes":
            await _send(
                send, 200,
                {"recipes": self._folder.recipes(), "errors": self._folder.errors()},
            )  # fmt: skip
        elif scope["path"] == "/jobs":
            jobs = await asyncio.to_thread(
                self._jobs.find,
                recipe=query.get("recipe", ""),
                request_id=query.get("request_id", ""),
                limit=min(int(query.get("limit", "100")), 1000),
            )
            await _send(send, 200, {"jobs": [asdict(job) for job in jobs]})
        else:
            await _send(send, 404, {"message": "Not found"})


async def _body(receive: Any) -> bytes | None:
    """The whole body, or nothing if it is too large (then the rest is read and dropped)."""
    body, more = b"", True
    while more:
        told = await receive()
        if told["type"] == "http.disconnect":
            return b""
        if len(body) <= LARGEST_BODY:
            body += told.get("body", b"")
        more = told.get("more_body", False)
    return body if len(body) <= LARGEST_BODY else None


async def _refuse(
    send: Any, reason: Reason, headers: Headers, errors: Mapping[str, Any] | None = None
) -> None:
    told = describe(reason)
    content: dict[str, Any] = {
        "message": told.public.message,
        "reason": told.public.name,
        "request_id": headers.get("x-ostiary-request-id", ""),
    }
    if errors is not None:
        content["errors"] = errors
    # For the gateway's log; callers do not get it.
    await _send(send, told.status, content, (b"x-ostiary-reason", b"%d" % told.code))


async def _send(send: Any, status: int, content: Any, *more: tuple[bytes, bytes]) -> None:
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
