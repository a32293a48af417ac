//! End-to-end tests: the shipped executable, real processes, a real Postgres, telemetry received over OTLP.
//!
//! One test binary, because cargo hands `CARGO_BIN_EXE_omnitrace` only to tests of this package and because
//! all tests share one Postgres server. Everything a test needs is a verb of [`harness`].

mod harness;

mod adopt;
mod attributes;
mod backend_tls;
mod baggage;
mod blindness;
mod browser;
mod catalogue;
mod chain;
mod cli;
mod compose;
mod console_bounds;
mod contention;
mod dead_letters;
mod doctor;
mod doors;
mod ends;
mod errors;
mod exporters;
mod exporting;
mod faults;
mod files;
mod herald;
mod hostile;
mod hostile_backend;
mod hostile_collector;
mod inherited;
mod load;
mod locks;
mod logql;
mod logs;
mod metrics;
mod openapi;
mod orders;
mod outages;
mod outbox;
mod postgres;
mod privacy;
mod propagation;
mod red;
mod repository;
mod restarts;
mod silence;
mod smoke;
mod stack_alertmanager;
mod stack_alerts;
mod stack_causes;
mod stack_doctor;
mod stack_engines;
mod stack_examples;
mod stack_expressions;
mod stack_filelog;
mod stack_order;
mod stack_outages;
mod stack_redaction;
mod stack_rules;
mod stack_sampling;
mod stack_tls;
mod stack_tools;
mod sweeper;
mod traces;
mod up;
