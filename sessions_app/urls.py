"""The paths of the pages. One comment per prefix."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from sessions_app.views import costs, inbox, transcript

# The inbox, and what one does to a session.
sessions_patterns = [
    path("", inbox.session_list, name="list"),
    path("read/", inbox.read_all, name="read_all"),
    path("<uuid:session_id>/", transcript.session_detail, name="detail"),
    path("<uuid:session_id>/read/", inbox.session_read, name="read"),
    path("<uuid:session_id>/archive/", inbox.session_archive, name="archive"),
    path("<uuid:session_id>/messages/<int:message_id>/", transcript.message_text, name="message"),
]
# What it cost.
costs_patterns = [
    path("", costs.overview, name="overview"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="sessions:list"), name="home"),
    path("sessions/", include((sessions_patterns, "sessions"))),
    path("costs/", include((costs_patterns, "costs"))),
]
