//! Just enough HTTP for publishers that keep their connection, and streams read frame by frame: what was cut off by a
//! killed server is an error or an end, and never half a thing.

use crate::support::PATIENCE;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// Bytes of a connection, taken up to a mark.
struct Inbound {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Inbound {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, bytes: Vec::new() })
    }

    /// More bytes: false at the end.
    fn more(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let read = self.socket.read(&mut buffer)?;
        self.bytes.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    }

    /// Everything up to the mark, without it. `None` if the end comes first.
    fn until(&mut self, mark: &[u8]) -> io::Result<Option<String>> {
        let mut looked = 0;
        loop {
            if let Some(at) = self.bytes[looked..].windows(mark.len()).position(|window| window == mark) {
                let taken: Vec<u8> = self.bytes.drain(..looked + at + mark.len()).collect();
                let text = taken[..looked + at].to_vec();
                return String::from_utf8(text).map(Some).map_err(|_| io::ErrorKind::InvalidData.into());
            }
            looked = self.bytes.len().saturating_sub(mark.len() - 1);
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    fn exactly(&mut self, len: usize) -> io::Result<String> {
        while self.bytes.len() < len {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body = self.bytes.drain(..len).collect();
        String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The kind of a problem document, without its prefix.
    pub(crate) fn problem(&self) -> String {
        let json = self.json();
        json["type"].as_str().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default().to_owned()
    }
}

/// One publisher's connection. It is opened anew after an error.
pub(crate) struct Client {
    address: SocketAddr,
    inbound: Option<Inbound>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, inbound: None }
    }

    /// An error leaves open whether the request was carried out.
    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &str, body: &str) -> io::Result<Answer> {
        let inbound = match &mut self.inbound {
            Some(inbound) => inbound,
            none => none.insert(Inbound::open(self.address)?),
        };
        let answer = exchange(inbound, method, path, headers, body);
        if answer.as_ref().map_or(true, |answer| answer.head.contains("connection: close")) {
            self.inbound = None;
        }
        answer
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.request("GET", path, "", "")
    }

    pub(crate) fn publish(&mut self, body: &str) -> io::Result<Answer> {
        self.request("POST", "/api/sse/publish", "content-type: application/json\r\n", body)
    }
}

fn exchange(inbound: &mut Inbound, method: &str, path: &str, headers: &str, body: &str) -> io::Result<Answer> {
    let len = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len}\r\n\r\n{body}");
    inbound.socket.write_all(request.as_bytes())?;
    let head = inbound.until(b"\r\n\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?.to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let mut lines = head.lines();
    let len = lines.find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let body = inbound.exactly(len)?;
    Ok(Answer { status, head, body })
}

/// A frame of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: String,
}

impl Frame {
    fn read(block: &str) -> Self {
        let mut frame = Self { event: "message".to_owned(), ..Self::default() };
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => frame.id = Some(id.to_owned()),
                Some(("event", event)) => event.clone_into(&mut frame.event),
                Some(("data", data)) => frame.data.push_str(data),
                _ => {}
            }
        }
        frame
    }
}

/// An open stream.
pub(crate) struct Stream {
    inbound: Inbound,
    /// The connection's name and the verdict, as `connected` told them.
    pub(crate) connected: serde_json::Value,
    pub(crate) first: Frame,
}

impl Stream {
    /// Opens a stream and reads `connected`. `query` is without its `?`.
    pub(crate) fn open(address: SocketAddr, query: &str, last_event_id: Option<&str>) -> io::Result<Self> {
        let mut inbound = Inbound::open(address)?;
        let last = last_event_id.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        let request = format!("GET /api/sse?{query} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n{last}\r\n");
        inbound.socket.write_all(request.as_bytes())?;
        let head = inbound.until(b"\r\n\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut stream = Self { inbound, connected: serde_json::Value::Null, first: Frame::default() };
        let first = stream.next()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if first.event == "$closing" {
            // The server goes down.
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        assert_eq!(first.event, "connected", "{first:?}");
        stream.connected = serde_json::from_str(&first.data)?;
        stream.first = first;
        Ok(stream)
    }

    pub(crate) fn resume(&self) -> &str {
        self.connected["resume"].as_str().unwrap_or_default()
    }

    /// The next whole frame. `None` at the end of the stream, also if it is inside a frame.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        Ok(self.inbound.until(b"\n\n")?.map(|block| Frame::read(&block)))
    }

    /// The next frame of this type.
    pub(crate) fn next_of(&mut self, event: &str) -> Frame {
        self.next_where(|frame| frame.event == event)
    }

    /// The next frame for which this holds, within [`PATIENCE`].
    pub(crate) fn next_where(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.next() {
                Ok(Some(frame)) if wanted(&frame) => return frame,
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended"),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the frame did not come");
    }
}
