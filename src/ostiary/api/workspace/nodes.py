"""`/api/v2/nodes`: the machines that run parts of this Ostiary."""

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Path, Router, Schema

from ostiary.api.answers import ERRORS, Id, Success, Time, actor
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.workspace import nodes

router = Router(tags=["Nodes"])


class NodeOut(Schema):
    id: int
    name: str
    role: Literal["gateway", "control"]
    state: Literal["running", "draining", "silent", "stopped"]
    release: str
    recipes_digest: str
    fence_seconds: int
    confirmed_sequence: int
    started_at: Time
    seen_at: Time


class NodeList(Schema):
    data: list[NodeOut]


def _shown(node: nodes.NodeState) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.name,
        "role": node.role,
        "state": node.state,
        "release": node.release,
        "recipes_digest": node.recipes,
        "fence_seconds": node.fence_seconds,
        "confirmed_sequence": node.confirmed,
        "started_at": node.started_at,
        "seen_at": node.seen_at,
    }


@router.get("/v2/nodes", response={200: NodeList, **ERRORS})
def list_nodes(request: HttpRequest) -> Any:
    require_admin(actor(request))
    return {"data": [_shown(node) for node in nodes.listed()]}


@router.delete("/v2/nodes/{node_id}", response={200: Success, **ERRORS})
def delete_node(request: HttpRequest, node_id: Path[Id]) -> Any:
    nodes.forget(actor(request), node_id)
    return {"success": True}
