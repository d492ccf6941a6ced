"""The API as Django mounts it: django-ninja's paths, each behind one wrapper, and its document and pages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.docs import DocsBase
from ninja.parser import Parser

from sessions_app.api.document import as_page, finish
from sessions_app.api.limits import load_json, read_body
from sessions_app.api.problems import Problem, problem_response
from sessions_app.api.routes import router
from sessions_app.api.validation import invalid
from sessions_app.errors import SessionError

log = logging.getLogger("sessions_app.api")
ABOUT = """Agents write sessions, messages and usage here; clients read them back.

Send `Authorization: Bearer TOKEN`; an operator makes tokens with `manage.py create_token` or in the admin. A write token reads nothing back but what it
wrote. Bodies are JSON, also compressed (`Content-Encoding: gzip`). Money is text, in dollars. Times carry their zone. Paths have no slash at their end.

Every write may be sent again: give it an `event_id` of your own (or the header `Idempotency-Key`), and it is done once and answered as the first time:
201 when it was new, 200 after that, 409 `event_id_reused` when something else came under the same id.

Refusals are problem JSON (RFC 9457) with a stable `code`."""


class StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        return load_json(read_body(request))


class Pages(DocsBase):
    """The document as a page: our own, since it may load nothing from elsewhere and run nothing inline."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        return render(request, "sessions_app/api_docs.html", as_page(api.get_openapi_schema()))


class API(NinjaAPI):
    unused = HttpResponse()

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        """The response that ninja makes ahead for each request, so that an operation may put headers on it. Ours make their own: one is enough."""
        return self.unused

    @cached_property
    def document(self) -> dict[str, Any]:
        return finish(dict(super().get_openapi_schema(path_prefix="/api/v1/")))

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        return self.document


api = API(
    title="Sessionsite",
    version="1",
    description=ABOUT,
    urls_namespace="api",
    parser=StrictParser(),
    docs=Pages(),
    openapi_url="/openapi.json",
    docs_url="/docs",
)
api.add_router("", router)


@api.exception_handler(SessionError)
def refused(request: HttpRequest, error: SessionError) -> HttpResponse:
    return problem_response(error)


@api.exception_handler(ValidationError)
def not_valid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    # A place begins with where it was sent (body, query, path) and, of a body, with the name of the view's argument.
    errors = [{**one, "loc": one["loc"][2 if one["loc"][0] == "body" else 1 :]} for one in error.errors]
    return problem_response(invalid(errors))


@api.exception_handler(HttpError)
def not_read(request: HttpRequest, error: HttpError) -> HttpResponse:
    cause = error.__cause__  # ninja wraps what the parser raised
    return problem_response(cause if isinstance(cause, SessionError) else Problem(error.status_code, "not_json", str(error)))


@api.exception_handler(OperationalError)
@api.exception_handler(InterfaceError)
def busy(request: HttpRequest, error: Exception) -> HttpResponse:
    """The database is locked for too long, or away: nothing was stored, and later it may be."""
    log.warning("The database cannot be used: %s", type(error).__name__, exc_info=error)
    return problem_response(
        Problem(503, "busy", "The store cannot be reached now. Nothing was stored; send it again.", headers={"Retry-After": "1"})
    )


@api.exception_handler(Exception)
def broken(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("%s %s failed", request.method, request.resolver_match and request.resolver_match.route, exc_info=error)
    return problem_response(Problem(500, "internal_error", "The site failed; its operator finds the reason in the log."))


def nothing_here(request: HttpRequest) -> HttpResponse:
    words = "There is no such path. The paths stand at /api/v1/docs; none ends in a slash."
    return problem_response(Problem(404, "not_found", words))


def door(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Let a view be reached without a sign-in, by a token or by anybody; its own refusals become problems too."""

    @wraps(view, assigned=())
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except Http404:
            return nothing_here(request)
        if response.status_code == 405:
            allowed = ", ".join(sorted(response["Allow"].split(", ")))
            return problem_response(
                Problem(405, "method_not_allowed", f"{request.method} is not possible here; {allowed} is.", headers={"Allow": allowed})
            )
        return response

    return csrf_exempt(login_not_required(wrapper))


def _patterns() -> list[URLPattern]:
    found = []
    for pattern in api.urls[0]:
        assert isinstance(pattern, URLPattern)
        pattern.callback = door(pattern.callback)
        found.append(pattern)
    return found


urlpatterns = [
    path("v1/", (_patterns(), "ninja", "api")),
    re_path(r"", csrf_exempt(login_not_required(nothing_here))),
]
