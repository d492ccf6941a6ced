"""OTLP documents from JSON to protobuf, for tests that send the same telemetry in both encodings."""

from __future__ import annotations

import base64
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

REQUESTS = {
    "resourceSpans": ExportTraceServiceRequest,
    "resourceLogs": ExportLogsServiceRequest,
    "resourceMetrics": ExportMetricsServiceRequest,
}


def to_protobuf(document: dict[str, Any]) -> bytes:
    """Return the same request in protobuf: ids from hex to bytes, numbers from text."""
    [(outer, groups)] = document.items()
    message = REQUESTS[outer]()
    names = {
        "resourceSpans": ("resource_spans", "scopeSpans", "scope_spans"),
        "resourceLogs": ("resource_logs", "scopeLogs", "scope_logs"),
        "resourceMetrics": ("resource_metrics", "scopeMetrics", "scope_metrics"),
    }[outer]
    for group in groups:
        made = getattr(message, names[0]).add()
        fill(made.resource.attributes, group.get("resource", {}).get("attributes", []))
        for part in group.get(names[1], []):
            scope = getattr(made, names[2]).add()
            scope.scope.name = part.get("scope", {}).get("name", "")
            for one in part.get("spans", []):
                span(scope.spans.add(), one)
            for one in part.get("logRecords", []):
                record(scope.log_records.add(), one)
            for one in part.get("metrics", []):
                metric(scope.metrics.add(), one)
    return message.SerializeToString()


def span(made: Any, one: dict[str, Any]) -> None:
    made.trace_id, made.span_id = bytes.fromhex(one["traceId"]), bytes.fromhex(one["spanId"])
    made.parent_span_id = bytes.fromhex(one.get("parentSpanId") or "")
    made.name = one.get("name", "")
    made.start_time_unix_nano, made.end_time_unix_nano = int(one.get("startTimeUnixNano", 0)), int(one.get("endTimeUnixNano", 0))
    fill(made.attributes, one.get("attributes", []))
    made.status.code = one.get("status", {}).get("code", 0)
    made.status.message = one.get("status", {}).get("message", "")
    for event in one.get("events", []):
        kept = made.events.add()
        kept.name, kept.time_unix_nano = event["name"], int(event.get("timeUnixNano", 0))
        fill(kept.attributes, event.get("attributes", []))


def record(made: Any, one: dict[str, Any]) -> None:
    made.time_unix_nano = int(one.get("timeUnixNano", 0))
    made.observed_time_unix_nano = int(one.get("observedTimeUnixNano", 0))
    made.event_name = one.get("eventName", "")
    if "body" in one:
        made.body.CopyFrom(value(one["body"]))
    fill(made.attributes, one.get("attributes", []))


def metric(made: Any, one: dict[str, Any]) -> None:
    made.name = one["name"]
    body = one["sum"]
    made.sum.aggregation_temporality = body.get("aggregationTemporality", 0)
    made.sum.is_monotonic = body.get("isMonotonic", True)
    for point in body["dataPoints"]:
        kept = made.sum.data_points.add()
        kept.start_time_unix_nano, kept.time_unix_nano = int(point.get("startTimeUnixNano", 0)), int(point["timeUnixNano"])
        if "asInt" in point:
            kept.as_int = int(point["asInt"])
        else:
            kept.as_double = point["asDouble"]
        fill(kept.attributes, point.get("attributes", []))


def fill(pairs: Any, attributes: list[dict[str, Any]]) -> None:
    for one in attributes:
        pairs.append(KeyValue(key=one["key"], value=value(one.get("value", {}))))


def value(one: dict[str, Any]) -> AnyValue:
    made = AnyValue()
    for kind, inner in one.items():
        if kind == "stringValue":
            made.string_value = inner
        elif kind == "intValue":
            made.int_value = int(inner)
        elif kind == "doubleValue":
            made.double_value = float(inner)
        elif kind == "boolValue":
            made.bool_value = inner
        elif kind == "bytesValue":
            made.bytes_value = base64.b64decode(inner)
        elif kind == "arrayValue":
            made.array_value.SetInParent()
            made.array_value.values.extend(value(item) for item in inner.get("values", []))
        elif kind == "kvlistValue":
            made.kvlist_value.SetInParent()
            fill(made.kvlist_value.values, inner.get("values", []))
    return made
