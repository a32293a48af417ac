//! `tracestate` as the specification (Trace Context, Level 2) says: the whole list is dropped if a member is invalid or there are
//! too many; of a repeated key the first member goes on; a list that is too long loses members.

use crate::propagation::{Headers, joined};

/// The longest list that is passed on; the specification asks for at least 512 characters.
const MAX_LENGTH: usize = 1024;
const MAX_MEMBERS: usize = 32;
/// A longer member is among the first that a list loses.
const LONG_MEMBER: usize = 128;

/// The list that goes on; empty if there is none.
pub(crate) fn read(headers: &impl Headers) -> String {
    let Some(text) = joined(headers, "tracestate") else {
        return String::new();
    };
    let sent = text
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']));
    let sent = sent.filter(|member| !member.is_empty());
    let mut members: Vec<(&str, &str)> = Vec::new();
    for (count, member) in sent.enumerate() {
        match key_of(member) {
            Some(key) if count < MAX_MEMBERS => {
                if members.iter().all(|(known, _)| *known != key) {
                    members.push((key, member));
                }
            }
            _ => return String::new(),
        }
    }
    let mut members = members.into_iter().map(|(_, member)| member).collect();
    shorten(&mut members);
    members.join(",")
}

/// Removes long members first, then others, from the end of the list: the most recent ones stand at its beginning.
fn shorten(members: &mut Vec<&str>) {
    while members.join(",").len() > MAX_LENGTH {
        let long = members
            .iter()
            .rposition(|member| member.len() > LONG_MEMBER);
        members.remove(long.unwrap_or(members.len() - 1));
    }
}

/// The key of a valid member.
fn key_of(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let key_byte = |byte: u8| first(byte) || b"_-*/@".contains(&byte);
    let value_byte = |byte: u8| matches!(byte, 0x20..=0x2b | 0x2d..=0x3c | 0x3e..=0x7e);
    let valid = key.bytes().next().is_some_and(first)
        && key.len() <= 256
        && key.bytes().all(key_byte)
        && (1..=256).contains(&value.len())
        && value.bytes().all(value_byte);
    valid.then_some(key)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn passed_on(headers: &[&str]) -> String {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append("tracestate", HeaderValue::from_str(header).unwrap());
        }
        read(&map)
    }

    #[test]
    fn a_list_loses_no_more_than_the_rule_says() {
        let long_key = format!("{}=1", "z".repeat(256));
        for (sent, want) in [
            (&["a=1", "b=2 , ,c=3"][..], "a=1,b=2,c=3"),
            (&["a=1,b=2,a=3"], "a=1,b=2"),
            (&["a@b@c=1,foo@@bar=2,foo@=3"], "a@b@c=1,foo@@bar=2,foo@=3"),
            (&["t@vvvvvvvvvvvvvvv=1,4=x"], "t@vvvvvvvvvvvvvvv=1,4=x"),
            (&[&long_key], &long_key),
            (&[""], ""),
            (&["@a=1,b=2"], ""),
            (&["a=1,B=2"], ""),
            (&["a=1,b"], ""),
            (&["a=1,b="], ""),
            (&["a=b=c,d=1"], ""),
            (&[&format!("z{long_key}"), "b=2"], ""),
        ] {
            assert_eq!(passed_on(sent), want, "{sent:?}");
        }
        let many = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("k{n}=v")).collect();
            members.join(",")
        };
        assert_eq!(passed_on(&[&many(32)]), many(32));
        assert_eq!(passed_on(&[&many(33)]), "");
    }

    #[test]
    fn a_list_that_is_too_long_loses_long_members_from_its_end_then_others() {
        let (a, b) = (
            format!("a={}", "x".repeat(256)),
            format!("b={}", "x".repeat(256)),
        );
        let small = |name: &str| format!("{name}={}", "y".repeat(120));
        let rest: Vec<String> = ["c", "d", "e", "f", "g", "h"].map(small).into();
        let sent = format!("{a},{},{b}", rest.join(","));
        assert_eq!(passed_on(&[&sent]), format!("{a},{}", rest.join(",")));
        let many: Vec<String> = (0..10).map(|n| small(&format!("k{n}"))).collect();
        assert_eq!(passed_on(&[&many.join(",")]), many[..8].join(","));
    }
}
