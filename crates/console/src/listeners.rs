//! Where the console listens: its own address, and the ports at which an OTLP SDK sends unless it is told otherwise.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};
use serde_json::json;

use crate::log;
use crate::settings::{OtlpPort, Settings};

/// The listeners.
pub(crate) struct Listeners {
    /// Of everything.
    pub all: TcpListener,
    /// Of OTLP over gRPC.
    pub otlp_grpc: Option<TcpListener>,
    /// Of OTLP over HTTP.
    pub otlp_http: Option<TcpListener>,
}

impl Listeners {
    /// Binds them.
    pub fn bind(settings: &Settings) -> Result<Self> {
        let address = settings.listen;
        let all = listen::bind(address).with_context(|| {
            format!("cannot listen on {address}: choose another address with --listen")
        })?;
        let beside = |port, protocol, flag| otlp(port, address, protocol, flag);
        Ok(Self {
            all,
            otlp_grpc: beside(settings.otlp_grpc, "gRPC", "--otlp-grpc-port")?,
            otlp_http: beside(settings.otlp_http, "HTTP", "--otlp-http-port")?,
        })
    }

    /// The addresses that they really listen on.
    pub fn addresses(&self) -> Result<(SocketAddr, Option<SocketAddr>, Option<SocketAddr>)> {
        let address = |listener: &TcpListener| {
            let address = listener.local_addr();
            address.context("the listener has no address")
        };
        let otlp = |listener: &Option<TcpListener>| listener.as_ref().map(address).transpose();
        Ok((
            address(&self.all)?,
            otlp(&self.otlp_grpc)?,
            otlp(&self.otlp_http)?,
        ))
    }
}

fn otlp(
    port: OtlpPort,
    beside: SocketAddr,
    protocol: &str,
    flag: &str,
) -> Result<Option<TcpListener>> {
    let (port, is_required) = match port {
        OtlpPort::Off => return Ok(None),
        OtlpPort::IfFree(port) => (port, false),
        OtlpPort::Required(port) => (port, true),
    };
    let address = SocketAddr::new(beside.ip(), port);
    match listen::bind(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(why) if is_required => Err(why).with_context(|| {
            format!("cannot listen on {address}: choose another port with {flag}, or `off`")
        }),
        Err(why) => {
            let what = format!(
                "no OTLP over {protocol}: {address} cannot be used ({why}); {flag} chooses another port, or off"
            );
            log::warn(&what, json!({}));
            Ok(None)
        }
    }
}
