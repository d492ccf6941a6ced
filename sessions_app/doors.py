"""A short way in for programs: what is asked under /api/ and /v1/ needs no login cookie, no form token, no fragment of a page and no static file, so it
goes past the middleware that brings them, which took as long as a turn takes in the database."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, resolve

DOORS = ("/api/", "/v1/")
PAGES = ("/api/v1/docs",)  # for people, with all that a page has
POLICY = "default-src 'none'; frame-ancestors 'none'"  # should a browser ever show an answer


class ForPrograms:
    """Middleware: answers what comes to the doors; everything else goes on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.known: dict[str, ResolverMatch] = {}  # the paths without an id in them, of which there are a dozen

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        if not path.startswith(DOORS) or path in PAGES:
            return self.get_response(request)
        request.get_host()  # raises DisallowedHost, as CommonMiddleware would
        request.resolver_match = match = self.match(path)
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        response["Content-Security-Policy"] = POLICY
        if isinstance(response, HttpResponse):
            response["Content-Length"] = str(len(response.content))
        return response

    def match(self, path: str) -> ResolverMatch:
        match = self.known.get(path)
        if match is None:
            match = resolve(path)
            if match.route == path[1:]:
                self.known[path] = match
        return match
