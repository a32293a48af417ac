//! OTLP as protobuf. A hand-written parser walks the three outer levels (request, resource, scope), so that only one item is
//! decoded at a time; of a metric, one data point.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};

use super::attribute::Reader;
use super::elements::{self, Shape};
use super::metrics::{MAX_HEAD, too_long_name};
use super::spans::{SentSpan, ids};
use super::values::{MAX_NAME, scope};
use super::{Attributes, Decoder, Origin, Refusal, Signal, UNDECODABLE, origin, resource};

/// The largest encoded item, or data point of a metric.
const MAX_ITEM: usize = 1 << 20;

/// The largest encoded resource or scope.
const MAX_SENDER: usize = 256 << 10;

/// The reason for an item that is too large, whose sender is too large, or that would become too many structs.
pub(super) const TOO_LARGE: &str = "item_too_large";

/// Field numbers. The first level holds groups by resource (1); those hold the resource (1) and groups by scope (2); those
/// hold the scope (1) and items (2). All three signals use the same numbers.
const GROUPS: u32 = 1;
const SENDER: u32 = 1;
const ITEMS: u32 = 2;

/// Fields of a span that are read here, and where a log record has its attributes.
const SPAN_IDS: [u32; 3] = [1, 2, 4];
const SPAN_NAME: u32 = 5;
const SPAN_ATTRIBUTES: u32 = 9;
const LOG_ATTRIBUTES: u32 = 6;

/// Fields of a metric that every point needs (name, unit), its kinds of data, and the points in those.
const HEAD: [u32; 2] = [1, 3];
const DATA: [u32; 5] = [5, 7, 9, 10, 11];
const POINTS: u32 = 1;

/// Field of a metric that one point of it needs.
const DESCRIPTION: u32 = 2;

/// Whether the outer levels are intact. An error inside an item concerns only that item.
pub(super) fn check(body: &[u8]) -> Result<(), String> {
    for group in fields(body, GROUPS) {
        let group = group?;
        fields(group, SENDER).try_for_each(|sender| sender.map(drop))?;
        for scope_group in fields(group, ITEMS) {
            let scope_group = scope_group?;
            fields(scope_group, SENDER).try_for_each(|scope| scope.map(drop))?;
            fields(scope_group, ITEMS).try_for_each(|item| item.map(drop))?;
        }
    }
    Ok(())
}

/// Decodes a request that was checked.
pub(super) fn decode(signal: Signal, body: &[u8], decoder: &mut Decoder<'_>) {
    let mut reader = Reader::default();
    for group in fields(body, GROUPS).flatten() {
        // The resource may stand behind the items.
        let sender = sender::<ProtoResource>(Shape::Resource, group, "resource").map(resource);
        if let Ok(sender) = &sender {
            decoder.sender(sender);
        }
        for scope_group in fields(group, ITEMS).flatten() {
            let scope = self::sender::<InstrumentationScope>(Shape::Scope, scope_group, "scope");
            let scope = scope.map(self::scope);
            let origin = origin(&sender, scope);
            for item in fields(scope_group, ITEMS).flatten() {
                one_item(signal, item, &origin, &mut reader, decoder);
            }
        }
    }
}

fn one_item<'a>(
    signal: Signal,
    item: &'a [u8],
    origin: &Origin,
    reader: &mut Reader<'a>,
    decoder: &mut Decoder<'_>,
) {
    match signal {
        Signal::Traces => decoder.span(item.len(), origin, span(item, reader)),
        Signal::Logs => decoder.log(item.len(), origin, log(item, reader)),
        Signal::Metrics => {
            let description = contents(item).find(|(number, _)| *number == DESCRIPTION);
            decoder.metric_begins(description.map_or(&[], |(_, text)| text));
            let outcome = points(item, &mut |point| {
                let metric = message(Shape::Metric, point, "metric");
                decoder.metric(point.len(), origin, metric);
            });
            if let Err(refusal) = outcome {
                decoder.refuse(item.len(), refusal);
            }
        }
    }
}

/// Hands out a metric as often as it has data points, each time with one of them.
fn points(metric: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), Refusal> {
    let (mut head, mut is_too_long) = (Vec::new(), false);
    let mut data = None;
    let mut rest = metric;
    while !rest.is_empty() {
        let next = Field::next(&mut rest).map_err(undecodable("metric"))?;
        if HEAD.contains(&next.number) {
            match head.len() + next.whole.len() <= MAX_HEAD {
                true => head.extend_from_slice(next.whole),
                false => is_too_long = true,
            }
        } else if DATA.contains(&next.number) {
            // If there are several, the last one counts, as with any protobuf field.
            data = next.content.map(|content| (next.number, content));
        }
    }
    if is_too_long {
        head = field(HEAD[0], too_long_name().as_bytes());
    }
    let Some((kind, data)) = data else {
        each(&head);
        return Ok(());
    };
    let mut common = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let next = Field::next(&mut rest).map_err(undecodable("metric"))?;
        if next.number != POINTS {
            common.extend_from_slice(next.whole);
        }
        if common.len() > MAX_HEAD {
            return Err(Refusal::too_large("temporality of a metric", MAX_HEAD));
        }
    }
    for point in fields(data, POINTS) {
        let point = point.map_err(undecodable("metric"))?;
        let data = [&common, field(POINTS, point).as_slice()].concat();
        each(&[&head, field(kind, &data).as_slice()].concat());
    }
    Ok(())
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut field = Vec::with_capacity(content.len() + 8);
    encode_key(number, WireType::LengthDelimited, &mut field);
    encode_varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

fn message<M: Message + Default>(shape: Shape, bytes: &[u8], what: &str) -> Result<M, Refusal> {
    is_small(shape, bytes, what)?;
    M::decode(bytes).map_err(|why| undecodable(what)(why.to_string()))
}

fn is_small(shape: Shape, bytes: &[u8], what: &str) -> Result<(), Refusal> {
    match bytes.len() <= MAX_ITEM && elements::fit(shape, bytes) {
        true => Ok(()),
        false => Err(Refusal::too_large(what, MAX_ITEM)),
    }
}

/// A span. What all of them have goes into no struct of the protocol, where each id and text would be a block of memory.
fn span<'a>(item: &'a [u8], reader: &mut Reader<'a>) -> Result<SentSpan, Refusal> {
    let (mut sent, mut name) = ([&[][..]; 3], &[][..]);
    reader.begin();
    let rest: Span = message_without(Shape::Span, item, "span", |number, content| {
        match SPAN_IDS.iter().position(|id| *id == number) {
            Some(id) => sent[id] = content,
            None if number == SPAN_NAME => name = content,
            None if number == SPAN_ATTRIBUTES => reader.add(content)?,
            None => return Ok(false),
        }
        Ok(true)
    })?;
    let name = reader.texts.text(name, MAX_NAME);
    let name = name.map_err(undecodable("span"))?.into_owned();
    let attributes = reader.all(rest.dropped_attributes_count);
    let ids = ids(sent);
    Ok(SentSpan {
        ids,
        name,
        attributes,
        rest,
    })
}

fn log<'a>(item: &'a [u8], reader: &mut Reader<'a>) -> Result<(LogRecord, Attributes), Refusal> {
    reader.begin();
    let take = |number, content| match number == LOG_ATTRIBUTES {
        true => reader.add(content).map(|()| true),
        false => Ok(false),
    };
    let log: LogRecord = message_without(Shape::Log, item, "log record", take)?;
    let attributes = reader.all(log.dropped_attributes_count);
    Ok((log, attributes))
}

/// An item without the fields that `take` has taken. Between them it is decoded piece by piece.
fn message_without<'a, M: Message + Default>(
    shape: Shape,
    item: &'a [u8],
    what: &str,
    mut take: impl FnMut(u32, &'a [u8]) -> Result<bool, String>,
) -> Result<M, Refusal> {
    is_small(shape, item, what)?;
    let (mut message, mut piece, mut rest) = (M::default(), item, item);
    let mut merge = |piece: &[u8]| {
        let merged = message.merge(piece);
        merged.map_err(|why| undecodable(what)(why.to_string()))
    };
    while !rest.is_empty() {
        let before = piece.len() - rest.len();
        let field = Field::next(&mut rest).map_err(undecodable(what))?;
        // Leaves a field of the wrong type to the decoder, which rejects it.
        let Some(content) = field.content else {
            continue;
        };
        if take(field.number, content).map_err(undecodable(what))? {
            merge(&piece[..before])?;
            piece = rest;
        }
    }
    merge(piece)?;
    Ok(message)
}

fn undecodable(what: &str) -> impl Fn(String) -> Refusal {
    move |why| Refusal::new(UNDECODABLE, format!("a {what} cannot be decoded: {why}"))
}

/// The resource or scope of a group, `None` if there is none. If there are several, the last one counts, as with any
/// protobuf field (the parser does not merge them, because no encoder writes two).
fn sender<M: Message + Default>(
    shape: Shape,
    group: &[u8],
    what: &str,
) -> Result<Option<M>, Refusal> {
    let Some(found) = fields(group, SENDER).flatten().last() else {
        return Ok(None);
    };
    if found.len() > MAX_SENDER {
        return Err(Refusal::too_large(what, MAX_SENDER));
    }
    message(shape, found, what).map(Some)
}

/// The contents of all fields with this number. It skips other fields and ends after the first error.
fn fields(mut bytes: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], String>> {
    std::iter::from_fn(move || {
        while !bytes.is_empty() {
            match Field::next(&mut bytes) {
                Ok(found) if found.number == number => {
                    let no_message = || {
                        bytes = &[];
                        format!("the body is no OTLP protobuf: field {number} is no message")
                    };
                    return Some(found.content.ok_or_else(no_message));
                }
                Ok(_) => {}
                Err(why) => {
                    bytes = &[];
                    return Some(Err(why));
                }
            }
        }
        None
    })
}

/// The contents of all length-delimited fields, with their numbers. Ends before the first error.
pub(super) fn contents(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        while !bytes.is_empty() {
            let field = Field::next(&mut bytes).ok()?;
            if let Some(content) = field.content {
                return Some((field.number, content));
            }
        }
        None
    })
}

/// One field of any number and type.
pub(super) struct Field<'a> {
    pub number: u32,
    /// The whole field, with its key.
    whole: &'a [u8],
    /// The content, if it is length-delimited.
    pub content: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    /// Reads the first field, and leaves the rest.
    pub fn next(bytes: &mut &'a [u8]) -> Result<Self, String> {
        let no_protobuf = |why: prost::DecodeError| format!("the body is no OTLP protobuf: {why}");
        let start = *bytes;
        let (number, wire_type) = decode_key(bytes).map_err(no_protobuf)?;
        let content = if wire_type == WireType::LengthDelimited {
            let length = decode_varint(bytes).map_err(no_protobuf)?;
            let length = usize::try_from(length).ok();
            let split = length.and_then(|length| bytes.split_at_checked(length));
            let (content, rest) = split.ok_or("the body is no OTLP protobuf: it is cut off")?;
            *bytes = rest;
            Some(content)
        } else {
            let context = DecodeContext::default();
            skip_field(wire_type, number, bytes, context).map_err(no_protobuf)?;
            None
        };
        let whole = &start[..start.len() - bytes.len()];
        Ok(Self {
            number,
            whole,
            content,
        })
    }
}
