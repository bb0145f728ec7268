"""A browser without scripts, in this process: a member who opens pages and sends their forms."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

from django.test import Client

from ostiary.directory.models import Member

HTML = "text/html,application/xhtml+xml"


class Browser:
    """Opens pages and sends forms as browsers do; redirects are followed, and can be gone back over."""

    def __init__(self, member: Member | None = None) -> None:
        self.client = Client()
        if member is not None:
            self.client.force_login(member)
        #: The address of the page that is shown, and its status.
        self.at, self.status = "", 0
        self.page = ""

    def open(self, path: str) -> str:
        return self._follow(self.client.get(path, headers={"Accept": HTML}), path)

    def send(self, path: str, content: dict[str, Any]) -> str:
        """Send a form with these fields. The page that it leads to."""
        headers = {"Accept": HTML, "Referer": f"http://testserver{self.at}"}
        answer = self.client.post(path, content, headers=headers)
        assert answer.status_code == 303, (path, answer.status_code, answer.content[:500])
        return self._follow(answer, path)

    def _follow(self, answer: Any, path: str) -> str:
        for _ in range(5):
            if answer.status_code not in {302, 303}:
                break
            path = answer.headers["Location"]
            answer = self.client.get(path, headers={"Accept": HTML})
        self.at, self.status = path.partition("#")[0], answer.status_code
        self.page = unescape(b"".join(answer).decode())
        return self.page

    def hidden(self) -> dict[str, str]:
        """The hidden fields of the page's first form in the main part."""
        fields = _Fields()
        fields.feed(self.page.partition("<main")[2])
        return fields.hidden


class _Fields(HTMLParser):
    """The hidden fields of a page's first form."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}
        self._inside = self._done = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form" and not self._done:
            self._inside = True
        if tag == "input" and self._inside and given.get("type") == "hidden":
            self.hidden[str(given["name"])] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._inside:
            self._inside, self._done = False, True


def shown_secret(page: str) -> str:
    found = re.search(r'id="secret" readonly value="([^"]+)"', page)
    assert found, page
    return found[1]
