"""The handler of docs/OVERHEAD.md in Flask with opentelemetry-instrumentation-flask, as its guide shows it."""

import logging
import os
import signal
import sys

from flask import Flask
from waitress import serve

app = Flask(__name__)
log = logging.getLogger("peer")
tracer = None


@app.get("/work")
def work():
    if tracer:
        with tracer.start_as_current_span("look up", kind=SpanKind.CLIENT) as span:
            span.set_attributes({"db.system.name": "postgresql", "db.operation.name": "SELECT"})
        with tracer.start_as_current_span("call", kind=SpanKind.CLIENT) as span:
            span.set_attributes({"server.address": "127.0.0.1", "server.port": 8082})
        context = trace.get_current_span().get_span_context()
        log.info('{"message": "done", "items": 2, "trace_id": "%032x", "span_id": "%016x"}', context.trace_id, context.span_id)
    return "done\n"


if os.environ.get("OTEL_SDK_DISABLED") != "true":
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind

    provider = TracerProvider(resource=Resource.create({"service.name": "peer-flask"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("peer")
    FlaskInstrumentor().instrument_app(app)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")

# Its end is an exit like any other, so that the last batch is sent.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
serve(app, listen=os.environ["LISTEN"], threads=4, _quiet=True)
