//! Just enough HTTP/1.1 to read an answer in pieces: its head, and a body that is chunked, of a known length, or as long as
//! the connection; and in gzip, if that was asked for.

use flate2::{Decompress, FlushDecompress, Status};

/// Longest head of an answer.
const HEAD_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 128;
/// How far back gzip may refer: as far as it can, since nothing in a stream says that it does not.
const WINDOW_BITS: u8 = 15;
/// How much is decoded at one time.
const PIECE: usize = 8 * 1024;

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
    /// Gzip was asked for, and is decoded.
    reads_gzip: bool,
    decoder: Option<Box<Decompress>>,
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
    /// Of a stream that was asked to come in gzip, or not.
    pub(super) fn of_stream(compressed: bool) -> Self {
        Self { reads_gzip: compressed, ..Self::default() }
    }

    /// True if its body comes in gzip, and is handed on without.
    pub(super) fn is_decoded(&self) -> bool {
        self.decoder.is_some()
    }

    /// True as soon as its head is there.
    pub(super) fn has_begun(&self) -> bool {
        self.part != Part::Head
    }

    /// True if nothing more belongs to it.
    pub(super) fn is_whole(&self) -> bool {
        self.part == Part::Done
    }

    /// Takes what came, and hands on what is body, decoded as far as that can be. An error says what is wrong with it.
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
                Part::UntilClose => return self.decode(bytes, body),
                Part::Body(left) | Part::Chunk(left) => {
                    let (now, rest) = bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    self.decode(now, body)?;
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

    /// Hands on a piece of the body.
    fn decode(&mut self, mut bytes: &[u8], body: &mut impl FnMut(&[u8])) -> Result<(), String> {
        let Some(decoder) = &mut self.decoder else {
            body(bytes);
            return Ok(());
        };
        let mut buffer = [0; PIECE];
        loop {
            let before = (decoder.total_in(), decoder.total_out());
            let status = decoder.decompress(bytes, &mut buffer, FlushDecompress::Sync).map_err(|error| {
                format!("answered with broken gzip data ({})", error.message().unwrap_or("it cannot be decoded"))
            })?;
            let (read, written) = (decoder.total_in() - before.0, (decoder.total_out() - before.1) as usize);
            bytes = &bytes[read as usize..];
            body(&buffer[..written]);
            if status == Status::StreamEnd {
                // What follows is another one, of the same body.
                **decoder = Decompress::new_gzip(WINDOW_BITS);
                if bytes.is_empty() {
                    return Ok(());
                }
            } else if written < PIECE {
                // There was room for more: that is all of what came.
                return Ok(());
            }
        }
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
        let is_gzip = self.encoding.as_deref().is_some_and(|name| matches!(name, "gzip" | "x-gzip"));
        if self.reads_gzip && self.is_stream && is_gzip {
            self.decoder = Some(Box::new(Decompress::new_gzip(WINDOW_BITS)));
        }
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
    use std::io::Write as _;

    fn read(wire: &str, cut: usize) -> (Answer, String) {
        let (mut answer, mut body) = (Answer::default(), Vec::new());
        take(&mut answer, wire.as_bytes(), cut, &mut body).unwrap();
        (answer, String::from_utf8(body).unwrap())
    }

    fn take(answer: &mut Answer, wire: &[u8], cut: usize, body: &mut Vec<u8>) -> Result<(), String> {
        wire.chunks(cut).try_for_each(|piece| answer.take(piece, &mut |bytes| body.extend_from_slice(bytes)))
    }

    const GZIP: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n\r\n";

    /// A stream that goes on: each text is flushed.
    fn gzip(texts: &[&[u8]]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for text in texts {
            encoder.write_all(text).unwrap();
            encoder.flush().unwrap();
        }
        encoder.get_ref().clone()
    }

    #[test]
    fn gzip_is_decoded_as_it_comes_however_it_is_cut() {
        // Larger than what is decoded at one time, by far and by nothing.
        let (long, even) = ("ab".repeat(20_000).into_bytes(), vec![b'x'; PIECE]);
        let (first, second) = (gzip(&[b"data: 1\n\n"]), gzip(&[b"data: 1\n\n", &long, &even]));
        for cut in [1, 2, 3, 7, 100, 100_000] {
            let (mut answer, mut body) = (Answer::of_stream(true), Vec::new());
            take(&mut answer, GZIP.as_bytes(), cut, &mut body).unwrap();
            assert!(answer.is_decoded());
            take(&mut answer, &first, cut, &mut body).unwrap();
            assert_eq!(body, b"data: 1\n\n", "all of it, as soon as it is there");
            take(&mut answer, &second[first.len()..], cut, &mut body).unwrap();
            assert!(body[9..] == [&long[..], &even].concat(), "cut at {cut}: {}", body.len());
        }
    }

    #[test]
    fn a_body_may_be_several_gzip_streams() {
        let mut wire = GZIP.as_bytes().to_vec();
        for text in ["one ", "two ", "three"] {
            let mut encoder = flate2::write::GzEncoder::new(wire, flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            wire = encoder.finish().unwrap();
        }
        for cut in 1..wire.len() {
            let mut body = Vec::new();
            take(&mut Answer::of_stream(true), &wire, cut, &mut body).unwrap();
            assert_eq!(String::from_utf8(body).unwrap(), "one two three", "cut at {cut}");
        }
    }

    #[test]
    fn gzip_that_is_broken_is_told_and_what_nobody_asked_for_is_left_alone() {
        let mut wire = [GZIP.as_bytes(), &gzip(&[b"data: 1\n\n"])].concat();
        let mut body = Vec::new();
        let mut plain = Answer::of_stream(false);
        take(&mut plain, &wire, 9, &mut body).unwrap();
        assert!(!plain.is_decoded() && plain.encoding.as_deref() == Some("gzip") && body == wire[GZIP.len()..]);
        wire.extend_from_slice(b"\xff\xff\xff");
        body.clear();
        let wrong = take(&mut Answer::of_stream(true), &wire, 9, &mut body).unwrap_err();
        assert!(wrong.starts_with("answered with broken gzip data (invalid"), "{wrong}");
        assert_eq!(body, b"data: 1\n\n");
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
