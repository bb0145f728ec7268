"""All nouns of the command."""

from ostiary.cli.remote.nouns.catalog import COLLECTION, CONNECTION, ENDPOINT
from ostiary.cli.remote.nouns.clients import (
    ADDRESS_LIST,
    CLIENT,
    CREDENTIAL,
    HANDOVER,
    POLICY,
    PROFILE,
)
from ostiary.cli.remote.nouns.people import MEMBER, TOKEN
from ostiary.cli.remote.nouns.workspace import (
    AUDIT,
    DELETED,
    PROJECT_NOUN,
    PROPERTY,
    SETTING,
    WEBHOOK,
)

NOUNS = (
    CLIENT, PROFILE, CREDENTIAL, HANDOVER, COLLECTION, ENDPOINT, CONNECTION, POLICY, ADDRESS_LIST, WEBHOOK,
    PROJECT_NOUN, PROPERTY, TOKEN, MEMBER, SETTING, DELETED, AUDIT,
)  # fmt: skip
