"""Nodes: the machines that run parts of this Ostiary, what each reports, and whether it is heard of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models.functions import Now

from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log
from ostiary.directory.changes.errors import Forbidden, InUse, NotFound
from ostiary.directory.models import NodeReport

GATEWAY = "gateway"

#: Seconds between two reports of a node. One machine has nobody who waits for them.
REPORT_SECONDS = {"postgresql": 1.0, "sqlite": 15.0}
#: Reports that may be missing before a node counts as silent.
MISSING = 4
#: Seconds that the gateway's leases live at most, so that rights end where nobody can end them.
LEASE_SECONDS = 600
#: Days after which a node that stopped, or is silent, is forgotten.
KEPT_DAYS = 7
#: Changes whose number of open streams a node reports.
STREAMS = 50

RUNNING, DRAINING, SILENT, STOPPED = "running", "draining", "silent", "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a node reports once, when it starts."""

    name: str
    role: str
    #: Tells one start of it from another.
    instance: str
    release: str
    recipes: str = ""
    #: Seconds without the change feed after which its gateway honours no lease; 0: it honours them on.
    fence_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node as it was last heard of."""

    id: int
    name: str
    role: str
    release: str
    recipes: str
    fence_seconds: int
    state: str
    confirmed: int
    published: int
    streams: Sequence[Sequence[int]]
    started_at: datetime
    seen_at: datetime
    #: Seconds since then, by the database's clock.
    silence: float

    @property
    def rights_end_after(self) -> int:
        """Seconds without the change feed after which it honours no lease that it has."""
        return self.fence_seconds or LEASE_SECONDS


def report_seconds() -> float:
    """Seconds between two reports of a node to this database."""
    return REPORT_SECONDS[connection.vendor]


def register(identity: Identity) -> bool:
    """Enter a node that starts; says whether another process seemed to be running under its name."""
    with transaction.atomic():
        known = NodeReport.objects.select_for_update().filter(
            name=identity.name, role=identity.role
        )
        other = known.filter(
            stopped_at=None,
            seen_at__gt=Now() - timedelta(seconds=MISSING * report_seconds()),
        ).exclude(instance=identity.instance)
        taken = other.exists()
        NodeReport.objects.update_or_create(
            name=identity.name,
            role=identity.role,
            defaults={
                "instance": identity.instance,
                "release": identity.release,
                "recipes": identity.recipes,
                "fence_seconds": identity.fence_seconds,
                "confirmed": 0,
                "published": 0,
                "streams": [],
                "started_at": Now(),
                "seen_at": Now(),
                "draining": False,
                "stopped_at": None,
            },
        )
        NodeReport.objects.filter(seen_at__lt=Now() - timedelta(days=KEPT_DAYS)).delete()
    return taken


def report(identity: Identity, **changes: object) -> bool:
    """Say that a node lives, and what changed of it; False: it is not, or no longer, entered."""
    mine = NodeReport.objects.filter(
        name=identity.name, role=identity.role, instance=identity.instance, stopped_at=None
    )
    return mine.update(seen_at=Now(), **changes) == 1


def published(name: str, sequence: int) -> None:
    """Note up to which change a gateway has the objects."""
    NodeReport.objects.filter(name=name, role=GATEWAY).update(published=sequence, draining=False)


def drains(name: str) -> None:
    """Note that a gateway has begun to stop: it takes no new calls, and ends those that it has."""
    NodeReport.objects.filter(name=name, role=GATEWAY).update(draining=True)


def leave(identity: Identity) -> None:
    """Note that a node stopped."""
    report(identity, stopped_at=Now(), draining=False)


def only_gateway(identity: Identity) -> None:
    """Note that this is the only gateway: it holds a lock that no other can hold meanwhile."""
    others = NodeReport.objects.filter(role=GATEWAY, stopped_at=None).exclude(name=identity.name)
    others.update(stopped_at=Now())


def gateways() -> list[NodeState]:
    """The gateways that have not stopped."""
    return [each for each in listed() if each.role == GATEWAY and each.state != STOPPED]


def listed() -> list[NodeState]:
    """All nodes, by name and role."""
    found = NodeReport.objects.annotate(now=Now()).order_by("name", "role")
    longest = MISSING * report_seconds()
    return [_state(node, longest) for node in found]


def _state(node: NodeReport, longest: float) -> NodeState:
    now: datetime = node.now  # type: ignore[attr-defined]  # annotated
    silence = max(0.0, (now - node.seen_at).total_seconds())
    if node.stopped_at is not None:
        state = STOPPED
    elif silence > longest:
        state = SILENT
    else:
        state = DRAINING if node.draining else RUNNING
    return NodeState(
        id=node.pk,
        name=node.name,
        role=node.role,
        release=node.release,
        recipes=node.recipes,
        fence_seconds=node.fence_seconds,
        state=state,
        confirmed=node.confirmed,
        published=node.published,
        streams=node.streams,
        started_at=node.started_at,
        seen_at=node.seen_at,
        silence=silence,
    )


def forget(by: Actor, node_id: int) -> None:
    """Remove a node that does not run any more; raises Forbidden, NotFound or InUse.

    Its rights must have ended: the changes that it has not confirmed count as in force afterwards.
    """
    if not by.admin:
        raise Forbidden("Only an admin may remove a node")
    with transaction.atomic():
        state = next((each for each in listed() if each.id == node_id), None)
        if state is None:
            raise NotFound("node")
        if state.state in {RUNNING, DRAINING}:
            raise InUse("The node is running: stop it first")
        if state.state == SILENT and state.silence <= state.rights_end_after:
            raise InUse(
                f"The node may still serve calls for {state.rights_end_after - int(state.silence)} s"
            )
        NodeReport.objects.filter(pk=node_id).delete()
        audit_log.record(
            by,
            "nodes.delete",
            target_kind="node",
            target_id=node_id,
            target_name=f"{state.name} ({state.role})",
            project_id=None,
            before={"name": state.name, "role": state.role},
        )
