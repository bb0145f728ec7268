"""The demo of a first start: something of everything, ready to be called."""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ostiary.access import limits
from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, connections, endpoints
from ostiary.directory.changes import audit_log
from ostiary.directory.clients import access_profiles, clients, credentials, handovers, policies
from ostiary.directory.models import (
    AccessProfile,
    AuditEvent,
    Client,
    Collection,
    Credential,
    DemoObject,
    Policy,
    Recipe,
)
from ostiary.directory.people import members
from ostiary.directory.workspace import setup
from ostiary.identity.secret import Secret
from ostiary.samples import demo_removal, demo_usage
from ostiary.samples.demo_admin import ADMIN

#: The demo's objects are as old as this; the web shop's first and the warehouse's credential are older.
MADE_DAYS, ISSUED_DAYS = 40, 200
#: Hours since the web shop got its newer credential, which it changes over to.
NEWER_HOURS = 4

WAREHOUSE = "Globex warehouse"

ORDERS = (
    ("List orders", "GET", "/orders"),
    ("Show an order", "GET", "/orders/{id}"),
    ("Place an order", "POST", "/orders"),
)
TOOLS = (
    ("Total of an order", "POST", "/total", "order_total"),
    ("Shipping quote", "GET", "/shipping-quote", "shipping_quote"),
)


def create(*, upstream: str, console: str, gateway: str, recipes: Path, now: int) -> str:
    """Make the demo in an empty directory; returns what to show the operator, this once.

    `now`: Unix seconds, the end of its week of usage.
    """
    del recipes  # the runner puts the demo's recipes into its folder
    setup.ensure()
    before = {model: _last(model) for model in demo_removal.KINDS.values()}
    events = audit_log.latest()
    orders = _orders(upstream)
    tools = _tools()
    acme = _client("Acme Corporation", logo_file=_logo())
    script, token = _profile(acme, "Acme order script", [orders, tools], policy_id=_policy().pk)
    week = _week(now, acme=acme, script=script, orders=orders, tools=tools)
    _mark(before)
    _date(now, events)
    _refresh_rows(week)
    demo_usage.store(week, now)
    admin = members.create(by=SYSTEM, email=ADMIN, name="Demo admin", admin=True)
    link = members.create_link(by=SYSTEM, member=admin)
    curl = f"curl -H 'API-TOKEN: {token.reveal()}'"
    return "\n".join((
        f"Console:  {console}/",
        f"Sign in:  {console}/sign-in/link#{link.reveal()}",
        "          (works once, for 24 hours)",
        f"Call:     {curl} {gateway}/{orders.handle}/orders",
        f"          {curl} '{gateway}/{tools.handle}/shipping-quote?weight_kg=2&country=DE'",
    ))  # fmt: skip


def _policy() -> Policy:
    return policies.create(
        by=SYSTEM,
        given=policies.PolicyInput(
            name="Demo: 60 a minute, 10,000 a month",
            rate_limits=[policies.RateLimit(limit=60, interval=limits.Interval.MINUTE)],
            usage_quota=policies.UsageQuota(limit=10_000, interval=limits.Period.MONTH),
        ),
    ).value


def _client(name: str, logo_file: bytes | None = None) -> Client:
    given = clients.ClientInput(name=name, description="A made-up client")
    return clients.create(by=SYSTEM, given=given, logo_file=logo_file)


def _profile(
    client: Client, name: str, granted: Sequence[Collection], **more: Any
) -> tuple[AccessProfile, Secret]:
    saved, token = access_profiles.create(
        by=SYSTEM,
        given=access_profiles.NewProfileInput(
            client_id=client.pk,
            auth_type="token",
            name=name,
            collection_ids=[each.pk for each in granted],
            **more,
        ),
    )
    return saved.value, token


def _week(
    now: int, *, acme: Client, script: AccessProfile, orders: Collection, tools: Collection
) -> demo_usage.DemoWeek:
    """More consumers, and what each of them calls."""
    listed, shown, placed = orders.endpoints.order_by("pk")
    total, quote = tools.endpoints.order_by("pk")
    shop, _ = _profile(acme, "Acme web shop", [orders, tools])
    globex = _client("Globex Logistics")
    warehouse, _ = _profile(globex, WAREHOUSE, [orders], allow_list=["198.51.0.0/16"])
    importer, _ = _profile(globex, "Globex old importer", [orders], active=False)
    nightly = policies.create(
        by=SYSTEM,
        given=policies.PolicyInput(
            name="Demo: 80 a day",
            usage_quota=policies.UsageQuota(limit=80, interval=limits.Period.DAY),
        ),
    ).value
    report, _ = _profile(
        _client("Initech"), "Initech nightly report", [orders, tools], policy_id=nightly.pk,
        allow_list=["203.0.113.40"], addresses_watched=True,
        expires_at=datetime.fromtimestamp(now, UTC) + timedelta(days=5),
    )  # fmt: skip
    credentials.refresh(by=SYSTEM, profile_id=shop.pk, overlap_seconds=handovers.OVERLAP)
    newer, older = credentials.alive(shop)[:2]
    moved = now - NEWER_HOURS * 3600
    pace, consumer = demo_usage.DemoPace, demo_usage.DemoConsumer
    of_script = consumer(
        profile=script, credential=_only(script), addresses=("198.51.100.23",),
        paces=(
            pace(endpoint=listed, path="/orders", hourly=8, milliseconds=24),
            pace(endpoint=placed, path="/orders", hourly=2, milliseconds=61),
            pace(endpoint=total, path="/total", hourly=3, milliseconds=38),
        ),
    )  # fmt: skip
    of_shop = consumer(
        profile=shop, credential=older, newer=newer, newer_since=moved,
        addresses=("203.0.113.10", "203.0.113.11"),
        paces=(
            pace(endpoint=shown, path="/orders/{id}", hourly=34, milliseconds=19),
            pace(endpoint=quote, path="/shipping-quote", hourly=12, milliseconds=33),
            pace(endpoint=placed, path="/orders", hourly=6, milliseconds=58),
        ),
    )  # fmt: skip
    of_warehouse = consumer(
        profile=warehouse, credential=_only(warehouse), addresses=("198.51.100.77",),
        paces=(pace(endpoint=shown, path="/orders/{id}", hourly=11, milliseconds=22),),
    )  # fmt: skip
    of_importer = consumer(
        profile=importer, credential=_only(importer), addresses=("198.51.100.90",), paces=()
    )
    of_report = consumer(
        profile=report, credential=_only(report), addresses=("203.0.113.40",), nightly_hour=2,
        paces=(pace(endpoint=listed, path="/orders", hourly=0, milliseconds=45),),
    )  # fmt: skip
    mistakes = (
        _mistake(of_warehouse, "GET", f"/{orders.handle}/orders/2", range(2), (9, 31, 48), "203.0.113.77"),
        _mistake(of_warehouse, "GET", f"/{tools.handle}/shipping-quote", range(1, 4), (26,)),
        _mistake(of_shop, "DELETE", f"/{orders.handle}/orders/17", range(0, 7, 2), (40,)),
        _mistake(of_script, "GET", f"/{orders.handle}/orders/", range(3), (55,)),
        _mistake(of_importer, "GET", f"/{orders.handle}/orders", range(8), (0,)),
    )  # fmt: skip
    return demo_usage.DemoWeek(
        consumers=(of_script, of_shop, of_warehouse, of_importer, of_report),
        mistakes=mistakes, hasty=of_script, thirsty=of_report, tried=listed,
    )  # fmt: skip


def _mistake(
    consumer: demo_usage.DemoConsumer, method: str, path: str, days: range,
    minutes: tuple[int, ...], address: str = "",
) -> demo_usage.DemoMistake:  # fmt: skip
    return demo_usage.DemoMistake(
        consumer=consumer, method=method, path=path, address=address or consumer.addresses[0],
        days=days, minutes=minutes,
    )  # fmt: skip


def _only(profile: AccessProfile) -> Credential:
    return credentials.alive(profile).get()


def _last(model: demo_removal.DemoModel) -> int:
    return model.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _mark(before: Mapping[demo_removal.DemoModel, int]) -> None:
    """Note what the demo made: whatever has a number above the last one before it."""
    for kind, model in demo_removal.KINDS.items():
        made = model.objects.filter(pk__gt=before[model]).values_list("pk", flat=True)
        DemoObject.objects.bulk_create(DemoObject(kind=kind, object_id=pk) for pk in made)


def _date(now: int, before: int) -> None:
    """Date what was made before the week, so that explanations of it find nothing changed since."""
    end = datetime.fromtimestamp(now, UTC)
    made, old = end - timedelta(days=MADE_DAYS), end - timedelta(days=ISSUED_DAYS)
    moved = end - timedelta(hours=NEWER_HOURS)
    for kind, model in demo_removal.KINDS.items():
        ids = demo_removal.all_of(kind)
        model.objects.filter(pk__in=ids).update(created_at=made, updated_at=made)
    profiles = AccessProfile.objects.filter(pk__in=demo_removal.all_of("profile"))
    profiles.update(active_since=made)
    profiles.exclude(policy=None).update(policy_since=made)
    issued = Credential.objects.filter(profile__in=profiles)
    rotated = issued.exclude(overlap_until=None)
    newer = issued.filter(profile__in=list(rotated.values_list("profile_id", flat=True)))
    issued.update(created_at=made)
    newer.filter(overlap_until=None).update(created_at=moved)
    issued.filter(profile__name=WAREHOUSE).update(created_at=old)
    rotated.update(created_at=old, overlap_until=moved + timedelta(days=1))
    events = AuditEvent.objects.filter(pk__gt=before)
    events.exclude(action="profile.refresh").update(at=made)
    events.filter(action="profile.refresh").update(at=moved)


def _refresh_rows(week: demo_usage.DemoWeek) -> None:
    """Read again what was dated."""
    for consumer in week.consumers:
        consumer.profile.refresh_from_db()
        consumer.credential.refresh_from_db()


def _orders(upstream: str) -> Collection:
    connection = connections.create(
        by=SYSTEM,
        given=connections.ConnectionInput(
            name="Sample orders service", base_urls=[upstream], health_path=""
        ),
    ).value
    collection = collections.create(
        by=SYSTEM,
        given=collections.CollectionInput(
            name="Orders",
            description="The sample orders service, through the gateway",
            connection_id=connection.pk,
        ),
    ).value.collection
    for name, method, path in ORDERS:
        endpoints.create(
            by=SYSTEM,
            collection_id=collection.pk,
            given=endpoints.EndpointInput(name=name, method=method, path=path, active=True),
        )
    return collection


def _tools() -> Collection:
    collection = collections.create(
        by=SYSTEM,
        given=collections.CollectionInput(
            name="Order tools", description="Two Python functions", kind="recipe"
        ),
    ).value.collection
    for name, method, path, recipe_name in TOOLS:
        # The runner tells the rest of it as soon as it has read the folder.
        recipe, _ = Recipe.objects.get_or_create(name=recipe_name)
        endpoints.create(
            by=SYSTEM,
            collection_id=collection.pk,
            given=endpoints.EndpointInput(
                name=name, method=method, path=path, recipe_id=recipe.pk, active=True
            ),
        )
    return collection


def _logo() -> bytes:
    image = Image.new("RGBA", (192, 192), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, 191, 191), radius=40, fill=(38, 84, 124))
    draw.polygon(((96, 40), (152, 150), (40, 150)), fill=(255, 209, 102))
    draw.polygon(((96, 86), (118, 130), (74, 130)), fill=(38, 84, 124))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
