//! `docs/runbooks`: each page has one form, and what it tells a person to paste works, on the stack that runs.
//!
//! `pasted` pastes every block of every page, without Docker (`just test-stack`) and on Docker Compose (`just test-compose-up`); `queries` asks
//! each query of a standard stack (`just test-stack`).

mod form;
mod pages;
mod pasted;
mod queries;
