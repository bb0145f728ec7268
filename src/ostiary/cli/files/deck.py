"""Kong's declarative configuration (deck, formats 1.1 to 3.0) converted to configuration files.

What has no counterpart here is reported, and nothing is guessed: a service that anybody may call is
left out, a plugin that is not known is named. Keys of consumers become digests, so that no secret
stands in the files that are written; a secret of an HMAC is a reference to a variable.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ostiary.cli.failure import Failure

_LARGEST = 32 * 1024 * 1024
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: Windows of Kong's rate limits that are rate limits here, and the one that is a quota.
_RATES, _QUOTA = ("second", "minute", "hour", "day"), "month"
_ALGORITHMS = {"HS": "hmac", "RS": "rsa", "PS": "rsa", "ES": "ecdsa", "Ed": "eddsa"}
_KNOWN = frozenset({"key-auth", "jwt", "acl", "rate-limiting", "ip-restriction"})

_NOT_CONVERTED = (
    "basicauth_credentials", "hmacauth_credentials", "oauth2_credentials", "mtls_auth_credentials",
)  # fmt: skip

Entry = dict[str, Any]


@dataclass(slots=True)
class Converted:
    """A configuration, and what of the file has no counterpart in it."""

    content: dict[str, Any]
    report: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Service:
    name: str
    key: str
    #: Plugins by name.
    plugins: Mapping[str, Entry]


def read(path: Path) -> Mapping[str, Any]:
    """Read the file; raises Failure."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise Failure(f"{path} can't be read: {error.strerror}.") from None
    if len(raw) > _LARGEST:
        raise Failure(f"{path} is larger than {_LARGEST // 1024**2} MB.")
    try:
        content = yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Failure(f"{path} is not valid YAML.") from None
    if not isinstance(content, dict) or "_format_version" not in content:
        raise Failure(f"{path} is not a configuration of Kong: it has no _format_version.")
    return content


def convert(deck: Mapping[str, Any], *, set_name: str, project: str) -> Converted:
    """Convert a file that `read` has read."""
    return _Converter(deck, set_name, project).converted()


class _Converter:
    def __init__(self, deck: Mapping[str, Any], set_name: str, project: str) -> None:
        self._deck = deck
        self._made = Converted({"format": 1, "set": set_name, "project": project})
        self._keys: dict[str, set[str]] = {}
        self._services: list[_Service] = []
        self._policies: dict[str, Entry] = {}

    def converted(self) -> Converted:
        for name in self._deck:
            if not name.startswith("_") and name not in {
                "services", "routes", "consumers", "consumer_groups", "plugins", "upstreams",
            }:  # fmt: skip
                self._say(name, "has no counterpart")
        for name in ("consumer_groups", "upstreams"):
            if self._deck.get(name):
                self._say(name, "is not converted")
        everywhere = self._plugins("the whole file", self._deck)
        connections, collections = [], []
        for number, service in enumerate(_list(self._deck, "services")):
            found = self._service(number, service, everywhere)
            if found is not None:
                connections.append(found[0])
                collections.append(found[1])
        for route in _list(self._deck, "routes"):
            self._say(f"route {route.get('name', '?')}", "stands outside of a service")
        clients = [
            client
            for number, each in enumerate(_list(self._deck, "consumers"))
            if (client := self._consumer(number, each, everywhere)) is not None
        ]
        self._made.content |= {
            name: entries
            for name, entries in (
                ("policies", list(self._policies.values())),
                ("connections", connections),
                ("collections", collections),
                ("clients", clients),
            )
            if entries
        }
        return self._made

    def _say(self, where: str, sentence: str) -> None:
        self._made.report.append(f"{where}: {sentence}")

    def _key(self, kind: str, name: str) -> str:
        """A key made of a name, which no other object of the kind has."""
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:56] or kind
        taken = self._keys.setdefault(kind, set())
        key = next(k for k in (slug, *(f"{slug}-{n}" for n in range(2, 100_000))) if k not in taken)
        taken.add(key)
        return key

    def _plugins(self, where: str, owner: Mapping[str, Any]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for plugin in _list(owner, "plugins"):
            name = str(plugin.get("name"))
            scope = next((s for s in ("service", "route", "consumer") if plugin.get(s)), "")
            if scope:
                self._say(f"plugin {name}", f"names its {scope}: put it inside of that")
            elif plugin.get("enabled") is False:
                self._say(f"{where}, plugin {name}", "is switched off, and left out")
            elif name in _KNOWN:
                found[name] = dict(plugin.get("config") or {})
            else:
                self._say(f"{where}, plugin {name}", "has no counterpart")
        return found

    def _service(
        self, number: int, service: Entry, everywhere: Mapping[str, Entry]
    ) -> tuple[Entry, Entry] | None:
        name = str(service.get("name") or service.get("host") or f"service-{number + 1}")
        where = f"service {name}"
        if service.get("enabled") is False:
            self._say(where, "is switched off, and left out")
            return None
        url = _url(service)
        if url is None:
            self._say(where, "has no URL and no host")
            return None
        plugins = {**everywhere, **self._plugins(where, service)}
        if not {"key-auth", "jwt"} & set(plugins):
            self._say(where, "asks for no credential: every caller needs one here. It is left out")
            return None
        if "rate-limiting" in plugins and "rate-limiting" not in everywhere:
            self._say(where, "limits its calls: limits belong to access profiles here")
        if "ip-restriction" in plugins and "ip-restriction" not in everywhere:
            self._say(where, "restricts addresses: those belong to access profiles here")
        routes = _list(service, "routes")
        handle, kept = self._handle(name, routes)
        endpoints = list(self._endpoints(where, routes, handle if kept else None))
        if not endpoints:
            self._say(where, "has no route that can be converted, and is left out")
            return None
        if not kept:
            self._say(where, f"its calls get another path: they begin with /{handle}")
        connection: Entry = {"key": self._key("connection", name), "name": name, "base_url": url}
        timeout = service.get("read_timeout")
        if type(timeout) is int and timeout >= 1000:
            connection["timeout_seconds"] = min(240, timeout // 1000)
        if type(service.get("retries")) is int:
            connection["retries"] = min(5, service["retries"])
        for option in ("client_certificate", "ca_certificates", "tls_verify"):
            if service.get(option) is not None:
                self._say(where, f"{option} is not converted")
        collection = {
            "key": handle, "name": name, "kind": "proxy", "connection": connection["key"],
            **self._places(plugins), "endpoints": endpoints,
        }  # fmt: skip
        self._services.append(_Service(name=name, key=handle, plugins=plugins))
        return connection, collection

    def _places(self, plugins: Mapping[str, Entry]) -> Entry:
        """Where Kong looks for keys, so that consumers need not change their calls."""
        if "key-auth" not in plugins:
            return {}
        config = plugins["key-auth"]
        names = [str(n) for n in config.get("key_names") or ["apikey"]]
        places = []
        for name in names:
            if config.get("key_in_header", True):
                places.append(name)
            if config.get("key_in_query", True):
                places.append(f"?{name}")
        return {"credential_places": places}

    def _handle(self, name: str, routes: list[Entry]) -> tuple[str, bool]:
        """The first segment of its paths, and whether calls keep their path by it."""
        paths = [str(path) for route in routes for path in route.get("paths") or ["/"]]
        firsts = {path.split("/")[1] if path.startswith("/") else "" for path in paths}
        taken = self._keys.setdefault("collection", set())
        if len(firsts) == 1 and _SEGMENT.fullmatch(first := firsts.pop()) and first not in taken:
            taken.add(first)
            return first, True
        return self._key("collection", name), False

    def _endpoints(self, where: str, routes: list[Entry], below: str | None) -> Iterator[Entry]:
        seen: set[tuple[str, str]] = set()
        for route in routes:
            name = str(route.get("name") or "route")
            place = f"{where}, route {name}"
            for condition in ("hosts", "headers", "snis", "sources", "destinations", "expression"):
                if route.get(condition):
                    self._say(
                        place, f"the condition {condition} has no counterpart, and is left out"
                    )
            for plugin in self._plugins(place, route):
                self._say(place, f"the plugin {plugin} of a route alone is not converted")
            for path in route.get("paths") or ["/"]:
                for entry in self._of_path(place, name, route, str(path), below):
                    mark = entry["method"], entry["path"]
                    if mark not in seen:
                        seen.add(mark)
                        yield entry

    def _of_path(
        self, place: str, name: str, route: Entry, path: str, below: str | None
    ) -> Iterator[Entry]:
        if path.startswith("~") or not re.fullmatch(r"/[A-Za-z0-9._~!$&'()+,=:@/-]*", path):
            self._say(place, f"the path {path} is a pattern, and is left out")
            return
        whole = path.rstrip("/")
        inner = whole.removeprefix(f"/{below}") if below is not None else whole
        # Kong takes everything that begins with a path, and drops that beginning unless told otherwise.
        target = "" if route.get("strip_path", True) else whole
        for method in route.get("methods") or ["ANY"]:
            for rest in ("", "/{path...}"):
                if not (inner or rest):
                    continue
                yield {
                    "method": str(method), "path": f"{inner}{rest}", "name": name, "active": True,
                    "target_path": f"{target}{rest}" or "/",
                }  # fmt: skip

    def _consumer(
        self, number: int, consumer: Entry, everywhere: Mapping[str, Entry]
    ) -> Entry | None:
        name = str(
            consumer.get("username") or consumer.get("custom_id") or f"consumer-{number + 1}"
        )
        where = f"consumer {name}"
        for other in _NOT_CONVERTED:
            if consumer.get(other):
                self._say(where, f"{other} are not converted")
        plugins = self._plugins(where, consumer)
        groups = {str(each.get("group")) for each in _list(consumer, "acls")}
        handles = [service.key for service in self._services if _may(service, groups)]
        profiles = list(self._profiles(where, name, consumer))
        if not profiles:
            self._say(where, "has no credential that can be converted, and is left out")
            return None
        if not handles:
            self._say(where, "may call no service that was converted, and is left out")
            return None
        common: Entry = {"collections": handles}
        limits = plugins.get("rate-limiting") or everywhere.get("rate-limiting")
        if limits is not None and (policy := self._policy(where, limits)):
            common["policy"] = policy
        addresses = plugins.get("ip-restriction") or everywhere.get("ip-restriction")
        if addresses is not None:
            common |= {
                ours: [str(each) for each in addresses[theirs]]
                for ours, theirs in (("ip_allow_list", "allow"), ("ip_deny_list", "deny"))
                if addresses.get(theirs)
            }
        client: Entry = {"key": self._key("client", name), "name": name}
        if consumer.get("custom_id"):
            client["description"] = f"custom_id {consumer['custom_id']}"
        return {**client, "profiles": [{**profile, **common} for profile in profiles]}

    def _profiles(self, where: str, name: str, consumer: Entry) -> Iterator[Entry]:
        """A profile for each credential of a consumer."""
        for number, each in enumerate(_list(consumer, "keyauth_credentials"), start=1):
            key = each.get("key")
            if not isinstance(key, str) or not key:
                self._say(where, "has a key without a value")
                continue
            yield {
                "key": self._key("profile", f"{name}-key-{number}"),
                "name": f"{name} key {number}",
                "auth_type": "token",
                "token_sha256": hashlib.sha256(key.encode()).hexdigest(),
            }
        for number, each in enumerate(_list(consumer, "jwt_secrets"), start=1):
            method = _ALGORITHMS.get(str(each.get("algorithm", "HS256"))[:2])
            if method is None or not each.get("key"):
                self._say(where, "has a JWT credential with no known algorithm or no key")
                continue
            own = self._key("profile", f"{name}-jwt-{number}")
            profile: Entry = {
                "key": own, "name": f"{name} JWT {number}", "auth_type": "jwt",
                "jwt_method": method, "access_profile_claim": "iss",
                "profile_key": str(each["key"]), "allow_without_exp": True,
            }  # fmt: skip
            if method == "hmac":
                variable = re.sub(r"[^A-Za-z0-9]", "_", f"profile_{own}_jwt_secret").upper()
                profile["jwt_secret"] = {"env": variable}
                self._say(where, f"set {variable} to its JWT secret when the files are applied")
            else:
                profile["jwt_secret"] = str(each.get("rsa_public_key") or "")
            self._say(
                where,
                "its JWTs need no exp, as with Kong: change allow_without_exp if they have one",
            )
            yield profile

    def _policy(self, where: str, limits: Mapping[str, Any]) -> str | None:
        rates = [
            {"limit": limits[window], "interval": window}
            for window in _RATES
            if type(limits.get(window)) is int and limits[window] > 0
        ]
        quota = limits.get(_QUOTA)
        if limits.get("year"):
            self._say(where, "a limit by the year has no counterpart")
        if limits.get("limit_by", "consumer") not in {"consumer", "credential"}:
            self._say(
                where, f"limits by {limits['limit_by']} have no counterpart, and are left out"
            )
            return None
        entry: Entry = {"rate_limits": rates}
        if type(quota) is int and quota > 0:
            entry["usage_quota"] = {"limit": quota, "interval": "month"}
        if not rates and len(entry) == 1:
            return None
        words = [f"{each['limit']} a {each['interval']}" for each in rates]
        words += [f"{quota} a month"] if "usage_quota" in entry else []
        name = ", ".join(words)
        if name not in self._policies:
            self._policies[name] = {"key": self._key("policy", name), "name": name, **entry}
        return str(self._policies[name]["key"])


def _may(service: _Service, groups: set[str]) -> bool:
    """Whether a consumer with these groups may call a service."""
    acl = service.plugins.get("acl")
    if acl is None:
        return True
    allowed = {str(each) for each in acl.get("allow") or acl.get("whitelist") or ()}
    denied = {str(each) for each in acl.get("deny") or acl.get("blacklist") or ()}
    return bool(groups & allowed) if allowed else not groups & denied


def _url(service: Entry) -> str | None:
    if service.get("url"):
        return str(service["url"])
    if not service.get("host"):
        return None
    scheme = str(service.get("protocol") or "http")
    port = service.get("port") or (443 if scheme in {"https", "grpcs"} else 80)
    return f"{scheme}://{service['host']}:{port}{service.get('path') or ''}"


def _list(owner: Mapping[str, Any], name: str) -> list[Entry]:
    found = owner.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
