//! Kubernetes' API server with its store, and nothing else: no controller, no scheduler, no kubelet. Whatever is applied
//! is admitted and kept, and no pod ever runs.

use std::io::Write;
use std::process::{Command, Stdio};

use rcgen::KeyPair;

use crate::harness::{Child, Directory, eventually_blocking, free_port, spawn_tool, tool};

/// A running API server. Dropped: it and its store are killed, its files removed.
pub struct Cluster {
    server: Child,
    _etcd: Child,
    directory: Directory,
}

/// What a program has said at its end.
#[derive(Debug)]
pub struct Answer {
    /// Exit status 0.
    pub ok: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Answer {
    /// Standard output of a program that must succeed.
    #[track_caller]
    pub fn accepted(self) -> String {
        assert!(self.ok, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// What is said by a program that must fail.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(!self.ok, "not refused: {}{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// The only account: an administrator.
const TOKEN: &str = "a-token-of-the-test-cluster";

impl Cluster {
    /// Starts one on free ports of the loopback address; it is ready when this returns. `namespace` is where kubectl and helm
    /// look, unless they are told another.
    pub fn start(namespace: &str) -> Self {
        let directory = Directory::new();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let write = |name: &str, text: &str| {
            std::fs::write(path(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
        };
        let store = format!("http://127.0.0.1:{}", free_port());
        let etcd = spawn_etcd(&store, &path("etcd"));
        let key = KeyPair::generate().expect("a key");
        write("accounts.key", &key.serialize_pem());
        write("accounts.pem", &key.public_key_pem());
        write(
            "tokens.csv",
            &format!("{TOKEN},admin,admin,system:masters\n"),
        );
        let port = free_port();
        let server = spawn_tool(
            "kube-apiserver",
            &[
                format!("--etcd-servers={store}"),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={port}"),
                // It makes its own certificate there.
                format!("--cert-dir={}", path("certificates")),
                format!("--token-auth-file={}", path("tokens.csv")),
                "--authorization-mode=RBAC".to_owned(),
                "--service-account-issuer=https://cluster.invalid".to_owned(),
                format!("--service-account-key-file={}", path("accounts.pem")),
                format!(
                    "--service-account-signing-key-file={}",
                    path("accounts.key")
                ),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            ],
            &[],
        );
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin", "namespace": namespace}}],
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": path("certificates/apiserver.crt"),
            }}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
        });
        write("kubeconfig", &config.to_string());
        let mut cluster = Self {
            server,
            _etcd: etcd,
            directory,
        };
        cluster.until_ready();
        cluster
    }

    fn until_ready(&mut self) {
        eventually_blocking("the API server is ready", || {
            if let Some(status) = self.server.try_wait() {
                panic!("kube-apiserver ended with {status}");
            }
            self.kubectl(&["get", "--raw=/readyz"], "").ok.then_some(())
        });
    }

    /// `kubectl …`, with something on its standard input.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Answer {
        self.run("kubectl", arguments, input)
    }

    /// `helm …`.
    pub fn helm(&self, arguments: &[&str]) -> Answer {
        self.run("helm", arguments, "")
    }

    fn run(&self, name: &str, arguments: &[&str], input: &str) -> Answer {
        let mut program = Command::new(tool(name))
            .args(arguments)
            .env_clear()
            // kubectl starts `diff`.
            .env("PATH", std::env::var_os("PATH").expect("PATH"))
            // Their caches, and the records of Helm, end with the cluster.
            .env("HOME", self.directory.path())
            .env("KUBECONFIG", self.directory.path().join("kubeconfig"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut stdin = program.stdin.take().expect("stdin");
        let output = std::thread::scope(|scope| {
            // A program that refuses its arguments reads nothing.
            scope.spawn(move || stdin.write_all(input.as_bytes()).ok());
            program.wait_with_output().expect("its output")
        });
        Answer {
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn spawn_etcd(client: &str, data: &str) -> Child {
    let peer = format!("http://127.0.0.1:{}", free_port());
    spawn_tool(
        "etcd",
        &[
            format!("--data-dir={data}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // Nothing here outlives the test.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=error".to_owned(),
        ],
        &[],
    )
}
