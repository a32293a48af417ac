//! The console's ports for OTLP, at which an SDK sends unless it is told otherwise.

use std::ffi::OsString;
use std::net::SocketAddr;

use anyhow::Result;
use tokio::net::TcpSocket;

use super::ports;
use super::report::Report;
use crate::otlp_ports::{Asked, OtlpPorts};

/// A port that was asked for, and the address, if it is not taken.
pub struct Otlp {
    asked: Asked,
    /// Where the console will listen.
    pub address: Option<SocketAddr>,
    /// While it exists, nobody else gets the port.
    _reserved: Option<TcpSocket>,
}

/// Takes the ports for the console. Without one that somebody else has, it starts all the same, since another one would not help.
pub fn reserve(ports: &OtlpPorts, report: &Report) -> Result<[Otlp; 2]> {
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
