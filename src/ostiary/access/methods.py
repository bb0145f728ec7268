"""The ways a consumer proves who it is; each access profile has exactly one."""

import enum


class AuthMethod(enum.StrEnum):
    TOKEN = "token"  # noqa: S105 - a name
    OAUTH2 = "oauth2"
    JWT = "jwt"
    OIDC = "oidc"
