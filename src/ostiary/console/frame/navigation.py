"""The pages of the navigation, and which of them a path belongs to."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import reverse


@dataclass(frozen=True, slots=True, kw_only=True)
class NavigationLink:
    """A page of the navigation: its label, the names of its address and its icon, and whose it is."""

    label: str
    address: str
    icon: str
    #: Parts of the paths of its pages, and of paths that have one of them and are not its pages.
    parts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    for_admins: bool = False

    @property
    def url(self) -> str:
        return reverse(self.address)

    def has(self, path: str) -> bool:
        """Whether a path is of this page, or of a page below it."""
        below = any(part in path for part in self.parts)
        return path == self.url or (below and not any(other in path for other in self.others))


@dataclass(frozen=True, slots=True, kw_only=True)
class NavigationGroup:
    """Links under one heading."""

    label: str
    links: tuple[NavigationLink, ...]


def _link(
    label: str, icon: str, *parts: str, others: tuple[str, ...] = (), for_admins: bool = False,
    address: str = "",
) -> NavigationLink:  # fmt: skip
    return NavigationLink(
        label=label, address=address or icon, icon=icon, parts=parts, others=others,
        for_admins=for_admins,
    )  # fmt: skip


GROUPS = (
    NavigationGroup(
        label="API platform",
        links=(
            _link("Overview", "overview", address="home"),
            _link("Clients", "clients", "/clients", "/profiles"),
            _link("Access profiles", "access-profiles", "/access-profiles"),
            _link("Credentials", "credentials", "/credentials", others=("/profiles",)),
            _link(
                "API collections", "collections", "/collections", "/endpoints/",
                others=("/endpoints/change",),
            ),
            _link("Endpoints", "endpoints", "/endpoints/change"),
            _link("Address lists", "address-lists", "/address-lists"),
            _link("Policies", "policies", "/policies"),
            _link("Connections", "connections", "/connections"),
            _link("Recipes", "recipes", "/recipes"),
            _link("Webhooks", "webhooks", "/webhooks"),
            _link("Usage", "usage"),
            _link("Logs", "logs", "/logs"),
            _link("Explain", "explain", "/explain"),
            _link("Advice", "advice", "/advice"),
        ),
    ),
    NavigationGroup(
        label="Workspace",
        links=(
            _link("Projects", "projects", "/projects", "/configuration-files"),
            _link("Members", "members", "/members", for_admins=True),
            _link("Management tokens", "tokens", "/tokens", for_admins=True),
            _link("Audit log", "audit", "/audit-log", address="audit-log"),
            _link("Recently deleted", "audit", "/recently-deleted", address="deleted-objects"),
            _link("Settings", "settings", "/settings", for_admins=True),
        ),
    ),
)  # fmt: skip


def groups(*, admin: bool) -> Iterator[NavigationGroup]:
    """The groups with the links that a member may follow."""
    for group in GROUPS:
        links = tuple(link for link in group.links if admin or not link.for_admins)
        yield NavigationGroup(label=group.label, links=links)


def current(path: str, *, admin: bool) -> NavigationLink | None:
    """The link of the page at a path; None: none leads there."""
    links = (link for group in groups(admin=admin) for link in group.links)
    return next((link for link in links if link.has(path)), None)
