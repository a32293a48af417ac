//! Finds the end of a request's head, and the length of the body that follows.

/// The most headers that the server takes.
const MAX_HEADERS: usize = 96;

/// What follows a head, according to its headers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    Head,
    Bytes(u64),
    Chunks,
    Nothing,
}

/// The place behind the first empty line that ends behind `searched`.
pub(crate) fn end_of_head(bytes: &[u8], searched: usize) -> Option<usize> {
    let start = searched.saturating_sub(1);
    let tail = bytes.get(start..)?;
    let ends = tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    for (at, _) in ends {
        match tail[at + 1..] {
            [b'\n', ..] => return Some(start + at + 2),
            [b'\r', b'\n', ..] => return Some(start + at + 3),
            _ => {}
        }
    }
    None
}

/// What follows the head; `None` for empty lines before it. Text that is not a head is passed on, and the server refuses it.
pub(crate) fn follows(head: &[u8]) -> Option<Follows> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some(Follows::Nothing),
    }
    let values = |name: &'static str| {
        let named = move |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        request
            .headers
            .iter()
            .filter(named)
            .map(|header| header.value)
    };
    let Some(length) = length(values("content-length")) else {
        return Some(Follows::Nothing);
    };
    let is_chunked = match values("transfer-encoding").collect::<Vec<_>>()[..] {
        [] => false,
        [one] if request.version == Some(1) && one.eq_ignore_ascii_case(b"chunked") => true,
        // The server refuses it, or reads it in a way of its own.
        _ => return Some(Follows::Nothing),
    };
    let has_body = is_chunked || length > 0;
    let is_websocket =
        values("upgrade").any(|value| value.to_ascii_lowercase().starts_with(b"websocket"));
    Some(match request.method.unwrap_or_default() {
        // The server reads nothing after these.
        "CONNECT" => Follows::Nothing,
        "GET" | "HEAD" if has_body => Follows::Nothing,
        _ if is_websocket => Follows::Nothing,
        _ if is_chunked => Follows::Chunks,
        _ if has_body => Follows::Bytes(length),
        _ => Follows::Head,
    })
}

/// The length of a body, 0 if absent; `None` for a value that the server refuses.
fn length<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<u64> {
    let Some(value) = values.next() else {
        return Some(0);
    };
    let is_number = values.next().is_none() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_however_it_comes() {
        for (text, end) in [
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\nrest", Some(27)),
            ("GET / HTTP/1.0\n\nrest", Some(16)),
            ("GET / HTTP/1.1\r\nhost: a\r\n", None),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r", None),
        ] {
            let bytes = text.as_bytes();
            assert_eq!(end_of_head(bytes, 0), end, "{text}");
            // Byte by byte, each looked at once.
            let found = (1..=bytes.len()).find_map(|size| {
                let searched = (size - 1).saturating_sub(2);
                end_of_head(&bytes[..size], searched)
            });
            assert_eq!(found, end, "{text}");
        }
    }

    #[test]
    fn heads_say_what_follows() {
        for (head, expected) in [
            ("GET / HTTP/1.1", Some(Follows::Head)),
            (
                "POST / HTTP/1.1\r\nContent-Length: 7",
                Some(Follows::Bytes(7)),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked",
                Some(Follows::Chunks),
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: 7",
                Some(Follows::Nothing),
            ),
            (
                "GET / HTTP/1.1\r\nupgrade: WebSocket",
                Some(Follows::Nothing),
            ),
            ("GET / HTTP/1.1\r\nupgrade: h2c", Some(Follows::Head)),
            ("CONNECT a:1 HTTP/1.1", Some(Follows::Nothing)),
            (
                "POST / HTTP/1.1\r\ncontent-length: +7",
                Some(Follows::Nothing),
            ),
            (
                "POST / HTTP/1.1\r\ncontent-length: 7\r\ncontent-length: 7",
                Some(Follows::Nothing),
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: identity\r\ncontent-length: 7",
                Some(Follows::Nothing),
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked",
                Some(Follows::Nothing),
            ),
            (
                "POST / HTTP/1.0\r\ntransfer-encoding: chunked",
                Some(Follows::Nothing),
            ),
            ("\0", Some(Follows::Nothing)),
            ("", None),
        ] {
            let text = format!("{head}\r\n\r\n");
            assert_eq!(follows(text.as_bytes()), expected, "{head}");
        }
    }
}
