"""From an OTLP request, protobuf or JSON, to the same few plain values. Pure.

Both encodings give equal values for equal telemetry: ids as lower-case hex, times as whole nanoseconds, attributes as a dict of plain
Python. A span or record that cannot be used (an id that is none, a time beyond the calendar) is set aside with its reason; the rest of the
request is taken. JSON is walked by hand: protobuf's own JSON reader takes ids for base64, and needs several times as long.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

MAX_DEPTH = 20  # of lists and maps in an attribute's value; what lies deeper is cut off, and says so
# Of a whole request as JSON, which writes a list or map in a value as four levels: 98 of them, where protobuf's own readers take about 30.
MAX_JSON_DEPTH = 400
TOO_DEEP = "(nested too deeply)"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_NS = 221_845_392_000_000_000_000 - 1  # the year 9000, as far as the store goes
HEX = frozenset("0123456789abcdef")

DELTA, CUMULATIVE = 1, 2

Item = TypeVar("Item")


class Malformed(Exception):
    """The request as a whole is no OTLP. detail: in words."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Rejected:
    """One item that was set aside. reason: a stable code; payload: the item as text; times: how many such."""

    reason: str
    detail: str
    payload: str
    times: int = 1


@dataclass(slots=True)
class Decoded(Generic[Item]):
    items: list[Item] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(slots=True)
class SpanEvent:
    name: str
    time_ns: int
    attributes: dict[str, Any]


@dataclass(slots=True)
class Span:
    """One timed step. parent_id "" = a root. resource: the sender's own attributes, shared between its spans."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[SpanEvent]
    is_error: bool
    status_message: str
    resource: dict[str, Any]
    scope: str

    @property
    def start(self) -> datetime | None:
        return moment(self.start_ns)

    @property
    def end(self) -> datetime | None:
        return moment(self.end_ns or self.start_ns)


@dataclass(slots=True)
class LogRecord:
    """trace_id, span_id "" = it was not written in a span."""

    time_ns: int
    name: str
    body: Any
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str
    trace_id: str = ""
    span_id: str = ""

    @property
    def time(self) -> datetime | None:
        return moment(self.time_ns)


@dataclass(slots=True)
class Point:
    """One number of a metric. temporality: DELTA, CUMULATIVE, 0 = a gauge. value None: a histogram or summary, whose sum is not one number."""

    metric: str
    value: int | float | None
    temporality: int
    start_ns: int
    time_ns: int
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def time(self) -> datetime | None:
        return moment(self.time_ns)


def moment(nanoseconds: int) -> datetime | None:
    """Return the time; None for 0, which is how OTLP says that there is none. To the microsecond, which is what the store keeps."""
    return EPOCH + timedelta(microseconds=nanoseconds // 1000) if nanoseconds else None


# --- protobuf -------------------------------------------------------------------------------------------------------------------------


def _parse(kind: str, body: bytes) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    # Here, not above: importing them takes longer than most commands, and only this door needs them.
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    kinds: dict[str, Any] = {"traces": ExportTraceServiceRequest, "logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest}
    message = kinds[kind]()
    try:
        message.ParseFromString(body)
    except (DecodeError, RecursionError, ValueError, UnicodeDecodeError):
        raise Malformed("The body is not a whole protobuf message of this kind: cut off, nested too deeply, or another format.") from None
    return message


def spans_from_protobuf(body: bytes) -> Decoded[Span]:
    """Read an ExportTraceServiceRequest. Raises Malformed."""
    decoded: Decoded[Span] = Decoded()
    for resource_spans in _parse("traces", body).resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope.name
            for one in scope_spans.spans:
                status = one.status
                span = Span(
                    one.trace_id.hex(),
                    one.span_id.hex(),
                    one.parent_span_id.hex(),
                    one.name,
                    one.start_time_unix_nano,
                    one.end_time_unix_nano,
                    _attributes(one.attributes),
                    [SpanEvent(event.name, event.time_unix_nano, _attributes(event.attributes)) for event in one.events],
                    status.code == 2,
                    status.message,
                    resource,
                    scope,
                )
                _take_span(decoded, span)
    return decoded


def logs_from_protobuf(body: bytes) -> Decoded[LogRecord]:
    """Read an ExportLogsServiceRequest. Raises Malformed."""
    decoded: Decoded[LogRecord] = Decoded()
    for resource_logs in _parse("logs", body).resource_logs:
        resource = _attributes(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            for one in scope_logs.log_records:
                time_ns = one.time_unix_nano or one.observed_time_unix_nano
                record = LogRecord(
                    time_ns,
                    getattr(one, "event_name", ""),
                    _value(one.body, 0),
                    _attributes(one.attributes),
                    resource,
                    scope_logs.scope.name,
                    one.trace_id.hex(),
                    one.span_id.hex(),
                )
                _take_record(decoded, record)
    return decoded


def points_from_protobuf(body: bytes) -> Decoded[Point]:
    """Read an ExportMetricsServiceRequest. Raises Malformed."""
    decoded: Decoded[Point] = Decoded()
    for resource_metrics in _parse("metrics", body).resource_metrics:
        resource = _attributes(resource_metrics.resource.attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                kind = metric.WhichOneof("data") or ""
                data = getattr(metric, kind) if kind else None
                temporality = getattr(data, "aggregation_temporality", 0)
                for one in data.data_points if data is not None else ():
                    value: int | float | None = None
                    if kind in ("sum", "gauge"):
                        which = one.WhichOneof("value")
                        value = getattr(one, which) if which else 0
                    point = Point(
                        metric.name,
                        value,
                        temporality,
                        one.start_time_unix_nano,
                        one.time_unix_nano,
                        _attributes(one.attributes),
                        resource,
                    )
                    _take_point(decoded, point)
    return decoded


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    found = {}
    for pair in pairs:
        value = pair.value
        which = value.WhichOneof("value")
        # The four plain kinds here, without a call: an attribute is what a request has most of.
        if which == "string_value":
            found[pair.key] = value.string_value
        elif which == "int_value":
            found[pair.key] = value.int_value
        elif which is not None:
            found[pair.key] = _value(value, 0)
        else:
            found[pair.key] = None
    return found


def _value(value: Any, depth: int) -> Any:
    which = value.WhichOneof("value")
    if which is None:
        return None
    inner = getattr(value, which)
    if which == "array_value":
        return TOO_DEEP if depth >= MAX_DEPTH else [_value(one, depth + 1) for one in inner.values]
    if which == "kvlist_value":
        return TOO_DEEP if depth >= MAX_DEPTH else {pair.key: _value(pair.value, depth + 1) for pair in inner.values}
    if which == "bytes_value":
        return base64.b64encode(inner).decode()
    if which == "double_value":
        return _double(inner)
    return inner


# --- JSON -----------------------------------------------------------------------------------------------------------------------------


def spans_from_json(data: Any) -> Decoded[Span]:
    """Read the JSON form of an ExportTraceServiceRequest, already parsed. Raises Malformed."""
    decoded: Decoded[Span] = Decoded()
    for resource, scope, one in _walk(data, "resourceSpans", "scopeSpans", "spans"):
        status = _dict(one.get("status"))
        _take_json(
            decoded,
            one,
            _take_span,
            lambda one=one, resource=resource, scope=scope, status=status: Span(  # type: ignore[misc]
                _id(one.get("traceId")),
                _id(one.get("spanId")),
                _id(one.get("parentSpanId")),
                _text(one.get("name")),
                _nanoseconds(one.get("startTimeUnixNano")),
                _nanoseconds(one.get("endTimeUnixNano")),
                _json_attributes(one.get("attributes")),
                [
                    SpanEvent(_text(event.get("name")), _nanoseconds(event.get("timeUnixNano")), _json_attributes(event.get("attributes")))
                    for event in _dicts(one.get("events"))
                ],
                status.get("code") in (2, "2", "STATUS_CODE_ERROR"),
                _text(status.get("message")),
                resource,
                scope,
            ),
        )
    return decoded


def logs_from_json(data: Any) -> Decoded[LogRecord]:
    """Read the JSON form of an ExportLogsServiceRequest, already parsed. Raises Malformed."""
    decoded: Decoded[LogRecord] = Decoded()
    for resource, scope, one in _walk(data, "resourceLogs", "scopeLogs", "logRecords"):
        _take_json(
            decoded,
            one,
            _take_record,
            lambda one=one, resource=resource, scope=scope: LogRecord(  # type: ignore[misc]
                _nanoseconds(one.get("timeUnixNano")) or _nanoseconds(one.get("observedTimeUnixNano")),
                _text(one.get("eventName")),
                _json_value(one.get("body"), 0),
                _json_attributes(one.get("attributes")),
                resource,
                scope,
                _id(one.get("traceId")),
                _id(one.get("spanId")),
            ),
        )
    return decoded


def points_from_json(data: Any) -> Decoded[Point]:
    """Read the JSON form of an ExportMetricsServiceRequest, already parsed. Raises Malformed."""
    decoded: Decoded[Point] = Decoded()
    for resource, _, metric in _walk(data, "resourceMetrics", "scopeMetrics", "metrics"):
        name = _text(metric.get("name"))
        kinds = [key for key in ("sum", "gauge", "histogram", "exponentialHistogram", "summary") if isinstance(metric.get(key), dict)]
        for kind in kinds:
            body = metric[kind]
            temporality = body.get("aggregationTemporality", 0)
            temporality = {"AGGREGATION_TEMPORALITY_DELTA": DELTA, "AGGREGATION_TEMPORALITY_CUMULATIVE": CUMULATIVE}.get(
                str(temporality), _whole(temporality) or 0
            )
            for one in _dicts(body.get("dataPoints")):
                _take_json(
                    decoded,
                    one,
                    _take_point,
                    lambda one=one, resource=resource, name=name, kind=kind, temporality=temporality: Point(  # type: ignore[misc]
                        name,
                        _json_number(one) if kind in ("sum", "gauge") else None,
                        temporality,
                        _nanoseconds(one.get("startTimeUnixNano")),
                        _nanoseconds(one.get("timeUnixNano")),
                        _json_attributes(one.get("attributes")),
                        resource,
                    ),
                )
    return decoded


class _Unusable(Exception):
    """This one item cannot be read."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _walk(data: Any, outer: str, middle: str, inner: str) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    if not isinstance(data, dict) or not isinstance(data.get(outer, []), list):
        raise Malformed(f'The body must be a JSON object with a list "{outer}".')
    for group in _dicts(data.get(outer)):
        resource = _json_attributes(_dict(group.get("resource")).get("attributes"))
        for part in _dicts(group.get(middle)):
            scope = _text(_dict(part.get("scope")).get("name"))
            for one in _dicts(part.get(inner)):
                yield resource, scope, one


def _take_json(decoded: Decoded[Item], one: dict[str, Any], take: Callable[[Decoded[Item], Item], None], read: Callable[[], Item]) -> None:
    try:
        item = read()
    except _Unusable as error:
        decoded.rejected.append(Rejected(error.reason, str(error), as_text(one)))
    else:
        take(decoded, item)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _id(value: Any) -> str:
    return value.lower() if isinstance(value, str) else "" if value is None else "?"


def _whole(value: Any) -> int | None:
    """Return a whole number as OTLP/JSON writes it, which is as text; None for what is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= 20:
        try:
            return int(value)
        except ValueError:
            return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return None


def _nanoseconds(value: Any) -> int:
    if value is None or value == "":
        return 0
    number = _whole(value)
    if number is None or number < 0:
        raise _Unusable("invalid_time", "A time must be a whole number of nanoseconds since 1970.")
    return number


def _json_attributes(pairs: Any) -> dict[str, Any]:
    found = {}
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, dict) and isinstance(pair.get("key"), str):
            value = pair.get("value")
            text = value.get("stringValue") if isinstance(value, dict) else None
            found[pair["key"]] = text if isinstance(text, str) else _json_value(value, 0)
    return found


def _json_value(value: Any, depth: int) -> Any:
    if not isinstance(value, dict):
        return None
    for kind, inner in value.items():
        if kind == "stringValue":
            return inner if isinstance(inner, str) else None
        if kind == "intValue":
            return _whole(inner)
        if kind == "boolValue":
            return inner if isinstance(inner, bool) else None
        if kind == "doubleValue":
            return _json_double(inner)
        if kind == "arrayValue":
            values = _dict(inner).get("values")
            if depth >= MAX_DEPTH:
                return TOO_DEEP
            return [_json_value(one, depth + 1) for one in values] if isinstance(values, list) else []
        if kind == "kvlistValue":
            if depth >= MAX_DEPTH:
                return TOO_DEEP
            return {_text(pair.get("key")): _json_value(pair.get("value"), depth + 1) for pair in _dicts(_dict(inner).get("values"))}
        if kind == "bytesValue":
            return _json_bytes(inner)
    return None


def _json_bytes(value: Any) -> str | None:
    try:  # through bytes and back, so that both encodings give the same text
        return base64.b64encode(base64.b64decode(value, validate=True)).decode() if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        return None


def _json_double(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            return _double(float(value))
        except ValueError:
            return None
    return _double(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308 else None


def _double(value: float) -> float | None:
    """Return the number; None for NaN and the infinities, which are none."""
    return value if math.isfinite(value) else None


def _json_number(point: dict[str, Any]) -> int | float | None:
    if "asInt" in point:
        return _whole(point["asInt"])
    return _json_double(point.get("asDouble", 0))


# --- usable or not --------------------------------------------------------------------------------------------------------------------


def _is_id(text: str, length: int) -> bool:
    return len(text) == length and HEX.issuperset(text) and text.strip("0") != ""


def _take_span(decoded: Decoded[Span], span: Span) -> None:
    if not _is_id(span.trace_id, 32) or not _is_id(span.span_id, 16):
        decoded.rejected.append(
            Rejected("invalid_id", "A trace id has 32 hexadecimal digits, a span id 16, and neither is all zeros.", _span_text(span))
        )
    elif span.start_ns > MAX_NS or span.end_ns > MAX_NS:
        decoded.rejected.append(Rejected("invalid_time", "The time lies beyond the year 8999.", _span_text(span)))
    else:
        if not _is_id(span.parent_id, 16):
            span.parent_id = ""
        decoded.items.append(span)


def _take_record(decoded: Decoded[LogRecord], record: LogRecord) -> None:
    if record.time_ns > MAX_NS:
        payload = as_text({"name": record.name, "body": record.body, "attributes": record.attributes, "timeUnixNano": str(record.time_ns)})
        decoded.rejected.append(Rejected("invalid_time", "The time lies beyond the year 8999.", payload))
    else:
        if not _is_id(record.trace_id, 32) or not _is_id(record.span_id, 16):
            record.trace_id = record.span_id = ""
        decoded.items.append(record)


def _take_point(decoded: Decoded[Point], point: Point) -> None:
    if point.time_ns > MAX_NS or point.start_ns > MAX_NS:
        payload = as_text({"metric": point.metric, "attributes": point.attributes, "timeUnixNano": str(point.time_ns)})
        decoded.rejected.append(Rejected("invalid_time", "The time lies beyond the year 8999.", payload))
    else:
        decoded.items.append(point)


def _span_text(span: Span) -> str:
    return as_text(
        {
            "traceId": span.trace_id,
            "spanId": span.span_id,
            "name": span.name,
            "startTimeUnixNano": str(span.start_ns),
            "endTimeUnixNano": str(span.end_ns),
            "attributes": span.attributes,
        }
    )


def as_text(value: Any) -> str:
    """Write a value as JSON text for people to look at, whatever is in it."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return "(cannot be written as JSON: nested too deeply)"
