//! `GET /api/metrics` and `GET /api/targets`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use crate::answer::{bad_parameter, off_thread};
use crate::params::{BadParameter, Params};
use crate::samples::Exemplar;
use crate::scrape::Targets;
use crate::series::{Found, SeriesStore};

/// What is asked for.
struct Query {
    name: Option<String>,
    labels: Vec<(String, String)>,
    history: bool,
}

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/metrics", web::get().to(metrics))
        .route("/api/targets", web::get().to(targets));
}

async fn targets(targets: web::Data<Targets>) -> HttpResponse {
    HttpResponse::Ok().json(targets.snapshot())
}

async fn metrics(series: web::Data<SeriesStore>, request: HttpRequest) -> HttpResponse {
    let query = match query(request.query_string()) {
        Ok(query) => query,
        Err(why) => return bad_parameter(&why),
    };
    off_thread(move || {
        let found = series.find(query.name.as_deref(), &query.labels);
        found
            .into_iter()
            .map(|found| shown(found, query.history))
            .collect::<Vec<_>>()
    })
    .await
}

fn query(query: &str) -> Result<Query, BadParameter> {
    let params = Params::parse(query)?.only(&["name", "label", "history"])?;
    let pair = |text: &str| {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.ok_or_else(|| BadParameter::new("label", format!("expected name=value, got {text:?}")))
    };
    let history = match params.text("history") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(BadParameter::new(
                "history",
                format!("expected true or false, got {other:?}"),
            ));
        }
    };
    Ok(Query {
        name: params.text("name").map(str::to_owned),
        labels: params.all("label").map(pair).collect::<Result<_, _>>()?,
        history,
    })
}

fn shown(found: Found, with_history: bool) -> Value {
    let labels: Map<String, Value> = found
        .labels
        .into_iter()
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    let mut shown = json!({"name": found.name, "labels": labels, "value": number(found.value), "timestamp_us": found.timestamp_us});
    if let Some(exemplar) = found.exemplar {
        shown["exemplar"] = shown_exemplar(exemplar);
    }
    if with_history {
        let history = found
            .history
            .iter()
            .map(|(at, value)| json!([at, number(*value)]));
        shown["history"] = history.collect();
    }
    shown
}

fn shown_exemplar(exemplar: Exemplar) -> Value {
    json!({
        "trace_id": exemplar.trace_id.to_string(),
        "span_id": exemplar.span_id.map(|id| id.to_string()),
        "value": number(exemplar.value),
        "timestamp_us": exemplar.timestamp_us,
    })
}

/// JSON has no NaN and no infinity: they become texts as Prometheus writes them.
fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("+Inf"),
        f64::NEG_INFINITY => json!("-Inf"),
        value => json!(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_parameters_are_named() {
        for (text, name) in [
            ("label=x", "label"),
            ("label==x", "label"),
            ("history=1", "history"),
            ("labels=a", "labels"),
        ] {
            let why = query(text).err().map(|why| why.to_string()).expect(text);
            assert!(why.contains(&format!("'{name}'")), "{text}: {why}");
        }
    }

    #[test]
    fn numbers_that_json_lacks_become_texts() {
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(number(f64::INFINITY), "+Inf");
        assert_eq!(number(f64::NEG_INFINITY), "-Inf");
        assert_eq!(number(1.5), 1.5);
    }
}
