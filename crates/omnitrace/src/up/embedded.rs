//! The console, and its ports for OTLP, at which an SDK sends unless it is told otherwise.

use std::ffi::OsString;
use std::net::SocketAddr;

use anyhow::Result;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;

use super::report::Report;
use super::stack::{Stack, SupervisedChild, url};
use super::{ports, wiring};
use crate::otlp_ports::{Asked, OtlpPorts};

/// A port that was asked for, and the address, if it is not taken.
pub struct Otlp {
    asked: Asked,
    /// Where the console will listen.
    address: Option<SocketAddr>,
    /// While it exists, nobody else gets the port.
    _reserved: Option<TcpSocket>,
}

impl Stack<'_> {
    /// Starts the console, which tells `herald`; returns its URL.
    pub(super) async fn start_console(
        &self,
        herald: SocketAddr,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<String> {
        let (args, data_dir) = (self.args, self.data_dir());
        let choice = ports::choose("console", args.ports.console_port, args.strict_ports)?;
        let otlp = reserve(&args.otlp, self.report)?;
        let launch = |address| Ok(wiring::console(address, &otlp, data_dir, herald, args));
        let listening = self.listen_part("console", choice.address, launch, kept);
        let console = listening.await?;
        self.change(|state| {
            if let Some(part) = state.part_mut("console") {
                let urls = otlp.each_ref().map(|otlp| otlp.address.map(url));
                [part.otlp_grpc_url, part.otlp_http_url] = urls;
            }
        })?;
        self.report_part("console", choice.moved.as_slice());
        Ok(console)
    }
}

/// Takes the ports for the console. Without one that somebody else has, it starts all the same, since another one would not help.
fn reserve(ports: &OtlpPorts, report: &Report) -> Result<[Otlp; 2]> {
    let [grpc, http] = ports.asked();
    Ok([reserve_one(grpc, report)?, reserve_one(http, report)?])
}

fn reserve_one(asked: Asked, report: &Report) -> Result<Otlp> {
    let none = Otlp {
        asked,
        address: None,
        _reserved: None,
    };
    let Some(port) = asked.port() else {
        return Ok(none);
    };
    let choice = ports::choose(asked.flag, port, false)?;
    if let Some(problem) = choice.moved {
        let Asked { flag, protocol, .. } = asked;
        let message =
            format!("no OTLP over {protocol}: {problem}; {flag} chooses another one, or off");
        report.progress("console", &message);
        return Ok(none);
    }
    let (choice, socket) = ports::reserve(choice)?;
    Ok(Otlp {
        address: Some(choice.address),
        _reserved: Some(socket),
        ..none
    })
}

impl Otlp {
    /// The option of `omnitrace console`.
    pub fn argument(&self) -> OsString {
        let port = self.address.map(|address| address.port().to_string());
        let port = port.as_deref().unwrap_or("off");
        format!("{}={port}", self.asked.flag).into()
    }
}
