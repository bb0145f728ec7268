"""A gateway as it is written by hand in Python: FastAPI, slowapi and httpx. Run by bench.peers."""

import os
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded

KEY, UPSTREAM = os.environ["PEER_KEY"], os.environ["PEER_UPSTREAM"]  # noqa: TID251 - the environment of what it starts

limiter = Limiter(key_func=lambda request: request.headers.get("api-token", ""))
app = FastAPI()
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
client = httpx.AsyncClient(base_url=UPSTREAM, limits=httpx.Limits(max_connections=200))


def caller(request: Request) -> tuple[str, str]:
    if request.headers.get("api-token") != KEY:
        raise HTTPException(401)
    if not request.client.host.startswith("127."):
        raise HTTPException(403)
    return "1", "1"


@app.get("/bench-v1/orders/{number}")
@limiter.limit("100000000/minute")
async def orders(
    request: Request, number: str, who: Annotated[tuple[str, str], Depends(caller)]
) -> Response:
    headers = {"x-client": who[0], "x-profile": who[1], "x-forwarded-for": request.client.host}
    answer = await client.get(f"/orders/{number}", headers=headers)
    return Response(
        answer.content, answer.status_code, media_type=answer.headers.get("content-type")
    )
