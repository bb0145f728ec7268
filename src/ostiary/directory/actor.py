"""The actor of a request: a member, a management token or the system, with its roles.

Knows no table: whoever authenticates the request fills it in.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Role(enum.StrEnum):
    """A role in a project; each one may do what those before it may."""

    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        return ("viewer", "editor", "owner").index(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The one who acts, with roles by project id; `admin` may do everything everywhere."""

    kind: str  # "member", "token" or "system"
    id: int | None
    name: str
    admin: bool = False
    roles: Mapping[int, Role] = field(default_factory=dict)
    #: A role in every project, for a management token without a project scope.
    everywhere: Role | None = None
    address: str = ""
    #: Whether it came with a token's old secret, which works until its overlap ends.
    superseded: bool = False

    @property
    def sees_all(self) -> bool:
        return self.admin or self.everywhere is not None

    @property
    def project_ids(self) -> frozenset[int]:
        """Projects with a role of their own; meaningful unless `sees_all`."""
        return frozenset(self.roles)

    def sees(self, project_id: int) -> bool:
        return self.sees_all or project_id in self.roles

    def may(self, role: Role, project_id: int) -> bool:
        """Whether the actor has at least `role` in the project."""
        if self.admin:
            return True
        held = [r for r in (self.everywhere, self.roles.get(project_id)) if r is not None]
        return any(r.rank >= role.rank for r in held)

    def may_somewhere(self, role: Role) -> bool:
        """Whether there is a project in which the actor has at least `role`."""
        held = [r for r in (self.everywhere, *self.roles.values()) if r is not None]
        return self.admin or any(r.rank >= role.rank for r in held)


SYSTEM = Actor(kind="system", id=None, name="Ostiary", admin=True)
