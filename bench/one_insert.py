"""The yardstick of bench/doors.py: the smallest Django view that stores something. One table, one insert of a posted JSON body in a transaction,
on the same database settings as the site.

    ONE_INSERT_DATABASE=FILE gunicorn one_insert:application
"""

from __future__ import annotations

import json
import os

import django
from django.conf import settings

from sessionsite.settings import database  # the same tuning, without which the comparison would say nothing

settings.configure(
    SECRET_KEY="one-insert",  # noqa: S106
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": database(f"sqlite:///{os.environ['ONE_INSERT_DATABASE']}")},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


class Note(models.Model):
    session_id = models.UUIDField()
    role = models.CharField(max_length=12)
    content = models.TextField()
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "one_insert"

    def __str__(self) -> str:
        return self.role


def insert(request: HttpRequest) -> JsonResponse:
    body = json.loads(request.body)
    with transaction.atomic():
        note = Note.objects.create(session_id=body["session_id"], role=body["role"], content=body["content"])
    return JsonResponse({"id": note.pk}, status=201)


def make_table() -> None:
    if Note._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Note)


urlpatterns = [path("insert", insert)]
application = get_wsgi_application()

if __name__ == "__main__":
    make_table()
