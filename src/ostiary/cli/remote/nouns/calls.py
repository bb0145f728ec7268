"""What the gateway has counted and logged."""

from ostiary.cli.remote.nouns.declarations import AnswerForm, Option, OptionKind, RemoteOperation

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
