//! The database tests of the end-to-end suite, against a real Postgres in a container that they all share.
//!
//! `just test-containers`; `OMNITRACE_POSTGRES_IMAGE` chooses the image. The harness sees that it was compiled
//! into this package and starts `postgres-container` instead of `omnitrace postgres`.

#[path = "../../omnitrace/tests/e2e/harness/mod.rs"]
mod harness;

#[path = "../../omnitrace/tests/e2e/contention.rs"]
mod contention;
#[path = "../../omnitrace/tests/e2e/orders.rs"]
mod orders;
#[path = "../../omnitrace/tests/e2e/outbox.rs"]
mod outbox;
