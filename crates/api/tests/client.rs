//! A crate that only calls the services does not link a server.

use std::process::Command;

/// The crates that a client links, or, with `server`, a service.
fn tree(features: &str) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--locked", "--package", "api"]);
    cargo.args(["--edges", "normal", "--prefix", "none"]);
    cargo.args(["--features", features]);
    let output = cargo.output().expect("cargo");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problem}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_client_has_no_server() {
    let linked = |tree: &str, name: &str| tree.lines().any(|line| line.starts_with(name));
    let (client, server) = (tree(""), tree("server"));
    for name in ["actix-web ", "service ", "listen "] {
        assert!(!linked(&client, name) && linked(&server, name), "{name}");
    }
    assert!(linked(&client, "reqwest-middleware "), "{client}");
}
