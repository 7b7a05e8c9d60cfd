//! Just enough HTTP/1.1 to read an answer in pieces: its head, and a body that is chunked, of a known length, or as long as
//! the connection.

/// Longest head of an answer.
const HEAD_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 128;

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Answer {
    part: Part,
    /// The head as far as it has come, then empty.
    head: Vec<u8>,
    pub(super) status: u16,
    pub(super) is_stream: bool,
    pub(super) closes: bool,
    /// What it is encoded with, if it is.
    pub(super) encoding: Option<Box<str>>,
    pub(super) content_type: Option<Box<str>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    /// So many bytes of body are still to come.
    Body(u64),
    UntilClose,
    /// In the line with a chunk's size; as far as it was read.
    Size(u64),
    /// Behind the size, up to the end of its line.
    SizeEnd(u64),
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// A line behind the last chunk; whether anything is in it.
    Trailer(bool),
    Done,
}

impl Answer {
    /// True as soon as its head is there.
    pub(super) fn has_begun(&self) -> bool {
        self.part != Part::Head
    }

    /// True if nothing more belongs to it.
    pub(super) fn is_whole(&self) -> bool {
        self.part == Part::Done
    }

    /// Takes what came, and hands on what is body. An error says what is wrong with it.
    pub(super) fn take(&mut self, mut bytes: &[u8], body: &mut impl FnMut(&[u8])) -> Result<(), String> {
        if self.part == Part::Head {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(len) = self.read_head()? else { return Ok(()) };
            self.head = Vec::new();
            bytes = &bytes[len - before..];
        }
        while !bytes.is_empty() {
            match self.part {
                Part::UntilClose => {
                    body(bytes);
                    return Ok(());
                }
                Part::Body(left) | Part::Chunk(left) => {
                    let (now, rest) = bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    body(now);
                    bytes = rest;
                    let left = left - now.len() as u64;
                    self.part = match (self.part, left) {
                        (Part::Body(_), 0) => Part::Done,
                        (Part::Body(_), _) => Part::Body(left),
                        (_, 0) => Part::ChunkEnd,
                        _ => Part::Chunk(left),
                    };
                }
                // What nobody asked for.
                Part::Done | Part::Head => return Ok(()),
                _ => {
                    self.part = framing(self.part, bytes[0])?;
                    bytes = &bytes[1..];
                }
            }
        }
        Ok(())
    }

    /// The head's length, once all of it is there.
    fn read_head(&mut self) -> Result<Option<usize>, String> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let len = match head.parse(&self.head) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if self.head.len() <= HEAD_MAX => return Ok(None),
            Ok(httparse::Status::Partial) => return Err("its answer's head has no end".to_owned()),
            Err(error) => return Err(format!("its answer is not HTTP ({error})")),
        };
        self.status = head.code.unwrap_or_default();
        let field = |name: &str| {
            let found = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            found.map(|field| String::from_utf8_lossy(field.value).trim().to_ascii_lowercase())
        };
        let content_type = field("content-type");
        self.is_stream = content_type
            .as_deref()
            .is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/event-stream"));
        self.content_type = content_type.map(String::into_boxed_str);
        self.encoding = field("content-encoding").filter(|name| name != "identity").map(String::into_boxed_str);
        self.closes = field("connection").is_some_and(|value| value.contains("close")) || head.version == Some(0);
        let chunked = field("transfer-encoding").is_some_and(|value| value.ends_with("chunked"));
        self.part = match field("content-length") {
            _ if matches!(self.status, 204 | 304) => Part::Done,
            _ if chunked => Part::Size(0),
            Some(length) => match length.parse::<u64>() {
                Ok(0) => Part::Done,
                Ok(length) => Part::Body(length),
                Err(_) => return Err(format!("its answer has a content-length of {length:?}")),
            },
            None => Part::UntilClose,
        };
        Ok(Some(len))
    }
}

/// One byte of what stands around chunks.
fn framing(part: Part, byte: u8) -> Result<Part, String> {
    let line_ends = byte == b'\n';
    Ok(match part {
        Part::Size(size) => match char::from(byte).to_digit(16) {
            Some(digit) => match size.checked_mul(16) {
                Some(size) => Part::Size(size + u64::from(digit)),
                None => return Err("a chunk of its answer is too large".to_owned()),
            },
            None if line_ends => sized(size),
            None if matches!(byte, b'\r' | b';' | b' ' | b'\t') => Part::SizeEnd(size),
            None => return Err("its answer's chunks are broken".to_owned()),
        },
        Part::SizeEnd(size) if line_ends => sized(size),
        Part::ChunkEnd if line_ends => Part::Size(0),
        Part::ChunkEnd if byte != b'\r' => return Err("its answer's chunks are broken".to_owned()),
        Part::Trailer(false) if line_ends => Part::Done,
        Part::Trailer(true) if line_ends => Part::Trailer(false),
        Part::Trailer(any) => Part::Trailer(any || byte != b'\r'),
        other => other,
    })
}

fn sized(size: u64) -> Part {
    if size == 0 { Part::Trailer(false) } else { Part::Chunk(size) }
}

/// An answer's status, as people say it.
pub(super) fn said(status: u16) -> String {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.map_or_else(|| format!("answered {status}"), |reason| format!("answered {status} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &str, cut: usize) -> (Answer, String) {
        let (mut answer, mut body) = (Answer::default(), Vec::new());
        for piece in wire.as_bytes().chunks(cut) {
            answer.take(piece, &mut |bytes| body.extend_from_slice(bytes)).unwrap();
        }
        (answer, String::from_utf8(body).unwrap())
    }

    #[test]
    fn bodies_of_every_kind_are_read_however_they_are_cut() {
        for (wire, body, whole) in [
            ("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n", "data: 1\n\n", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1", "abc", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n",
                "abc0123456789",
                false,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: y\r\n\r\n", "a", true),
        ] {
            for cut in 1..=wire.len() {
                let (answer, read) = read(wire, cut);
                assert_eq!((read.as_str(), answer.is_whole()), (body, whole), "{wire:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_stream_is_one_by_its_content_type() {
        let (answer, _) = read("HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n", 7);
        assert!(answer.is_stream && answer.has_begun());
        let (answer, _) = read("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-encoding: gzip\r\n\r\n", 7);
        assert!(!answer.is_stream);
        assert_eq!(answer.encoding.as_deref(), Some("gzip"));
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for wire in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhello\r\n"] {
            assert!(Answer::default().take(wire.as_bytes(), &mut |_| ()).is_err(), "{wire:?}");
        }
    }
}
