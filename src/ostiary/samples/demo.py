"""The demo of a first start: something of everything, ready to be called."""

import io
from pathlib import Path

from PIL import Image, ImageDraw

from ostiary.access import limits
from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, connections, endpoints
from ostiary.directory.clients import access_profiles, clients, policies
from ostiary.directory.models import Collection, Recipe
from ostiary.directory.people import members
from ostiary.directory.workspace import setup

ADMIN = "admin@localhost.localdomain"

ORDERS = (
    ("List orders", "GET", "/orders"),
    ("Show an order", "GET", "/orders/{id}"),
    ("Place an order", "POST", "/orders"),
)
TOOLS = (
    ("Total of an order", "POST", "/total", "order_total"),
    ("Shipping quote", "GET", "/shipping-quote", "shipping_quote"),
)


def create(*, upstream: str, console: str, gateway: str, recipes: Path) -> str:
    """Make the demo in an empty directory; returns what to show the operator, this once."""
    del recipes  # the runner puts the demo's recipes into its folder
    setup.ensure()
    orders = _orders(upstream)
    tools = _tools()
    policy = policies.create(
        by=SYSTEM,
        given=policies.PolicyInput(
            name="Demo: 60 a minute, 10,000 a month",
            rate_limits=[policies.RateLimit(limit=60, interval=limits.Interval.MINUTE)],
            usage_quota=policies.UsageQuota(limit=10_000, interval=limits.Period.MONTH),
        ),
    ).value
    client = clients.create(
        by=SYSTEM,
        given=clients.ClientInput(name="Acme Corporation", description="A made-up client"),
        logo_file=_logo(),
    )
    _, token = access_profiles.create(
        by=SYSTEM,
        given=access_profiles.NewProfileInput(
            client_id=client.pk,
            auth_type="token",
            name="Acme order script",
            collection_ids=[orders.pk, tools.pk],
            policy_id=policy.pk,
        ),
    )
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
