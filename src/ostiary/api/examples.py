"""An example of each call of the management API, for its document. A test sends every one.

Ids are made up; what they name is made first where an example is tried.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class CallExample:
    """What a call sends."""

    body: object = None
    parameters: Mapping[str, object] = field(default_factory=dict)


_NONE = CallExample()
_UNTIL = "2099-01-31T12:00:00Z"
_NEXT = {
    "content": '{"openapi": "3.1.0", "paths": {"/orders/{id}": {"get": {"summary": "One order"}}}}',
    "format": "json",
}
EXAMPLES: Mapping[str, CallExample] = {
    "show_quotas": _NONE,
    "change_quotas": CallExample(body={"clients": 500, "access_profiles": None}),
    "list_projects": CallExample(parameters={"page": 1, "per_page": 20}),
    "show_project": _NONE,
    "show_folder": _NONE,
    "show_signing_key": _NONE,
    "show_delivery": _NONE,
    "change_project": CallExample(body={"description": "APIs for partners"}),
    "delete_project": CallExample(parameters={"force": True}),
    "list_folders": CallExample(parameters={"with_nested_folders": True}),
    "list_folder_assets": CallExample(parameters={"folder_id": 1}),
    "create_folder": CallExample(body={"name": "Partners", "description": "APIs for partners"}),
    "change_folder": CallExample(body={"name": "Suppliers"}),
    "delete_folder": _NONE,
    "list_properties": CallExample(parameters={"project_id": 1, "prefix": "mail."}),
    "set_properties": CallExample(
        body={"properties": {"mail.sender": "noreply@example.com"}}, parameters={"project_id": 1}
    ),
    "delete_property": CallExample(parameters={"project_id": 1, "name": "mail.host"}),
    "list_connections": _NONE,
    "create_connection": CallExample(
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
    "change_connection": CallExample(
        body={
            "name": "Orders service",
            "input": {"base_url": ["https://a.example.com", "https://b.example.com"]},
        }
    ),
    "delete_connection": _NONE,
    "test_connection": _NONE,
    "list_collections": _NONE,
    "create_collection": CallExample(
        body={"name": "Orders", "version": "1", "proxy_connection_id": 1}
    ),
    "preview_import": CallExample(body={"openapi_spec": _NEXT}),
    "import_document": CallExample(
        body={"openapi_spec": _NEXT, "added": ["GET /orders/{id}"], "gone": []}
    ),
    "show_import_report": _NONE,
    "dismiss_import_report": _NONE,
    "show_collection": _NONE,
    "change_collection": CallExample(body={"cors_origins": ["https://app.example.com"]}),
    "delete_collection": _NONE,
    "show_document": _NONE,
    "purge_cache": _NONE,
    "list_endpoints": CallExample(parameters={"api_collection_id": 1}),
    "create_endpoint": CallExample(
        body={"name": "One order", "method": "GET", "path": "/orders/{id}/lines", "active": True}
    ),
    "show_endpoint": _NONE,
    "change_endpoint": CallExample(body={"timeout_seconds": 10}),
    "delete_endpoint": _NONE,
    "enable_endpoint": _NONE,
    "disable_endpoint": _NONE,
    "enable_endpoints": CallExample(body={"endpoint_ids": [1]}),
    "disable_endpoints": CallExample(body={"endpoint_ids": [1]}),
    "list_recipes": _NONE,
    "show_recipe": _NONE,
    "change_recipe": CallExample(body={"shared": True}),
    "start_recipe": _NONE,
    "stop_recipe": _NONE,
    "delete_node": _NONE,
    "list_nodes": _NONE,
    "list_signing_keys": _NONE,
    "rotate_signing_keys": _NONE,
    "list_clients": CallExample(parameters={"project_id": 1}),
    "create_client": CallExample(body={"name": "Northwind", "description": "Sends us orders"}),
    "show_client": _NONE,
    "change_client": CallExample(body={"description": "Sends and reads orders"}),
    "delete_client": _NONE,
    "enable_client": _NONE,
    "disable_client": CallExample(body={"until": None}),
    "set_logo": _NONE,
    "remove_logo": _NONE,
    "list_clients_with_defaults": CallExample(parameters={"project_id": 1}),
    "create_client_with_defaults": CallExample(
        body={"name": "Globex", "api_collection_ids": [1], "auth_type": "token"}
    ),
    "show_client_with_defaults": _NONE,
    "change_client_with_defaults": CallExample(body={"description": "Reads orders"}),
    "delete_client_with_keys": _NONE,
    "list_keys": _NONE,
    "create_key": CallExample(body={"name": "Production", "active": True}),
    "show_key": _NONE,
    "change_key": CallExample(body={"ip_allow_list": ["192.0.2.0/24"]}),
    "delete_key": _NONE,
    "enable_key": _NONE,
    "disable_key": _NONE,
    "refresh_key_secret": _NONE,
    "change_profiles": CallExample(body={"access_profile_ids": [1], "active": False}),
    "revoke_credentials": CallExample(body={"credential_ids": [1]}),
    "switch_clients": CallExample(body={"api_client_ids": [1], "active": False}),
    "import_credentials": CallExample(
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
    "list_profiles": CallExample(parameters={"api_client_id": 1}),
    "create_profile": CallExample(
        body={
            "name": "Production",
            "api_client_id": 1,
            "api_collection_ids": [1],
            "auth_type": "token",
            "ip_allow_list": ["192.0.2.0/24"],
        }
    ),
    "show_profile": _NONE,
    "change_profile": CallExample(body={"expires_at": _UNTIL}),
    "delete_profile": _NONE,
    "enable_profile": _NONE,
    "disable_profile": CallExample(body={"until": None}),
    "refresh_secret": CallExample(body={"overlap_seconds": 3600}),
    "list_credentials": _NONE,
    "list_configuration_sets": CallExample(parameters={"has_drift": True}),
    "list_all_credentials": CallExample(parameters={"never_used": True, "per_page": 20}),
    "show_owned_credential": _NONE,
    "change_credential": CallExample(body={"expires_at": "2099-01-31T12:00:00Z"}),
    "show_credential": _NONE,
    "cut_off": _NONE,
    "show_limits": _NONE,
    "reset_limits": CallExample(body={"windows": ["minute"]}),
    "raise_limits": CallExample(body={"limits": {"minute": 600}, "until": "2030-01-31T12:00:00Z"}),
    "end_raise": _NONE,
    "list_address_lists": _NONE,
    "list_deleted": _NONE,
    "restore_object": _NONE,
    "show_offboarding": _NONE,
    "offboard_client": _NONE,
    "list_handovers": _NONE,
    "create_handover": CallExample(body={"valid_seconds": 86400, "overlap_seconds": 86400}),
    "show_handover": _NONE,
    "withdraw_handover": _NONE,
    "create_address_list": CallExample(
        body={"name": "Offices", "entries": ["192.0.2.0/24", "2001:db8::/48"]}
    ),
    "show_address_list": _NONE,
    "change_address_list": CallExample(body={"entries": ["192.0.2.0/24"]}),
    "delete_address_list": _NONE,
    "list_events": CallExample(parameters={"target_kind": "client"}),
    "list_policies": _NONE,
    "create_policy": CallExample(
        body={
            "name": "Standard",
            "rate_limit": {"limit": 60, "interval": "minute"},
            "usage_quota": {"limit": 100000, "interval": "month"},
        }
    ),
    "show_policy": _NONE,
    "change_policy": CallExample(
        body={"name": "Standard", "rate_limit": {"limit": 120, "interval": "minute"}}
    ),
    "delete_policy": _NONE,
    "list_members": _NONE,
    "create_member": CallExample(
        body={"email": "ann@example.com", "name": "Ann", "sign_in_link": True}
    ),
    "show_member": _NONE,
    "change_member": CallExample(body={"name": "Ann Smith"}),
    "delete_member": _NONE,
    "create_sign_in_link": _NONE,
    "list_project_members": _NONE,
    "invite_member": CallExample(body={"email": "bob@example.com", "role": "editor"}),
    "set_role": CallExample(body={"role": "viewer"}),
    "list_tokens": _NONE,
    "create_token": CallExample(
        body={"name": "Deployment", "admin": False, "role": "editor", "project_ids": [1]}
    ),
    "show_own_token": _NONE,
    "show_token": _NONE,
    "change_token": CallExample(body={"name": "Deployment pipeline"}),
    "revoke_token": _NONE,
    "rotate_own_token": CallExample(body={"overlap_seconds": 600}),
    "rotate_token": CallExample(body={"overlap_seconds": 600}),
    "show_usage": CallExample(parameters={"bucket": "hour", "group_by": "client,status"}),
    "list_calls": CallExample(parameters={"per_page": 20}),
    "show_me": _NONE,
    "list_webhooks": _NONE,
    "create_webhook": CallExample(
        body={
            "name": "Chat",
            "url": "https://hooks.example.com/ostiary",
            "events": ["client.deactivated"],
        }
    ),
    "show_webhook": _NONE,
    "change_webhook": CallExample(body={"expiry_days": 14}),
    "delete_webhook": _NONE,
    "enable_webhook": _NONE,
    "disable_webhook": _NONE,
    "rotate_secret": _NONE,
    "send_test": _NONE,
    "list_deliveries": CallExample(parameters={"per_page": 20}),
    "redeliver": _NONE,
    "show_settings": _NONE,
    "change_settings": CallExample(body={"token_calls_per_minute": 600}),
    "explain": CallExample(
        body={
            "access_profile_id": 1,
            "method": "GET",
            "path": "/orders-v1/orders/7",
            "ip": "192.0.2.1",
        }
    ),
    "create_plan": CallExample(
        body={
            "configuration": {
                "format": 1,
                "set": "partners",
                "project": "Home",
                "clients": [{"key": "northwind", "name": "Northwind"}],
            }
        }
    ),
    "show_plan": _NONE,
    "apply_plan": CallExample(body={"commit": "4f2a91c"}),
    "export_configuration": CallExample(parameters={"set": "partners"}),
    "show_schema": _NONE,
    "preview_change": CallExample(
        body={"access_profile_id": 1, "change": {"ip_allow_list": ["192.0.2.0/24"]}}
    ),
    "list_advice": _NONE,
}
