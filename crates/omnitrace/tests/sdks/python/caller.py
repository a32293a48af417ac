import logging
import sys

import requests
from opentelemetry import trace

with trace.get_tracer("caller").start_as_current_span("visit"):
    requests.get(sys.argv[1], timeout=60).raise_for_status()
    logging.warning("visited")
