//! The floor: a server with no framework, no parsing to speak of and no bookkeeping; one `write` for each delivery.
//!
//! `GET /N` is the stream of subscriber N. `POST /publish` has a body of N, or `*` for all, a space and the data.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: connected\ndata: {}\n\n";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const BACKLOG: i32 = 4_096;
/// The bench's own requests are smaller, and come at once.
const REQUEST_MAX: usize = 2 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

type Streams = Arc<Mutex<Vec<Option<TcpStream>>>>;

/// Serves until the process is killed, or standard input ends.
pub(super) fn run() -> io::Result<()> {
    fanfare::raise_descriptor_limit();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let socket = socket2::SockRef::from(&listener);
    socket.listen(BACKLOG)?;
    socket.set_tcp_nodelay(true)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    let streams = Streams::default();
    std::thread::spawn(move || {
        loop {
            let accepted = listener.accept().and_then(|(stream, _)| greet(stream, &streams));
            if accepted.is_err() {
                // One that left, or no descriptor: the bench counts what it does not get.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink()).map(|_| ())
}

/// A subscriber stays; a publisher gets a thread.
fn greet(mut stream: TcpStream, streams: &Streams) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    read_head(&mut stream, &mut request)?;
    if request.starts_with(b"POST ") {
        let streams = Arc::clone(streams);
        stream.set_read_timeout(None)?;
        std::thread::spawn(move || serve_publisher(stream, request, &streams));
        return Ok(());
    }
    let path = request.strip_prefix(b"GET /").and_then(|rest| rest.split(|byte| *byte == b' ').next());
    let number = path.and_then(|path| std::str::from_utf8(path).ok()).and_then(|path| path.parse::<usize>().ok());
    let Some(number) = number.filter(|number| *number < 1_000_000) else { return stream.write_all(BAD) };
    stream.write_all(HEAD)?;
    let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
    if streams.len() <= number {
        streams.resize_with(number + 1, || None);
    }
    streams[number] = Some(stream);
    Ok(())
}

/// Reads until there is a whole head; returns its length.
fn read_head(stream: &mut TcpStream, request: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        if let Some(at) = memchr::memmem::find(request, b"\r\n\r\n") {
            return Ok(at + 4);
        }
        read_more(stream, request)?;
    }
}

fn read_more(stream: &mut TcpStream, request: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if request.len() > REQUEST_MAX => Err(io::ErrorKind::InvalidData.into()),
        read => {
            request.extend_from_slice(&buffer[..read]);
            Ok(())
        }
    }
}

fn serve_publisher(mut stream: TcpStream, mut request: Vec<u8>, streams: &Streams) -> io::Result<()> {
    loop {
        let head = read_head(&mut stream, &mut request)?;
        let text = String::from_utf8_lossy(&request[..head]);
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let Some(length) = length else { return stream.write_all(BAD) };
        while request.len() < head + length {
            read_more(&mut stream, &mut request)?;
        }
        let body = String::from_utf8_lossy(&request[head..head + length]).into_owned();
        request.drain(..head + length);
        let Some((whom, data)) = body.split_once(' ') else { return stream.write_all(BAD) };
        // As long as Fanfare's frame of the same data.
        let frame = format!("id: 1.pwdo4ngq4.1a2b\nevent: bench\ndata: \"{data}\"\n\n");
        deliver(&mut streams.lock().unwrap_or_else(PoisonError::into_inner), whom, frame.as_bytes());
        stream.write_all(ANSWER)?;
    }
}

fn deliver(streams: &mut [Option<TcpStream>], whom: &str, frame: &[u8]) {
    let whom = match whom.parse::<usize>() {
        Ok(number) => streams.get_mut(number..=number).unwrap_or_default(),
        Err(_) => streams,
    };
    for slot in whom {
        if slot.as_mut().is_some_and(|stream| stream.write_all(frame).is_err()) {
            *slot = None;
        }
    }
}
