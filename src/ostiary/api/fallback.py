"""Around every call below `/api/`: JSON for errors that Django itself answers, and the limits' headers."""

import json
from collections.abc import Callable
from http.client import responses

from django.http import HttpRequest, HttpResponse

from ostiary.api import call_limits
from ostiary.api.error_codes import of_status

GetResponse = Callable[[HttpRequest], HttpResponse]


class Heads:
    """Answers HEAD below `/api/` as GET, without the content (RFC 9110, section 9.3.2)."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method != "HEAD" or not request.path.startswith("/api/"):
            return self._get_response(request)
        request.method = "GET"
        response = self._get_response(request)
        request.method = "HEAD"
        length = len(response.content)
        response.content = b""
        response["Content-Length"] = str(length)
        return response


class JsonErrors:
    """Gives an unknown path or a wrong method below `/api/` the API's shape of an error."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        call_limits.add_headers(request, response)
        kind = response.headers.get("Content-Type", "")
        if not request.path.startswith("/api/") or response.status_code < 400 or "json" in kind:
            return response
        message = responses.get(response.status_code, "Error").capitalize()
        answer = HttpResponse(
            json.dumps({"message": message, "code": of_status(response.status_code).value}),
            status=response.status_code,
            content_type="application/json; charset=utf-8",
        )
        if "Allow" in response.headers:
            answer["Allow"] = response.headers["Allow"]
        return answer
