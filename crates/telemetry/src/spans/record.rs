//! The data of a span, and its encoding when it ends.

use std::borrow::Cow;
use std::cell::RefCell;
use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::ops::Range;
use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
use redact::MARK;
use tracing::field::{Field, Visit};

use super::{clean_state, cleaned, cleaned_value, is_secret};

/// Most attributes and links of a span that are kept, as in the SDK.
const MAX_ATTRIBUTES: usize = 128;
const MAX_LINKS: usize = 128;

/// Room for each field that the texts of most spans have enough of.
const USUAL_TEXT: usize = 16;

/// As many as a thread needs at once, and no longer than most are.
const MAX_SPARE: usize = 16;
const MAX_SPARE_TEXT: usize = 4096;

thread_local! {
    /// Buffers of ended spans; new spans reuse them instead of allocating.
    static SPARE: RefCell<Vec<Attributes>> = const { RefCell::new(Vec::new()) };
}

/// A span: redacted once it has ended.
pub(crate) struct Record {
    /// Its own, once it has ended.
    pub(crate) context: SpanContext,
    pub(crate) parent: SpanId,
    pub(crate) parent_is_remote: bool,
    pub(crate) start: SystemTime,
    pub(crate) end: SystemTime,
    pub(crate) fields: Fields,
    pub(crate) links: Vec<SpanContext>,
    pub(crate) dropped_links: u32,
}

impl Record {
    pub(super) fn new(fields: Fields) -> Self {
        let start = SystemTime::now();
        Self {
            context: SpanContext::NONE,
            parent: SpanId::INVALID,
            parent_is_remote: false,
            start,
            end: start,
            fields,
            links: Vec::new(),
            dropped_links: 0,
        }
    }

    pub(super) fn link(&mut self, to: SpanContext) {
        if self.links.len() < MAX_LINKS {
            self.links.push(to);
        } else {
            self.dropped_links += 1;
        }
    }

    /// Fit to leave the process.
    pub(super) fn ended(mut self, context: &SpanContext) -> Self {
        self.context = context.clone();
        if self.end == self.start {
            // Never entered.
            self.end = SystemTime::now();
        }
        clean_state(&mut self.context);
        self.links.iter_mut().for_each(clean_state);
        self.fields.clean();
        self
    }
}

/// What `tracing` records of a span, after `otel.name`, `otel.kind` and their like have been understood.
pub(crate) struct Fields {
    pub(crate) name: Cow<'static, str>,
    /// `None`: internal.
    pub(crate) kind: Option<SpanKind>,
    pub(crate) status: Status,
    pub(crate) attributes: Attributes,
}

impl Fields {
    /// Of a span with so many fields.
    pub(super) fn new(name: &'static str, count: usize) -> Self {
        Self {
            name: Cow::Borrowed(name),
            attributes: Attributes::with_room(count),
            ..Self::default()
        }
    }

    /// To be absorbed.
    pub(super) fn later() -> Self {
        Self::new("", 0)
    }

    /// Adds what was recorded later.
    pub(super) fn absorb(&mut self, later: &mut Self) {
        let later_name = std::mem::take(&mut later.name);
        if !later_name.is_empty() {
            self.name = later_name;
        }
        self.kind = later.kind.take().or(self.kind.take());
        self.set_status(std::mem::take(&mut later.status));
        self.attributes.absorb(&mut later.attributes);
    }

    /// A status only moves up in this order: ok stays ok, and an error does not become unset.
    fn set_status(&mut self, status: Status) {
        if status > self.status {
            self.status = status;
        }
    }

    fn clean(&mut self) {
        if let Some(name) = cleaned(&self.name) {
            self.name = Cow::Owned(name);
        }
        if let Status::Error { description } = &mut self.status
            && let Some(text) = cleaned(description)
        {
            *description = Cow::Owned(text);
        }
        self.attributes.clean();
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            name: Cow::Borrowed(""),
            kind: None,
            status: Status::Unset,
            attributes: Attributes::default(),
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.push(field.name(), Value::Bool(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes.push(field.name(), Value::Int(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attributes.push(field.name(), Value::Float(value));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "otel.name" => self.name = Cow::Owned(value.to_owned()),
            "otel.kind" => self.kind = kind(value).or(self.kind.take()),
            "otel.status_code" => self.set_status(status(value)),
            "otel.status_description" => self.set_status(Status::error(value.to_owned())),
            key => self.attributes.text(key, |texts| texts.push_str(value)),
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name().starts_with("otel.") {
            self.record_str(field, &format!("{value:?}"));
        } else {
            self.attributes
                .shown(field.name(), format_args!("{value:?}"));
        }
    }
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let chain = std::iter::successors(value.source(), |error| (*error).source());
        let chain: Vec<String> = chain.map(ToString::to_string).collect();
        let attributes = &mut self.attributes;
        attributes.shown("exception.message", format_args!("{value}"));
        attributes.push("exception.stacktrace", Value::Texts(chain));
        attributes.shown(field.name(), format_args!("{value}"));
    }
}

fn kind(text: &str) -> Option<SpanKind> {
    const KINDS: [(&str, SpanKind); 5] = [
        ("server", SpanKind::Server),
        ("client", SpanKind::Client),
        ("producer", SpanKind::Producer),
        ("consumer", SpanKind::Consumer),
        ("internal", SpanKind::Internal),
    ];
    let mut kinds = KINDS.into_iter();
    Some(kinds.find(|(name, _)| name.eq_ignore_ascii_case(text))?.1)
}

fn status(text: &str) -> Status {
    match text {
        _ if text.eq_ignore_ascii_case("ok") => Status::Ok,
        _ if text.eq_ignore_ascii_case("error") => Status::error(""),
        _ => Status::Unset,
    }
}

/// Keys and values, the texts of which share one allocation.
#[derive(Default)]
pub(crate) struct Attributes {
    texts: String,
    pairs: Vec<(&'static str, Value)>,
    pub(crate) dropped: u32,
}

pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Range<usize>),
    Texts(Vec<String>),
}

impl Attributes {
    fn with_room(count: usize) -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
        let mut new = spare.ok().flatten().unwrap_or_default();
        new.texts.reserve(count * USUAL_TEXT);
        new.pairs.reserve(count);
        new
    }

    /// Lets the next span of this thread have the memory.
    pub(super) fn reuse(mut self) {
        self.texts.clear();
        self.pairs.clear();
        self.dropped = 0;
        let usual = self.texts.capacity() <= MAX_SPARE_TEXT;
        // A thread that ends may have none left.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if usual && spare.len() < MAX_SPARE {
                spare.push(self);
            }
        });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.pairs.iter().map(|(key, value)| (*key, value))
    }

    /// The text of a [`Value::Text`].
    pub(crate) fn read(&self, text: &Range<usize>) -> &str {
        &self.texts[text.clone()]
    }

    pub(crate) fn push(&mut self, key: &'static str, value: Value) {
        if self.has_room() {
            self.pairs.push((key, value));
        }
    }

    pub(crate) fn text(&mut self, key: &'static str, write: impl FnOnce(&mut String)) {
        // Without room nothing is written: a span that stays open for long may get any number of texts.
        if self.has_room() {
            let start = self.texts.len();
            write(&mut self.texts);
            self.pairs.push((key, Value::Text(start..self.texts.len())));
        }
    }

    /// For one more; counts it as dropped otherwise.
    fn has_room(&mut self) -> bool {
        let has_room = self.pairs.len() < MAX_ATTRIBUTES;
        self.dropped += u32::from(!has_room);
        has_room
    }

    fn shown(&mut self, key: &'static str, text: std::fmt::Arguments<'_>) {
        self.text(key, |texts| {
            let _ = texts.write_fmt(text);
        });
    }

    fn absorb(&mut self, later: &mut Self) {
        self.dropped += later.dropped;
        for (key, value) in later.pairs.drain(..) {
            match value {
                Value::Text(text) => self.text(key, |texts| texts.push_str(&later.texts[text])),
                other => self.push(key, other),
            }
        }
    }

    fn clean(&mut self) {
        let mut replaced = false;
        for (key, value) in &mut self.pairs {
            let text = match value {
                Value::Text(text) => cleaned_value(key, &self.texts[text.clone()]),
                Value::Texts(texts) => {
                    for text in texts {
                        if let Some(clean) = cleaned_value(key, text) {
                            *text = clean;
                        }
                    }
                    None
                }
                Value::Bool(_) => None,
                Value::Int(_) | Value::Float(_) => is_secret(key).then(|| MARK.to_owned()),
            };
            if let Some(text) = text {
                let start = self.texts.len();
                self.texts.push_str(&text);
                *value = Value::Text(start..self.texts.len());
                replaced = true;
            }
        }
        if replaced {
            self.forget_unread();
        }
    }

    /// What was cut or redacted does not wait in the queue beside what took its place.
    fn forget_unread(&mut self) {
        let mut read = String::new();
        for (_, value) in &mut self.pairs {
            if let Value::Text(text) = value {
                let start = read.len();
                read.push_str(&self.texts[text.clone()]);
                *text = start..read.len();
            }
        }
        self.texts = read;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_or_redacted_is_no_longer_held() {
        let mut attributes = Attributes::default();
        attributes.text("kept", |texts| texts.push_str("as it is"));
        attributes.text("user_agent.original", |texts| {
            texts.extend(std::iter::repeat_n('a', 400_000));
        });
        attributes.text("db.password", |texts| texts.push_str("hunter2"));
        attributes.clean();
        assert!(attributes.texts.capacity() < 10_000);
        assert!(!attributes.texts.contains("hunter2"));
        let read = |(_, value): (_, &Value)| match value {
            Value::Text(text) => attributes.read(text).len(),
            _ => 0,
        };
        let lengths: Vec<usize> = attributes.iter().map(read).collect();
        let cut = 4096 + '…'.len_utf8();
        assert_eq!(lengths, [8, cut, MARK.len()]);
    }

    #[test]
    fn attributes_without_room_leave_no_text() {
        let mut attributes = Attributes::default();
        for _ in 0..1_000 {
            attributes.text("early", |texts| texts.push_str("0123456789"));
            let mut later = Attributes::default();
            later.text("later", |texts| texts.push_str("0123456789"));
            attributes.absorb(&mut later);
        }
        assert_eq!(attributes.texts.len(), 10 * MAX_ATTRIBUTES);
        assert_eq!(attributes.dropped as usize, 2_000 - MAX_ATTRIBUTES);
    }
}
