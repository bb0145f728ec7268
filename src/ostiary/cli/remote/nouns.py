"""What the command manages by the API: nouns with their operations and options, declared once.

A row is data. `grammar` makes the subcommands of it and `calls` carries them out; a test compares each
row with the API's own document. Knows no HTTP.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


class OptionKind(enum.Enum):
    """How an option's text becomes a value of the API."""

    TEXT = enum.auto()
    #: A text; `none`: null.
    TEXT_OR_NONE = enum.auto()
    #: One of a closed set.
    CHOICE = enum.auto()
    #: `none`: null.
    NUMBER = enum.auto()
    FLAG = enum.auto()
    TEXTS = enum.auto()
    NUMBERS = enum.auto()
    #: A time, a span from now such as `90d`, or `never`: null.
    TIME = enum.auto()
    #: `LIMIT/INTERVAL`, such as `100/minute`; `none`: null.
    RATE = enum.auto()
    RATES = enum.auto()
    #: `NAME=VALUE`, in an object; `none` empties it.
    PAIRS = enum.auto()
    #: The content of a file; `-` is standard input. Secrets come by it: everybody on a machine can read arguments.
    FILE = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A field of a body or a parameter of a query; a dot in its name leads into an object."""

    name: str
    kind: OptionKind = OptionKind.TEXT
    help: str
    required: bool = False
    choices: tuple[str, ...] = ()
    #: The option, where it is not the field's name.
    flag: str = ""

    @property
    def long(self) -> str:
        name = self.name.rpartition(".")[2].replace("_", "-")
        return self.flag or f"--{name}{'-file' if self.kind is OptionKind.FILE else ''}"

    @property
    def dest(self) -> str:
        return f"field_{self.name.replace('.', '_')}"


class AnswerForm(enum.Enum):
    """What an operation answers."""

    LIST = enum.auto()
    OBJECT = enum.auto()
    #: That it is done.
    DONE = enum.auto()
    #: A new secret is all that a script wants of it.
    SECRET = enum.auto()
    DOCUMENT = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOperation:
    """One call of the API. Names in braces in its path are arguments."""

    verb: str
    method: str
    path: str
    help: str
    form: AnswerForm = AnswerForm.DONE
    query: tuple[Option, ...] = ()
    body: tuple[Option, ...] = ()
    #: Columns of a list.
    columns: tuple[str, ...] = ()
    #: Whether a list comes in pages by number; else by cursor.
    paged: bool = True
    #: Whether an object is answered with a secret that is shown this once.
    secret: bool = False
    #: What the body always has.
    always: Mapping[str, object] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteNoun:
    name: str
    plural: str
    help: str
    operations: tuple[RemoteOperation, ...]

    def of(self, verb: str) -> RemoteOperation:
        return next(each for each in self.operations if each.verb == verb)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """The operations that most nouns have."""

    path: str
    one: str
    columns: tuple[str, ...]
    #: Options of create and change.
    body: tuple[Option, ...] = ()
    #: Options of create alone, and those that it needs.
    made: tuple[Option, ...] = ()
    required: tuple[str, ...] = ()
    filters: tuple[Option, ...] = ()
    #: The path of the switches, if there are any.
    switch: str = ""
    #: The path of create, if it is another one.
    create: str = ""
    without: frozenset[str] = field(default_factory=frozenset)
    delete_query: tuple[Option, ...] = ()
    #: Options of the switch that turns it off.
    disable: tuple[Option, ...] = ()
    #: Whether what is made comes with a secret.
    secret: bool = False

    def operations(self) -> Iterator[RemoteOperation]:
        made = tuple(_needed(each, self.required) for each in (*self.body, *self.made))
        one = f"{self.path}/{{id}}"
        switch = f"{self.switch or one}/"
        every = (
            RemoteOperation(
                verb="list", method="GET", path=self.path, help=f"list {_plural(self.one)}",
                form=AnswerForm.LIST, query=self.filters, columns=self.columns,
            ),
            RemoteOperation(verb="show", method="GET", path=one, help=f"show one {self.one}", form=AnswerForm.OBJECT),
            RemoteOperation(
                verb="create", method="POST", path=self.create or self.path,
                help=f"make one {self.one}", form=AnswerForm.OBJECT, body=made, secret=self.secret,
            ),
            RemoteOperation(
                verb="change", method="PUT", path=one,
                help=f"change the named fields of one {self.one}", form=AnswerForm.OBJECT, body=self.body,
            ),
            RemoteOperation(
                verb="delete", method="DELETE", path=one, help=f"delete one {self.one}",
                query=self.delete_query,
            ),
            RemoteOperation(verb="enable", method="PUT", path=f"{switch}enable", help=f"switch one {self.one} on"),
            RemoteOperation(
                verb="disable", method="PUT", path=f"{switch}disable", help=f"switch one {self.one} off",
                body=self.disable,
            ),
        )  # fmt: skip
        skipped = self.without | (frozenset() if self.switch else {"enable", "disable"})
        yield from (each for each in every if each.verb not in skipped)


def _plural(one: str) -> str:
    return f"{one[:-1]}ies" if one.endswith("y") else f"{one}s"


def _needed(option: Option, required: tuple[str, ...]) -> Option:
    if option.name not in required:
        return option
    return Option(
        name=option.name, kind=option.kind, help=option.help, required=True,
        choices=option.choices, flag=option.flag,
    )  # fmt: skip


NAME = Option(name="name", help="its name")
DESCRIPTION = Option(name="description", help="a text for owners")
PROJECT = Option(
    name="project_id", kind=OptionKind.NUMBER, help="id of the project (default: Home)"
)
OF_PROJECT = Option(name="project_id", kind=OptionKind.NUMBER, help="of this project alone")
KEY = Option(
    name="key",
    kind=OptionKind.TEXT_OR_NONE,
    help="a name of your own, unique in its project, or none",
)
LABELS = Option(
    name="labels", kind=OptionKind.PAIRS, flag="--label", help="all of its labels; repeat it"
)
ROLE = Option(
    name="role", kind=OptionKind.CHOICE, choices=("viewer", "editor", "owner"), help="the role"
)
OVERLAP = Option(
    name="overlap_seconds", kind=OptionKind.NUMBER, help="for how long the old secret works too (0)"
)
EXPIRES = Option(
    name="expires_at", kind=OptionKind.TIME, help="a time, a span such as 90d, or never"
)

UNTIL = Option(
    name="until",
    kind=OptionKind.TIME,
    help="a time or a span such as 2h, after which it comes back by itself",
)

CLIENT = RemoteNoun(
    name="client", plural="clients", help="clients, who call your APIs",
    operations=(
        *Usual(
            path="api_clients", one="client", columns=("id", "name", "project_id", "active"),
            body=(NAME, DESCRIPTION, PROJECT, KEY, LABELS), required=("name",), filters=(OF_PROJECT,),
            switch="v2/api_clients/{id}", disable=(UNTIL,),
        ).operations(),
        RemoteOperation(
            verb="offboarding", method="GET", path="v2/api_clients/{id}/offboarding",
            help="show what an offboarding of one client would end, or has ended", form=AnswerForm.OBJECT,
        ),
        RemoteOperation(
            verb="offboard", method="POST", path="v2/api_clients/{id}/offboard",
            help="deactivate one client, revoke all its credentials, and show the report", form=AnswerForm.OBJECT,
        ),
        RemoteOperation(
            verb="bulk", method="POST", path="v2/api_clients/bulk",
            help="switch many, all or none", form=AnswerForm.OBJECT,
            body=(
                Option(
                    name="api_client_ids", kind=OptionKind.NUMBERS, flag="--id", required=True,
                    help="id of a client; repeat it",
                ),
                Option(name="active", kind=OptionKind.FLAG, help="switch them on or off", required=True),
            ),
        ),
    ),
)  # fmt: skip

PROFILE = RemoteNoun(
    name="profile", plural="profiles", help="access profiles of clients",
    operations=(
        *Usual(
            path="api_access_profiles", one="access profile", secret=True, switch="api_access_profiles/{id}",
            disable=(UNTIL,),
            columns=("id", "name", "api_client_id", "auth_type", "active", "expires_at", "last_used_at"),
            filters=(Option(name="api_client_id", kind=OptionKind.NUMBER, help="of this client alone"),),
            required=("name", "api_client_id", "api_collection_ids", "auth_type"),
            body=(
                NAME, KEY, LABELS,
                Option(name="follows_client", kind=OptionKind.FLAG, help="have what its client's defaults say"),
                Option(name="api_collection_ids", kind=OptionKind.NUMBERS, help="id of an API collection; repeat it"),
                Option(name="api_policy_id", kind=OptionKind.NUMBER, help="id of a policy, or none"),
                Option(name="active", kind=OptionKind.FLAG, help="whether it may call"),
                EXPIRES,
                Option(name="ip_allow_list", kind=OptionKind.TEXTS, help="address or range that may call; repeat it"),
                Option(name="ip_deny_list", kind=OptionKind.TEXTS, help="address or range that may not; repeat it"),
                Option(name="ip_allow_list_ids", kind=OptionKind.NUMBERS, help="id of an address list that may call"),
                Option(name="ip_deny_list_ids", kind=OptionKind.NUMBERS, help="id of an address list that may not"),
                Option(name="ip_watch_only", kind=OptionKind.FLAG, help="only report calls of other addresses"),
                Option(name="jwt_method", help="algorithm of signed tokens, such as RS256"),
                Option(name="jwt_secret", kind=OptionKind.FILE, help="file with the key of signed tokens"),
                Option(name="oidc_issuer", help="issuer of OpenID tokens"),
                Option(name="oidc_jwks_uri", help="where the issuer's keys are"),
                Option(name="access_profile_claim", help="claim that names the profile"),
                Option(name="required_claims", kind=OptionKind.TEXTS, help="claim that tokens must have; repeat it"),
                Option(name="allowed_issuers", kind=OptionKind.TEXTS, help="issuer that tokens may have; repeat it"),
                Option(name="audience", help="audience that tokens must have"),
                Option(name="leeway_seconds", kind=OptionKind.NUMBER, help="seconds that clocks may differ"),
                Option(name="allow_without_exp", kind=OptionKind.FLAG, help="take tokens that do not expire"),
            ),
            made=(
                Option(name="api_client_id", kind=OptionKind.NUMBER, help="id of the client"),
                Option(
                    name="auth_type", kind=OptionKind.CHOICE, choices=("token", "oauth2", "jwt", "oidc"),
                    help="how it proves itself",
                ),
                Option(
                    name="token", kind=OptionKind.FILE, flag="--import-token-file",
                    help="file with a token that its consumer has already",
                ),
                Option(name="token_sha256", help="SHA-256 of such a token"),
                Option(name="profile_key", help="key that signed tokens name it by"),
            ),
        ).operations(),
        RemoteOperation(
            verb="refresh", method="PUT", path="api_access_profiles/{id}/refresh_secret",
            help="issue a new secret, shown once", form=AnswerForm.OBJECT, secret=True, body=(OVERLAP,),
        ),
        RemoteOperation(
            verb="bulk", method="POST", path="v2/access_profiles/bulk",
            help="change many together, all or none", form=AnswerForm.OBJECT,
            body=(
                Option(
                    name="access_profile_ids", kind=OptionKind.NUMBERS, flag="--id", required=True,
                    help="id of an access profile; repeat it",
                ),
                Option(name="active", kind=OptionKind.FLAG, help="switch them on or off"),
                Option(name="api_client_id", kind=OptionKind.NUMBER, help="move them to this client of their project"),
                Option(name="labels", kind=OptionKind.PAIRS, flag="--label", help="label to add; repeat it"),
                Option(name="without_labels", kind=OptionKind.TEXTS, flag="--without-label", help="name of a label to take; repeat it"),
                Option(name="api_policy_id", kind=OptionKind.NUMBER, help="id of the policy that they get; 0: none"),
                Option(
                    name="add_api_collection_ids", kind=OptionKind.NUMBERS, flag="--add-collection",
                    help="id of a collection that they get; repeat it",
                ),
                Option(
                    name="remove_api_collection_ids", kind=OptionKind.NUMBERS, flag="--remove-collection",
                    help="id of a collection that they lose; repeat it",
                ),
                EXPIRES,
                Option(name="revoke_credentials", kind=OptionKind.FLAG, help="revoke every credential that they have"),
            ),
        ),
        RemoteOperation(
            verb="limits", method="GET", path="v2/access_profiles/{id}/limits",
            help="show what is used of its limits", form=AnswerForm.OBJECT,
        ),
    ),
)  # fmt: skip

CREDENTIAL = RemoteNoun(
    name="credential", plural="credentials", help="credentials of an access profile",
    operations=(
        RemoteOperation(
            verb="list", method="GET", path="v2/access_profiles/{profile_id}/credentials",
            help="list the credentials that work", form=AnswerForm.LIST,
            columns=("id", "masked", "imported", "created_at", "expires_at", "overlap_until", "last_used_at"),
        ),
        RemoteOperation(
            verb="delete", method="DELETE", path="v2/access_profiles/{profile_id}/credentials/{id}",
            help="revoke one credential now",
        ),
        RemoteOperation(
            verb="revoke", method="POST", path="v2/credentials/revoke",
            help="revoke many, all or none", form=AnswerForm.OBJECT,
            body=(
                Option(
                    name="credential_ids", kind=OptionKind.NUMBERS, flag="--id", required=True,
                    help="id of a credential; repeat it",
                ),
            ),
        ),
    ),
)  # fmt: skip

HANDOVER = RemoteNoun(
    name="handover", plural="handovers", help="links that show a consumer its credential once",
    operations=(
        RemoteOperation(
            verb="list", method="GET", path="v2/access_profiles/{profile_id}/handovers",
            help="list the links of an access profile", form=AnswerForm.LIST,
            columns=("id", "masked", "handover_state", "made_by", "expires_at", "opened_at", "opened_from"),
        ),
        RemoteOperation(
            verb="show", method="GET", path="v2/handovers/{id}", help="show what has become of one link",
            form=AnswerForm.OBJECT,
        ),
        RemoteOperation(
            verb="create", method="POST", path="v2/access_profiles/{profile_id}/handovers",
            help="issue a new secret and print the link that shows it once", form=AnswerForm.SECRET,
            body=(
                Option(
                    name="secret", kind=OptionKind.FILE, flag="--held-secret-file",
                    help="file with a secret of the profile, to hand over that one",
                ),
                Option(name="valid_seconds", kind=OptionKind.NUMBER, help="for how long the link can be opened (3 days)"),
                Option(
                    name="overlap_seconds", kind=OptionKind.NUMBER,
                    help="for how long the old secret works too (a day)",
                ),
            ),
        ),
        RemoteOperation(
            verb="withdraw", method="DELETE", path="v2/handovers/{id}", help="withdraw one link that nobody opened",
        ),
    ),
)  # fmt: skip

COLLECTION = RemoteNoun(
    name="collection", plural="collections", help="API collections",
    operations=(
        *Usual(
            path="api_collections", one="API collection",
            columns=("id", "name", "handle", "kind", "version", "project_id", "url"),
            required=("name",),
            body=(
                NAME, DESCRIPTION, PROJECT, LABELS,
                Option(name="version", help="version of the API"),
                Option(name="handle", help="its place in URLs"),
                Option(name="kind", kind=OptionKind.CHOICE, choices=("proxy", "recipe"), help="what answers calls"),
                Option(name="proxy_connection_id", kind=OptionKind.NUMBER, help="id of the connection to the upstream"),
                Option(name="cors_origins", kind=OptionKind.TEXTS, help="origin that browsers may call from; repeat it"),
                Option(name="cors_credentials", kind=OptionKind.FLAG, help="browsers may send cookies"),
                Option(name="cors_exposed_headers", kind=OptionKind.TEXTS, help="header that browsers may read; repeat it"),
                Option(name="cors_max_age", kind=OptionKind.NUMBER, help="seconds that browsers keep the answer"),
                Option(name="forward_credential", kind=OptionKind.FLAG, help="pass the credential to the upstream"),
                Option(name="forward_claims", kind=OptionKind.FLAG, help="pass the claims to the upstream"),
                Option(name="encoded_slashes", kind=OptionKind.FLAG, help="take encoded slashes in paths"),
                Option(name="leave_authorization", kind=OptionKind.FLAG, help="leave Authorization to the upstream"),
                Option(name="credential_places", kind=OptionKind.TEXTS, help="place of keys besides the usual; repeat it"),
                Option(name="cache_seconds", kind=OptionKind.NUMBER, help="seconds that answers are kept"),
                Option(name="cache_shared", kind=OptionKind.FLAG, help="keep one answer for all callers"),
            ),
            made=(
                Option(
                    name="openapi_spec.content", kind=OptionKind.FILE, flag="--openapi-file",
                    help="OpenAPI document to import",
                ),
                Option(
                    name="openapi_spec.format", kind=OptionKind.CHOICE, choices=("json", "yaml"),
                    flag="--openapi-format", help="form of the document (json)",
                ),
                Option(
                    name="openapi_spec.active", kind=OptionKind.FLAG, flag="--openapi-active",
                    help="switch the endpoints of the document on",
                ),
            ),
        ).operations(),
        RemoteOperation(
            verb="document", method="GET", path="api_collections/{id}/openapi.json",
            help="print its OpenAPI document", form=AnswerForm.DOCUMENT,
        ),
        RemoteOperation(
            verb="purge-cache", method="POST", path="api_collections/{id}/purge_cache",
            help="forget the answers that are kept",
        ),
    ),
)  # fmt: skip

ENDPOINT = RemoteNoun(
    name="endpoint", plural="endpoints", help="endpoints of API collections",
    operations=tuple(Usual(
        path="api_endpoints", one="endpoint", create="api_collections/{collection_id}/api_endpoints",
        columns=("id", "api_collection_id", "method", "path", "name", "active"),
        filters=(Option(name="api_collection_id", kind=OptionKind.NUMBER, help="of this collection alone"),),
        required=("name", "method", "path"), switch="api_endpoints/{id}",
        body=(
            NAME, DESCRIPTION, LABELS,
            Option(name="method", help="HTTP method"),
            Option(name="path", help="path of calls, such as orders/{id}"),
            Option(name="active", kind=OptionKind.FLAG, help="whether it may be called"),
            Option(name="flow_id", kind=OptionKind.NUMBER, help="id of the recipe that answers"),
            Option(name="target_path", help="path at the upstream"),
            Option(name="timeout_seconds", kind=OptionKind.NUMBER, help="seconds that the upstream has, or none"),
            Option(name="weight", kind=OptionKind.NUMBER, help="how many calls one call counts as"),
            Option(name="cache_seconds", kind=OptionKind.NUMBER, help="seconds that answers are kept, or none"),
            Option(name="validate_request", kind=OptionKind.FLAG, help="check requests against the recipe's schema"),
        ),
    ).operations()),
)  # fmt: skip

CONNECTION = RemoteNoun(
    name="connection", plural="connections", help="connections to upstreams",
    operations=tuple(Usual(
        path="connections", one="connection", columns=("id", "name", "project_id", "gateway_problem"),
        required=("name", "input.base_url"),
        body=(
            NAME, PROJECT, KEY, LABELS,
            Option(name="provider", help="what kind of upstream it is"),
            Option(name="input.base_url", kind=OptionKind.TEXTS, help="URL of an upstream server; repeat it"),
            Option(name="input.auth_type", help="how Ostiary proves itself there"),
            Option(name="input.auth_name", help="name of the header, the user or the client"),
            Option(name="input.auth_secret", kind=OptionKind.FILE, help="file with the secret for the upstream"),
            Option(name="input.token_url", help="where access tokens are fetched"),
            Option(name="input.scope", help="scope of access tokens"),
            Option(name="input.verify_tls", kind=OptionKind.FLAG, help="verify the upstream's certificate"),
            Option(name="input.ca_pem", kind=OptionKind.FILE, help="file with PEM certificates to trust"),
            Option(name="input.timeout_seconds", kind=OptionKind.NUMBER, help="seconds that the upstream has"),
            Option(name="input.stream_timeout_seconds", kind=OptionKind.NUMBER, help="seconds of silence in a stream"),
            Option(name="input.health_path", help="path of health checks"),
            Option(name="input.balancing", help="how calls are shared out among servers"),
            Option(name="input.weights", kind=OptionKind.NUMBERS, help="weight of a server, in their order; repeat it"),
            Option(name="input.retries", kind=OptionKind.NUMBER, help="how many other servers are tried"),
            Option(name="input.retry_writes", kind=OptionKind.FLAG, help="try writes again too"),
            Option(name="input.http_version", help="1.1 or 2"),
            Option(name="input.public_address", help="how the public address is passed on"),
            Option(name="input.translate_urls", kind=OptionKind.FLAG, help="translate the upstream's own URLs in answers"),
        ),
    ).operations()),
)  # fmt: skip

POLICY = RemoteNoun(
    name="policy", plural="policies", help="policies: rate limits and quotas",
    operations=tuple(Usual(
        path="v2/api_policies", one="policy", required=("name",),
        columns=("id", "name", "project_id", "rate_limit", "usage_quota", "watch_only"),
        body=(
            NAME, DESCRIPTION, KEY, LABELS,
            Option(name="project_id", kind=OptionKind.NUMBER, help="id of its project (default: the workspace)"),
            Option(name="rate_limit", kind=OptionKind.RATE, help="calls, such as 100/minute, or none"),
            Option(name="rate_limits", kind=OptionKind.RATES, help="one of several rate limits; repeat it"),
            Option(name="usage_quota", kind=OptionKind.RATE, help="calls, such as 10000/day, or none"),
            Option(name="watch_only", kind=OptionKind.FLAG, help="only report what would be refused"),
            Option(name="legacy_headers", kind=OptionKind.FLAG, help="send X-RateLimit headers too"),
        ),
    ).operations()),
)  # fmt: skip

ADDRESS_LIST = RemoteNoun(
    name="address-list", plural="address-lists", help="lists of addresses",
    operations=tuple(Usual(
        path="v2/address_lists", one="address list", required=("name", "entries"), filters=(OF_PROJECT,),
        columns=("id", "name", "project_id", "entry_count"),
        body=(
            NAME, DESCRIPTION, PROJECT, KEY, LABELS,
            Option(name="entries", kind=OptionKind.TEXTS, help="address or range; repeat it"),
        ),
    ).operations()),
)  # fmt: skip

WEBHOOK = RemoteNoun(
    name="webhook", plural="webhooks", help="webhooks",
    operations=(
        *Usual(
            path="v2/webhooks", one="webhook", secret=True, columns=("id", "name", "url", "project_id", "active"),
            required=("name", "url", "events"), switch="v2/webhooks/{id}",
            body=(
                NAME, OF_PROJECT, KEY, LABELS,
                Option(name="url", flag="--target-url", help="where events are sent"),
                Option(name="events", kind=OptionKind.TEXTS, help="an event; repeat it"),
                Option(name="expiry_days", kind=OptionKind.NUMBER, help="days before a credential expires"),
                Option(name="active", kind=OptionKind.FLAG, help="whether events are sent"),
            ),
        ).operations(),
        RemoteOperation(
            verb="rotate", method="POST", path="v2/webhooks/{id}/rotate_secret",
            help="make a new secret, shown once", form=AnswerForm.OBJECT, secret=True,
        ),
    ),
)  # fmt: skip

PROJECT_NOUN = RemoteNoun(
    name="project", plural="projects", help="projects and who is in them",
    operations=(
        RemoteOperation(
            verb="list", method="GET", path="projects", help="list projects", form=AnswerForm.LIST,
            columns=("id", "name", "home", "description"),
        ),
        RemoteOperation(
            verb="create", method="POST", path="folders", help="make one project", form=AnswerForm.OBJECT,
            body=(_needed(NAME, ("name",)), DESCRIPTION, KEY, LABELS),
        ),
        RemoteOperation(
            verb="change", method="PUT", path="projects/{id}", help="change a project", form=AnswerForm.OBJECT,
            body=(NAME, DESCRIPTION, KEY, LABELS),
        ),
        RemoteOperation(
            verb="delete", method="DELETE", path="projects/{id}", help="delete a project",
            query=(Option(name="force", kind=OptionKind.FLAG, help="with all that it holds"),),
        ),
        RemoteOperation(
            verb="members", method="GET", path="v2/projects/{id}/members",
            help="list who has a role in a project", form=AnswerForm.LIST,
            columns=("id", "email", "name", "role", "active"),
        ),
        RemoteOperation(
            verb="invite", method="POST", path="v2/projects/{id}/members",
            help="give a member a role in a project",
            body=(Option(name="email", required=True, help="the member's address"), _needed(ROLE, ("role",))),
        ),
    ),
)  # fmt: skip

PROPERTY = RemoteNoun(
    name="property", plural="properties", help="properties of a project or of the workspace",
    operations=(
        RemoteOperation(
            verb="list", method="GET", path="properties", help="show names and values", form=AnswerForm.OBJECT,
            query=(OF_PROJECT, Option(name="prefix", help="names that begin so")),
        ),
        RemoteOperation(
            verb="set", method="POST", path="properties", help="set properties", query=(OF_PROJECT,),
            body=(Option(
                name="properties", kind=OptionKind.PAIRS, flag="--property", required=True, help="a property; repeat it",
            ),),
        ),
        RemoteOperation(
            verb="delete", method="DELETE", path="properties", help="delete one property",
            query=(OF_PROJECT, Option(name="name", required=True, help="its name")),
        ),
    ),
)  # fmt: skip

#: `create` works on the machine itself without the API too.
TOKEN = RemoteNoun(
    name="token", plural="tokens", help="tokens of the management API",
    operations=(
        *Usual(
            path="v2/tokens", one="token", without=frozenset({"create"}),
            columns=(
                "id", "name", "admin", "role", "all_projects", "project_ids", "expires_at", "revoked_at",
                "last_used_at",
            ),
            body=(NAME, EXPIRES),
        ).operations(),
        RemoteOperation(
            verb="create", method="POST", path="v2/tokens", help="make a token and print it",
            form=AnswerForm.SECRET,
            body=(
                Option(name="name", required=True, help="what it is for"),
                Option(
                    name="role", kind=OptionKind.CHOICE, choices=("viewer", "editor", "owner"),
                    help="its role in the projects; without a role it is an admin's",
                ),
                Option(name="project_ids", kind=OptionKind.NUMBERS, flag="--project-id", help="id of a project; repeat it"),
                Option(name="all_projects", kind=OptionKind.FLAG, help="the role counts in all projects"),
                Option(
                    name="expires_at", kind=OptionKind.TIME,
                    help="a time, or a span such as 30d (default: as the workspace's settings say)",
                ),
            ),
        ),
        RemoteOperation(
            verb="me", method="GET", path="v2/tokens/me", help="show what the token in use may do",
            form=AnswerForm.OBJECT,
        ),
        RemoteOperation(
            verb="rotate", method="POST", path="v2/tokens/{id}/rotate",
            help="replace the secret of a token and print it", form=AnswerForm.SECRET, body=(OVERLAP,),
        ),
        RemoteOperation(
            verb="rotate-me", method="POST", path="v2/tokens/me/rotate",
            help="replace the secret of the token in use and print it", form=AnswerForm.SECRET, body=(OVERLAP,),
        ),
    ),
)  # fmt: skip

#: `create` and `link` work on the machine itself without the API too.
MEMBER = RemoteNoun(
    name="member", plural="members", help="people who sign in to the console",
    operations=(
        *Usual(
            path="v2/members", one="member", without=frozenset({"create"}),
            columns=("id", "email", "name", "admin", "active", "roles", "last_sign_in_at"),
            body=(
                NAME,
                Option(name="email", help="the member's address"),
                Option(name="admin", kind=OptionKind.FLAG, help="whether a workspace admin"),
                Option(name="active", kind=OptionKind.FLAG, help="whether they may sign in"),
            ),
        ).operations(),
        RemoteOperation(
            verb="create", method="POST", path="v2/members", help="add a member, print a sign-in link",
            form=AnswerForm.SECRET, always={"sign_in_link": True},
            body=(
                Option(name="email", required=True, help="the member's address"),
                NAME,
                Option(name="admin", kind=OptionKind.FLAG, help="make a workspace admin"),
            ),
        ),
        RemoteOperation(
            verb="role", method="PUT", path="v2/members/{id}/projects/{project_id}",
            help="give a member a role in a project, or none",
            body=(Option(
                name="role", kind=OptionKind.CHOICE, choices=("viewer", "editor", "owner", "none"), required=True,
                help="the role",
            ),),
        ),
    ),
)  # fmt: skip

SETTING = RemoteNoun(
    name="setting", plural="settings", help="settings of the workspace",
    operations=(
        RemoteOperation(verb="show", method="GET", path="v2/settings", help="show the settings", form=AnswerForm.OBJECT),
        RemoteOperation(
            verb="change", method="PUT", path="v2/settings", help="change the named settings",
            form=AnswerForm.OBJECT,
            body=(
                Option(name="name", help="name of the workspace"),
                Option(name="gateway_url", help="public URL of the gateway"),
                Option(name="console_url", help="public URL of the console"),
                Option(name="trusted_proxies", kind=OptionKind.TEXTS, help="address of a proxy in front; repeat it"),
                Option(name="fetch_hosts", kind=OptionKind.TEXTS, help="internal OpenID provider; repeat it"),
                Option(name="credential_places", kind=OptionKind.TEXTS, help="place of keys besides the usual; repeat it"),
                Option(name="require_second_factor", kind=OptionKind.FLAG, help="members need a second factor"),
                *(
                    Option(name=name, kind=OptionKind.NUMBER, help=text)
                    for name, text in (
                        ("token_default_days", "days until a new token expires"),
                        ("token_longest_days", "days that a token may live; 0: for ever"),
                        ("token_calls_per_minute", "calls of the API a minute of one token; 0: any number"),
                        ("address_calls_per_minute", "calls of the API a minute of one address; 0: any number"),
                        ("address_failures_per_minute", "calls a minute of one address without a token that works"),
                        ("request_log_days", "days of request log"),
                        ("request_log_rows", "lines of request log, at most"),
                        ("usage_day_days", "days of usage by day"),
                        ("usage_hour_days", "days of usage by hour"),
                        ("usage_minute_days", "days of usage by minute"),
                        ("audit_log_days", "days of audit log"),
                    )
                ),
            ),
        ),
    ),
)  # fmt: skip

DELETED = RemoteNoun(
    name="deleted", plural="deleted-objects", help="what was deleted in the last days",
    operations=(
        RemoteOperation(
            verb="list", method="GET", path="v2/deleted_objects", help="list what can be put back",
            form=AnswerForm.LIST,
            columns=("id", "object_kind", "object_id", "name", "takes", "deleted_by", "deleted_at"),
            query=(OF_PROJECT, Option(name="kind", help="of this kind, such as client")),
        ),
        RemoteOperation(
            verb="restore", method="POST", path="v2/deleted_objects/{id}/restore",
            help="put one object back, without credentials and secrets", form=AnswerForm.OBJECT,
        ),
    ),
)  # fmt: skip

AUDIT = RemoteNoun(
    name="audit", plural="audit-events", help="the audit log",
    operations=(
        RemoteOperation(
            verb="list", method="GET", path="v2/audit_events", help="list what happened", form=AnswerForm.LIST,
            columns=("at", "actor_name", "action", "target_kind", "target_id", "target_name"),
            query=(
                Option(name="search", help="a text in it"),
                Option(name="target_kind", help="kind of the object, such as client"),
            ),
        ),
    ),
)  # fmt: skip

NOUNS = (
    CLIENT, PROFILE, CREDENTIAL, HANDOVER, COLLECTION, ENDPOINT, CONNECTION, POLICY, ADDRESS_LIST, WEBHOOK,
    PROJECT_NOUN, PROPERTY, TOKEN, MEMBER, SETTING, DELETED, AUDIT,
)  # fmt: skip

_SINCE = (
    Option(name="from", kind=OptionKind.TIME, help="since this time, or a span ago such as 2h"),
    Option(name="to", kind=OptionKind.TIME, help="until this time"),
    Option(name="client_id", kind=OptionKind.NUMBER, help="of this client"),
    Option(name="access_profile_id", kind=OptionKind.NUMBER, help="of this access profile"),
    Option(name="api_collection_id", kind=OptionKind.NUMBER, help="of this API collection"),
    Option(name="api_endpoint_id", kind=OptionKind.NUMBER, help="of this endpoint"),
    Option(name="reason", help="refused for this reason"),
    Option(name="status", help="a class such as 4xx, or none"),
)

USAGE = RemoteOperation(
    verb="usage", method="GET", path="v2/usage", help="count calls", form=AnswerForm.LIST,
    query=(
        *_SINCE,
        Option(
            name="bucket", kind=OptionKind.CHOICE, choices=("minute", "hour", "day", "all"),
            help="length of a span (day)",
        ),
        Option(name="group_by", help="client, access_profile, api_collection, api_endpoint, status, reason, by commas"),
    ),
)  # fmt: skip

LOGS = RemoteOperation(
    verb="logs", method="GET", path="v2/request_logs", help="list calls one by one", form=AnswerForm.LIST,
    paged=False,
    columns=("time", "status", "reason", "method", "client_id", "access_profile_id", "ip", "latency_ms", "request_id"),
    query=(
        *_SINCE,
        Option(name="method", help="of this HTTP method"),
        Option(name="request_id", help="the call with this id"),
        Option(name="caller_request_id", help="the call with this X-Request-Id"),
        Option(name="ip", help="from this address"),
    ),
)  # fmt: skip
