"""Every prefix of the site. The pages' own names and paths stand in sessions_app/urls.py."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.generic import RedirectView

from sessions_app.views.signin import signin_link

urlpatterns = [
    # The door: password, one-time link, and out again (a POST).
    path("signin/", LoginView.as_view(redirect_authenticated_user=True), name="signin"),
    path("signin/link/<str:uid>/<str:token>/", signin_link, name="signin_link"),
    path("signout/", LogoutView.as_view(), name="signout"),
    # The operator's tables. One door is enough: its own sign-in page leads to ours.
    path("admin/login/", RedirectView.as_view(pattern_name="signin", query_string=True)),
    path("admin/", admin.site.urls),
    # The doors for agents: the JSON API.
    path("api/", include("sessions_app.api.urls")),
    # And OpenTelemetry's, where an exporter looks for it.
    path("v1/", include("sessions_app.otlp.urls")),
    # The pages: inbox, transcript, costs.
    path("", include("sessions_app.urls")),
]

handler403 = "sessions_app.views.errors.permission_denied"
handler404 = "sessions_app.views.errors.page_not_found"
