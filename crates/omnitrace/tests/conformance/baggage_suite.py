"""Runs the W3C's baggage suite against a service: the suite tests a parser in Python, so each header that it parses or writes goes
through the service first.

usage: baggage_suite.py DIRECTORY SERVICE_URL     (DIRECTORY: `test` of a clone of w3c/baggage; SERVICE_URL: the example `hops`)
"""

import http.server
import json
import queue
import sys
import threading
import unittest
import urllib.request

directory, service = sys.argv.pop(1), sys.argv.pop(1)
sys.path.insert(0, directory)

from baggage import Baggage, BaggageEntry  # noqa: E402

sent_on = queue.Queue()


class Recorder(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        sent_on.put(self.headers.get("baggage", ""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def through(header):
    """What the service sends on; its order of members has no meaning, so it is made that of `header`."""
    calls = [{"url": f"http://127.0.0.1:{recorder.server_port}/", "arguments": []}]
    request = urllib.request.Request(service, json.dumps(calls).encode(), {"baggage": header, "content-type": "application/json"})
    urllib.request.urlopen(request, timeout=10).read()
    members = sent_on.get(timeout=10).split(",")
    keys = [member.split("=")[0].strip() for member in header.split(",")]
    return ",".join(sorted(members, key=lambda member: keys.index(member.split("=")[0])))


def parsed_after(parse):
    return classmethod(lambda cls, header: parse(through(header)))


recorder = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
threading.Thread(target=recorder.serve_forever, daemon=True).start()
write_list, parse_entry = Baggage.to_string, BaggageEntry.from_string
parse_list = lambda header: Baggage([parse_entry(member) for member in header.split(",")])  # noqa: E731
Baggage.from_string = parsed_after(parse_list)
BaggageEntry.from_string = parsed_after(parse_entry)
Baggage.to_string = lambda self: through(write_list(self))

import test_baggage  # noqa: E402

# 512 members: the standard demands that 64 go on, and the SDK keeps no more.
limits = test_baggage.LimitsTest
limits.test_serialize_many_entries = unittest.expectedFailure(limits.test_serialize_many_entries)

unittest.main(module=test_baggage)
