"""OpenTelemetry's own SDK and exporters against a running gunicorn: what an instrumented agent's process does, from its environment variables on."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions_app import services
from sessions_app.models import Session, UsageRecord
from tests.otlp.tools import assert_recount_finds_nothing, said

ROOT = Path(__file__).resolve().parents[2]

AGENT = """
import json
from opentelemetry import metrics, trace
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

# An agent of one's own: spans by the GenAI conventions.
tracing = TracerProvider(resource=Resource({"service.name": "support-bot"}))
tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = tracing.get_tracer("agent")
with tracer.start_as_current_span("request", attributes={"session.id": "chat-7", "user.id": "alice"}):
    for turn in range(3):
        with tracer.start_as_current_span("chat gpt-4o", attributes={"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}) as span:
            said = [{"role": "user", "parts": [{"type": "text", "content": f"question {n}"}]} for n in range(turn + 1)]
            span.set_attribute("gen_ai.input.messages", json.dumps(said))
            span.set_attribute("gen_ai.output.messages", json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": f"answer {turn}"}]}]))
            span.set_attribute("gen_ai.response.model", "gpt-4o-2024-08-06")
            span.set_attribute("gen_ai.usage.input_tokens", 100)
            span.set_attribute("gen_ai.usage.output_tokens", 10)
tracing.shutdown()

# A coding agent: log events, and counters that say the same once more.
logging = LoggerProvider()
logging.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
logger = logging.get_logger("com.anthropic.claude_code.events")
call = {"event.name": "api_request", "session.id": "s-1", "model": "claude-sonnet-4-5", "input_tokens": 100, "output_tokens": 20, "cost_usd": 0.5}
logger.emit(LogRecord(timestamp=START + 10**9, body="claude_code.api_request", attributes=call))
logging.shutdown()
delta = {Counter: AggregationTemporality.DELTA}
reader = PeriodicExportingMetricReader(OTLPMetricExporter(preferred_temporality=delta), export_interval_millis=60_000)
metering = MeterProvider(metric_readers=[reader])
tokens = metering.get_meter("com.anthropic.claude_code").create_counter("claude_code.token.usage")
tokens.add(25, {"session.id": "s-2", "model": "claude-sonnet-4-5", "type": "output"})
metering.shutdown()
"""


@contextlib.contextmanager
def serving(environment: dict[str, str]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--config", "sessionsite/gunicorn.conf.py", "--workers", "2"]
    server = subprocess.Popen(command, cwd=ROOT, env={**environment, "PORT": str(port)}, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_an_agent_with_the_sdk_of_opentelemetry(child_env: dict[str, str], compression: str) -> None:
    token = services.create_token("agent", scope="write").secret
    with serving(child_env) as port:
        environment = {
            **child_env,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{token}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        }
        code = AGENT.replace("START", str(time.time_ns()))
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    session = Session.objects.get(channel="main")
    assert (session.key, session.user_id, session.agent, session.total_turns) == ("chat-7", "alice", "support-bot", 3)
    assert (session.input_tokens, session.output_tokens, session.model) == (300, 30, "gpt-4o-2024-08-06")
    assert [text for _, text in said(session)] == [f"{kind} {turn}" for turn in range(3) for kind in ("question", "answer")]
    told = (
        UsageRecord.objects.filter(session__channel="cli")
        .order_by("session__key")
        .values_list("session__key", "input_tokens", "output_tokens")
    )
    assert list(told) == [("s-1", 100, 20), ("s-2", 0, 25)]
    assert_recount_finds_nothing()


@pytest.mark.django_db(transaction=True)
def test_the_examples_of_the_page_work(child_env: dict[str, str], tmp_path: Path) -> None:
    """The Python example of docs/otlp.md, as it stands there."""
    page = (ROOT / "docs" / "otlp.md").read_text()
    code = page.split("```python\n", 1)[1].split("```", 1)[0]
    token = services.create_token("agent", scope="write").secret
    with serving(child_env) as port:
        environment = {
            **child_env,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{token}",
        }
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    session = Session.objects.get()
    assert (session.key, session.user_id, session.total_turns) == ("chat-7", "alice", 1)
    assert [role for role, _ in said(session)] == ["user", "assistant"]
