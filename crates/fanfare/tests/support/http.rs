//! A raw HTTP/1.1 client: what is written and read is bytes, so that a test can be wrong in any way it likes.

use super::PATIENCE;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Status and headers of an answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        Self { status, headers }
    }

    /// The value of a header, which must not be there twice.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is given twice");
        value
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The parts of a problem document that programs read, after checking the rest of it: status, name of the type,
    /// pointers.
    pub(crate) fn problem(&self) -> (u16, String, Vec<String>) {
        assert_eq!(self.head.get("content-type"), Some("application/problem+json"), "{:?}", self.text());
        let document = self.json();
        assert_eq!(document["status"], self.head.status, "the document repeats the status");
        for text in ["title", "detail"] {
            assert!(document[text].as_str().is_some_and(|text| !text.is_empty()), "{text} in {document}");
        }
        let slug = document["type"].as_str().unwrap().strip_prefix("urn:fanfare:problem:").unwrap().to_owned();
        let pointers = document.get("errors").map_or_else(Vec::new, |errors| {
            let errors = errors.as_array().unwrap();
            assert!(!errors.is_empty(), "an empty list is left away");
            assert!(errors.iter().all(|error| error["detail"].as_str().is_some_and(|detail| !detail.is_empty())));
            errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
        });
        (self.head.status, slug, pointers)
    }
}

/// Takes chunked transfer coding off, in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    line: Vec<u8>,
    /// Bytes left of the chunk, its CRLF included.
    left: usize,
    in_chunk: bool,
    pub(crate) ended: bool,
}

impl Chunks {
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            assert!(!self.ended || matches!(byte, b'\r' | b'\n'), "bytes after the last chunk");
            if self.in_chunk {
                if self.left > 2 {
                    out.push(*byte);
                }
                self.left -= 1;
                self.in_chunk = self.left > 0;
            } else if *byte == b'\n' {
                let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
                if !self.ended {
                    let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
                    (self.in_chunk, self.left, self.ended) = (size > 0, size + 2, size == 0);
                }
            } else {
                self.line.push(*byte);
            }
        }
        out
    }
}

/// A socket with what has been read of it and not yet used.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    pub(crate) rest: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(addr).await.unwrap(), rest: Vec::new() }
    }

    /// Writes, and does not mind a peer that stopped listening: its answer counts.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// More bytes; false at the end of the stream.
    pub(crate) async fn fill(&mut self) -> bool {
        self.rest.reserve(64 * 1024);
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.rest));
        // A reset is an end, too.
        read.await.expect("bytes, or the end, in time").unwrap_or(0) > 0
    }

    pub(crate) async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.rest.drain(..end + 4).collect();
                return Head::parse(std::str::from_utf8(&head).unwrap().trim_end());
            }
            assert!(self.fill().await, "the connection ended inside a head: {:?}", String::from_utf8_lossy(&self.rest));
        }
    }

    /// One answer with its body, as its framing says. Answers to HEAD have none: use [`Raw::head`].
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let body = if let Some(len) = head.get("content-length") {
            let len: usize = len.parse().unwrap();
            while self.rest.len() < len {
                assert!(self.fill().await, "the connection ended inside a body");
            }
            self.rest.drain(..len).collect()
        } else if head.is_chunked() {
            let (mut chunks, mut body) = (Chunks::default(), Vec::new());
            while !chunks.ended {
                if self.rest.is_empty() {
                    assert!(self.fill().await, "the connection ended inside a chunk");
                }
                body.extend(chunks.decode(&std::mem::take(&mut self.rest)));
            }
            body
        } else if head.status == 204 {
            Vec::new()
        } else {
            self.until_end().await
        };
        Answer { head, body }
    }

    /// Everything until the peer ends the stream.
    pub(crate) async fn until_end(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.rest)
    }

    /// Closes with RST.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}
