"""`/healthz` and `/readyz`, for process supervisors and load balancers."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from ostiary import __version__
from ostiary.operations import readiness
from ostiary.operations.metrics import may_look


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while this process answers; then a restart would not help."""
    return JsonResponse({"ok": True, "version": __version__})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 if all parts of this machine can do their work, else 503; a token shows the reasons."""
    states = readiness.check()
    ok = all(state.ok for state in states.values())
    content: dict[str, object] = {"ok": ok}
    if may_look(request):
        content["checks"] = {
            name: {"ok": state.ok, "state": state.said} for name, state in states.items()
        }
    return JsonResponse(content, status=200 if ok else 503)
