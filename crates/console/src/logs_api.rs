//! `GET /api/logs`.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Serialize, Serializer};

use crate::answer::{Answers, bad_parameter, off_thread};
use crate::model::{Attributes, LogRecord};
use crate::params::{self, BadParameter, Params};
use crate::store::{LogFilter, Store, severity_rank};
use crate::view::pairs;

/// Answers when no `limit` is given.
const DEFAULT_LIMIT: usize = 100;

/// The most answers.
const MAX_LIMIT: usize = 5_000;

/// Adds the route.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.route("/api/logs", web::get().to(logs));
}

async fn logs(
    store: web::Data<Store>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let filter = match filter(request.query_string()) {
        Ok(filter) => filter,
        Err(why) => return bad_parameter(&why),
    };
    off_thread(&answers, move |page| {
        let logs = store.logs(&filter, |bytes| page.holds(bytes))?;
        Ok(Lines { logs })
    })
    .await
}

fn filter(query: &str) -> Result<LogFilter, BadParameter> {
    let params = Params::parse(query)?.only(&["trace_id", "service", "level", "limit"])?;
    let trace_id = params
        .text("trace_id")
        .map(|id| params::trace_id("trace_id", id));
    let level = |text: &str| match severity_rank(text) {
        0 => Err(BadParameter::new(
            "level",
            format!("expected trace, debug, info, warn, error or fatal, got {text:?}"),
        )),
        rank => Ok(rank),
    };
    Ok(LogFilter {
        trace_id: trace_id.transpose()?,
        service: params.text("service").map(str::to_owned),
        min_severity: params.text("level").map(level).transpose()?,
        limit: params.count("limit", DEFAULT_LIMIT, MAX_LIMIT)?,
    })
}

/// The answer. It renders each line only while it writes it.
#[derive(Serialize)]
struct Lines {
    #[serde(serialize_with = "lines")]
    logs: Vec<Arc<LogRecord>>,
}

#[derive(Serialize)]
struct Line<'a> {
    time_us: u64,
    service: &'a str,
    severity: &'a str,
    body: &'a str,
    trace_id: Option<String>,
    span_id: Option<String>,
    #[serde(serialize_with = "pairs")]
    attributes: &'a Attributes,
}

fn lines<S: Serializer>(logs: &[Arc<LogRecord>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(logs.iter().map(|log| Line {
        time_us: log.time_ns / 1_000,
        service: &log.resource.service,
        severity: &log.severity,
        body: &log.body,
        trace_id: log.trace_id.map(|id| id.to_string()),
        span_id: log.span_id.map(|id| id.to_string()),
        attributes: &log.attributes,
    }))
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn bad_parameters_are_named() {
        for (query, name) in [
            ("level=loud", "level"),
            ("limit=0", "limit"),
            ("limit=5001", "limit"),
            ("trace_id=xyz", "trace_id"),
            ("q=1", "q"),
        ] {
            let why = filter(query).expect_err(query).to_string();
            assert!(why.contains(&format!("'{name}'")), "{query}: {why}");
        }
        let filter = filter("level=warn&service=data").expect("a good query");
        assert_eq!((filter.min_severity, filter.limit), (Some(4), 100));
    }
}
