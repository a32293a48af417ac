//! Tells the compiler which build this is: `OMNITRACE_BUILD`.

use std::env;
use std::path::Path;

#[path = "build/identity.rs"]
mod identity;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/identity.rs");
    println!("cargo:rerun-if-env-changed=OMNITRACE_BUILD");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let given = env::var("OMNITRACE_BUILD").unwrap_or_default();
    // What is built to be tested is no release, and need not be built anew after each commit.
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let revision = identity::revision(here).filter(|_| is_release);
    if let Some(changes) = revision.as_ref().and_then(|_| identity::changes(here)) {
        println!("cargo:rerun-if-changed={changes}");
    }
    let version = env!("CARGO_PKG_VERSION");
    let name = identity::name(version, &given, revision.as_deref());
    println!("cargo:rustc-env=OMNITRACE_BUILD={name}");
}
