"""The paths of the pages. One comment per prefix."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from sessions_app.views import actions, costs, export, filters, inbox, live, messages, palette, preferences, saved_views, transcript, usage

# The inbox, and what one does to a session.
sessions_patterns = [
    path("", inbox.session_list, name="list"),
    path("live/", live.live, name="live"),
    path("filters/", filters.session_filters, name="filters"),
    path("actions/", actions.act, name="act"),
    path("actions/<int:action_id>/", actions.go_on, name="go_on"),
    path("actions/<int:action_id>/undo/", actions.undo, name="undo"),
    path("views/", saved_views.view_save, name="view_save"),
    path("views/<uuid:view_id>/rename/", saved_views.view_rename, name="view_rename"),
    path("views/<uuid:view_id>/share/", saved_views.view_share, name="view_share"),
    path("views/<uuid:view_id>/default/", saved_views.view_default, name="view_default"),
    path("views/<uuid:view_id>/delete/", saved_views.view_delete, name="view_delete"),
    path("views/<uuid:view_id>/restore/", saved_views.view_restore, name="view_restore"),
    path("<uuid:session_id>/", transcript.session_detail, name="detail"),
    path("<uuid:session_id>/read/", actions.session_read, name="read"),
    path("<uuid:session_id>/archive/", actions.session_archive, name="archive"),
    path("<uuid:session_id>/close/", transcript.session_close, name="close"),
    path("<uuid:session_id>/facts/", transcript.session_facts, name="facts"),
    path("<uuid:session_id>/export/", export.session_export, name="export"),
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
    path("go/", palette.go, name="go"),
    path("preferences/", preferences.set_preference, name="preferences"),
]
