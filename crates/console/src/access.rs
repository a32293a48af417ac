//! Access control: beyond loopback a client needs the token.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::str::FromStr;

use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, HeaderValue, LOCATION, SET_COOKIE, WWW_AUTHENTICATE,
};
use actix_web::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::{Choice, ConstantTimeEq};
use uuid::Uuid;

use crate::answer::problem;
use crate::ingest::is_intake;

/// The parameter of a page's address that brings the token.
const PARAMETER: &str = "token";

/// Which clients the console answers.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// On a loopback address every client; on any other address only clients with a token that the console creates and
    /// prints at its start.
    #[default]
    ByAddress,
    /// Every client.
    Anybody,
    /// Every client that sends this token, on any address.
    Token(Token),
}

/// A secret. Only the console's start prints it, and only if the console has created it.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl FromStr for Token {
    type Err = &'static str;

    /// A short token can be guessed. None of these characters has a meaning in a URL or a cookie.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        match (16..=512).contains(&text.len()) && text.bytes().all(is_plain) {
            true => Ok(Self(text.to_owned())),
            false => Err("allowed: 16 to 512 letters, digits and -._~"),
        }
    }
}

impl Token {
    /// Reads the operating system's source of randomness.
    fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    fn matches(&self, given: &[u8]) -> Choice {
        self.0.as_bytes().ct_eq(given)
    }
}

/// Checks the token, if the console needs one.
#[derive(Debug)]
pub(crate) struct TokenCheck {
    token: Option<Token>,
    /// Cookies are shared by all ports of a host, so each console has a name of its own for its cookie.
    cookie: String,
    /// Every client may read; no client may change anything.
    pub changes_nothing: bool,
    /// The page's URL with the token that the console has created. The caller must print it.
    pub made: Option<String>,
}

impl TokenCheck {
    /// The check for a console that listens on this address.
    pub fn of(access: &Access, listening: SocketAddr) -> Self {
        let is_open = listening.ip().to_canonical().is_loopback();
        let (token, made) = match access {
            Access::Anybody => (None, None),
            Access::ByAddress if is_open => (None, None),
            Access::Token(token) => (Some(token.clone()), None),
            Access::ByAddress => {
                let token = Token::random();
                let url = format!("http://{}/?{PARAMETER}={}", reached(listening), token.0);
                (Some(token), Some(url))
            }
        };
        Self {
            cookie: cookie(token.as_ref()),
            changes_nothing: matches!(access, Access::Anybody) && !is_open,
            token,
            made,
        }
    }

    /// The response to a request that may not proceed; `None` if it may.
    pub fn answer(&self, head: &RequestHead) -> Option<HttpResponse> {
        let token = self.token.as_ref()?;
        if is_open(head.uri.path()) || self.has_token(head, token) {
            return None;
        }
        let given = token_in_query(head).filter(|_| head.method == Method::GET);
        match given.is_some_and(|given| token.matches(given.as_bytes()).into()) {
            true => Some(self.store_in_cookie(head, token)),
            false => Some(unauthorized()),
        }
    }

    /// Stores the token in a cookie and redirects to the page's URL without it, because others see a URL and browsers
    /// remember it.
    fn store_in_cookie(&self, head: &RequestHead, token: &Token) -> HttpResponse {
        let cookie = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Lax",
            self.cookie, token.0
        );
        HttpResponse::SeeOther()
            .insert_header((LOCATION, without_token(head)))
            .insert_header((SET_COOKIE, cookie))
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish()
    }

    /// The request may bring the token as a bearer token, as the password in a URL, or in the page's cookie.
    fn has_token(&self, head: &RequestHead, token: &Token) -> bool {
        let headers = head.headers();
        let shown = headers.get_all(AUTHORIZATION).filter_map(credentials);
        let cookies = headers
            .get_all(COOKIE)
            .flat_map(|cookies| cookies.as_bytes().split(|byte| *byte == b';'));
        let kept = cookies.filter_map(|cookie| {
            let cookie = cookie.trim_ascii().strip_prefix(self.cookie.as_bytes())?;
            Some(cookie.strip_prefix(b"=")?.to_vec())
        });
        let known = shown.chain(kept).fold(Choice::from(0), |known, given| {
            known | token.matches(&given)
        });
        known.into()
    }
}

/// The paths that senders, scrapers and probes request. A reader gets nothing there but counts.
pub(crate) fn is_open(path: &str) -> bool {
    is_intake(path) || matches!(path, "/ready" | "/live" | "/metrics")
}

/// A few bits of a digest tell consoles apart, also those that are reached at other ports than they listen on.
fn cookie(token: Option<&Token>) -> String {
    let mut hasher = DefaultHasher::new();
    token.map(|token| &token.0).hash(&mut hasher);
    format!("omnitrace_token_{:08x}", hasher.finish() & 0xffff_ffff)
}

/// An address at which somebody may reach it.
fn reached(listening: SocketAddr) -> String {
    match listening.ip().is_unspecified() {
        true => format!("localhost:{}", listening.port()),
        false => listening.to_string(),
    }
}

fn pairs(head: &RequestHead) -> impl Iterator<Item = &str> {
    head.uri.query().unwrap_or_default().split('&')
}

fn token_of(pair: &str) -> Option<&str> {
    pair.strip_prefix(PARAMETER)?.strip_prefix('=')
}

/// The token in the address.
fn token_in_query(head: &RequestHead) -> Option<&str> {
    pairs(head).find_map(token_of)
}

/// The URL of the same page. A browser would read two leading slashes or backslashes as the beginning of another host.
fn without_token(head: &RequestHead) -> String {
    let path = head.uri.path().trim_start_matches(['/', '\\']);
    let rest: Vec<&str> = pairs(head)
        .filter(|pair| token_of(pair).is_none())
        .collect();
    match rest.is_empty() {
        true => format!("/{path}"),
        false => format!("/{path}?{}", rest.join("&")),
    }
}

/// The credentials of a header. Clients send the user and password of a URL as `Basic`.
fn credentials(header: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, given) = header.to_str().ok()?.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(given.as_bytes().to_vec()),
        "basic" => {
            let both = STANDARD.decode(given).ok()?;
            let colon = both.iter().position(|byte| *byte == b':')?;
            Some(both[colon + 1..].to_vec())
        }
        _ => None,
    }
}

fn unauthorized() -> HttpResponse {
    let why = "the token of this console is needed: OMNITRACE_CONSOLE_TOKEN, where that was set, else the one in the address \
               (?token=…) that it printed when it started. Open that address in a browser; others send Authorization: Bearer …";
    let mut response = problem(StatusCode::UNAUTHORIZED, why);
    let scheme = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    response
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const TOKEN: &str = "correct-horse-battery";

    fn door() -> TokenCheck {
        let access = Access::Token(TOKEN.parse().expect("a token"));
        TokenCheck::of(&access, ([127, 0, 0, 1], 8000).into())
    }

    fn status(path: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = TestRequest::with_uri(path);
        for header in headers {
            request = request.append_header(*header);
        }
        let answer = door().answer(request.to_http_request().head());
        answer.map(|answer| answer.status().as_u16())
    }

    #[test]
    fn beyond_loopback_a_token_is_made_and_each_time_another() {
        let made = |address: &str| {
            TokenCheck::of(&Access::ByAddress, address.parse().expect("an address")).made
        };
        for address in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(made(address), None, "{address}");
        }
        for (address, page) in [
            ("0.0.0.0:8000", "http://localhost:8000/?token="),
            ("[::]:8000", "http://localhost:8000/?token="),
            ("10.0.0.5:8000", "http://10.0.0.5:8000/?token="),
        ] {
            let (one, other) = (
                made(address).expect("a token"),
                made(address).expect("a token"),
            );
            assert!(
                one.starts_with(page) && one.len() == page.len() + 32,
                "{one}"
            );
            assert_ne!(one, other);
        }
        assert!(
            TokenCheck::of(&Access::Anybody, ([0, 0, 0, 0], 1).into())
                .token
                .is_none()
        );
        assert_eq!(format!("{:?}", door().token), "Some(Token)");
    }

    #[test]
    fn the_token_is_taken_in_three_ways_and_nothing_else_will_do() {
        let basic = |both: &str| format!("Basic {}", STANDARD.encode(both));
        let bearer = format!("bearer {TOKEN}");
        let password = basic(&format!("anybody:{TOKEN}"));
        let name = door().cookie;
        let cookie = format!("a=b; {name}={TOKEN}");
        for good in [
            ("authorization", bearer.as_str()),
            ("authorization", &password),
            ("cookie", &cookie),
        ] {
            assert_eq!(status("/api/traces", &[good]), None, "{good:?}");
        }
        for bad in [
            ("authorization", ""),
            ("authorization", "Bearer"),
            ("authorization", "Bearer correct-horse-batter"),
            ("authorization", TOKEN),
            ("authorization", &basic(TOKEN)),
            ("authorization", "Basic !!"),
            ("cookie", &format!("{name}=")),
            ("cookie", &format!("omnitrace_token_={TOKEN}")),
            ("cookie", &format!("x{name}={TOKEN}")),
            ("x-token", TOKEN),
        ] {
            assert_eq!(status("/api/traces", &[bad]), Some(401), "{bad:?}");
        }
        for open in ["/ready", "/live", "/metrics", "/v1/traces", "/otlp/v1/logs"] {
            assert_eq!(status(open, &[]), None, "{open}");
        }
        for closed in [
            "/",
            "/static/app.js",
            "/loki/api/v1/query",
            "/api/v1/query",
            "/metrics/",
            "//v1/traces",
        ] {
            assert_eq!(status(closed, &[]), Some(401), "{closed}");
        }
    }

    #[test]
    fn an_address_with_the_token_leads_to_the_same_page_of_this_console() {
        let led = |uri: &str| {
            let request = TestRequest::with_uri(uri).to_http_request();
            let answer = door().answer(request.head())?;
            let to = answer.headers().get(LOCATION)?;
            Some(to.to_str().expect("ASCII").to_owned())
        };
        let token = format!("token={TOKEN}");
        for (uri, page) in [
            (format!("/?{token}"), "/"),
            (format!("/trace/ab?x=1&{token}&y=2"), "/trace/ab?x=1&y=2"),
            (format!("//evil.example/a?{token}"), "/evil.example/a"),
        ] {
            assert_eq!(led(&uri).as_deref(), Some(page), "{uri}");
        }
        assert_eq!(led("/?token=wrong-horse-battery"), None);
        assert_eq!(status("/?token=wrong-horse-battery", &[]), Some(401));
        // A client with the right token in a header needs no token in the URL, and an old bookmark does not lock it out.
        let shown = ("authorization", &*format!("Bearer {TOKEN}"));
        assert_eq!(status("/?token=wrong-horse-battery", &[shown]), None);
    }

    #[test]
    fn what_can_be_guessed_or_means_something_in_an_address_is_no_token() {
        for bad in [
            "",
            "short",
            "with a space in it",
            "sixteen&letters=x",
            "sixteen;letters=x",
            &"x".repeat(513),
        ] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
        assert!("x".repeat(16).parse::<Token>().is_ok());
    }
}
