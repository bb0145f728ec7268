"""What limits have counted now: as the gateway says, or the store that several gateways share."""

from collections.abc import Iterable, Mapping

from ostiary import settings
from ostiary.budgets.windows import StoreAway
from ostiary.gateway import control
from ostiary.gateway.node import control_socket
from ostiary.identity.sealing import KeyRing

#: The gateway and the store answer at once, or are not there.
SECONDS = 1.0


class CountsSilent(Exception):
    """Neither the gateway nor the store answers."""


def counted(keys: Iterable[str]) -> Mapping[str, int]:
    """Key of a counter (`contract.LIMIT_KEY`) → what it has counted, of those that are there.

    Of shared limits what nodes were granted counts, less what this machine's gateway has not spent.
    Raises CountsSilent.
    """
    names = list(keys)
    if not names:
        return {}
    own = _gateway(names)
    url = settings.current().redis_url
    if not url:
        if own is None:
            raise CountsSilent
        return own.used
    from ostiary.budgets import store

    try:
        shared = store.counted(url, names, owner=_owner(store.PURPOSE), seconds=SECONDS)
    except StoreAway:
        if own is None:
            raise CountsSilent from None
        return own.used
    held = own.held if own is not None else {}
    return {name: max(0, number - held.get(name, 0)) for name, number in shared.items()}


def _owner(purpose: str) -> str:
    return KeyRing.load(settings.current().data / "keyring.json").public_name(purpose)


def _gateway(names: Iterable[str]) -> control.Counted | None:
    try:
        path = control_socket(settings.current().run)
        return control.counted(path, names, seconds=SECONDS)
    except control.ControlError:
        return None
