"""The load model of this directory for teams that live in Locust: the same users, weights and think times as the Rust load test.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8080

Only loopback and the bare service names of a Compose network are accepted as hosts; OMNITRACE_LOAD_ALLOW_REMOTE=1 lifts that.
"""

import ipaddress
import os
import secrets
import sys
from urllib.parse import urlsplit

from locust import HttpUser, between, events, task
from locust.exception import StopUser

EMAIL = "load@example.com"


def is_allowed(host: str) -> bool:
    """Loopback, or a name without dots, which only a Compose network resolves; any host when told so."""
    if os.environ.get("OMNITRACE_LOAD_ALLOW_REMOTE") == "1":
        return True
    name = urlsplit(host).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name != "" and "." not in name


@events.test_start.add_listener
def refuse_strangers(environment, **_):
    """At each start, since the host can be changed in the web page too."""
    host = environment.host or ""
    if is_allowed(host):
        return
    print(
        f"--host {host or '(none)'}: only loopback and Compose service names are loaded; "
        "set OMNITRACE_LOAD_ALLOW_REMOTE=1 for a host of yours",
        file=sys.stderr,
    )
    environment.process_exit_code = 2
    environment.runner.quit()


class Customer(HttpUser):
    wait_time = between(0.1, 0.5)

    def on_start(self):
        if not is_allowed(self.host or ""):
            raise StopUser()
        self.client.headers["User-Agent"] = "omnitrace-load/locust"
        self.skus = []
        self.orders = []
        self.browse()

    def send(self, method: str, path: str, name: str, **options):
        """One request, the root of a trace of its own."""
        headers = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}
        return self.client.request(method, path, name=name, headers=headers, **options)

    @task(60)
    def browse(self):
        answer = self.send("GET", "/api/data", "GET /api/data")
        if answer.ok:
            self.skus = [answer.json()["sku"]]

    @task(25)
    def order(self):
        if not self.skus:
            return self.browse()
        body = {"sku": self.skus[0], "quantity": 1, "customer_email": EMAIL}
        answer = self.send("POST", "/api/orders", "POST /api/orders", json=body)
        if answer.ok:
            self.orders = [answer.json()["id"], *self.orders][:20]

    @task(10)
    def read_order(self):
        if not self.orders:
            return self.order()
        self.send("GET", f"/api/orders/{secrets.choice(self.orders)}", "GET /api/orders/{id}")

    @task(5)
    def health(self):
        self.send("GET", "/health", "GET /health")
