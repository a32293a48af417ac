//! Every span attribute that this crate sets.

use crate::metric::Stability::{self, Development, Own, Stable};

/// One span, event or log attribute.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// Attribute name.
    pub name: &'static str,
    /// What it holds, with an example.
    pub help: &'static str,
    /// What the conventions promise.
    pub stability: Stability,
}

const fn attribute(name: &'static str, stability: Stability, help: &'static str) -> Attribute {
    Attribute {
        name,
        help,
        stability,
    }
}

/// Every span attribute that this crate sets, in alphabetical order.
pub const ATTRIBUTES: &[Attribute] = &[
    attribute(
        "client.address",
        Stable,
        "Address of the caller's socket, `127.0.0.1`.",
    ),
    attribute("code.file.path", Stable, "On error logs: the source file."),
    attribute("code.line.number", Stable, "On error logs: the line."),
    attribute(
        "db.client.connection.pool.name",
        Development,
        "Pool that a connection was taken from.",
    ),
    attribute("db.collection.name", Stable, "Table, `orders`."),
    attribute("db.namespace", Stable, "Database, `omnitrace`."),
    attribute(
        "db.operation.name",
        Stable,
        "`SELECT`, `INSERT`, `BEGIN`, …",
    ),
    attribute(
        "db.query.text",
        Stable,
        "The statement with `$1` for values; values never appear.",
    ),
    attribute(
        "db.response.status_code",
        Stable,
        "SQLSTATE of a failed statement, `40001`.",
    ),
    attribute("db.system.name", Stable, "`postgresql`."),
    attribute(
        "error.type",
        Stable,
        "What kind of error: a 5xx code, `panic`, `timeout`, `cancelled`, a SQLSTATE, …",
    ),
    attribute("http.request.method", Stable, "`GET`, or `_OTHER`."),
    attribute(
        "http.request.resend_count",
        Stable,
        "Which retry this attempt is, from 1.",
    ),
    attribute("http.response.status_code", Stable, "`201`."),
    attribute("http.route", Stable, "Route template, `/api/orders/{id}`."),
    attribute("messaging.destination.name", Development, "`order-events`."),
    attribute(
        "messaging.message.id",
        Development,
        "Id of the event, on both sides of the hop.",
    ),
    attribute(
        "messaging.operation.name",
        Development,
        "`send` or `process`.",
    ),
    attribute(
        "messaging.operation.type",
        Development,
        "`send` or `process`.",
    ),
    attribute("messaging.system", Development, "`postgresql_outbox`."),
    attribute("network.protocol.version", Stable, "`1.1`."),
    attribute(
        "omnitrace.exemplar",
        Own,
        "`true` on spans that a metric's exemplar names: tail sampling keeps them.",
    ),
    attribute(
        "server.address",
        Stable,
        "Host that the caller asked for (else the service's name), or that is called.",
    ),
    attribute("server.port", Stable, "Its port."),
    attribute(
        "service.peer.name",
        Development,
        "Name of the service called.",
    ),
    attribute(
        "url.full",
        Stable,
        "Called URL, credentials and secrets redacted.",
    ),
    attribute("url.path", Stable, "Requested path, redacted."),
    attribute("url.query", Stable, "Requested query, redacted."),
    attribute(
        "url.scheme",
        Stable,
        "`https` or `http`: what the request's URI says, else what the listener speaks (actix knows, `ServerLayer::tls` is told). A forwarded scheme is not believed.",
    ),
    attribute(
        "url.template",
        Development,
        "Template of the called path, `/quotes/{sku}`.",
    ),
    attribute(
        "user_agent.original",
        Stable,
        "The caller's user agent, redacted and capped.",
    ),
    attribute(
        "user_agent.synthetic.type",
        Development,
        "`test` on every span of what a probe asks, calls and statements included.",
    ),
];
