//! The three services as child processes, wired to each other and to the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use nix::sys::signal::Signal;

use super::child::code;
use super::{Child, Database, Listening, Receiver, database, http, omnitrace};

/// Start order: each service knows the address of the one before it.
pub const SERVICES: [&str; 3] = ["downstream", "data", "gateway"];

/// What a [`Stack`] is started with.
#[derive(Default)]
pub struct StackBuilder {
    database: Option<Database>,
    receiver: Option<Arc<Receiver>>,
    everywhere: Vec<(String, String)>,
    per_service: Vec<(String, String, String)>,
    only: Option<&'static [&'static str]>,
}

impl StackBuilder {
    /// Starts only these services, in this order; whom they call is set with [`StackBuilder::env`].
    pub fn only(mut self, services: &'static [&'static str]) -> Self {
        self.only = Some(services);
        self
    }

    /// Sets a variable for one service.
    pub fn env(mut self, service: &str, name: &str, value: &str) -> Self {
        assert!(SERVICES.contains(&service), "no such service: {service}");
        self.per_service
            .push((service.to_owned(), name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable for all three services.
    pub fn env_all(mut self, name: &str, value: &str) -> Self {
        self.everywhere.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses this database instead of a fresh one on the shared Postgres.
    pub fn database(mut self, database: Database) -> Self {
        self.database = Some(database);
        self
    }

    /// Uses this receiver instead of one of the stack's own.
    pub fn receiver(mut self, receiver: Arc<Receiver>) -> Self {
        self.receiver = Some(receiver);
        self
    }

    /// Starts downstream, data and gateway, each listening when this returns.
    pub async fn start(self) -> Stack {
        let services = self.only.unwrap_or(&SERVICES);
        let database = match self.database {
            Some(database) => database,
            None if services.contains(&"data") => database().await,
            None => Database { url: String::new() },
        };
        let mut stack = Stack {
            receiver: self.receiver.unwrap_or_else(|| Arc::new(Receiver::start())),
            database,
            client: http(),
            services: BTreeMap::new(),
            everywhere: self.everywhere,
            per_service: self.per_service,
        };
        for service in services {
            stack.spawn(service, None).await;
        }
        stack
    }
}

struct Service {
    child: Child,
    listening: Listening,
}

/// A running stack; its verbs are in the module `verbs`. Dropped: every process is killed.
pub struct Stack {
    /// Where the services' telemetry arrives.
    pub receiver: Arc<Receiver>,
    /// The data service's database.
    pub database: Database,
    /// Client of all verbs.
    pub client: reqwest::Client,
    services: BTreeMap<&'static str, Service>,
    everywhere: Vec<(String, String)>,
    per_service: Vec<(String, String, String)>,
}

impl Stack {
    /// Starts a stack with nothing special about it.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts one with settings.
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }

    /// `http://ip:port` of a service's public listener.
    pub fn url(&self, service: &str) -> String {
        format!("http://{}", self.service(service).listening.http_addr)
    }

    /// `http://ip:port` of a service's admin listener.
    pub fn admin_url(&self, service: &str) -> String {
        format!("http://{}", self.service(service).listening.admin_addr)
    }

    /// Process id of a service.
    pub fn pid(&self, service: &str) -> u32 {
        self.service(service).child.pid()
    }

    /// The most memory that a service has had, in KiB.
    pub fn peak_kib(&self, service: &str) -> u64 {
        self.service(service).child.peak_kib()
    }

    /// A service's log so far: the JSON lines of its stdout.
    pub fn log_lines(&self, service: &str) -> Vec<serde_json::Value> {
        self.service(service).child.json_lines()
    }

    /// The lines of a service's stdout so far, as they are.
    pub fn stdout(&self, service: &str) -> Vec<String> {
        self.service(service).child.stdout()
    }

    /// Everything a service has written so far.
    pub fn output(&self, service: &str) -> String {
        self.service(service).child.output()
    }

    /// Sends a signal and returns at once.
    pub fn signal(&self, service: &str, signal: Signal) {
        self.service(service).child.signal(signal);
    }

    /// Sends a signal and waits for the process to end; returns its exit code (128 + signal as in a shell).
    pub async fn kill(&mut self, service: &str, signal: Signal) -> i32 {
        let child = &mut self
            .services
            .get_mut(service)
            .expect("a running service")
            .child;
        child.signal(signal);
        code(child.wait().await)
    }

    /// The exit code of a service that ends by itself.
    pub async fn ended(&mut self, service: &str) -> i32 {
        let running = self.services.get_mut(service).expect("a running service");
        code(running.child.wait().await)
    }

    /// Starts a service again on the ports it had; stops it first if it runs.
    pub async fn restart(&mut self, service: &str) {
        let mut old = self
            .services
            .remove(service)
            .expect("a service that was started");
        if old.child.try_wait().is_none() {
            old.child.terminate().await;
        }
        let service = SERVICES
            .into_iter()
            .find(|name| *name == service)
            .expect("a service");
        self.spawn(service, Some(&old.listening)).await;
    }

    /// SIGTERM to gateway, data, downstream, in this order; panics when one does not exit with 0.
    /// Returns the receiver, which by then holds everything that was flushed.
    pub async fn stop(mut self) -> Arc<Receiver> {
        for service in SERVICES.into_iter().rev() {
            let Some(Service { child, .. }) = self.services.get_mut(service) else {
                continue;
            };
            if child.try_wait().is_none() {
                let status = child.terminate().await;
                assert_eq!(
                    code(status),
                    0,
                    "{service} ended with {status}\n{}",
                    child.output()
                );
            }
        }
        Arc::clone(&self.receiver)
    }

    fn service(&self, service: &str) -> &Service {
        self.services
            .get(service)
            .unwrap_or_else(|| panic!("no such service: {service}"))
    }

    async fn spawn(&mut self, service: &'static str, addresses: Option<&Listening>) {
        let mut command = omnitrace([service]);
        let any = "127.0.0.1:0";
        command
            .env(
                "OMNITRACE_HTTP_ADDR",
                addresses.map_or(any, |at| &at.http_addr),
            )
            .env(
                "OMNITRACE_ADMIN_ADDR",
                addresses.map_or(any, |at| &at.admin_addr),
            )
            .env("OTEL_SERVICE_NAME", service)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", self.receiver.url())
            .env("OTEL_BSP_SCHEDULE_DELAY", "100")
            .env("OTEL_BLRP_SCHEDULE_DELAY", "100")
            .env("OMNITRACE_LOG_FORMAT", "json")
            .env("OMNITRACE_LATENCY_MEDIAN_MS", "1");
        if service == "data" {
            command.env("DATABASE_URL", &self.database.url);
        }
        let calls = match service {
            "data" => Some(("DOWNSTREAM_URL", "downstream")),
            "gateway" => Some(("DATA_URL", "data")),
            _ => None,
        };
        if let Some((name, peer)) = calls.filter(|(_, peer)| self.services.contains_key(peer)) {
            command.env(name, self.url(peer));
        }
        command.envs(self.everywhere.iter().map(|(name, value)| (name, value)));
        command.envs(
            self.per_service
                .iter()
                .filter(|(of, ..)| of == service)
                .map(|(_, name, value)| (name, value)),
        );
        let mut child = Child::spawn(service, command);
        let listening = child.listening().await;
        self.services.insert(service, Service { child, listening });
    }
}
