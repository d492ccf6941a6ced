"""The paths of the pages. One comment per prefix."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from sessions_app.views import costs, inbox, messages, transcript, usage

# The inbox, and what one does to a session.
sessions_patterns = [
    path("", inbox.session_list, name="list"),
    path("read/", inbox.read_all, name="read_all"),
    path("<uuid:session_id>/", transcript.session_detail, name="detail"),
    path("<uuid:session_id>/read/", inbox.session_read, name="read"),
    path("<uuid:session_id>/archive/", inbox.session_archive, name="archive"),
    path("<uuid:session_id>/close/", transcript.session_close, name="close"),
    path("<uuid:session_id>/facts/", transcript.session_facts, name="facts"),
    path("<uuid:session_id>/messages/<int:message_id>/", messages.message_text, name="message"),
    path("<uuid:session_id>/usage/", usage.session_usage, name="usage"),
    path("<uuid:session_id>/messages/<int:message_id>/files/<int:number>/", messages.message_file, name="file"),
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
