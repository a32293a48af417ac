//! Which events become log records: directives that can be changed while the process runs.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

use tracing::Metadata;
use tracing::subscriber::Interest;
use tracing_subscriber::layer::{Context as LayerContext, Filter};
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::{LogLevel, targets};

/// Says what is wrong with filter directives.
pub(crate) fn check_filter(directives: &str) -> Result<(), String> {
    EnvFilter::builder()
        .parse(directives)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Filter of the log output. Unless asked for by name, three libraries are kept quiet: sqlx repeats every statement that
/// has a span already, actix-server narrates its threads, and actix-http calls it an error when a stranger sends bytes
/// that are not HTTP.
pub(super) fn filter(directives: &str) -> Result<EnvFilter, String> {
    let mut filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|error| error.to_string())?;
    for (crates, level) in [
        (targets::SQLX, "off"),
        (targets::ACTIX_SERVER, "warn"),
        (targets::ACTIX_HTTP, "off"),
    ] {
        let asked_for = |directive: &str| {
            let target = directive.split(['=', '[']).next().unwrap_or_default();
            targets::is_of(target.trim(), &[crates])
        };
        if directives.split(',').any(asked_for) {
            continue;
        }
        for name in crates {
            // A directive means every target that begins like it: the colons keep `sqlx_shop` out.
            let directive = format!("{name}::={level}");
            filter = filter.add_directive(directive.parse().expect("constant directive"));
        }
    }
    Ok(filter)
}

/// Whether directives select by spans or their fields: `[span{field=value}]=level`.
fn name_spans(directives: &str) -> bool {
    directives.contains('[')
}

/// The filter in force.
pub(crate) struct LogFilter {
    inner: reload::Layer<EnvFilter, Registry>,
    /// Few filters select by spans. The filter is told about spans only then, since this takes a lock that all threads share each time a span is entered or left.
    names_spans: Arc<AtomicBool>,
}

impl LogFilter {
    /// With the handle that changes it.
    pub(crate) fn new(directives: &str) -> Result<(Self, LogLevel), String> {
        let (inner, handle) = reload::Layer::new(filter(directives)?);
        let names_spans = Arc::new(AtomicBool::new(name_spans(directives)));
        let level = LogLevel {
            handle,
            names_spans: Arc::clone(&names_spans),
            changing: Arc::default(),
        };
        Ok((Self { inner, names_spans }, level))
    }

    pub(super) fn interest(&self, metadata: &'static Metadata<'static>) -> Interest {
        Filter::callsite_enabled(&self.inner, metadata)
    }

    pub(super) fn enabled(
        &self,
        metadata: &Metadata<'_>,
        layer: &LayerContext<'_, Registry>,
    ) -> bool {
        Filter::enabled(&self.inner, metadata, layer)
    }

    /// The filter, if it selects by spans and so must see them.
    pub(super) fn of_spans(&self) -> Option<&impl Filter<Registry>> {
        self.names_spans.load(Relaxed).then_some(&self.inner)
    }
}

impl LogLevel {
    /// The directives in force.
    pub fn get(&self) -> String {
        self.handle
            .with_current(|filter| filter.to_string())
            .unwrap_or_default()
    }

    /// Replaces the directives (`info,data=debug`); an error says what is wrong with them.
    pub fn set(&self, directives: &str) -> Result<(), String> {
        let filter = filter(directives.trim())?;
        // One after the other: the flag must be that of the filter which stays.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let name_spans = name_spans(directives);
        // The old and the new filter both see every new span.
        self.names_spans.fetch_or(name_spans, Relaxed);
        let changed = self.handle.reload(filter);
        self.names_spans.store(name_spans, Relaxed);
        changed.map_err(|error| error.to_string())
    }
}
