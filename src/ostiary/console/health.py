"""`/healthz`: whether this process can do its work."""

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from ostiary import settings


def healthz(request: HttpRequest) -> JsonResponse:
    """200 if the database answers and the authority's socket is there; else 503, with which."""
    checks = {
        "database": _database(),
        "authority": (settings.current().run / "authority.sock").exists(),
    }
    return JsonResponse(
        {"ok": all(checks.values()), "checks": checks}, status=200 if all(checks.values()) else 503
    )


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
