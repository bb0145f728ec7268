"""A whole cluster: PostgreSQL, a store, control, and three gateways with recipes beside them."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.load import Caller, Load, caller
from tests.chaos.network import Network, small_disk
from tests.chaos.parts import GATEWAY_PORT, Api, Database, Role, Server, Store, eventually
from tests.stage import wait_for

FENCE = 3
GATEWAYS = ("a", "b", "c")
RECIPE = '''"""Squares."""

from pydantic import BaseModel
from ostiary.recipes import Context, recipe


class Number(BaseModel):
    number: int


@recipe(name="square", version="1.0")
def square(number: Number, context: Context) -> Number:
    """A number times itself."""
    return Number(number=number.number**2)
'''


@dataclass(slots=True)
class Profile:
    """An access profile, with who calls by it."""

    id: int
    caller: Caller


@dataclass(slots=True)
class Fleet:
    """What runs, with what the load calls."""

    folder: Path
    network: Network
    rate: float
    database: Database = field(init=False)
    store: Store = field(init=False)
    control: Role = field(init=False)
    recipes: dict[str, Role] = field(init=False)
    gateways: dict[str, Role] = field(init=False)
    api: Api = field(init=False)
    load: Load = field(init=False)
    _client: int = 0
    _collections: list[int] = field(default_factory=list)
    #: Path of an endpoint of a recipe collection.
    recipe_path: str = ""

    def __post_init__(self) -> None:
        add = self.network.add
        for name in ("database", *GATEWAYS):
            (small_disk if self.network.real else _folder)(self.folder / name, 400)

        def log(name: str) -> Path:
            return self.folder / f"{name}.log"

        self.database = Database(
            add("database"), self.folder / "database" / "postgresql", log("database")
        )
        self.store = Store(add("store"), self.folder / "store", log("store"))
        self.settings = {
            "OSTIARY_DATABASE_URL": self.database.url,
            "OSTIARY_REDIS_URL": self.store.url,
            "OSTIARY_FENCE_SECONDS": str(FENCE),
        }
        self.control = Role(
            "control", add("control"), self.folder / "control", log("control"), self.settings
        )
        self.gateways = {
            name: Role("gateway", add(name), self.folder / name / "data", log(name), self.settings)
            for name in GATEWAYS
        }
        self.recipes = {
            name: Role("recipes", each.machine, each.folder, log(f"recipes-{name}"), self.settings)
            for name, each in self.gateways.items()
        }
        self.load = Load(
            self.network.machines["here"].address,
            [(each.machine.address, GATEWAY_PORT) for each in self.gateways.values()],
            self.rate,
        )

    settings: dict[str, str] = field(init=False)

    @property
    def servers(self) -> list[Server]:
        """All of them, those first that others need least."""
        return [
            *self.recipes.values(),
            *self.gateways.values(),
            self.control,
            self.store,
            self.database,
        ]

    def start(self) -> None:
        """Start everything, and make what is called."""
        self.load.start()
        self.database.make()
        self.store.start()
        wait_for(self.store.answers, what="the store")
        self.control.start()
        wait_for((self.control.folder / "keyring.json").exists, what="a key ring")
        for each in self.gateways.values():
            shutil.copy(self.control.folder / "keyring.json", each.folder)
            (each.folder / "keyring.json").chmod(0o600)
            (each.folder / "recipes").mkdir(exist_ok=True)
            (each.folder / "recipes" / "square.py").write_text(RECIPE)
        self.api = Api(self.control.machine.address, "")
        wait_for(lambda: bool(self.api.ask("GET", "api_clients")[0]), what="control")
        for each in (*self.gateways.values(), *self.recipes.values()):
            each.start()
        token = self.control.command("token", "create", "--name", "chaos")
        self.api = Api(self.control.machine.address, token)
        wait_for(lambda: self.states() == dict.fromkeys(GATEWAYS, "running"), what="all gateways")
        self._make()

    def states(self) -> dict[str, str]:
        """The gateways as the management API sees them."""
        _, answer = self.api.ask("GET", "v2/nodes")
        return {each["name"]: each["state"] for each in (answer or {}).get("data", [])
                if each["role"] == "gateway"}  # fmt: skip

    def _make(self) -> None:
        done = self.api.done
        self._client = done("POST", "api_clients", {"name": "Callers"})["result"]["id"]
        url = f"http://{self.load.address}:{self.load.upstream_port}"
        content: dict[str, Any] = {"name": "Upstream", "input": {"base_url": url}}
        connection = done("POST", "connections", content)["id"]
        self._collection(
            {"name": "Things", "handle": "things-v1", "proxy_connection_id": connection},
            {"name": "Things", "method": "GET", "path": "/things"},
        )

        def square() -> int:
            found = {each["name"]: each["id"] for each in self.api.ask("GET", "recipes")[1] or []}
            return int(found.get("square", 0))

        wait_for(lambda: square() > 0, what="the recipe")
        self._collection(
            {"name": "Tools", "handle": "tools-v1", "kind": "recipe"},
            {"name": "Square", "method": "POST", "path": "/square", "flow_id": square()},
        )

    def _collection(self, content: dict[str, Any], endpoint: dict[str, Any]) -> None:
        made = self.api.done("POST", "api_collections", content)["id"]
        self._collections.append(made)
        path = f"api_collections/{made}/api_endpoints"
        self.api.done("POST", path, {**endpoint, "active": True})

    def profile(self, name: str, *, recipe: bool = False) -> Profile:
        """A profile that all gateways know."""
        content = {
            "name": name, "api_client_id": self._client, "auth_type": "token",
            "api_collection_ids": self._collections,
        }  # fmt: skip
        made = self.api.done("POST", "api_access_profiles", content)["result"]
        if recipe:
            one = caller(name, "/tools-v1/square", made["secret"], content='{"number": 3}')
        else:
            one = caller(name, "/things-v1/things", made["secret"])
        return Profile(made["id"], one)

    def counted(self, profile: Profile) -> int:
        """Successful calls of a profile, as counted until now."""
        path = f"v2/usage?bucket=all&access_profile_id={profile.id}&status=2xx"
        status, answer = self.api.ask("GET", path)
        return sum(each["calls"] for each in answer["data"]) if status == 200 else 0

    def revoke(self, profile: Profile, seconds: float = 60) -> tuple[float, dict[str, Any]]:
        """Switch a profile off, repeated until it is answered 200: when that was, and the receipt."""
        path = f"api_access_profiles/{profile.id}/disable"
        answers: list[Any] = []

        def done() -> bool:
            answers[:] = self.api.ask("PUT", path)
            return bool(answers[0] == 200)

        if not eventually(done, seconds):
            return float("inf"), {}
        return time.monotonic(), answers[1].get("revocation", {})

    def close(self) -> None:
        """End everything, and wait for nothing."""
        for each in self.servers:
            with contextlib.suppress(AssertionError, OSError):
                each.thaw()
                each.kill()
        self.load.close()


def _folder(folder: Path, _: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def running(folder: Path, *, real: bool, rate: float) -> Iterator[Fleet]:
    """A started fleet, ended whatever happens."""
    fleet = Fleet(folder, Network(real), rate)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.close()
