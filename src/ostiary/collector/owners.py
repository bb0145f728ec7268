"""The owners of credentials, profiles and endpoints, for ids that log lines and counters leave out."""

from collections.abc import Container, Iterable

from ostiary.directory.models import AccessProfile, Credential, Endpoint

#: Ids in one question.
AT_ONCE = 500
#: Most cached entries; beyond it, the cache is cleared.
MOST = 500_000


class Owners:
    """A cache of owners. An owner never changes while its object exists."""

    def __init__(self) -> None:
        self._credentials: dict[int, tuple[int, int]] = {}
        self._clients: dict[int, int] = {}
        self._methods: dict[int, str] = {}

    def learn(
        self,
        *,
        credentials: Iterable[int] = (),
        profiles: Iterable[int] = (),
        endpoints: Iterable[int] = (),
    ) -> None:
        """Look up unknown ids; missing ones are remembered as missing.

        Raises DatabaseError.
        """
        for known in (self._credentials, self._clients, self._methods):
            if len(known) > MOST:
                known.clear()
        for part in _unknown(credentials, self._credentials):
            rows = Credential.objects.filter(pk__in=part)
            owners = rows.values_list("pk", "profile_id", "profile__client_id")
            self._credentials |= dict.fromkeys(part, (0, 0)) | {
                pk: (profile, client) for pk, profile, client in owners
            }
        for part in _unknown(profiles, self._clients):
            clients = AccessProfile.objects.filter(pk__in=part).values_list("pk", "client_id")
            self._clients |= dict.fromkeys(part, 0) | dict(clients)
        for part in _unknown(endpoints, self._methods):
            methods = Endpoint.objects.filter(pk__in=part).values_list("pk", "method")
            self._methods |= dict.fromkeys(part, "") | dict(methods)

    def of_credential(self, credential: int) -> tuple[int, int]:
        """Profile and client."""
        return self._credentials.get(credential, (0, 0))

    def client_of(self, profile: int) -> int:
        return self._clients.get(profile, 0)

    def method_of(self, endpoint: int) -> str:
        return self._methods.get(endpoint, "")


def _unknown(ids: Iterable[int], known: Container[int]) -> list[list[int]]:
    wanted = sorted({number for number in ids if number and number not in known})
    return [wanted[at : at + AT_ONCE] for at in range(0, len(wanted), AT_ONCE)]
