"""Settings of the workspace: one typed value, stored a row per name."""

import ipaddress
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace

from django.db import transaction

from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log, etags, feed
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import Forbidden, Invalid
from ostiary.directory.changes.inputs import Text
from ostiary.directory.models import Setting
from ostiary.directory.workspace import origins
from ostiary.identity import fetching, places

log = logging.getLogger(__name__)

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|[0-9A-Fa-f:]{2,45}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What an admin may set. URLs are empty until set: then the listeners' own are shown."""

    name: str = "Ostiary"
    gateway_url: str = ""
    console_url: str = ""
    trusted_proxies: tuple[str, ...] = ()
    #: Hosts of OpenID providers, or `host:port`, that may be private and speak plain HTTP.
    fetch_hosts: tuple[str, ...] = ()
    #: Where calls may carry their credential besides API-TOKEN, Bearer and Basic (`identity.places`).
    credential_places: tuple[str, ...] = ()
    #: Members without a second factor must set one up before they can do anything.
    require_second_factor: bool = False
    #: Days until a management token expires for which no end is named.
    token_default_days: int = 90
    #: Days that a management token may live at most; 0: for ever.
    token_longest_days: int = 366
    #: Calls of the management API in a minute: of one token, of one address, and of those of one
    #: address the ones without a valid token. 0: any number.
    token_calls_per_minute: int = 0
    address_calls_per_minute: int = 0
    address_failures_per_minute: int = 120
    request_log_days: int = 30
    #: Lines of the request log that are kept at most, the newest.
    request_log_rows: int = 1_000_000
    #: For how long usage is kept by day, by hour and by minute.
    usage_day_days: int = 400
    usage_hour_days: int = 90
    usage_minute_days: int = 7
    audit_log_days: int = 400


#: Used in place of an invalid value, where the default would take a protection away.
_STRICT: Mapping[str, object] = {"require_second_factor": True}


def read() -> Workspace:
    """The settings as they are now. An invalid stored value counts as not set.

    It must not keep everybody from working: an older version, or SQL, may have written it.
    """
    known = {field.name for field in fields(Workspace)}
    stored: dict[str, object] = {}
    for setting in Setting.objects.all():
        if setting.name not in known:
            continue
        try:
            stored[setting.name] = _CHECKS[setting.name](setting.value)
        except ValueError as error:
            log.warning("the stored setting %s is not used: it %s", setting.name, error)
            if setting.name in _STRICT:
                stored[setting.name] = _STRICT[setting.name]
    return Workspace(**stored)  # type: ignore[arg-type]  # checked by name before


def change(
    *, by: Actor, values: Mapping[str, object], if_match: str | None = None
) -> Saved[Workspace]:
    """Set some of the settings; raises Invalid with all that do not fit, Forbidden, Stale."""
    if not by.admin:
        raise Forbidden("Only a workspace admin may change settings")
    errors: dict[str, list[str]] = {}
    checked = {name: _checked(name, value, errors) for name, value in values.items()}
    if errors:
        raise Invalid(errors)
    with transaction.atomic():
        before = read()
        etags.check_tag(etags.of_value(before), if_match)
        after = replace(before, **checked)  # type: ignore[arg-type]  # checked by name before
        if problem := _in_order(after):
            raise Invalid(problem)
        if after == before:
            return unchanged(after, feed.latest())
        for name, value in checked.items():
            Setting.objects.update_or_create(name=name, defaults={"value": value})
        audit_log.record(
            by,
            "settings.change",
            target_kind="settings",
            target_id=None,
            target_name="settings",
            before=asdict(before),
            after=asdict(after),
        )
        sequence = feed.announce(feed.Kind.SETTINGS, 0)
    return Saved(value=after, sequence=sequence)


def _in_order(after: Workspace) -> dict[str, list[str]]:
    """Days are added up from hours, and hours from minutes: the finer are not kept longer."""
    if 0 < after.token_longest_days < after.token_default_days:
        return {"token_default_days": ["must not exceed the longest life of a token"]}
    if after.usage_minute_days > after.usage_hour_days:
        return {"usage_minute_days": ["must not exceed the days for which usage by hour is kept"]}
    if after.usage_hour_days > after.usage_day_days:
        return {"usage_hour_days": ["must not exceed the days for which usage by day is kept"]}
    return {}


def _checked(name: str, value: object, errors: dict[str, list[str]]) -> object:
    try:
        return _CHECKS[name](value)
    except KeyError:
        errors[name] = ["isn't a setting"]
    except ValueError as error:
        errors[name] = [str(error)]
    return None


def _name(value: object) -> str:
    return Text(maximum=100).checked(value)


def _url(value: object) -> str:
    if value == "":
        return ""
    message = "must be an http or https URL without path, such as https://api.example.com"
    if not isinstance(value, str):
        raise ValueError(message)  # noqa: TRY004 - a sentence, as its siblings
    try:
        return origins.parse(value.removesuffix("/"))
    except origins.BadOrigin as error:
        raise ValueError(f"{message}: it {error}") from None


def _networks(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > 100:
        raise ValueError("must be a list of at most 100 addresses or CIDR ranges")
    networks = []
    for entry in value:
        try:
            # A zone id may hold anything, and belongs to one machine.
            network = ipaddress.ip_network("" if "%" in str(entry) else str(entry))
        except ValueError:
            raise ValueError(f"{str(entry)[:50]!r} isn't an address or CIDR range") from None
        if network.prefixlen == 0:
            raise ValueError(f"{entry} is everyone: then any caller could claim any address")
        networks.append(str(network))
    return tuple(networks)


def _hosts(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > 100:
        raise ValueError("must be a list of at most 100 hosts")
    for entry in value:
        if not isinstance(entry, str) or not _HOST.fullmatch(entry):
            raise ValueError(f"{str(entry)[:50]!r} isn't a host or host:port")
        # With one colon, a port follows it; with more, it is an address of IPv6.
        host = entry.partition(":")[0] if entry.count(":") == 1 else entry
        if fetching.link_local(host):
            raise ValueError(f"{entry!r} is a link-local address, where clouds keep their secrets")
    return tuple(entry.lower() for entry in value)


def _places(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list of at most {places.MOST} places")  # noqa: TRY004 - as its siblings
    return tuple(str(place) for place in places.parse_all(value))


def _number(least: int, most: int, of: str) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"must be a number of {of} from {least} to {most}")
        return value

    return check


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - a sentence, as its siblings
    return value


_CHECKS = {
    "name": _name,
    "gateway_url": _url,
    "console_url": _url,
    "trusted_proxies": _networks,
    "fetch_hosts": _hosts,
    "credential_places": _places,
    "require_second_factor": _flag,
    "token_default_days": _number(1, 3660, "days"),
    "token_longest_days": _number(0, 3660, "days"),
    "token_calls_per_minute": _number(0, 1_000_000, "calls"),
    "address_calls_per_minute": _number(0, 1_000_000, "calls"),
    "address_failures_per_minute": _number(0, 1_000_000, "calls"),
    "request_log_days": _number(1, 3660, "days"),
    "request_log_rows": _number(1000, 100_000_000, "lines"),
    # A month is added up from its days when it is over.
    "usage_day_days": _number(31, 3660, "days"),
    "usage_hour_days": _number(2, 366, "days"),
    "usage_minute_days": _number(1, 31, "days"),
    "audit_log_days": _number(1, 3660, "days"),
}
