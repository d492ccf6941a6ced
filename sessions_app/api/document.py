"""The OpenAPI 3.1 document: what django-ninja writes, made complete, and the same as a page for people."""

from __future__ import annotations

import json
from typing import Any

from sessions_app.api.problems import PROBLEM_JSON
from sessions_app.api.schema import BatchDocument

JSON = dict[str, Any]
REF = "#/components/schemas/"
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Your own id of this event, where the body has no event_id.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
WORDS = {
    400: "Not JSON, or not as compressed as it says: not_json, bad_encoding",
    401: "No good token: no_token, bad_token",
    403: "Not with this token: wrong_scope, token_bound, https_required",
    404: "No such session, or not yours to reach: session_not_found",
    409: "In the way of something else: session_already_open, event_id_reused",
    413: "Too much at once: too_large",
    415: "wrong_content_type, wrong_content_encoding",
    422: "JSON, but not a valid message: invalid_value, invalid_message, invalid_usage, invalid_session, unknown_channel",
    429: "Too many requests with one token: slow_down; wait for Retry-After",
    503: "The store cannot be reached now: busy; send it again after Retry-After",
}


def finish(document: JSON) -> JSON:
    """Complete ninja's document: media types and headers of problems, the batch's events one by one, the header of every write."""
    schemas: JSON = document["components"]["schemas"]
    batch = BatchDocument.model_json_schema(ref_template=REF + "{model}")
    schemas.update(batch.pop("$defs"))
    schemas["BatchBody"] = batch
    for _, method, operation in operations(document):
        operation["operationId"] = operation["operationId"].removeprefix("sessions_app_api_routes_")
        operation["description"] = " ".join(operation["description"].split())
        if method in ("post", "patch"):
            operation["parameters"].append(IDEMPOTENCY_KEY)
        operation["responses"] = dict(sorted(operation["responses"].items()))
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                response["description"] = WORDS[int(status)]
                response["content"] = {PROBLEM_JSON: {"schema": {"$ref": f"{REF}ProblemAnswer"}}}
                name = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}.get(int(status))
                if name:
                    response["headers"] = {name: {"schema": {"type": "string"}, "required": True}}
    document["components"]["securitySchemes"] = {"Door": {"type": "http", "scheme": "bearer"}}
    plain: JSON = json.loads(json.dumps(document))  # its statuses are numbers until here
    return plain


def operations(document: JSON) -> list[tuple[str, str, JSON]]:
    return [(path, method, operation) for path, methods in document["paths"].items() for method, operation in methods.items()]


# --- for people -----------------------------------------------------------------------------------------------------------------------


def as_page(document: JSON) -> JSON:
    """Return the context of the page: operations by tag, each with the rows of its parameters, its body and its answers; and the shapes they name."""
    groups: dict[str, list[JSON]] = {}
    for path, method, operation in operations(document):
        groups.setdefault(operation["tags"][0], []).append(
            {
                "id": operation["operationId"],
                "method": method.upper(),
                "path": path,
                "summary": operation["summary"],
                "description": operation["description"],
                "parameters": [_parameter(parameter) for parameter in operation["parameters"]],
                "body": _body(operation).removesuffix(" or null"),
                "body_optional": not operation.get("requestBody", {}).get("required", True),
                "answers": [_answer(status, response) for status, response in operation["responses"].items() if int(status) < 400],
                "errors": [(status, response["description"]) for status, response in operation["responses"].items() if int(status) >= 400],
            }
        )
    shapes = [
        {"name": name, "description": " ".join(shape.get("description", "").split()), "rows": _rows(shape)}
        for name, shape in sorted(document["components"]["schemas"].items())
    ]
    return {
        "title": document["info"]["title"],
        "about": [_words(paragraph) for paragraph in document["info"]["description"].split("\n\n")],
        "groups": groups,
        "shapes": shapes,
    }


def _words(paragraph: str) -> list[tuple[str, bool]]:
    """Return the pieces of a paragraph, each with whether it is code."""
    return [(piece, bool(place % 2)) for place, piece in enumerate(paragraph.split("`"))]


def _parameter(parameter: JSON) -> JSON:
    return {
        "name": parameter["name"],
        "where": parameter["in"],
        "required": parameter["required"],
        "type": _type(parameter["schema"]),
        "description": parameter.get("description", ""),
    }


def _body(operation: JSON) -> str:
    body = operation.get("requestBody")
    return _type(body["content"]["application/json"]["schema"]) if body else ""


def _answer(status: str, response: JSON) -> tuple[str, str, str]:
    """Return status, the shape's name ("" for what is no JSON) and the media type."""
    [(media, content)] = response["content"].items()
    return status, str(content["schema"].get("$ref", "")).removeprefix(REF), media


def _rows(shape: JSON) -> list[JSON]:
    required = shape.get("required", [])
    return [
        {"name": name, "required": name in required, "type": _type(field), "description": field.get("description", "")}
        for name, field in shape.get("properties", {}).items()
    ]


def _type(schema: JSON) -> str:
    """Say a JSON schema in a few words."""
    if ref := schema.get("$ref"):
        return str(ref).removeprefix(REF)
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[several]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    words = str(schema.get("format") or schema.get("type", "anything"))
    if "maximum" in schema and "minimum" in schema:
        words += f" {schema['minimum']:,} to {schema['maximum']:,}"
    elif "maxLength" in schema:
        words += f", at most {schema['maxLength']:,}"
    return words
