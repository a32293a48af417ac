//! Problem documents (RFC 9457) for a terminal.

use serde_json::Value;

use crate::terminal::quoted;

/// The fields with their problems and allowed values.
pub fn in_words(document: &Value) -> String {
    let parts = [text(&document["title"]), text(&document["detail"])];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let mut lines = vec![quoted(&parts.join(": "))];
    for error in document["errors"].as_array().into_iter().flatten() {
        let field = format!("{}: {}", text(&error["field"]), text(&error["message"]));
        // The detail of a document with one error is that error.
        if field != text(&document["detail"]) {
            lines.push(quoted(&format!("  {field}")));
        }
    }
    lines.join("\n")
}

/// What a member says; nothing, when it is no text.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
