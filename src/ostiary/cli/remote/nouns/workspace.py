"""Projects, properties, webhooks, settings, what was deleted, and the audit log."""

from ostiary.cli.remote.nouns.declarations import (
    AnswerForm,
    Option,
    OptionKind,
    RemoteNoun,
    RemoteOperation,
    Usual,
    needed,
)
from ostiary.cli.remote.nouns.options import (
    DESCRIPTION,
    KEY,
    LABELS,
    NAME,
    OF_PROJECT,
    ROLE,
)

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
            body=(needed(NAME, ("name",)), DESCRIPTION, KEY, LABELS),
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
            body=(Option(name="email", required=True, help="the member's address"), needed(ROLE, ("role",))),
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
