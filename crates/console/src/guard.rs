//! Middleware in front of every handler: counting, checks of `Host` and `Origin`, security headers.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{RequestHead, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpResponse, web};
use listen::{Host, Hosts, Refusal};

use crate::access::{TokenCheck, is_open};
use crate::answer::problem;
use crate::connections::{ANSWERING, Answering, Connections};
use crate::cors::{self, Origins};
use crate::counters::Counters;
use crate::ingest::is_intake;
use crate::otlp::response::Failure;
use crate::server::takes_forms;

/// The page loads nothing from elsewhere and cannot be framed.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The rules that decide which requests the console answers.
#[derive(Debug)]
pub(crate) struct AccessRules {
    /// The address that it listens on.
    pub listening: SocketAddr,
    /// Names that it answers to.
    pub hosts: Hosts,
    /// Pages elsewhere that may send OTLP.
    pub origins: Origins,
    /// The check of the token.
    pub access: TokenCheck,
}

/// The middleware.
pub(crate) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let route = request
        .match_pattern()
        .unwrap_or_else(|| "unmatched".into());
    let counting = request
        .app_data::<web::Data<Counters>>()
        .map(|counters| counters.request(route));
    let access_rules = request.app_data::<web::Data<AccessRules>>().cloned();
    let origin = access_rules
        .as_ref()
        .and_then(|access_rules| access_rules.origins.allowed(request.head()));
    let is_api = is_api(request.path());
    let is_head = request.method() == Method::HEAD;
    let answering = answering(&request);
    let mut response = match &answering {
        Err(Busy) => request.into_response(problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests at once: try again",
        )),
        Ok(answering) => {
            match access_rules.and_then(|access_rules| access_rules.answer(request.head())) {
                Some(answer) => request.into_response(answer),
                None if origin.is_some() && cors::is_preflight(request.head()) => {
                    let answer = cors::preflight(request.head());
                    request.into_response(answer)
                }
                None => {
                    let handler = next.call(request);
                    ANSWERING
                        .scope(answering.clone(), handler)
                        .await?
                        .map_into_boxed_body()
                }
            }
        }
    };
    if let Some(mut counting) = counting {
        counting.status = Some(response.status().as_u16());
    }
    add_headers(response.headers_mut(), is_api);
    if let Some(origin) = origin {
        cors::allow(response.headers_mut(), origin);
    }
    let answering = answering.unwrap_or_default();
    Ok(response.map_body(|_, body| {
        // Else the connection would wait for the end of what it does not send.
        let is_endless = is_head && body.size() == BodySize::Stream;
        let body = if is_endless { ().boxed() } else { body };
        CountedBody {
            body,
            _answering: answering,
        }
        .boxed()
    }))
}

/// Too many requests are being answered.
struct Busy;

/// The permission to be answered. Liveness and readiness probes do not count.
fn answering(request: &ServiceRequest) -> Result<Option<Arc<Answering>>, Busy> {
    let all = request.app_data::<web::Data<Connections>>();
    let all = all.filter(|_| !matches!(request.path(), "/ready" | "/live"));
    all.map(|all| all.answer().map(Arc::new).ok_or(Busy))
        .transpose()
}

/// An answer that counts until it has been read.
struct CountedBody {
    body: BoxBody,
    _answering: Option<Arc<Answering>>,
}

impl MessageBody for CountedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

fn is_api(path: &str) -> bool {
    path.starts_with("/api") || path.starts_with("/loki/") || is_open(path)
}

fn add_headers(headers: &mut HeaderMap, is_api: bool) {
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    if is_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

impl AccessRules {
    /// The response to a request that may not proceed; `None` if it may.
    fn answer(&self, head: &RequestHead) -> Option<HttpResponse> {
        let for_another_host = self.refusal(head).map(|refusal| {
            HttpResponse::build(refusal.status)
                .content_type("text/plain; charset=utf-8")
                .body(refusal.message)
        });
        for_another_host
            .or_else(|| self.access.answer(head))
            .or_else(|| self.refused_change(head))
    }

    /// The answer to what another origin's page sends to change something. Senders have doors of their own ([`cors`]), and a form only asks.
    fn refused_change(&self, head: &RequestHead) -> Option<HttpResponse> {
        let path = head.uri.path();
        let only_asks = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if only_asks || is_intake(path) || takes_forms(path) {
            return None;
        }
        if self.access.changes_nothing {
            let why = "a console that asks nobody beyond loopback for a token (--no-token) changes nothing for anybody: set \
                       OMNITRACE_CONSOLE_TOKEN instead, or use `omnitrace fault` and `omnitrace alerts`";
            return Some(problem(StatusCode::FORBIDDEN, why));
        }
        let mut sites = head.headers().get_all("sec-fetch-site");
        let is_own = sites.all(|site| site == "same-origin" || site == "none");
        let refusal = match self.hosts.check(head) {
            Ok(()) if is_own => return None,
            Ok(()) => Refusal::Origin,
            Err(refusal) => refusal,
        };
        Some(problem(
            refusal.status(),
            &format!("{refusal}: only the console's own pages may"),
        ))
    }

    /// Refuses a request for another host ([`Hosts`]). Of IP addresses the console accepts only its own: loopback and its
    /// listening address, or every address if it listens on all.
    pub fn refusal(&self, head: &RequestHead) -> Option<Failure> {
        let refusal = match self.hosts.host(head) {
            Ok(Host::Address(address)) if !self.is_own(address) => Refusal::Host,
            Ok(_) => return None,
            Err(refusal) => refusal,
        };
        let own = self.listening;
        let why = format!(
            "{refusal}. This console is http://{own} or http://localhost; other names are set by --allow-host or \
             OMNITRACE_CONSOLE_ALLOWED_HOSTS\n"
        );
        Some(Failure::new(refusal.status(), why))
    }

    fn is_own(&self, address: IpAddr) -> bool {
        let own = self.listening.ip();
        address.is_loopback()
            || own.is_unspecified()
            || own.to_canonical() == address
            || self.hosts.contains(&Host::Address(address))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::access::Access;

    fn passes(host: &str, listening: &str) -> bool {
        let access_rules = AccessRules {
            listening: listening.parse().expect("an address"),
            hosts: "host.docker.internal,10.9.9.9,Loki".parse().expect("hosts"),
            origins: Origins::default(),
            access: TokenCheck::of(&Access::Anybody, ([127, 0, 0, 1], 8000).into()),
        };
        let request = TestRequest::default().insert_header(("host", host));
        access_rules
            .refusal(request.to_http_request().head())
            .is_none()
    }

    #[actix_web::test]
    async fn answers_on_connections_that_are_not_read_count_as_under_way() {
        let app = actix_web::App::new()
            .app_data(web::Data::new(Connections::new(8 << 20)))
            .wrap(actix_web::middleware::from_fn(guard))
            .default_service(web::to(async || "an answer"));
        let app = actix_web::test::init_service(app).await;
        let ask = async |path: &str| {
            let request = TestRequest::with_uri(path).to_request();
            actix_web::test::call_service(&app, request).await
        };
        let mut unread = Vec::new();
        for _ in 0..204 {
            unread.push(ask("/api/stats").await);
        }
        assert!(unread.iter().all(|answer| answer.status() == 200));
        assert_eq!(ask("/api/stats").await.status(), 503);
        assert_eq!(ask("/ready").await.status(), 200);
        unread.pop();
        assert_eq!(ask("/api/stats").await.status(), 200);
    }

    #[actix_web::test]
    async fn work_of_a_client_that_has_gone_counts_until_it_is_done() {
        let all = web::Data::new(Connections::new(8 << 20));
        let end = web::Data::new(std::sync::Barrier::new(2));
        let work = async |end: web::Data<std::sync::Barrier>| {
            let work = move || end.wait().is_leader();
            crate::connections::off_worker(work).await.map(|_| "done")
        };
        let app = actix_web::App::new()
            .app_data(all.clone())
            .app_data(end.clone())
            .wrap(actix_web::middleware::from_fn(guard))
            .default_service(web::to(work));
        let app = actix_web::test::init_service(app).await;
        let request = TestRequest::with_uri("/api/stats").to_request();
        let mut call = Box::pin(actix_web::test::call_service(&app, request));
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(call);
        assert_eq!(all.under_way(), 1);
        web::block(move || end.wait()).await.expect("a thread");
        let done = async {
            while all.under_way() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_secs(20);
        tokio::time::timeout(patience, done).await.expect("an end");
    }

    #[test]
    fn own_names_pass() {
        for host in [
            "localhost",
            "localhost:8000",
            "LocalHost.:1",
            "a.localhost",
            "127.0.0.1:8000",
            "127.1.2.3",
            "[::1]:8000",
            "[::1]",
            "[::ffff:127.0.0.1]:1",
            "host.docker.internal:8000",
            "10.9.9.9",
        ] {
            assert!(passes(host, "127.0.0.1:8000"), "{host}");
        }
        assert!(passes("10.0.0.5:8000", "10.0.0.5:8000"));
        assert!(passes("10.0.0.5:8000", "0.0.0.0:8000"));
        assert!(passes("host.docker.internal", "0.0.0.0:3100"));
    }

    #[test]
    fn other_names_do_not() {
        for host in [
            "",
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "10.0.0.5",
            "[::2]:1",
            "localhost:port",
            "[::1",
            "localhost evil",
            "notlocalhost",
            "loki.evil.example",
            "evil.loki",
            "2130706433",
        ] {
            assert!(!passes(host, "127.0.0.1:8000"), "{host}");
        }
        assert!(!passes("evil.example", "0.0.0.0:8000"));
    }
}
