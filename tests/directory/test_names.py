"""Names in any script have a handle to read, and logos have addresses of their own."""

import io

import pytest
from PIL import Image

from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import clients
from ostiary.directory.models import Client, Collection


def picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (48, 48), colour).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "handle"),
    [
        ("Orders", "orders-v1"),
        ("Aufträge & Straßen", "auftrage-strassen-v1"),
        ("Заказы", "zakazy-v1"),
        ("订单", "dingdan-v1"),
        ("الطلبات", "ltlbt-v1"),
        ("คำสั่งซื้อ", "khamsangsueo-v1"),
        ("!!!", "api-v1"),
    ],
)
def test_a_name_in_any_script_makes_a_handle(
    collection: Collection, name: str, handle: str
) -> None:
    given = collections.CollectionInput(name=name, connection_id=collection.connection_id)
    made = collections.create(by=SYSTEM, given=given).value.collection
    assert made.handle == handle


def test_a_logo_never_has_the_address_of_an_earlier_one(client_of_ours: Client) -> None:
    seen = set()
    for colour in ("red", "green", "blue"):
        made = clients.set_logo(by=SYSTEM, client_id=client_of_ours.pk, content=picture(colour))
        seen.add(made.logo_version)
        clients.set_logo(by=SYSTEM, client_id=client_of_ours.pk, content=None)
    assert len(seen) == 3


def test_an_empty_file_is_no_logo_and_changes_nothing(client_of_ours: Client) -> None:
    had = clients.set_logo(by=SYSTEM, client_id=client_of_ours.pk, content=picture("red"))
    with pytest.raises(Invalid) as caught:
        clients.set_logo(by=SYSTEM, client_id=client_of_ours.pk, content=b"")
    assert caught.value.errors == {"logo": ["The logo must be a PNG or JPEG image."]}
    with pytest.raises(Invalid):
        clients.change(
            by=SYSTEM, client_id=client_of_ours.pk, given=clients.ClientInput(), logo_file=b""
        )
    client_of_ours.refresh_from_db()
    assert client_of_ours.logo_version == had.logo_version > 0
    assert bytes(client_of_ours.logo_small) == bytes(had.logo_small)


def test_a_logo_is_removed_only_when_asked(client_of_ours: Client) -> None:
    clients.set_logo(by=SYSTEM, client_id=client_of_ours.pk, content=picture("red"))
    assert clients.change(
        by=SYSTEM, client_id=client_of_ours.pk, given=clients.ClientInput(name="Other")
    ).logo_version
    changed = clients.change(
        by=SYSTEM, client_id=client_of_ours.pk, given=clients.ClientInput(), without_logo=True
    )
    assert (changed.logo_version, bytes(changed.logo_small)) == (0, b"")
