//! HTTP/1 with a gate in front of every connection.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_http::{Extensions, HttpService, KeepAlive, Protocol, Request};
use actix_server::ServerBuilder;
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use tokio::net::TcpStream;

use crate::gate::Gate;
use crate::turns::in_turn;

/// A connection ends, with its pending response, when its client has read nothing for this long.
#[cfg(target_os = "linux")]
const READER_GONE_MS: u32 = 10_000;

/// How much of an unread response the kernel buffers; its default is megabytes per connection. A reader at 100 ms still gets
/// 2.5 MB per second.
const UNREAD: usize = 256 << 10;

/// How its connections speak HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Http {
    /// How long an idle connection is kept.
    pub keep_alive: KeepAlive,
    /// The maximum time for a head: for the first one of a connection from its start, for later ones from the first byte.
    pub head_timeout: Duration,
    /// How long a connection that ends waits for its client to take the last bytes.
    pub last_words: Duration,
    /// Whether a client that has closed its side is still answered.
    pub half_closed: bool,
}

/// Tells an application its own address, for requests that do not name a host.
pub fn reached_at(address: SocketAddr, with_tls: bool) -> AppConfig {
    // Only this function can create one outside of actix-web; the default says 127.0.0.1:8080.
    AppConfig::__priv_test_new(with_tls, address.to_string(), address)
}

/// Adds a listener for HTTP/1 to a server. It works like actix-web's `HttpServer`, except that the server reads through a
/// [`Gate`]. `connected` is called per connection.
///
/// # Errors
/// When the listener cannot be used.
pub fn add_http1<A, S, B>(
    server: ServerBuilder,
    http: Http,
    listener: TcpListener,
    connected: impl Fn(&Gate<TcpStream>, &mut Extensions) + Clone + Send + Sync + 'static,
    app: impl Fn() -> A + Send + Clone + 'static,
) -> std::io::Result<ServerBuilder>
where
    A: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error>,
    S: 'static,
    S::InitError: std::fmt::Debug,
    B: MessageBody + 'static,
{
    for_accepted(&listener)?;
    let address = listener.local_addr()?;
    let stopping = server.graceful_shutdown_signal();
    let head_timeout = http.head_timeout;
    let service = move || {
        let (stopping, connected) = (stopping.clone(), connected.clone());
        let own_config = move |()| reached_at(address, false);
        let http = HttpService::build()
            .keep_alive(http.keep_alive)
            .client_request_timeout(http.head_timeout)
            .client_disconnect_timeout(http.last_words)
            .h1_allow_half_closed(http.half_closed)
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(move |gate: &Gate<TcpStream>, data| {
                data.insert(gate.flow().clone());
                connected(gate, data);
            })
            .finish(map_config(in_turn(app()), own_config));
        fn_service(move |io: TcpStream| {
            let peer = io.peer_addr().ok();
            let gate = Gate::new(io, head_timeout);
            async move { Ok((gate, Protocol::Http1, peer)) }
        })
        .and_then(http)
    };
    server.listen("http", listener, service)
}

/// Sets what accepted connections inherit. Without `TCP_NODELAY` the end of a long response waits until the reader
/// acknowledges the previous packet, which it delays by 40 ms.
pub(crate) fn for_accepted(listener: &TcpListener) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(listener, READER_GONE_MS)?;
    rustix::net::sockopt::set_tcp_nodelay(listener, true)?;
    rustix::net::sockopt::set_socket_send_buffer_size(listener, UNREAD)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use actix_server::Server;
    use actix_web::{App, HttpRequest, web};

    use super::*;

    const HTTP: Http = Http {
        keep_alive: KeepAlive::Disabled,
        head_timeout: Duration::from_secs(5),
        last_words: Duration::from_secs(1),
        half_closed: true,
    };

    async fn own_address(request: HttpRequest) -> String {
        request.app_config().local_addr().to_string()
    }

    #[actix_web::test]
    async fn an_application_knows_where_it_listens_and_its_answers_are_not_put_off() {
        let listener = crate::bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = || App::new().default_service(web::to(own_address));
        let builder = Server::build().workers(1).disable_signals();
        let (sender, connected) = std::sync::mpsc::channel();
        let tell = move |gate: &Gate<TcpStream>, _: &mut _| {
            sender
                .send(gate.io().nodelay().ok())
                .expect("a test that goes on");
        };
        let server = add_http1(builder, HTTP, listener, tell, app).expect("a server");
        let server = server.run();
        let (handle, running) = (server.handle(), actix_web::rt::spawn(server));
        let ask = move || {
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        let answer = web::block(ask).await.expect("a thread").expect("an answer");
        assert!(answer.ends_with(&address.to_string()), "{answer}");
        assert_eq!(connected.recv(), Ok(Some(true)), "nothing is put off");
        handle.stop(false).await;
        running.await.expect("a task").expect("an end");
    }
}
