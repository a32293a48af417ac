//! The console as its clients see it: a really bound server, spoken to over HTTP.

mod alerts;
mod api;
mod connections;
mod guard;
mod harness;
mod hostile;
mod ingest;
mod limits;
mod loki;
mod loki_limits;
mod loki_paths;
mod memory;
mod metadata;
mod naming;
mod payload;
mod prometheus;
mod prometheus_limits;
mod readers;
mod reported;
mod rules;
mod scraping;
mod telling;
