"""Somebody with a cookie jar and no browser: sends what no page of ours would send."""

import re
from typing import Any

import httpx
from tests.stage import Stage


class Visitor:
    """Speaks HTTP to the console. Redirects are looked at, not followed."""

    def __init__(self, stage: Stage, agent: str = "Visitor/1") -> None:
        self._http = httpx.Client(
            base_url=f"http://localhost:{stage.control}",
            headers={"User-Agent": agent},
            trust_env=False,
            timeout=90,
        )
        self._port = stage.control

    def close(self) -> None:
        self._http.close()

    def headers(self, more: dict[str, str]) -> None:
        """Send these with every call from now on."""
        self._http.headers.update(more)

    @property
    def session(self) -> str | None:
        return self._http.cookies.get(f"ostiary_session_{self._port}")

    def be(self, session: str) -> None:
        """Use a session's key that was seen before."""
        name = f"ostiary_session_{self._port}"
        self._http.cookies.delete(name)
        self._http.cookies.set(name, session, domain="localhost.local")

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self._http.get(path, **more)

    def post(self, path: str, **form: str) -> httpx.Response:
        """A form with the token against forgery that a page would hold."""
        name = f"ostiary_csrf_{self._port}"
        if name not in self._http.cookies:
            self._http.get("/sign-in")
        form["csrfmiddlewaretoken"] = self._http.cookies[name]
        return self._http.post(path, data=form)

    def post_bare(self, path: str, **form: str) -> httpx.Response:
        return self._http.post(path, data=form)

    def by_link(self, link: str) -> httpx.Response:
        return self.post("/sign-in/link", code=link.partition("#")[2].strip())

    def with_password(self, email: str, password: str, **more: str) -> httpx.Response:
        return self.post("/sign-in", email=email, password=password, **more)

    def is_in(self) -> bool:
        return self.get("/clients").status_code == 200


def place(answer: httpx.Response) -> str:
    """Where an answer leads."""
    return str(answer.headers.get("location", ""))


def said(answer: httpx.Response) -> str:
    """The page without what differs each time: the token against forgery, and the time."""
    return re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"|data-now="[0-9]*"', "", answer.text)
