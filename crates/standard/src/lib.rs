//! The standard stack without Docker: the programs of `deploy/tools/build.sh`, started with the files of `deploy/`. In these
//! files only addresses and paths are replaced, because all programs share one machine.
//!
//! `omnitrace up --standard` and the end-to-end tests start the stack from here. What they start around it (services, console,
//! herald) is their own.

mod addresses;
mod compose;
mod config;
mod deployment;
mod part;
mod tools;

pub use addresses::Addresses;
pub use config::Config;
pub use deployment::{Deployment, check_path, find_deploy};
pub use part::{Command, Part};
pub use tools::Tools;
