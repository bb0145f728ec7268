"""API collections, endpoints and connections."""

from ostiary.cli.remote.nouns.declarations import (
    AnswerForm,
    Option,
    OptionKind,
    RemoteNoun,
    RemoteOperation,
    Usual,
)
from ostiary.cli.remote.nouns.options import (
    DESCRIPTION,
    KEY,
    LABELS,
    NAME,
    PROJECT,
)

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
    operations=(*Usual(
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
    ).operations(), RemoteOperation(
        verb="test", method="POST", path="connections/{id}/test",
        help="test the way to its servers, step by step", form=AnswerForm.OBJECT,
    )),
)  # fmt: skip
