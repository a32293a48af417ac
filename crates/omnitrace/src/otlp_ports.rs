//! Options for the ports at which an OTLP SDK sends unless it is told otherwise.

use std::net::SocketAddr;
use std::str::FromStr;

use clap::Args;

/// The console's own port. On another one it is not the machine's first console, and leaves the default ports to that.
const CONSOLE: u16 = 8000;

/// The ports, beside the console's own, which takes OTLP over HTTP too.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ports of OTLP (0: any free one)")]
pub struct OtlpPorts {
    /// OTLP over gRPC; `off` for none [default: 4317, if that is free]
    #[arg(long, value_name = "PORT")]
    otlp_grpc_port: Option<OtlpPort>,
    /// OTLP over HTTP, and nothing else; `off` for none [default: 4318, if that is free]
    #[arg(long, value_name = "PORT")]
    otlp_http_port: Option<OtlpPort>,
}

/// What the value of an option says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpPort {
    /// None.
    Off,
    /// This one.
    Port(u16),
}

impl FromStr for OtlpPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            text => text
                .parse()
                .map(Self::Port)
                .map_err(|_| "expected a port from 0 (any free one) to 65535, or off"),
        }
    }
}

/// A port, as it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The option.
    pub flag: &'static str,
    /// What travels there.
    pub protocol: &'static str,
    /// The port if the option is not given.
    pub default: u16,
    /// The option's value.
    pub given: Option<OtlpPort>,
}

impl Asked {
    /// The port; `None` if there is to be none.
    pub fn port(&self) -> Option<u16> {
        match self.given {
            None => Some(self.default),
            Some(OtlpPort::Port(port)) => Some(port),
            Some(OtlpPort::Off) => None,
        }
    }

    fn of_console(&self, listen: SocketAddr) -> console::OtlpPort {
        match self.given {
            None if listen.port() == CONSOLE => console::OtlpPort::IfFree(self.default),
            None | Some(OtlpPort::Off) => console::OtlpPort::Off,
            Some(OtlpPort::Port(port)) => console::OtlpPort::Required(port),
        }
    }
}

impl OtlpPorts {
    /// Those of gRPC and HTTP.
    pub fn asked(&self) -> [Asked; 2] {
        [
            ("--otlp-grpc-port", "gRPC", 4317, self.otlp_grpc_port),
            ("--otlp-http-port", "HTTP", 4318, self.otlp_http_port),
        ]
        .map(|(flag, protocol, default, given)| Asked {
            flag,
            protocol,
            default,
            given,
        })
    }

    /// The same for a console that listens there.
    pub fn of_console(&self, listen: SocketAddr) -> [console::OtlpPort; 2] {
        self.asked().map(|asked| asked.of_console(listen))
    }
}

#[cfg(test)]
mod tests {
    use console::OtlpPort::{IfFree, Off, Required};

    use super::*;

    #[test]
    fn only_the_first_console_takes_the_default_ports_unasked() {
        let ports = |listen: &str, grpc: Option<&str>| {
            let ports = OtlpPorts {
                otlp_grpc_port: grpc.map(|text| text.parse().expect("a port")),
                otlp_http_port: None,
            };
            ports.of_console(listen.parse().expect("an address"))
        };
        assert_eq!(ports("127.0.0.1:8000", None), [IfFree(4317), IfFree(4318)]);
        assert_eq!(ports("127.0.0.1:8000", Some("off")), [Off, IfFree(4318)]);
        for other in ["127.0.0.1:0", "127.0.0.1:3100"] {
            assert_eq!(ports(other, None), [Off, Off]);
            assert_eq!(ports(other, Some("0")), [Required(0), Off]);
        }
        assert!("none".parse::<OtlpPort>().is_err() && "65536".parse::<OtlpPort>().is_err());
    }
}
