"""The paths of OTLP, as its specification fixes them: no trailing slash. An exporter adds them to its endpoint by itself."""

from django.urls import path

from sessions_app.otlp import views

app_name = "otlp"
urlpatterns = [
    path("traces", views.traces, name="traces"),
    path("logs", views.logs, name="logs"),
    path("metrics", views.metrics, name="metrics"),
]
