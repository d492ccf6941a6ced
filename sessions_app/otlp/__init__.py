"""The door for OpenTelemetry: OTLP over HTTP, protobuf or JSON.

decode.py  bytes -> spans, log records, points (pure)      traces.py, logs.py, metrics.py  those -> what happened in which session (pure)
store.py   that -> services                                views.py  HTTP: content types, answers, what was not taken
"""
