//! OTLP as protobuf: the three outer levels (request, resource, scope) are walked by hand, so that only one item is
//! decoded at a time.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::values::scope;
use super::{Batch, Signal, resource};
use crate::model::{Resource, Scope};

/// The largest encoded item. One of empty attributes decodes to some fifty times its size.
const MAX_ITEM: usize = 1 << 20;

/// The largest encoded resource or scope.
const MAX_SENDER: usize = 256 << 10;

/// Why an item is refused that is larger than [`MAX_ITEM`], or whose sender is larger than [`MAX_SENDER`].
pub(super) const TOO_LARGE: &str = "item_too_large";

/// Field numbers: the first level holds groups by resource (1), those hold the resource (1) and groups by scope (2), those
/// the scope (1) and items (2); it is the same for all three signals.
const GROUPS: u32 = 1;
const SENDER: u32 = 1;
const ITEMS: u32 = 2;

/// Decodes a request.
pub(super) fn decode(signal: Signal, body: &[u8]) -> Result<Batch, String> {
    let mut batch = Batch::default();
    for group in fields(body, GROUPS) {
        resource_group(signal, group?, &mut batch)?;
    }
    Ok(batch)
}

fn resource_group(signal: Signal, group: &[u8], batch: &mut Batch) -> Result<(), String> {
    // The resource may stand behind the items.
    let sender = sender::<ProtoResource>(group, "resource")?;
    let shared = sender.map(resource);
    if let Some(resource) = &shared {
        batch.sender(resource);
    }
    for scope_group in fields(group, ITEMS) {
        let scope_group = scope_group?;
        let scope = self::sender::<InstrumentationScope>(scope_group, "scope")?.map(self::scope);
        for item in fields(scope_group, ITEMS) {
            let item = item?;
            match (&shared, &scope) {
                (Some(resource), Some(scope)) if item.len() <= MAX_ITEM => {
                    one_item(signal, item, resource, scope, batch)?;
                }
                _ => batch.rejected.add(TOO_LARGE),
            }
        }
    }
    Ok(())
}

fn one_item(
    signal: Signal,
    item: &[u8],
    resource: &Arc<Resource>,
    scope: &Arc<Scope>,
    batch: &mut Batch,
) -> Result<(), String> {
    match signal {
        Signal::Traces => batch.span(resource, scope, message(item, "span")?),
        Signal::Logs => batch.log(resource, scope, message(item, "log record")?),
        Signal::Metrics => batch.metric(resource, scope, message(item, "metric")?),
    }
    Ok(())
}

fn message<M: Message + Default>(bytes: &[u8], what: &str) -> Result<M, String> {
    M::decode(bytes).map_err(|why| format!("a {what} cannot be decoded: {why}"))
}

/// The resource or scope of a group: `None` if it is too large, `Some(None)` if there is none. Of several the
/// last one counts, as with any field of protobuf (merging them is left out: no encoder writes two).
fn sender<M: Message + Default>(group: &[u8], what: &str) -> Result<Option<Option<M>>, String> {
    let mut found = None;
    for bytes in fields(group, SENDER) {
        found = Some(bytes?);
    }
    match found {
        Some(bytes) if bytes.len() > MAX_SENDER => Ok(None),
        Some(bytes) => Ok(Some(Some(message(bytes, what)?))),
        None => Ok(Some(None)),
    }
}

/// The contents of all fields with this number; others are skipped. Ends after the first error.
fn fields(mut bytes: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], String>> {
    let mut failed = false;
    std::iter::from_fn(move || {
        while !bytes.is_empty() && !failed {
            match next_field(&mut bytes, number) {
                Ok(Some(content)) => return Some(Ok(content)),
                Ok(None) => {}
                Err(why) => {
                    failed = true;
                    return Some(Err(why));
                }
            }
        }
        None
    })
}

/// Reads one field; `None` if it is another one.
fn next_field<'a>(bytes: &mut &'a [u8], number: u32) -> Result<Option<&'a [u8]>, String> {
    let no_protobuf = |why: prost::DecodeError| format!("the body is no OTLP protobuf: {why}");
    let (tag, wire_type) = decode_key(bytes).map_err(no_protobuf)?;
    if tag != number {
        skip_field(wire_type, tag, bytes, DecodeContext::default()).map_err(no_protobuf)?;
        return Ok(None);
    }
    if wire_type != WireType::LengthDelimited {
        return Err(format!(
            "the body is no OTLP protobuf: field {tag} is no message"
        ));
    }
    let length = decode_varint(bytes).map_err(no_protobuf)?;
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= bytes.len());
    let length = length.ok_or("the body is no OTLP protobuf: it is cut off")?;
    let (content, rest) = bytes.split_at(length);
    *bytes = rest;
    Ok(Some(content))
}
