//! Chooses ports, and names the process that has a busy one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};
use tokio::net::TcpSocket;

use super::state;
use crate::cli::UpArgs;

/// The requested ports with their flags, without "any free one".
fn requested_ports(args: &UpArgs) -> Vec<(&'static str, u16)> {
    let ports = &args.ports;
    let mut all = vec![
        ("--gateway-port", ports.gateway_port),
        ("--data-port", ports.data_port),
        ("--downstream-port", ports.downstream_port),
        ("--gateway-admin-port", ports.gateway_admin_port),
        ("--data-admin-port", ports.data_admin_port),
        ("--downstream-admin-port", ports.downstream_admin_port),
    ];
    if args.standard.standard {
        let standard = args.standard.ports.all().into_iter();
        all.extend(standard.map(|(flag, _, port)| (flag, port)));
    }
    if !args.no_console {
        let otlp = args.otlp.asked().into_iter();
        all.extend(otlp.filter_map(|asked| Some((asked.flag, asked.port()?))));
    }
    if !args.standard.standard && !args.no_console {
        all.push(("--console-port", ports.console_port));
    }
    if !args.no_console {
        all.push(("--herald-port", ports.herald_port));
    }
    all.retain(|(_, port)| *port > 0);
    all
}

/// Refuses the same port for two parts: the second could never listen.
pub fn check(args: &UpArgs) -> Result<()> {
    let mut flags = BTreeMap::new();
    for (flag, port) in requested_ports(args) {
        if let Some(other) = flags.insert(port, flag) {
            bail!(
                "{other} and {flag} are both {port}: each needs a port of its own; 0 is any free one"
            );
        }
    }
    Ok(())
}

/// Names every busy port before anything starts, if no other will do: with `--strict-ports`, or where the console is given one
/// for OTLP.
pub fn check_free(args: &UpArgs) -> Result<()> {
    let for_otlp = args.otlp.asked().into_iter();
    let for_otlp = for_otlp.filter(|asked| asked.given.is_some() && !args.standard.standard);
    let given: Vec<&str> = for_otlp.map(|asked| asked.flag).collect();
    let taken = |(flag, port)| Some(format!("{flag}: {}", problem(port)?));
    let taken: Vec<String> = requested_ports(args)
        .into_iter()
        .filter(|(flag, _)| args.strict_ports || given.contains(flag))
        .filter_map(taken)
        .collect();
    if taken.is_empty() {
        return Ok(());
    }
    let without = match args.strict_ports {
        true => "leave out --strict-ports to take any",
        false => "give `off`",
    };
    bail!(
        "{}\nfree them, choose others (0 is any free one), or {without}",
        taken.join("\n")
    )
}

/// Why nobody can listen there.
fn problem(port: u16) -> Option<String> {
    let error = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).err()?;
    let holder = holder(port).map_or_else(String::new, |holder| format!(" by {holder}"));
    Some(match error.kind() {
        std::io::ErrorKind::AddrInUse => format!("port {port} is in use{holder}"),
        _ => format!("port {port} cannot be used ({error})"),
    })
}

/// The outcome of asking for a preferred port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The listening address for the child; port 0 if the preferred port is busy.
    pub address: SocketAddr,
    /// The reason for another port: `8080 is in use by nginx (pid 123)`.
    pub moved: Option<String>,
}

/// A port of 127.0.0.1 for `part`: the preferred one, or, unless `strict`, any free one.
pub fn choose(part: &str, preferred: u16, strict: bool) -> Result<Choice> {
    let Some(problem) = problem(preferred) else {
        return Ok(Choice {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, preferred)),
            moved: None,
        });
    };
    if strict {
        bail!(
            "{part}: {problem}; free it, choose another one, or leave out --strict-ports to take any"
        );
    }
    Ok(Choice {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        moved: Some(problem),
    })
}

/// Keeps the port of a choice for its part, for as long as the socket exists.
pub fn reserve(choice: Choice) -> Result<(Choice, TcpSocket)> {
    let taken =
        listen::reserve(choice.address).and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (address, socket) = taken.with_context(|| format!("no port at {}", choice.address))?;
    let moved = choice.moved;
    Ok((Choice { address, moved }, socket))
}

/// `nginx (pid 123)`: the process that listens on a port, if this user may see it.
fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| listening_inodes(table, port))
        .collect();
    let sockets: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let pids = std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid = oldest(pids.filter(|pid| holds_any(*pid, &sockets)))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("{} (pid {pid})", name.trim()))
}

/// A child inherits its parent's sockets (a worker of nginx, a process that is about to execute another program): the one
/// to end is the parent, and it has not always the smaller number.
fn oldest(pids: impl Iterator<Item = u32>) -> Option<u32> {
    pids.filter_map(|pid| Some((state::started(pid)?, pid)))
        .min()
        .map(|(_, pid)| pid)
}

fn holds_any(pid: u32, sockets: &[String]) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
        .any(|target| {
            sockets
                .iter()
                .any(|socket| target.as_os_str() == socket.as_str())
        })
}

/// Lines look like `0: 0100007F:1F90 00000000:0000 0A … uid timeout inode`; state 0A is LISTEN.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    std::fs::read_to_string(table)
        .unwrap_or_default()
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == "0A")
                .then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_moved_or_refused_and_its_holder_named() {
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = busy.local_addr().unwrap().port();

        let choice = choose("gateway", port, false).unwrap();
        assert_eq!(choice.address.port(), 0);
        let why = choice.moved.unwrap();
        assert!(why.contains(&port.to_string()), "{why}");
        #[cfg(target_os = "linux")]
        assert!(
            why.contains(&format!("(pid {})", std::process::id())),
            "{why}"
        );

        let error = choose("gateway", port, true).unwrap_err().to_string();
        assert!(
            error.contains(&port.to_string()) && error.contains("--strict-ports"),
            "{error}"
        );

        drop(busy);
        assert_eq!(choose("gateway", port, true).unwrap().moved, None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn of_a_process_and_its_child_that_hold_a_port_the_older_one_is_named() {
        let this = std::process::id();
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let named = [child.id(), this].map(|first| {
            let second = if first == this { child.id() } else { this };
            oldest([first, second].into_iter())
        });
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(named, [Some(this); 2]);
    }

    #[test]
    fn a_reserved_port_is_known_before_somebody_listens_there_and_nobody_else_is_given_it() {
        let free = choose("herald", 0, false).unwrap();
        let (reserved, _socket) = reserve(free).unwrap();
        assert_ne!(reserved.address.port(), 0);
        for _ in 0..2 {
            let part = TcpListener::bind(reserved.address).unwrap();
            assert_eq!(part.local_addr().unwrap(), reserved.address);
            std::net::TcpStream::connect(reserved.address).unwrap();
        }
    }
}
