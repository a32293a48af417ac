//! `GET /api/metrics`, `GET /api/targets`, and the latter as Prometheus's `/api/v1/targets`.

use actix_web::{HttpRequest, HttpResponse, web};
use promql::{Matcher, NAME};
use serde_json::{Map, Value, json};

use crate::answer::wrapped::{LazyList, time};
use crate::answer::{Answers, Page, Refused, bad_parameter, problem};
use crate::params::{BadParameter, Params};
use crate::prometheus;
use crate::samples::{Exemplar, milliseconds};
use crate::scrape::{TargetState, Targets};
use crate::series::{LatestSample, SeriesStore};

/// The maximum number of labels in one query, because each is looked up in each series.
const MAX_LABELS: usize = 32;

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/metrics", web::get().to(metrics))
        .route("/api/targets", web::get().to(targets))
        .route("/api/v1/targets", web::get().to(active_targets));
}

/// The list of dropped targets is always empty.
async fn active_targets(
    request: HttpRequest,
    targets: web::Data<Targets>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let states = targets.snapshot();
    let told = move |_: &Params, _: &mut Page| {
        let active: Vec<Value> = states.targets.iter().map(active_target).collect();
        Ok(json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}))
    };
    prometheus::told(&request, &answers, &["state", "scrapePool"], told).await
}

fn active_target(state: &TargetState) -> Value {
    let health = match (state.up, state.last_scrape_us, &state.error) {
        (true, ..) => "up",
        (false, None, None) => "unknown",
        (false, ..) => "down",
    };
    let labels = state.labels.iter();
    let labels: Map<String, Value> = labels
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    json!({
        "discoveredLabels": {},
        "scrapePool": labels.get("job"),
        "labels": labels,
        "scrapeUrl": state.url,
        "globalUrl": state.url,
        "lastError": state.error.as_deref().unwrap_or_default(),
        "lastScrape": time(state.last_scrape_us.map(milliseconds)),
        "lastScrapeDuration": state.duration_ms.unwrap_or_default() / 1e3,
        "health": health,
    })
}

async fn targets(targets: web::Data<Targets>) -> HttpResponse {
    HttpResponse::Ok().json(targets.snapshot())
}

async fn metrics(
    series: web::Data<SeriesStore>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let matchers = match matchers(request.query_string()) {
        Ok(matchers) => matchers,
        Err(why) => return bad_parameter(&why),
    };
    let job = move |mut page: Page| {
        let room = &mut |bytes| page.gather(bytes);
        let found = series.latest(&matchers, room);
        let found = found.ok_or_else(|| page.no_room())?;
        // A series is rendered only while it is written.
        page.json(&LazyList(found.iter().map(shown)))
    };
    let answer = answers.compute(job).await;
    answer.unwrap_or_else(|Refused { status, detail }| problem(status, &detail))
}

fn matchers(query: &str) -> Result<Vec<Matcher>, BadParameter> {
    let params = Params::parse(query)?.only(&["name", "label"])?;
    // An empty label is no label.
    let pair = |text: &str| {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let pair = pair.map(|(name, value)| Matcher::is(name, value));
        pair.ok_or_else(|| BadParameter::new("label", format!("expected name=value, got {text:?}")))
    };
    let labels = params.all("label").map(pair);
    let mut matchers = labels.collect::<Result<Vec<_>, _>>()?;
    if matchers.len() > MAX_LABELS {
        let why = format!(
            "at most {MAX_LABELS} labels at once, got {}",
            matchers.len()
        );
        return Err(BadParameter::new("label", why));
    }
    matchers.extend(params.text("name").map(|name| Matcher::is(NAME, name)));
    Ok(matchers)
}

fn shown(found: &LatestSample) -> Value {
    let labels = found.labels.iter().filter(|(name, _)| *name != NAME);
    let labels: Map<String, Value> = labels
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let mut shown = json!({
        "name": found.labels.get(NAME),
        "labels": labels,
        "value": number(found.value),
        "timestamp_us": found.at_ms * 1_000,
    });
    if let Some(exemplar) = found.exemplar {
        shown["exemplar"] = shown_exemplar(exemplar);
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

/// JSON has no NaN and no infinity. They become texts, as Prometheus writes them.
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
            ("labels=a", "labels"),
        ] {
            let why = matchers(text).err().map(|why| why.to_string()).expect(text);
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
