//! Processes under measurement: started, waited for, read from outside, ended.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde_json::Value;
use standard::Addresses;
use tokio::net::TcpSocket;

/// Time for a start (a first one downloads Postgres) and for an end.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);

/// Less CPU than this in a [`LOOK`] is rest.
const REST: Duration = Duration::from_millis(12);
/// Longer than [`DELAY_MS`], so that no export is still to come after a quiet one.
const LOOK: Duration = Duration::from_millis(250);
/// Looks at the most.
const LOOKS: usize = 60;

/// How long a span or log record waits for others at the most; by default it is seconds.
const DELAY_MS: &str = "200";
/// Tells a process under measurement so.
pub const DELAYS: [(&str, &str); 2] = [
    ("OTEL_BSP_SCHEDULE_DELAY", DELAY_MS),
    ("OTEL_BLRP_SCHEDULE_DELAY", DELAY_MS),
];

/// A running process; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `command`, its output in a file in `directory`. It ends with this process, if it heeds `OMNITRACE_PARENT_PIPE`.
    pub fn start(name: &str, mut command: Command, directory: &Path) -> Result<Self> {
        let output = directory.join(format!("{name}.log"));
        let file = File::create(&output).with_context(|| format!("write {}", output.display()))?;
        let child = command
            .env("OMNITRACE_PARENT_PIPE", "1")
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}: {:?}", command.get_program()))?;
        let name = name.to_owned();
        Ok(Self {
            name,
            child,
            output,
        })
    }

    /// The line that says where it listens.
    pub fn listening(&mut self) -> Result<Value> {
        self.line("its line `listening`", |line| {
            line["message"] == "listening"
        })
    }

    /// Its first line of JSON that satisfies `matches`.
    pub fn line(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Result<Value> {
        self.wait_for(what, |process| {
            let text = std::fs::read_to_string(&process.output).ok()?;
            let mut lines = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            lines.find(&matches)
        })
    }

    /// Lines that it has written.
    pub fn lines(&self) -> Result<u64> {
        let text = std::fs::read(&self.output)?;
        Ok(text.iter().filter(|byte| **byte == b'\n').count() as u64)
    }

    /// Waits until somebody answers at `address`.
    pub fn reachable(&mut self, address: SocketAddr) -> Result<()> {
        self.wait_for(&format!("an answer at {address}"), |_| {
            std::net::TcpStream::connect(address).ok().map(drop)
        })
    }

    /// The last line that it wrote, as JSON.
    pub fn last_line(&self) -> Result<Value> {
        let text = std::fs::read_to_string(&self.output)?;
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("{}: {last:?} is no result", self.name))
    }

    fn wait_for<T>(&mut self, what: &str, probe: impl Fn(&Self) -> Option<T>) -> Result<T> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            if let Some(found) = probe(self) {
                return Ok(found);
            }
            if ended.is_some() || start.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(&self.output).unwrap_or_default();
                let state = ended.map_or("still runs".to_owned(), |status| status.to_string());
                bail!(
                    "{}: {what} did not come ({state}); it said:\n{said}",
                    self.name
                );
            }
            std::thread::sleep(POLL);
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// CPU time of all its threads, ended ones included, in user and system mode.
    pub fn cpu(&self) -> Result<Duration> {
        let time = clock_getcpuclockid(self.pid())
            .and_then(ClockId::now)
            .with_context(|| format!("CPU time of {}", self.name))?;
        Ok(time.into())
    }

    /// Waits until it rests; one that does not in time is an error.
    pub async fn rest(&self) -> Result<()> {
        match rest(std::slice::from_ref(self)).await? {
            true => Ok(()),
            false => bail!("{} does not come to rest", self.name),
        }
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        self.memory_kib("VmRSS:")
    }

    /// The most that was resident, in KiB.
    pub fn peak_kib(&self) -> Result<u64> {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse().ok())
            .with_context(|| format!("memory of {}: the process has ended", self.name))
    }

    /// Waits for its end; an exit code other than 0 is an error.
    pub fn finished(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        if !status.success() {
            let said = std::fs::read_to_string(&self.output).unwrap_or_default();
            bail!("{} ended with {status}; it said:\n{said}", self.name);
        }
        Ok(())
    }

    /// SIGTERM, and at last SIGKILL.
    pub fn stop(&mut self) {
        let start = Instant::now();
        // Gone already: nothing to stop.
        let _ = kill(self.pid(), Signal::SIGTERM);
        while let Ok(None) = self.child.try_wait() {
            if start.elapsed() > PATIENCE / 4 {
                let _ = self.child.kill();
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.stop();
        }
        let _ = std::fs::remove_file(&self.output);
    }
}

/// Waits until they rest: deliveries of orders and exports go on after the last answer, and belong to the requests.
/// False when they did not come to rest in time.
pub async fn rest(processes: &[Process]) -> Result<bool> {
    let total = || processes.iter().map(Process::cpu).sum::<Result<Duration>>();
    for _ in 0..LOOKS {
        let before = total()?;
        tokio::time::sleep(LOOK).await;
        if total()? - before < REST {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Addresses of this machine that nobody else is given while this exists, see [`listen::reserve`].
#[derive(Default)]
pub struct Reserved(Vec<TcpSocket>);

impl Reserved {
    /// A further one.
    pub fn address(&mut self) -> Result<SocketAddr> {
        let socket = listen::reserve((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = socket.local_addr()?;
        self.0.push(socket);
        Ok(address)
    }

    /// One for each address of the standard stack.
    pub fn addresses(&mut self) -> Result<Addresses> {
        Addresses::choose(|_| Ok(self.address()?.to_string()))
    }
}

/// Kept to one core, so that no work of one thread is done by another at the same time.
pub fn on_core(core: u32, executable: &Path) -> Command {
    let mut command = command(Path::new("taskset"));
    command.args(["-c", &core.to_string()]).arg(executable);
    command
}

/// An executable with an environment free of what the caller set about telemetry.
pub fn command(executable: &Path) -> Command {
    let mut command = Command::new(executable);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let kept = ["OMNITRACE_POSTGRES", "OMNITRACE_CACHE_DIR"].contains(&&*text);
        let ours = ["OTEL_", "OMNITRACE_", "RUST_LOG", "DATA", "DOWNSTREAM_URL"];
        if !kept && ours.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}
