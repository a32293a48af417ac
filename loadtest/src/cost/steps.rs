//! The ladder: each step switches one more signal on, with OpenTelemetry's own variables.

/// Where a step's telemetry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The sink, in a process of its own.
    Sink,
    /// The console.
    Console,
}

/// A step of the ladder.
#[derive(Debug)]
pub struct Step {
    /// What tables call it.
    pub name: &'static str,
    /// What the services are told.
    pub variables: &'static [(&'static str, &'static str)],
    /// Where they send it.
    pub backend: Backend,
}

/// Every record is off but the one that says where a service listens.
const QUIET: (&str, &str) = ("RUST_LOG", "off,service::run=info");
const NO_SPANS: (&str, &str) = ("OTEL_TRACES_EXPORTER", "none");
const NO_CONTEXT: (&str, &str) = ("OTEL_PROPAGATORS", "none");
const BY_RATIO: (&str, &str) = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");

const fn step(name: &'static str, variables: &'static [(&'static str, &'static str)]) -> Step {
    let backend = Backend::Sink;
    Step {
        name,
        variables,
        backend,
    }
}

/// All steps, lowest first.
pub const STEPS: [Step; 7] = [
    step(
        "nothing",
        &[
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_METRICS_EXPORTER", "none"),
            NO_CONTEXT,
            QUIET,
        ],
    ),
    step(
        "metrics",
        &[NO_SPANS, ("OTEL_LOGS_EXPORTER", "none"), NO_CONTEXT, QUIET],
    ),
    step("+ logs", &[NO_SPANS, NO_CONTEXT]),
    step(
        "+ traces, none sampled",
        &[BY_RATIO, ("OTEL_TRACES_SAMPLER_ARG", "0")],
    ),
    step(
        "10 % sampled",
        &[BY_RATIO, ("OTEL_TRACES_SAMPLER_ARG", "0.1")],
    ),
    step("all", &[]),
    Step {
        name: "all, to the console",
        variables: &[],
        backend: Backend::Console,
    },
];
