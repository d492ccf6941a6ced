from django.apps import AppConfig


class SessionsAppConfig(AppConfig):
    """The application. Its label is not "sessions": that one is Django's, for the sign-in cookie's table."""

    name = "sessions_app"
    label = "sessions_app"
    verbose_name = "Sessionsite"
