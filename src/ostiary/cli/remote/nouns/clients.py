"""Clients, access profiles, credentials, hand-over links, policies and address lists."""

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
    EXPIRES,
    KEY,
    LABELS,
    NAME,
    OF_PROJECT,
    OVERLAP,
    PROJECT,
    UNTIL,
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
            verb="find", method="GET", path="v2/credentials",
            help="list credentials of all access profiles", form=AnswerForm.LIST,
            columns=("id", "masked", "access_profile", "api_client", "effective_state", "expires_at", "last_used_at"),
            query=(
                Option(name="search", help="beginning or mask, or a name of profile or client"),
                Option(name="api_client_id", kind=OptionKind.NUMBER, help="of this client alone"),
                Option(name="effective_state", help="in this state, such as active"),
                Option(name="never_used", kind=OptionKind.FLAG, help="whether they were never used"),
                Option(name="expires_before", kind=OptionKind.TIME, help="expiring before this time"),
            ),
        ),
        RemoteOperation(
            verb="change", method="PUT", path="v2/credentials/{id}",
            help="set or lift the expiry of one", form=AnswerForm.OBJECT, body=(EXPIRES,),
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
