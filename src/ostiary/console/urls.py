"""The console's addresses, and the management API beside it."""

from django.urls import URLPattern, URLResolver, path

from ostiary.api.application import api
from ostiary.console import clients, health, pages, sign_in

urlpatterns: list[URLPattern | URLResolver] = [
    path("", pages.home, name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("sign-in", sign_in.with_password, name="sign-in"),
    path("sign-in/link", sign_in.with_link, name="sign-in-link"),
    path("sign-out", sign_in.sign_out, name="sign-out"),
    path("password", sign_in.set_password, name="set-password"),
    path("clients", clients.listing, name="clients"),
    path("clients/new", clients.new, name="new-client"),
    path("clients/<int:client_id>", clients.show, name="client"),
    path("clients/<int:client_id>/active", clients.switch, name="switch-client"),
    path("logos/<int:client_id>/<int:version>-<int:size>.png", clients.logo_file, name="logo"),
    path("api/", api.urls),
]
handler400 = pages.bad_request
handler403 = pages.forbidden
handler404 = pages.not_found
handler500 = pages.broken
