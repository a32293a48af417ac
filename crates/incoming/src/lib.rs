//! HTTP requests to other processes: over fresh connections, and with a limit for the response, because a peer may send
//! without end.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, ClientBuilder, Response};

/// How long an idle connection may be used again. Servers close one after 5 s (actix, Node, also the console and herald) or
/// later; a request just then is lost, or answered with 408. The pool checks after twice this time at the latest.
const IDLE: Duration = Duration::from_secs(2);

/// Whether a client can be built with the system's authorities. A system without any, such as a small container, does not
/// allow it.
static HAS_AUTHORITIES: LazyLock<bool> = LazyLock::new(|| Client::builder().build().is_ok());

/// A client that uses no connection again that its server may just be closing. Where the system trusts nobody, it asks by plain HTTP, and
/// trusts only the certificates that the caller adds.
pub fn client() -> ClientBuilder {
    let client = Client::builder().pool_idle_timeout(IDLE);
    match *HAS_AUTHORITIES {
        true => client,
        false => client.tls_certs_only([]),
    }
}

/// Why an answer was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The response is larger than the limit.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection broke, or the time is over.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
}

/// A body on its way.
#[derive(Debug)]
pub struct Body {
    response: Response,
    most: usize,
    come: usize,
}

impl Body {
    /// A response of at most `most` bytes.
    pub fn of(response: Response, most: usize) -> Self {
        let come = 0;
        Self {
            response,
            most,
            come,
        }
    }

    /// Its size in bytes as far as known: that of its head, or more if more has arrived.
    pub fn size(&self) -> usize {
        let declared = self.response.content_length().unwrap_or(0);
        usize::try_from(declared)
            .unwrap_or(usize::MAX)
            .max(self.come)
    }

    /// The next part; `None` at its end. Its time is bounded by the client's time-out.
    ///
    /// # Errors
    /// Also when the limit is passed, as soon as that is known.
    pub async fn part(&mut self) -> Result<Option<Bytes>, Unread> {
        self.within_limit()?;
        let part = self.response.chunk().await?;
        self.come += part.as_ref().map_or(0, Bytes::len);
        self.within_limit()?;
        Ok(part)
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`part`](Self::part).
    pub async fn whole(mut self) -> Result<Vec<u8>, Unread> {
        let mut whole = Vec::new();
        while let Some(part) = self.part().await? {
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    }

    fn within_limit(&self) -> Result<(), Unread> {
        if self.size() > self.most {
            return Err(Unread::TooLarge(self.most));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Comes in parts, and does not say how long it is.
    struct Streamed(std::slice::Iter<'static, &'static str>);

    impl http_body::Body for Streamed {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let part = self.0.next();
            Poll::Ready(part.map(|part| Ok(Frame::data(Bytes::from(*part)))))
        }
    }

    fn streamed(most: usize) -> Body {
        let parts = Streamed(["ab", "cd", "e"].iter());
        let body = reqwest::Body::wrap(parts);
        Body::of(http::Response::new(body).into(), most)
    }

    #[tokio::test]
    async fn a_connection_without_a_request_ends_before_its_server_ends_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = connection.read(&mut head).await.unwrap();
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            connection.write_all(answer).await.unwrap();
            let servers_patience = Duration::from_secs(5);
            tokio::time::timeout(servers_patience, connection.read(&mut head)).await
        });
        // Built with the rest of the workspace, reqwest has TLS, but no provider of its own.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let client = client().no_proxy().build().unwrap();
        client.get(url).send().await.unwrap();
        let ended = server.await.unwrap();
        assert_eq!(ended.expect("the client ends it").unwrap(), 0);
    }

    #[tokio::test]
    async fn it_is_read_up_to_its_limit_and_not_beyond() {
        assert_eq!(streamed(5).whole().await.unwrap(), b"abcde");
        let mut body = streamed(4);
        for (part, size) in [("ab", 2), ("cd", 4)] {
            assert_eq!(body.part().await.unwrap().unwrap(), part);
            assert_eq!(body.size(), size);
        }
        let error = body.part().await.unwrap_err();
        assert_eq!(error.to_string(), "the answer is larger than 4 bytes");
    }

    #[tokio::test]
    async fn one_that_says_it_is_too_large_is_not_read() {
        let declared = |most| Body::of(http::Response::new("abcde").into(), most);
        assert_eq!(declared(5).whole().await.unwrap(), b"abcde");
        let mut body = declared(4);
        assert_eq!(body.size(), 5);
        assert!(matches!(body.part().await, Err(Unread::TooLarge(4))));
        assert_eq!(body.come, 0);
    }
}
