//! Publishes on a schedule that nobody's slowness moves: an event that goes out late was due when it was due.

use super::clock;
use super::http::{Answer, said};
use super::marker::{self, Marker};
use super::message::{Failures, add_failures, histogram};
use super::request::{Fill, Request};
use super::spread::Spread;
use crate::cli::Rate;
use hdrhistogram::Histogram;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A connection that was idle so long is looked at before it is used: the server may have closed it.
const IDLE: Duration = Duration::from_secs(1);
/// How much of an answer that refuses is shown.
const SHOWN_MAX: usize = 200;

/// What is published, and how.
pub(super) struct Publishing {
    pub(super) request: Request,
    pub(super) spread: Spread,
    pub(super) size: usize,
    pub(super) rate: Rate,
    pub(super) publishers: u32,
    pub(super) timeout: Duration,
}

/// What became of it.
pub(super) struct Published {
    pub(super) count: u32,
    /// The events that were not accepted, in order.
    pub(super) refused: Vec<u32>,
    pub(super) failures: Failures,
    /// What the server said to the first it refused.
    pub(super) said: Option<String>,
    /// False if no answer of any kind ever came.
    pub(super) was_answered: bool,
    /// When the first was due, and when the last answer came.
    pub(super) begun: u64,
    pub(super) ended: u64,
    /// Nanoseconds from when an event was due until it went out.
    pub(super) late: Histogram<u64>,
    /// Open until this is dropped: a server may have a thread for each, whose CPU time can be read as long as it lives.
    connections: Vec<TcpStream>,
}

/// Why an event was not accepted.
struct Refusal {
    reason: String,
    said: Option<String>,
    is_answer: bool,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
            _ => error.to_string(),
        };
        Self { reason, said: None, is_answer: false }
    }
}

impl Publishing {
    /// Publishes so many, and counts in `done`.
    pub(super) fn run(&self, run: u32, count: u32, done: &AtomicU32) -> Published {
        let next = AtomicU32::new(0);
        // A moment for the threads to be there.
        let begun = clock::now() + 1_000_000;
        let all = std::thread::scope(|scope| {
            let one = || self.one(run, count, begun, &next, done);
            let threads: Vec<_> = (0..self.publishers.min(count)).map(|_| scope.spawn(one)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
        });
        let mut whole = Published::new(count, begun);
        for part in all {
            whole.refused.extend(part.refused);
            add_failures(&mut whole.failures, &part.failures);
            whole.said = whole.said.or(part.said);
            whole.was_answered |= part.was_answered;
            whole.ended = whole.ended.max(part.ended);
            _ = whole.late.add(&part.late);
            whole.connections.extend(part.connections);
        }
        whole.refused.sort_unstable();
        whole
    }

    fn one(&self, run: u32, count: u32, begun: u64, next: &AtomicU32, done: &AtomicU32) -> Published {
        let mut published = Published::new(count, begun);
        let mut connection = Connection::new(&self.request, self.timeout);
        // Connecting is not part of publishing; where it fails, the first event will tell.
        _ = connection.open();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                published.connections.extend(connection.stream);
                return published;
            }
            let due = match self.rate {
                Rate::Max => clock::now(),
                Rate::PerSecond(rate) => clock::due(begun, u64::from(number), rate),
            };
            clock::sleep_until(due);
            let data = marker::data(run, Marker { number, due }, self.size);
            let bytes = self.request.bytes(Fill { n: self.spread.whom(number), seq: number, data: &data });
            published.late.saturating_record(clock::now().saturating_sub(due).max(1));
            match connection.send(&bytes) {
                Ok(()) => published.was_answered = true,
                Err(refusal) => {
                    published.refused.push(number);
                    published.was_answered |= refusal.is_answer;
                    published.said = published.said.or(refusal.said);
                    *published.failures.entry(refusal.reason).or_default() += 1;
                }
            }
            published.ended = clock::now();
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Published {
    fn new(count: u32, begun: u64) -> Self {
        Self {
            count,
            refused: Vec::new(),
            failures: Failures::new(),
            said: None,
            was_answered: false,
            begun,
            ended: begun,
            late: histogram(),
            connections: Vec::new(),
        }
    }
}

/// A connection that is kept, and made again where the server closes it. Nothing is sent twice: that would make duplicates.
struct Connection<'a> {
    request: &'a Request,
    timeout: Duration,
    stream: Option<TcpStream>,
    used: Instant,
    buffer: Box<[u8]>,
}

impl<'a> Connection<'a> {
    fn new(request: &'a Request, timeout: Duration) -> Self {
        let buffer = vec![0; 16 * 1024].into_boxed_slice();
        Self { request, timeout, stream: None, used: Instant::now(), buffer }
    }

    /// Sees to it that there is a connection.
    fn open(&mut self) -> io::Result<&mut TcpStream> {
        let kept = self.stream.take().filter(|stream| self.used.elapsed() < IDLE || is_open(stream));
        let stream = if let Some(stream) = kept {
            stream
        } else {
            let stream = TcpStream::connect_timeout(&self.request.address, self.timeout)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.timeout))?;
            stream.set_write_timeout(Some(self.timeout))?;
            stream
        };
        self.used = Instant::now();
        Ok(self.stream.insert(stream))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let result = self.exchange(bytes);
        self.used = Instant::now();
        if !matches!(&result, Ok(answer) if answer.is_whole() && !answer.closes) {
            self.stream = None;
        }
        result.map(|_| ())
    }

    fn exchange(&mut self, bytes: &[u8]) -> Result<Answer, Refusal> {
        self.open()?.write_all(bytes)?;
        let Self { stream: Some(stream), buffer, .. } = self else { unreachable!("it was just opened") };
        let mut answer = Answer::default();
        let mut shown = Vec::new();
        while !answer.is_whole() {
            let read = stream.read(buffer)?;
            if read == 0 && answer.has_begun() {
                // Its end is the end of the body, or cuts it short; its status is known either way.
                break;
            }
            if read == 0 {
                let reason = "closed the connection without an answer".to_owned();
                return Err(Refusal { reason, said: None, is_answer: false });
            }
            let mut body = |piece: &[u8]| {
                let room = SHOWN_MAX.saturating_sub(shown.len());
                shown.extend_from_slice(&piece[..piece.len().min(room)]);
            };
            let taken = answer.take(&buffer[..read], &mut body);
            taken.map_err(|reason| Refusal { reason, said: None, is_answer: true })?;
        }
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let shown = String::from_utf8_lossy(&shown).trim().to_owned();
        Err(Refusal { reason: said(answer.status), said: Some(shown).filter(|text| !text.is_empty()), is_answer: true })
    }
}

/// Whether the other side has not closed it meanwhile.
fn is_open(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let looked = stream.peek(&mut [0]);
    let waits = matches!(looked, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    waits && stream.set_nonblocking(false).is_ok()
}
