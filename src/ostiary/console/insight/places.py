"""Pages and actions that the search box finds by their names, beside objects."""

from collections.abc import Iterator
from dataclasses import dataclass

from ostiary.directory.actor import Actor, Role

#: Places that are shown at most.
MOST = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPage:
    """A page or an action: its label, other words for it, the name of its address, and who may go there."""

    label: str
    address: str
    words: str = ""
    #: Whether it changes something, or is for admins only.
    changes: bool = False
    for_admins: bool = False

    def open_to(self, by: Actor) -> bool:
        if self.for_admins:
            return by.admin
        return not self.changes or by.may_somewhere(Role.EDITOR)


PLACES = (
    NamedPage(label="Overview", address="home", words="home start attention"),
    NamedPage(label="Clients", address="clients", words="customers partners"),
    NamedPage(label="Access profiles", address="access-profiles", words="consumers"),
    NamedPage(label="Credentials", address="credentials", words="tokens keys secrets"),
    NamedPage(label="API collections", address="collections", words="apis"),
    NamedPage(label="Endpoints", address="endpoints", words="paths routes"),
    NamedPage(label="Address lists", address="address-lists", words="ip allowlist"),
    NamedPage(label="Policies", address="policies", words="rate limits quotas"),
    NamedPage(label="Connections", address="connections", words="upstreams"),
    NamedPage(label="Recipes", address="recipes", words="functions"),
    NamedPage(label="Webhooks", address="webhooks", words="events"),
    NamedPage(label="Usage", address="usage", words="statistics charts"),
    NamedPage(label="Logs", address="logs", words="requests calls"),
    NamedPage(label="Explain", address="explain", words="why refused simulate"),
    NamedPage(label="Advice", address="advice", words="suggestions"),
    NamedPage(label="Projects", address="projects"),
    NamedPage(label="Configuration files", address="configuration-sets", words="sets drift git"),
    NamedPage(label="Members", address="members", words="people users", for_admins=True),
    NamedPage(label="Management tokens", address="tokens", words="api", for_admins=True),
    NamedPage(label="Audit log", address="audit-log", words="history changes"),
    NamedPage(label="Settings", address="settings", words="workspace", for_admins=True),
    NamedPage(label="Single sign-on", address="single-sign-on", words="oidc sso", for_admins=True),
    NamedPage(label="Nodes", address="nodes", words="machines", for_admins=True),
    NamedPage(label="Your account", address="account", words="password passkey second factor"),
    NamedPage(label="Management API", address="management-api", words="reference openapi"),
    NamedPage(label="Protect your API", address="protect", words="new start", changes=True),
    NamedPage(label="New client", address="new-client", words="create add", changes=True),
    NamedPage(
        label="New collection", address="new-collection", words="create add api", changes=True
    ),
    NamedPage(label="New connection", address="new-connection", words="create add", changes=True),
    NamedPage(label="New policy", address="new-policy", words="create add limit", changes=True),
    NamedPage(
        label="New address list", address="new-address-list", words="create ip", changes=True
    ),
    NamedPage(label="New webhook", address="new-webhook", words="create add", changes=True),
)


def named(by: Actor, text: str) -> Iterator[NamedPage]:
    """Places whose names begin with all the words of a text."""
    asked = text.lower().split()
    for place in PLACES:
        names = f"{place.label} {place.words}".lower().split()
        fits = all(any(name.startswith(word) for name in names) for word in asked)
        if asked and fits and place.open_to(by):
            yield place
