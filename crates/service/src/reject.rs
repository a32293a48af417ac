//! Turns what actix's extractors reject into problem documents.
use actix_web::error::{JsonPayloadError, PathError, QueryPayloadError};
use actix_web::{HttpRequest, web};
use serde_json::error::Category;

use crate::error::ApiError;
use crate::problem::{self, FieldError};

/// Largest JSON body that is read.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;

/// Extractor settings of every application.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(
            web::JsonConfig::default()
                .limit(BODY_LIMIT)
                .error_handler(json),
        )
        .app_data(web::QueryConfig::default().error_handler(query))
        .app_data(web::PathConfig::default().error_handler(path))
        .app_data(web::PayloadConfig::new(BODY_LIMIT));
}

fn json(error: JsonPayloadError, _request: &HttpRequest) -> actix_web::Error {
    match error {
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => {
            ApiError::new(
                problem::PAYLOAD_TOO_LARGE,
                format!("allowed: {BODY_LIMIT} bytes"),
            )
        }
        JsonPayloadError::ContentType => ApiError::new(
            problem::BAD_REQUEST,
            "the content type is not application/json",
        ),
        JsonPayloadError::Deserialize(error) => deserialize(&error),
        other => ApiError::new(problem::BAD_REQUEST, "the body could not be read")
            .with_source(other.to_string()),
    }
    .into()
}

/// 400 for what is not JSON, 422 for JSON that does not have the right shape.
pub(crate) fn deserialize(error: &serde_json::Error) -> ApiError {
    match error.classify() {
        Category::Data => {
            let message = error.to_string();
            ApiError::invalid(vec![FieldError::new(
                field(&message),
                without_value(&message),
            )])
        }
        _ => ApiError::new(
            problem::BAD_REQUEST,
            format!(
                "the body is not JSON (line {} column {})",
                error.line(),
                error.column()
            ),
        ),
    }
}

fn query(error: QueryPayloadError, _request: &HttpRequest) -> actix_web::Error {
    let message = error.to_string();
    ApiError::invalid(vec![FieldError::new(
        field(&message),
        without_value(&message),
    )])
    .into()
}

fn path(_error: PathError, _request: &HttpRequest) -> actix_web::Error {
    ApiError::new(
        problem::NOT_FOUND,
        "no such resource: its id in the path does not have the right form",
    )
    .into()
}

/// The field that a serde message is about: "missing field `sku`", "unknown field `size`, expected …".
fn field(message: &str) -> &str {
    ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.split_once(start))
        .and_then(|(_, rest)| rest.split_once('`'))
        .map_or("(request)", |(name, _)| name)
}

/// serde repeats the value in "invalid type: string \"…\", expected u32": keep what was expected.
fn without_value(message: &str) -> String {
    match message.split_once("expected ") {
        Some((_, expected)) if message.contains("invalid") => format!("expected {expected}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only its type matters")]
        quantity: u32,
    }

    fn rejected(text: &str) -> ApiError {
        deserialize(&serde_json::from_str::<Body>(text).unwrap_err())
    }

    #[test]
    fn broken_json_and_a_wrong_shape_are_told_apart() {
        assert_eq!(rejected("{\"quantity\":").kind().status, 400);
        assert_eq!(rejected("{}").kind().status, 422);
        assert!(rejected("{}").to_string().contains("quantity"));
        assert!(
            rejected("{\"quantity\":1,\"size\":2}")
                .to_string()
                .contains("size")
        );
    }

    #[test]
    fn a_value_is_never_repeated() {
        let error = rejected("{\"quantity\":\"someone@example.org\"}").to_string();
        assert!(
            error.contains("expected u32") && !error.contains("example.org"),
            "{error}"
        );
    }
}
