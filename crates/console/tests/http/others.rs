//! Somebody whom the console asks on behalf of a page.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers all requests as it was told last, and remembers them.
pub struct Other {
    pub address: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

/// An answer with a body.
pub fn answer(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

pub fn json(status: &str, body: &str) -> String {
    answer(status, "application/json", body)
}

impl Other {
    pub async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let other = Self {
            address: listener.local_addr().expect("an address").to_string(),
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
        };
        let (answer, asked) = (other.answer.clone(), other.asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), asked.clone()));
            }
        });
        other
    }

    /// Answers so from now on. Empty: sends no answer at all.
    pub fn answers(&self, answer: String) {
        *self.answer.lock().expect("no panic") = answer;
    }

    /// What it was asked since the last look, in lower case; scrapes left out.
    pub fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().expect("no panic"));
        let is_scrape = |request: &String| request.starts_with("get /metrics");
        asked
            .into_iter()
            .filter(|request| !is_scrape(request))
            .collect()
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<Mutex<String>>, asked: Arc<Mutex<Vec<String>>>) {
    let (mut all, mut buffer) = (String::new(), [0; 4096]);
    while !is_whole(&all) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => all += &String::from_utf8_lossy(&buffer[..read]).to_lowercase(),
        }
    }
    asked.lock().expect("no panic").push(all);
    let answer = answer.lock().expect("no panic").clone();
    if answer.is_empty() {
        std::future::pending::<()>().await;
    }
    // Whether the console is still there to hear it is its own affair.
    stream.write_all(answer.as_bytes()).await.ok();
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
    body.len() >= length.unwrap_or(0)
}
