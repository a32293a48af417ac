//! `GET /api/calls`: the calls between services, with counts, errors and durations, from the spans of the last minutes. The
//! service map uses it for services that send traces and no metrics.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::answer::{Answers, Page, Refused, off_thread};
use crate::attributes::Value;
use crate::clock::now_ns;
use crate::model::{Kind, Span, SpanId, Status};
use crate::store::{Store, Trace};

/// The map shows a service that has sent a span within this time.
const KNOWN: Duration = Duration::from_secs(600);

/// The counts cover spans that ended within this time.
const MEASURED: Duration = Duration::from_secs(60);

/// A sender's clock may be ahead by this much; spans that end later are not counted.
const AHEAD: Duration = Duration::from_secs(5);

/// The maximum number of spans per request, from the newest traces, because open pages request this every few seconds.
const SPANS: usize = 20_000;

/// The maximum number of listed calls, and of listed services: a sender can invent names at no cost.
const MOST: usize = 200;

/// A longer name is a mistake or an attack.
const NAME_BYTES: usize = 256;

/// The size of a name's entry besides its text, and of a measured span.
const ENTRY_BYTES: usize = 200;
const SPAN_BYTES: usize = 16;

/// Adds the route.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.route("/api/calls", web::get().to(calls));
}

async fn calls(store: web::Data<Store>, answers: web::Data<Answers>) -> HttpResponse {
    off_thread(&answers, move |page| counted(&store, now_ns(), page)).await
}

/// The answer.
#[derive(Serialize)]
struct CallsAnswer {
    /// The time that the counts are of.
    seconds: f64,
    calls: Vec<Call>,
    services: Vec<Service>,
    /// Whether there are calls or services beyond those listed.
    truncated: bool,
}

#[derive(Serialize)]
struct Call {
    caller: String,
    callee: String,
    is_database: bool,
    #[serde(flatten)]
    measured: Summary,
}

#[derive(Serialize)]
struct Service {
    service: String,
    #[serde(flatten)]
    measured: Summary,
}

#[derive(Serialize)]
struct Summary {
    count: usize,
    errors: usize,
    p95_us: Option<u64>,
}

fn counted(store: &Store, now: u64, page: &mut Page) -> Result<CallsAnswer, Refused> {
    let mut tally = Tally::default();
    let since = now.saturating_sub(MEASURED.as_nanos() as u64);
    let ended = since..=now.saturating_add(AHEAD.as_nanos() as u64);
    let (mut looked, mut covered) = (0, MEASURED);
    for id in store.traces_newest_first() {
        let Some(trace) = store.trace(id) else {
            continue;
        };
        if trace.arrived.elapsed() > KNOWN {
            break;
        }
        page.holds(trace.bytes)?;
        tally.add(&trace, &ended, page)?;
        looked += trace.spans.len();
        if looked >= SPANS {
            // The counts may be of a part of the minute only.
            covered = trace.arrived.elapsed();
            break;
        }
    }
    page.holds(0)?;
    Ok(tally.counted(covered.clamp(Duration::from_secs(1), MEASURED)))
}

/// Spans that ended lately.
#[derive(Default)]
struct SpanStats {
    errors: usize,
    durations_ns: Vec<u64>,
}

impl SpanStats {
    /// Adds the span if it ended within that time.
    fn add(&mut self, span: &Span, ended: &RangeInclusive<u64>) {
        if ended.contains(&span.end_ns()) {
            self.errors += usize::from(matches!(span.status, Status::Error(_)));
            self.durations_ns.push(span.duration_ns);
        }
    }

    fn summary(mut self) -> Summary {
        self.durations_ns.sort_unstable();
        let count = self.durations_ns.len();
        let ninety_fifth = (count * 95).div_ceil(100).saturating_sub(1);
        Summary {
            count,
            errors: self.errors,
            p95_us: self.durations_ns.get(ninety_fifth).map(|ns| ns / 1_000),
        }
    }
}

/// Spans by what they are about.
#[derive(Default)]
struct StatsBy<K> {
    all: BTreeMap<K, SpanStats>,
    is_full: bool,
}

impl<K: Ord> StatsBy<K> {
    /// The counts for this key, whose longest name has `longest` bytes; `None` if there is no memory for it.
    fn stats_for(
        &mut self,
        key: K,
        longest: usize,
        page: &mut Page,
    ) -> Result<Option<&mut SpanStats>, Refused> {
        if !self.all.contains_key(&key) {
            if self.all.len() >= MOST || longest > NAME_BYTES {
                self.is_full = true;
                return Ok(None);
            }
            page.gathers(ENTRY_BYTES + 2 * longest)?;
        }
        page.gathers(SPAN_BYTES)?;
        Ok(Some(self.all.entry(key).or_default()))
    }
}

/// The caller, the callee, and whether the callee is a database.
type Edge = (String, String, bool);

#[derive(Default)]
struct Tally {
    calls: StatsBy<Edge>,
    services: StatsBy<String>,
}

impl Tally {
    fn add(
        &mut self,
        trace: &Trace,
        ended: &RangeInclusive<u64>,
        page: &mut Page,
    ) -> Result<(), Refused> {
        let spans = trace.spans.iter();
        let here: HashMap<SpanId, &Span> = spans.map(|span| (span.span_id, &**span)).collect();
        for span in &trace.spans {
            let service = &span.resource.service;
            let parent = span.parent.and_then(|id| here.get(&id).copied());
            let caller = parent.filter(|parent| parent.resource.service != *service);
            let is_asked = matches!(span.kind, Kind::Server | Kind::Consumer) || caller.is_some();
            let known = self
                .services
                .stats_for(service.clone(), service.len(), page)?;
            if let Some(asked) = known.filter(|_| is_asked) {
                asked.add(span, ended);
            }
            for (edge, span) in edges(span, caller) {
                let longest = edge.0.len().max(edge.1.len());
                if let Some(call) = self.calls.stats_for(edge, longest, page)? {
                    call.add(span, ended);
                }
            }
        }
        Ok(())
    }

    fn counted(self, covered: Duration) -> CallsAnswer {
        let truncated = self.calls.is_full || self.services.is_full;
        let calls = self.calls.all.into_iter();
        let calls = calls.map(|((caller, callee, is_database), measured)| Call {
            caller,
            callee,
            is_database,
            measured: measured.summary(),
        });
        let services = self.services.all.into_iter();
        let services = services.map(|(service, measured)| Service {
            service,
            measured: measured.summary(),
        });
        CallsAnswer {
            seconds: covered.as_secs_f64(),
            calls: calls.collect(),
            services: services.collect(),
            truncated,
        }
    }
}

/// The call that a span answers, as its caller sees it if that has a span for it, and the statement that it is.
fn edges<'a>(span: &'a Span, caller: Option<&'a Span>) -> impl Iterator<Item = (Edge, &'a Span)> {
    let service = &span.resource.service;
    let call = caller.map(|caller| {
        let seen = Some(caller).filter(|caller| caller.kind == Kind::Client);
        let edge = (caller.resource.service.clone(), service.clone(), false);
        (edge, seen.unwrap_or(span))
    });
    let statement = database(span).map(|system| {
        let edge = (service.clone(), system.to_owned(), true);
        (edge, span)
    });
    call.into_iter().chain(statement)
}

/// The database system of a statement; older conventions use another attribute.
fn database(span: &Span) -> Option<&str> {
    let system = |key| span.attributes.get(key).and_then(Value::as_str);
    (span.kind == Kind::Client)
        .then(|| system("db.system.name").or_else(|| system("db.system")))
        .flatten()
}
