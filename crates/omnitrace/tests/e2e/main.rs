//! End-to-end tests: the shipped executable, real processes, a real Postgres, telemetry received over OTLP.
//!
//! One test binary, because cargo hands `CARGO_BIN_EXE_omnitrace` only to tests of this package and because
//! all tests share one Postgres server. Everything a test needs is a verb of [`harness`].

mod harness;

mod repository;
mod smoke;
