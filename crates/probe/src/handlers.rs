//! The handlers of the routes.

use actix_web::{HttpResponse, web};

use crate::rounds::Findings;

/// `GET /probes`: the results of the last round.
pub(crate) async fn findings(findings: web::Data<Findings>) -> HttpResponse {
    HttpResponse::Ok().json(findings.last())
}
