//! What the routes do.

use actix_web::{HttpResponse, web};

use crate::rounds::Findings;

/// `GET /probes`: what the last round has found.
pub(crate) async fn findings(findings: web::Data<Findings>) -> HttpResponse {
    HttpResponse::Ok().json(findings.last())
}
