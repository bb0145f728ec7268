"""How a request of `ostiary doctor` arrived here: it asks through the public URL, and compares.

Only a caller that has the key ring gets an answer; everybody else gets 404.
"""

from django.core import signing
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from ostiary.middleware import public_address

#: Question and answer are signed apart from each other, and from all else.
QUESTION, ANSWER = "ostiary.doctor.question", "ostiary.doctor.answer"
HEADER = "X-Ostiary-Doctor"
#: Seconds for which a question is good.
SECONDS = 60


@require_safe
def show(request: HttpRequest) -> JsonResponse:
    try:
        nonce = signing.loads(request.headers.get(HEADER, ""), salt=QUESTION, max_age=SECONDS)
    except signing.BadSignature:
        raise Http404 from None
    told = {
        "nonce": nonce,
        "asked": public_address.address(request).asked,
        "public": public_address.address(request).public,
        "peer": request.META.get("ostiary.peer") or request.META.get("REMOTE_ADDR", ""),
        "address": request.META.get("REMOTE_ADDR", ""),
        "forwarded": request.headers.get("X-Forwarded-For", "")[:400],
    }
    return JsonResponse({"answer": signing.dumps(told, salt=ANSWER)})
