//! `/api/faults`: the switchboards of the scraped services on this machine, one per instance.

use std::net::IpAddr;

use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{StreamExt as _, stream};
use reqwest::Url;
use serde::Serialize;
use serde_json::value::RawValue;

use super::RemoteServices;
use super::others::RemoteAnswer;
use crate::answer::{Answers, Refused, off_thread, problem};
use crate::ingest::Sink;

/// The most instances that are asked, all at once.
const MAX_SERVICES: usize = 32;

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/faults", web::get().to(list))
        .route("/api/faults/{service}", web::delete().to(change))
        .route("/api/faults/{service}/{fault}", web::put().to(change))
        .route("/api/faults/{service}/{fault}", web::delete().to(change));
}

/// An instance of a service, and where its admin listener is.
struct Service {
    /// The service's name; from the second instance on, with a number: `data-2`.
    name: String,
    url: String,
}

/// The faults of an instance, or the reason why they are unknown.
#[derive(Serialize)]
struct Board {
    service: String,
    faults: Option<Box<RawValue>>,
    error: Option<String>,
    /// The service's answer stays charged until it is written.
    #[serde(skip)]
    _told: Option<RemoteAnswer>,
}

#[derive(Serialize)]
struct Boards {
    services: Vec<Board>,
}

async fn list(others: web::Data<RemoteServices>, answers: web::Data<Answers>) -> HttpResponse {
    let services = services(&others).into_iter().take(MAX_SERVICES);
    let boards = stream::iter(services).map(|service| board(&others, service));
    let services = boards.buffered(MAX_SERVICES);
    let services = services.filter_map(async |board| board).collect().await;
    off_thread(&answers, |_| Ok(Boards { services })).await
}

/// `None` for a service without a switchboard.
async fn board(others: &RemoteServices, service: Service) -> Option<Board> {
    let request = others.client.get(format!("{}/faults", service.url));
    let told = others.ask(request, &service.name).await;
    let (faults, error, told) = match told {
        Ok(told) if told.status == StatusCode::NOT_FOUND => return None,
        Ok(mut told) if told.status.is_success() => (told.json.take(), None, Some(told)),
        Ok(told) => (None, Some(told.refusal()), None),
        Err(Refused { detail, .. }) => (None, Some(detail), None),
    };
    Some(Board {
        service: service.name,
        faults,
        error,
        _told: told,
    })
}

async fn change(
    request: HttpRequest,
    payload: Payload,
    others: web::Data<RemoteServices>,
    sink: web::Data<Sink>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    match changed(&request, payload, &others, &sink).await {
        Ok(told) => told.answer(&answers).await,
        Err(Refused { status, detail }) => problem(status, &detail),
    }
}

async fn changed(
    request: &HttpRequest,
    payload: Payload,
    others: &RemoteServices,
    sink: &Sink,
) -> Result<RemoteAnswer, Refused> {
    let no = |detail: &str| Refused {
        status: StatusCode::NOT_FOUND,
        detail: detail.to_owned(),
    };
    let wanted = request.match_info().get("service").unwrap_or_default();
    let service = services(others)
        .into_iter()
        .find(|service| service.name == wanted);
    let service = service.ok_or_else(|| {
        no("no service of this name is scraped on this machine: GET /api/faults lists them")
    })?;
    let path = match request.match_info().get("fault") {
        None => "/faults".to_owned(),
        Some(fault) if is_name(fault) => format!("/faults/{fault}"),
        Some(_) => return Err(no("no fault has such a name: GET /api/faults lists them")),
    };
    let url = format!("{}{path}", service.url);
    if request.method() == Method::DELETE {
        return others.ask(others.client.delete(url), &service.name).await;
    }
    let put = others.client.put(url);
    others.pass(put, payload, sink, &service.name).await
}

/// No character of it needs escaping in a path.
fn is_name(fault: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=64).contains(&fault.len()) && fault.bytes().all(is_plain)
}

/// The instances that are scraped over loopback. Faults belong to admin listeners, which listen only there.
fn services(others: &RemoteServices) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for target in others.targets.snapshot().targets {
        if !target.service_name.is_empty() && is_loopback(&target.address) {
            services.push(Service {
                name: free_name(&services, target.service_name),
                url: format!("http://{}", target.address),
            });
        }
    }
    services
}

/// Numbers the instances of a service in the order of the targets, as `omnitrace up` does.
fn free_name(services: &[Service], service: String) -> String {
    let numbered = (2..).map(|number| format!("{service}-{number}"));
    let mut names = std::iter::once(service.clone()).chain(numbered);
    let is_free = |name: &String| services.iter().all(|known| known.name != *name);
    names.find(is_free).unwrap_or(service)
}

fn is_loopback(address: &str) -> bool {
    let url = Url::parse(&format!("http://{address}")).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    ip.map_or(host == "localhost", |ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_has_switchboards() {
        for address in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "localhost:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_loopback(address), "{address}");
        }
        for address in [
            "10.0.0.1:1",
            "[2001:db8::1]:1",
            "example.org:1",
            "localhost.example:1",
            "0.0.0.0:1",
            "x y",
        ] {
            assert!(!is_loopback(address), "{address}");
        }
    }

    #[test]
    fn a_name_is_no_path() {
        assert!(is_name("slow_query") && is_name("http2"));
        for bad in [
            "",
            "..",
            "a/b",
            "a%2fb",
            "A",
            "a-b",
            "a?b",
            "ä",
            &"a".repeat(65),
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
