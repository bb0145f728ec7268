"""The preview step before a save: the effect of a change on logged calls."""

from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.timezone import localtime

from ostiary.review.preview import Preview

#: Fields that are not part of what is changed.
_OURS = frozenset({"csrfmiddlewaretoken", "step"})


def confirmed(request: HttpRequest) -> bool:
    """Whether the user confirmed the preview."""
    return request.POST.get("step") == "save"


def going_back(request: HttpRequest) -> bool:
    """Whether the form is to be shown again as it was typed."""
    return request.POST.get("step") == "back"


def shown(request: HttpRequest, preview: Preview, *, name: str, cancel: str) -> HttpResponse:
    """The preview page; it carries the form's fields."""
    fields = list(carried(request.POST))
    return _shown(request, preview, fields, name=name, cancel=cancel, formed=True)


def before_switching_off(
    request: HttpRequest, preview: Preview, *, name: str, cancel: str
) -> HttpResponse:
    """The preview page of a deactivation; it includes the confirm button."""
    return _shown(request, preview, [("active", "0")], name=name, cancel=cancel, formed=False)


def _shown(
    request: HttpRequest,
    preview: Preview,
    fields: list[tuple[str, str]],
    *,
    name: str,
    cancel: str,
    formed: bool,
) -> HttpResponse:
    context = {
        "name": name,
        "cancel": cancel,
        "preview": preview,
        "sentences": sentences(preview),
        "fields": fields,
        "formed": formed,
    }
    return render(request, "console/preview.html", context)


def carried(data: QueryDict) -> Iterable[tuple[str, str]]:
    for name, values in data.lists():
        if name not in _OURS:
            yield from ((name, str(value)) for value in values)


def sentences(preview: Preview) -> list[str]:
    """A preview's result in words."""
    since = f"since {localtime(preview.start):%A, %-d %B, %H:%M} UTC"
    if not preview.calls:
        return [f"No calls are recorded {since}, so the effect is unknown.", *_share(preview)]
    said = []
    if preview.newly_refused:
        profiles = _count(preview.refused_profiles, "profile")
        said.append(
            f"It would have refused {_count(preview.newly_refused, 'call')} of {profiles} {since}."
        )
    if preview.newly_allowed:
        many = _count(preview.newly_allowed, "call")
        said.append(f"It would have let {many} in that would now be refused.")
    if preview.would_refuse:
        many = _count(preview.would_refuse, "call")
        said.append(
            f"It refuses nobody, since it is only watched; enforced, it would refuse {many}."
        )
    calls = _count(preview.calls, "call")
    if not said:
        said.append(f"None of the {calls} recorded {since} would have had another result.")
    else:
        said.append(f"{calls} of {_count(preview.profiles, 'profile')} were looked at.")
    said.extend(_share(preview))
    if preview.truncated:
        said.append("Only the newest recorded calls were replayed.")
    if preview.left_out:
        many = _count(preview.left_out, "other profile")
        said.append(f"{many} with fewer calls were not looked at.")
    if preview.sampled:
        said.append("Some log lines are samples, so the figures are estimates.")
    return said


def _share(preview: Preview) -> list[str]:
    """What part of the calls was looked at, where it is not all of them."""
    if preview.counted is None or preview.counted <= preview.calls:
        return []
    asked = f"{localtime(preview.asked):%A, %-d %B, %H:%M} UTC"
    part = f"{preview.calls / preview.counted:.1%}"
    share = f"{preview.calls:,} of the {preview.counted:,} calls ({part})"
    missing = "The log does not hold the others, so the real effect may be larger."
    return [f"Looked at: {share} that were counted since {asked}. {missing}"]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
