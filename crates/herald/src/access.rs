//! Which clients may send alerts: those with the secret, and with a certificate if herald requires one.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use service::{ApiError, problem, upload};
use subtle::{Choice, ConstantTimeEq};

use crate::connections::Connections;
use crate::server::ALERTS;
use crate::stats::ReceiveOutcome;

/// The credentials that a client must send. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    /// The accepted secrets. Without one, every client may send alerts.
    pub(crate) secrets: Arc<[Secret]>,
    /// A certificate, too.
    pub(crate) certificate: bool,
}

/// A shared secret. No output contains it.
pub(crate) struct Secret(String);

impl Secret {
    /// Short secrets can be guessed, and a header may contain only these characters. `None`: not allowed.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let allowed =
            (16..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        allowed.then(|| Self(text.to_owned()))
    }

    /// The secret, for the header of a request.
    pub(crate) fn reveal(&self) -> String {
        self.0.clone()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Access {
    /// Middleware of the webhook and of the API, before the body is read.
    ///
    /// # Errors
    /// 401, or those of the handler.
    pub(crate) async fn admit(
        self,
        connections: Rc<Connections>,
        mut request: ServiceRequest,
        next: Next<BoxBody>,
    ) -> Result<ServiceResponse<BoxBody>, Error> {
        let connection = connections.connection_of(&request);
        let certified = connection
            .as_ref()
            .is_some_and(|connection| connection.is_certified());
        let detail = if self.certificate && !certified {
            "a client certificate is needed: see HERALD_TLS_CLIENT_CA"
        } else if !self.knows(&request) {
            "the secret is needed, as Authorization: Bearer …: see HERALD_SECRET"
        } else {
            if self.certificate || !self.secrets.is_empty() {
                connection.iter().for_each(|connection| connection.admit());
            }
            return next.call(request).await;
        };
        if request.path() == ALERTS {
            ReceiveOutcome::Unauthorized.count();
        }
        upload::hold(request.take_payload());
        Ok(request.error_response(ApiError::new(problem::UNAUTHORIZED, detail)))
    }

    fn knows(&self, request: &ServiceRequest) -> bool {
        if self.secrets.is_empty() {
            return true;
        }
        let mut headers = request.headers().get_all(AUTHORIZATION);
        let (Some(header), None) = (headers.next(), headers.next()) else {
            return false;
        };
        let (scheme, given) = header.as_bytes().split_at(header.len().min(7));
        // Compares all of them, so that the time does not reveal which one matched.
        let known = self.secrets.iter().fold(Choice::from(0), |known, secret| {
            known | secret.0.as_bytes().ct_eq(given)
        });
        scheme.eq_ignore_ascii_case(b"Bearer ") & bool::from(known)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn one_of_the_secrets_is_needed_and_nothing_else_will_do() {
        let secrets = ["correct-horse-battery", "staple-staple-staple"];
        let access = Access {
            secrets: secrets
                .iter()
                .filter_map(|text| Secret::new(text))
                .collect(),
            certificate: false,
        };
        let knows = |headers: &[&str]| {
            let mut request = TestRequest::post();
            for header in headers {
                request = request.append_header((AUTHORIZATION, *header));
            }
            access.knows(&request.to_srv_request())
        };
        assert!(
            knows(&["Bearer correct-horse-battery"]) && knows(&["bearer staple-staple-staple"])
        );
        let good = "Bearer correct-horse-battery";
        for bad in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["Bearer correct-horse-batter"],
            &["Bearer correct-horse-battery "],
            &["Bearer  correct-horse-battery"],
            &["Basic correct-horse-battery"],
            &["correct-horse-battery"],
            &["Bearer correct-horse-battery,staple-staple-staple"],
            &[good, good],
            &[good, "Bearer x"],
        ] {
            assert!(!knows(bad), "{bad:?}");
        }
        assert_eq!(format!("{:?}", access.secrets), "[Secret, Secret]");
    }

    #[test]
    fn a_secret_that_can_be_guessed_or_not_be_sent_is_none() {
        for bad in [
            "",
            "short",
            "with a space in it",
            "sixteen\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}",
            "a\nbbbbbbbbbbbbbbbbbbb",
        ] {
            assert!(Secret::new(bad).is_none(), "{bad:?}");
        }
        assert!(Secret::new(&"x".repeat(513)).is_none() && Secret::new(&"x".repeat(16)).is_some());
    }
}
