"""The console's addresses, and the management API beside it."""

from django.urls import URLPattern, URLResolver, path

from ostiary.api.application import api
from ostiary.console import (
    clients,
    collections,
    connections,
    health,
    pages,
    policies,
    profiles,
    projects,
    recipes,
    sign_in,
    workspace,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", pages.home, name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("sign-in", sign_in.with_password, name="sign-in"),
    path("sign-in/link", sign_in.with_link, name="sign-in-link"),
    path("sign-out", sign_in.sign_out, name="sign-out"),
    path("sign-out/everywhere", sign_in.sign_out_everywhere, name="sign-out-everywhere"),
    path("account", pages.account, name="account"),
    path("password", sign_in.set_password, name="set-password"),
    path("clients", clients.listing, name="clients"),
    path("clients/new", clients.new, name="new-client"),
    path("clients/<int:client_id>", clients.show, name="client"),
    path("clients/<int:client_id>/active", clients.switch, name="switch-client"),
    path("clients/<int:client_id>/edit", clients.edit, name="edit-client"),
    path("clients/<int:client_id>/delete", clients.delete, name="delete-client"),
    path("clients/<int:client_id>/profiles/new", profiles.new, name="new-profile"),
    path("profiles/<int:profile_id>/edit", profiles.edit, name="edit-profile"),
    path("profiles/<int:profile_id>/active", profiles.switch, name="switch-profile"),
    path("profiles/<int:profile_id>/refresh", profiles.refresh, name="refresh-profile"),
    path("profiles/<int:profile_id>/delete", profiles.delete, name="delete-profile"),
    path(
        "profiles/<int:profile_id>/credentials/<int:credential_id>/cut-off",
        profiles.cut_off,
        name="cut-off",
    ),
    path("help/addresses", profiles.help_addresses, name="help-addresses"),
    path("help/key", profiles.help_key, name="help-key"),
    path("policies", policies.listing, name="policies"),
    path("policies/new", policies.new, name="new-policy"),
    path("policies/<int:policy_id>/edit", policies.edit, name="edit-policy"),
    path("policies/<int:policy_id>/delete", policies.delete, name="delete-policy"),
    path("collections", collections.listing, name="collections"),
    path("collections/new", collections.new, name="new-collection"),
    path("collections/<int:collection_id>", collections.show, name="collection"),
    path(
        "collections/<int:collection_id>/endpoints/new",
        collections.new_endpoint,
        name="new-endpoint",
    ),
    path("collections/<int:collection_id>/delete", collections.delete, name="delete-collection"),
    path("endpoints/<int:endpoint_id>/active", collections.switch_endpoint, name="switch-endpoint"),
    path("endpoints/<int:endpoint_id>/delete", collections.delete_endpoint, name="delete-endpoint"),
    path("connections", connections.listing, name="connections"),
    path("connections/new", connections.new, name="new-connection"),
    path("connections/<int:connection_id>/edit", connections.edit, name="edit-connection"),
    path("connections/<int:connection_id>/delete", connections.delete, name="delete-connection"),
    path("projects", projects.listing, name="projects"),
    path("projects/<int:project_id>/edit", projects.edit, name="edit-project"),
    path("projects/<int:project_id>/delete", projects.delete, name="delete-project"),
    path("recipes", recipes.listing, name="recipes"),
    path("recipes/<int:recipe_id>/started", recipes.switch, name="switch-recipe"),
    path("members", workspace.member_list, name="members"),
    path("members/<int:member_id>", workspace.change_member, name="change-member"),
    path("members/<int:member_id>/link", workspace.member_link, name="member-link"),
    path("tokens", workspace.token_list, name="tokens"),
    path("tokens/<int:token_id>/revoke", workspace.revoke_token, name="revoke-token"),
    path("audit-log", workspace.audit_log, name="audit-log"),
    path("settings", workspace.settings, name="settings"),
    path("logos/<int:client_id>/<int:version>-<int:size>.png", clients.logo_file, name="logo"),
    path("api/", api.urls),
]
handler400 = pages.bad_request
handler403 = pages.forbidden
handler404 = pages.not_found
handler500 = pages.broken
