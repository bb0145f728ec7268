"""Every address of the console, filled in with the ids of what a test made."""

from collections.abc import Iterator, Mapping

from django.urls import URLPattern

from ostiary.console.urls import urlpatterns


def addresses(ids: Mapping[str, int]) -> Iterator[str]:
    """A path for each pattern below `/`, but for the management API's own; unknown ids are 1."""
    for each in urlpatterns:
        if not isinstance(each, URLPattern):
            continue
        path = str(each.pattern)
        for name, converter in each.pattern.converters.items():
            number = type(converter).__name__ == "IntConverter"
            value = str(ids.get(name, 1)) if number else "x"
            path = path.replace(f"<int:{name}>", value).replace(f"<str:{name}>", value)
            path = path.replace(f"<{name}>", value).replace(f"<slug:{name}>", value)
        if "<" not in path:
            yield f"/{path}"
