"""An example of each call of the management API, for its document. A test sends every one.

Ids are made up; what they name is made first where an example is tried.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What a call sends."""

    body: object = None
    parameters: Mapping[str, object] = field(default_factory=dict)


_NONE = Example()
_UNTIL = "2099-01-31T12:00:00Z"
_NEXT = {
    "content": '{"openapi": "3.1.0", "paths": {"/orders/{id}": {"get": {"summary": "One order"}}}}',
    "format": "json",
}
EXAMPLES: Mapping[str, Example] = {
    "show_quotas": _NONE,
    "change_quotas": Example(body={"clients": 500, "access_profiles": None}),
    "list_projects": Example(parameters={"page": 1, "per_page": 20}),
    "show_project": _NONE,
    "show_folder": _NONE,
    "show_signing_key": _NONE,
    "show_delivery": _NONE,
    "change_project": Example(body={"description": "APIs for partners"}),
    "delete_project": Example(parameters={"force": True}),
    "list_folders": Example(parameters={"with_nested_folders": True}),
    "list_folder_assets": Example(parameters={"folder_id": 1}),
    "create_folder": Example(body={"name": "Partners", "description": "APIs for partners"}),
    "change_folder": Example(body={"name": "Suppliers"}),
    "delete_folder": _NONE,
    "list_properties": Example(parameters={"project_id": 1, "prefix": "mail."}),
    "set_properties": Example(
        body={"properties": {"mail.sender": "noreply@example.com"}}, parameters={"project_id": 1}
    ),
    "delete_property": Example(parameters={"project_id": 1, "name": "mail.host"}),
    "list_connections": _NONE,
    "create_connection": Example(
        body={
            "name": "Orders service",
            "input": {
                "base_url": "https://orders.example.com",
                "auth_type": "header",
                "auth_name": "X-Api-Key",
                "auth_secret": "of-the-upstream",
            },
        }
    ),
    "show_connection": _NONE,
    "change_connection": Example(
        body={
            "name": "Orders service",
            "input": {"base_url": ["https://a.example.com", "https://b.example.com"]},
        }
    ),
    "delete_connection": _NONE,
    "list_collections": _NONE,
    "create_collection": Example(body={"name": "Orders", "version": "1", "proxy_connection_id": 1}),
    "preview_import": Example(body={"openapi_spec": _NEXT}),
    "import_document": Example(
        body={"openapi_spec": _NEXT, "added": ["GET /orders/{id}"], "gone": []}
    ),
    "show_import_report": _NONE,
    "dismiss_import_report": _NONE,
    "show_collection": _NONE,
    "change_collection": Example(body={"cors_origins": ["https://app.example.com"]}),
    "delete_collection": _NONE,
    "show_document": _NONE,
    "purge_cache": _NONE,
    "list_endpoints": Example(parameters={"api_collection_id": 1}),
    "create_endpoint": Example(
        body={"name": "One order", "method": "GET", "path": "/orders/{id}/lines", "active": True}
    ),
    "show_endpoint": _NONE,
    "change_endpoint": Example(body={"timeout_seconds": 10}),
    "delete_endpoint": _NONE,
    "enable_endpoint": _NONE,
    "disable_endpoint": _NONE,
    "enable_endpoints": Example(body={"endpoint_ids": [1]}),
    "disable_endpoints": Example(body={"endpoint_ids": [1]}),
    "list_recipes": _NONE,
    "show_recipe": _NONE,
    "change_recipe": Example(body={"shared": True}),
    "start_recipe": _NONE,
    "stop_recipe": _NONE,
    "list_signing_keys": _NONE,
    "rotate_signing_keys": _NONE,
    "list_clients": Example(parameters={"project_id": 1}),
    "create_client": Example(body={"name": "Acme", "description": "Sends us orders"}),
    "show_client": _NONE,
    "change_client": Example(body={"description": "Sends and reads orders"}),
    "delete_client": _NONE,
    "enable_client": _NONE,
    "disable_client": _NONE,
    "set_logo": _NONE,
    "remove_logo": _NONE,
    "list_clients_with_defaults": Example(parameters={"project_id": 1}),
    "create_client_with_defaults": Example(
        body={"name": "Globex", "api_collection_ids": [1], "auth_type": "token"}
    ),
    "show_client_with_defaults": _NONE,
    "change_client_with_defaults": Example(body={"description": "Reads orders"}),
    "delete_client_with_keys": _NONE,
    "list_keys": _NONE,
    "create_key": Example(body={"name": "Production", "active": True}),
    "show_key": _NONE,
    "change_key": Example(body={"ip_allow_list": ["192.0.2.0/24"]}),
    "delete_key": _NONE,
    "enable_key": _NONE,
    "disable_key": _NONE,
    "refresh_key_secret": _NONE,
    "change_profiles": Example(body={"access_profile_ids": [1], "active": False}),
    "import_credentials": Example(
        body={
            "rows": [
                {
                    "client": "Initech",
                    "profile": "Old gateway",
                    "collections": ["orders-v1"],
                    "token_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                }
            ],
            "create_clients": True,
            "apply": True,
        }
    ),
    "list_profiles": Example(parameters={"api_client_id": 1}),
    "create_profile": Example(
        body={
            "name": "Production",
            "api_client_id": 1,
            "api_collection_ids": [1],
            "auth_type": "token",
            "ip_allow_list": ["192.0.2.0/24"],
        }
    ),
    "show_profile": _NONE,
    "change_profile": Example(body={"expires_at": _UNTIL}),
    "delete_profile": _NONE,
    "enable_profile": _NONE,
    "disable_profile": _NONE,
    "refresh_secret": Example(body={"overlap_seconds": 3600}),
    "list_credentials": _NONE,
    "cut_off": _NONE,
    "show_limits": _NONE,
    "reset_limits": Example(body={"windows": ["minute"]}),
    "raise_limits": Example(body={"limits": {"minute": 600}, "until": "2030-01-31T12:00:00Z"}),
    "end_raise": _NONE,
    "list_address_lists": _NONE,
    "create_address_list": Example(
        body={"name": "Offices", "entries": ["192.0.2.0/24", "2001:db8::/48"]}
    ),
    "show_address_list": _NONE,
    "change_address_list": Example(body={"entries": ["192.0.2.0/24"]}),
    "delete_address_list": _NONE,
    "list_events": Example(parameters={"target_kind": "client"}),
    "list_policies": _NONE,
    "create_policy": Example(
        body={
            "name": "Standard",
            "rate_limit": {"limit": 60, "interval": "minute"},
            "usage_quota": {"limit": 100000, "interval": "month"},
        }
    ),
    "show_policy": _NONE,
    "change_policy": Example(
        body={"name": "Standard", "rate_limit": {"limit": 120, "interval": "minute"}}
    ),
    "delete_policy": _NONE,
    "list_members": _NONE,
    "create_member": Example(
        body={"email": "ann@example.com", "name": "Ann", "sign_in_link": True}
    ),
    "show_member": _NONE,
    "change_member": Example(body={"name": "Ann Smith"}),
    "delete_member": _NONE,
    "create_sign_in_link": _NONE,
    "list_project_members": _NONE,
    "invite_member": Example(body={"email": "bob@example.com", "role": "editor"}),
    "set_role": Example(body={"role": "viewer"}),
    "list_tokens": _NONE,
    "create_token": Example(
        body={"name": "Deployment", "admin": False, "role": "editor", "project_ids": [1]}
    ),
    "show_own_token": _NONE,
    "show_token": _NONE,
    "change_token": Example(body={"name": "Deployment pipeline"}),
    "revoke_token": _NONE,
    "rotate_own_token": Example(body={"overlap_seconds": 600}),
    "rotate_token": Example(body={"overlap_seconds": 600}),
    "show_usage": Example(parameters={"bucket": "hour", "group_by": "client,status"}),
    "list_calls": Example(parameters={"per_page": 20}),
    "show_me": _NONE,
    "list_webhooks": _NONE,
    "create_webhook": Example(
        body={
            "name": "Chat",
            "url": "https://hooks.example.com/ostiary",
            "events": ["client.deactivated"],
        }
    ),
    "show_webhook": _NONE,
    "change_webhook": Example(body={"expiry_days": 14}),
    "delete_webhook": _NONE,
    "enable_webhook": _NONE,
    "disable_webhook": _NONE,
    "rotate_secret": _NONE,
    "send_test": _NONE,
    "list_deliveries": Example(parameters={"per_page": 20}),
    "redeliver": _NONE,
    "show_settings": _NONE,
    "change_settings": Example(body={"token_calls_per_minute": 600}),
    "explain": Example(
        body={
            "access_profile_id": 1,
            "method": "GET",
            "path": "/orders-v1/orders/7",
            "ip": "192.0.2.1",
        }
    ),
    "preview_change": Example(
        body={"access_profile_id": 1, "change": {"ip_allow_list": ["192.0.2.0/24"]}}
    ),
    "list_advice": _NONE,
}
