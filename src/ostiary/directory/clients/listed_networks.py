"""Which profiles list an address: their own lists as rows, and the lists that they share.

An address is looked for by the networks that can hold it, of which there are as many as it has bits:
an index answers that, with however many profiles.
"""

import ipaddress
from collections.abc import Iterable

from django.db.models import Q, QuerySet

from ostiary.access import addresses
from ostiary.directory.actor import Actor
from ostiary.directory.models import AccessProfile, AddressList, ListedNetwork


def put(profile: AccessProfile) -> None:
    """Write the networks of a saved profile's own lists, in the caller's transaction."""
    wanted = _networks(profile)
    rows = ListedNetwork.objects.filter(profile=profile)
    held = set(rows.values_list("network", flat=True))
    if held - wanted:
        rows.exclude(network__in=wanted).delete()
    ListedNetwork.objects.bulk_create(
        ListedNetwork(profile=profile, network=network) for network in sorted(wanted - held)
    )


def put_new(profiles: Iterable[AccessProfile]) -> None:
    """`put` for profiles that were just inserted, and have no row yet."""
    ListedNetwork.objects.bulk_create(
        (
            ListedNetwork(profile=profile, network=network)
            for profile in profiles
            for network in sorted(_networks(profile))
        ),
        batch_size=500,
    )


def _networks(profile: AccessProfile) -> set[str]:
    entries = [*profile.allow_list, *profile.deny_list]
    return {str(network) for network in addresses.stored_networks(entries)} if entries else set()


def asked(text: str) -> addresses.Network | None:
    """The address or CIDR range that a search means; None: it is another text."""
    if not any(sign in text for sign in ".:"):
        return None
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None
    start = addresses.unmapped(network.network_address)
    if start.version != network.version:
        return ipaddress.ip_network((start, max(0, network.prefixlen - 96)), strict=False)
    return network


def listing(by: Actor, network: addresses.Network) -> Q:
    """Profiles with a list, of their own or shared, that holds an address or a whole range."""
    start = network.network_address
    holding = [
        str(ipaddress.ip_network((start, length), strict=False))
        for length in range(network.prefixlen + 1)
    ]
    own = ListedNetwork.objects.filter(network__in=holding).values("profile_id")
    shared = _shared(AddressList.objects.visible_to(by), network)
    through = (AccessProfile.allowed_lists.through, AccessProfile.denied_lists.through)
    where = Q(pk__in=own)
    if shared:
        for each in through:
            using = each.objects.filter(addresslist_id__in=shared)
            where |= Q(pk__in=using.values("accessprofile_id"))
    return where


def _shared(lists: QuerySet[AddressList], network: addresses.Network) -> list[int]:
    first, last = network.network_address, network.broadcast_address
    found = []
    for pk, name, packed in lists.values_list("pk", "name", "packed").iterator():
        holding = addresses.NamedList(id=pk, name=name, packed=packed).holding(first)
        if holding is not None and last in holding:
            found.append(pk)
    return found
