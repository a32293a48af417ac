//! How many structs an item would become, counted before it is decoded.
//!
//! Two bytes of protobuf or three of JSON may stand for a struct of more than a hundred. Counting is cheap, and an item of too
//! many is refused before it takes any memory.

/// The most structs of one span, log record, data point or resource. A span of 1,000 events with five attributes each has
/// 11,000 in protobuf, and 25,000 by the count for JSON.
pub(super) const MAX_ELEMENTS: usize = 32 << 10;

/// The messages of OTLP that may hold lists of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Span,
    Event,
    Link,
    Log,
    KeyValue,
    AnyValue,
    Array,
    KeyValues,
    Resource,
    Scope,
    Metric,
    Numbers,
    Number,
    Histograms,
    Histogram,
    Summaries,
    Summary,
    Exponentials,
    Exponential,
    Exemplar,
    /// Holds nothing that is counted.
    Leaf,
}

impl Shape {
    /// The content of a field of the message, by the field numbers of opentelemetry-proto.
    const fn field(self, number: u32) -> Option<Self> {
        Some(match (self, number) {
            (Self::Span, 9)
            | (Self::Event, 3)
            | (Self::Link, 4)
            | (Self::Log, 6)
            | (Self::KeyValues, 1)
            | (Self::Resource, 1)
            | (Self::Scope, 3)
            | (Self::Metric, 12)
            | (Self::Number | Self::Summary | Self::Exemplar, 7)
            | (Self::Histogram, 9)
            | (Self::Exponential, 1) => Self::KeyValue,
            (Self::KeyValue, 2) | (Self::Log, 5) | (Self::Array, 1) => Self::AnyValue,
            (Self::AnyValue, 5) => Self::Array,
            (Self::AnyValue, 6) => Self::KeyValues,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Metric, 5 | 7) => Self::Numbers,
            (Self::Metric, 9) => Self::Histograms,
            (Self::Metric, 10) => Self::Exponentials,
            (Self::Metric, 11) => Self::Summaries,
            (Self::Numbers, 1) => Self::Number,
            (Self::Histograms, 1) => Self::Histogram,
            (Self::Exponentials, 1) => Self::Exponential,
            (Self::Summaries, 1) => Self::Summary,
            (Self::Number, 5) | (Self::Histogram, 8) | (Self::Exponential, 11) => Self::Exemplar,
            (Self::Summary, 6) | (Self::Exponential, 8 | 9) | (Self::Resource, 3) => Self::Leaf,
            _ => return None,
        })
    }
}

/// Whether a message has no more than [`MAX_ELEMENTS`] others in it. What is no protobuf, or nests without end, is left for the
/// decoder to refuse.
pub(super) fn fit(shape: Shape, message: &[u8]) -> bool {
    // The least one has two bytes.
    if message.len() <= 2 * MAX_ELEMENTS {
        return true;
    }
    let mut left = MAX_ELEMENTS;
    // Not by recursion, since it may nest as deep as it is long.
    let mut open = vec![(shape, message)];
    while let Some((shape, message)) = open.pop() {
        for (number, content) in super::protobuf::contents(message) {
            let Some(inner) = shape.field(number) else {
                continue;
            };
            let Some(rest) = left.checked_sub(1) else {
                return false;
            };
            left = rest;
            open.push((inner, content));
        }
    }
    true
}

/// Does the same for JSON: counts braces, brackets and commas outside of strings.
pub(super) fn fit_json(text: &str) -> bool {
    if text.len() <= MAX_ELEMENTS {
        return true;
    }
    let (mut count, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' | b',' if !in_text => count += 1,
            _ => {}
        }
    }
    count <= MAX_ELEMENTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_outside_of_texts_counts() {
        let commas = ",".repeat(2 * MAX_ELEMENTS);
        assert!(fit_json(&format!("{{\"a\":\"{commas}\\\"{commas}\"}}")));
        assert!(!fit_json(&format!("{{\"a\":[{commas}]}}")));
    }

    #[test]
    fn texts_of_protobuf_are_not_taken_for_messages() {
        // Field 1 of a value is a text, field 5 a list. Both hold empty messages if a decoder mistakes their type.
        let many = [0x0a, 0].repeat(MAX_ELEMENTS + 1);
        let inside = |key: u8| {
            let mut message = vec![key];
            prost::encoding::encode_varint(many.len() as u64, &mut message);
            [message, many.clone()].concat()
        };
        assert!(fit(Shape::AnyValue, &inside(0x0a)));
        assert!(!fit(Shape::AnyValue, &inside(0x2a)));
    }
}
