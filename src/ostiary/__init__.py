"""Self-hosted access control for API owners."""

#: The release: shown by the command, `/healthz`, the console and the OpenAPI document.
__version__ = "0.2.0"
