//! A process of subscribers: thousands of streams in one thread, which does what it is told on standard input.

use super::clock;
use super::http::{Answer, said};
use super::marker::Finder;
use super::message::{Connected, Failures, Order, Part, Received, Report, histogram};
use super::request::Fill;
use super::spread::Spread;
use super::tally::{Delivery, Tally};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Streams on the way at one time: a storm, but not more than a listener's queue.
const ON_THE_WAY_MAX: usize = 256;
/// How often it says how far it is.
const REPORT_EVERY: u64 = 100_000_000;
/// How long it must be quiet after everything has come: what comes again does so now.
const LINGER: u64 = 300_000_000;
/// The shortest wait for the next connect, so that waiting is not all it does.
const WAIT_MIN: u64 = 500_000;
const ORDERS: Token = Token(usize::MAX);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Asked,
    Open,
    Failed,
    Ended,
}

struct Subscriber {
    state: State,
    stream: Option<TcpStream>,
    answer: Answer,
    /// What may be the beginning of a marker.
    rest: Vec<u8>,
    tally: Tally,
}

/// What is counted for one run.
struct Counts {
    finder: Finder,
    events: u32,
    received: Received,
    latency: Histogram<u64>,
}

struct Awaited {
    published: u32,
    refused: Vec<u32>,
    /// Deliveries with which everything is there, and the ended streams it was computed with.
    wanted: u64,
    ended: u64,
    is_told: bool,
}

struct Process {
    part: Part,
    spread: Spread,
    poll: Poll,
    subscribers: Vec<Subscriber>,
    on_the_way: usize,
    /// Until when each is to have its answer, in the order of connects.
    deadlines: VecDeque<(u64, usize)>,
    connected: Connected,
    failed: u64,
    ended: u64,
    ends: Failures,
    connects_done: bool,
    counts: Option<Counts>,
    awaited: Option<Awaited>,
    reported_at: u64,
    reported: u64,
}

/// Follows orders until standard input ends.
pub(super) fn run() -> io::Result<()> {
    tell(&Report::Room(fanfare::raise_descriptor_limit()))?;
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), ORDERS)?);
    let (sender, orders) = mpsc::channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let order = line.and_then(|line| serde_json::from_str::<Order>(&line).map_err(io::Error::other));
            if sender.send(order).is_err() || waker.wake().is_err() {
                return;
            }
        }
        drop(sender);
        _ = waker.wake();
    });
    let Ok(Ok(Order::Start(part))) = orders.recv() else { return Ok(()) };
    Process::new(*part, poll).follow(&orders)
}

fn tell(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    out.write_all(b"\n")?;
    out.flush()
}

impl Process {
    fn new(part: Part, poll: Poll) -> Self {
        let begun = clock::now();
        Self {
            spread: Spread::new(part.subscribers, part.one),
            subscribers: Vec::with_capacity(part.count as usize),
            part,
            poll,
            on_the_way: 0,
            deadlines: VecDeque::new(),
            connected: Connected { begun, ended: begun, ..Connected::default() },
            failed: 0,
            ended: 0,
            ends: Failures::new(),
            connects_done: false,
            counts: None,
            awaited: None,
            reported_at: 0,
            reported: 0,
        }
    }

    fn follow(mut self, orders: &mpsc::Receiver<io::Result<Order>>) -> io::Result<()> {
        let mut events = Events::with_capacity(4_096);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let wait = self.connect_more();
            match self.poll.poll(&mut events, Some(Duration::from_nanos(wait))) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if event.token() != ORDERS {
                    self.serve(event, &mut buffer);
                }
            }
            loop {
                match orders.try_recv() {
                    Ok(order) => self.obey(order?)?,
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
                }
            }
            self.report()?;
        }
    }

    fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Start(_) => Ok(()),
            Order::Count { run, events } => {
                for subscriber in &mut self.subscribers {
                    subscriber.rest.clear();
                    subscriber.tally = Tally::default();
                }
                self.counts = Some(Counts {
                    finder: Finder::new(run),
                    events,
                    received: Received::default(),
                    latency: histogram(),
                });
                self.awaited = None;
                self.reported = 0;
                tell(&Report::Counting)
            }
            Order::Await { published, refused } => {
                // Computed at the next look.
                let awaited = Awaited { published, refused, wanted: u64::MAX, ended: u64::MAX, is_told: false };
                self.awaited = Some(awaited);
                Ok(())
            }
            Order::Tell => tell(&Report::Received(Box::new(self.received()))),
        }
    }

    /// Opens what is due, and returns how long the next one, or the next report, has time.
    fn connect_more(&mut self) -> u64 {
        if self.connects_done {
            return REPORT_EVERY;
        }
        let now = clock::now();
        while let Some((deadline, index)) = self.deadlines.front().copied() {
            let waits = matches!(self.subscribers[index].state, State::Opening | State::Asked);
            if waits && deadline > now {
                break;
            }
            self.deadlines.pop_front();
            if waits {
                self.fail(index, "did not answer in time".to_owned());
            }
        }
        loop {
            let next = self.subscribers.len() as u64;
            if next == u64::from(self.part.count) || self.on_the_way >= ON_THE_WAY_MAX {
                return REPORT_EVERY / 10;
            }
            if let Some(rate) = self.part.connects_per_second {
                let due = clock::due(self.connected.begun, next, rate);
                let now = clock::now();
                if due > now {
                    return (due - now).clamp(WAIT_MIN, REPORT_EVERY / 10);
                }
            }
            self.open();
        }
    }

    fn open(&mut self) {
        let index = self.subscribers.len();
        let opened = open(&self.part, index, self.poll.registry());
        self.on_the_way += 1;
        let (stream, error) = match opened {
            Ok(stream) => (Some(stream), None),
            Err(error) => (None, Some(error)),
        };
        let (answer, tally) = (Answer::of_stream(self.part.compressed), Tally::default());
        self.subscribers.push(Subscriber { state: State::Opening, stream, answer, rest: Vec::new(), tally });
        match error {
            Some(error) => self.fail(index, cause("could not connect", &error)),
            None => self
                .deadlines
                .push_back((clock::now().saturating_add(self.part.timeout_ms.saturating_mul(1_000_000)), index)),
        }
    }

    fn fail(&mut self, index: usize, reason: String) {
        *self.connected.failures.entry(reason).or_default() += 1;
        let subscriber = &mut self.subscribers[index];
        subscriber.state = State::Failed;
        subscriber.stream = None;
        self.failed += 1;
        self.on_the_way -= 1;
    }

    fn serve(&mut self, event: &mio::event::Event, buffer: &mut [u8]) {
        let index = event.token().0;
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        if subscriber.state == State::Opening {
            let Some(stream) = &mut subscriber.stream else { return };
            let connected = match stream.take_error() {
                Ok(None) => stream.peer_addr().map(|_| ()),
                Ok(Some(error)) | Err(error) => Err(error),
            };
            let n = self.part.first + index as u32;
            let asked = connected.and_then(|()| {
                // A few hundred bytes, into an empty buffer.
                stream.write_all(&self.part.request.bytes(Fill { n: Some(n), ..Fill::default() }))
            });
            match asked {
                Ok(()) => subscriber.state = State::Asked,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                Err(error) => {
                    self.fail(index, cause("could not connect", &error));
                    return;
                }
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(index, buffer, event.is_read_closed() || event.is_error());
        }
    }

    fn read(&mut self, index: usize, buffer: &mut [u8], closed: bool) {
        let subscriber = &mut self.subscribers[index];
        let Some(stream) = &mut subscriber.stream else { return };
        let n = self.part.first + index as u32;
        let end = loop {
            let read = match stream.read(buffer) {
                Ok(0) if subscriber.state == State::Open => break Some("closed the connection".to_owned()),
                Ok(0) => break Some("closed the connection without an answer".to_owned()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Some(cause("broke the connection", &error)),
            };
            let at = clock::now();
            let (mut events, mut decoded) = (0, 0);
            let counts = &mut self.counts;
            let (rest, tally, spread) = (&mut subscriber.rest, &mut subscriber.tally, &self.spread);
            let taken = subscriber.answer.take(&buffer[..read], &mut |piece| {
                decoded += piece.len() as u64;
                let Some(Counts { finder, events: published, received, latency }) = counts.as_mut() else { return };
                finder.find(rest, piece, &mut |marker| {
                    events += 1;
                    let known = marker.number < *published;
                    let Some(place) = spread.place(marker.number, n).filter(|_| known) else {
                        received.misdirected += 1;
                        return;
                    };
                    let what = tally.take(place);
                    if what == Delivery::Again {
                        received.duplicates += 1;
                        return;
                    }
                    received.reordered += u64::from(what == Delivery::Late);
                    received.delivered += 1;
                    latency.saturating_record(at.saturating_sub(marker.due).max(1));
                });
            });
            if let Some(Counts { received, .. }) = counts {
                received.bytes += read as u64;
                received.decoded += decoded;
                if events > 0 {
                    received.reads += 1;
                    received.last = at;
                }
            }
            if let Err(wrong) = taken {
                break Some(wrong);
            }
            if subscriber.state == State::Asked && subscriber.answer.has_begun() {
                if let Some(wrong) = refusal(&subscriber.answer) {
                    break Some(wrong);
                }
                subscriber.state = State::Open;
                self.on_the_way -= 1;
                self.connected.connected += 1;
                self.connected.compressed += u64::from(subscriber.answer.is_decoded());
                self.connected.ended = at;
            }
            if subscriber.answer.is_whole() {
                break Some("its answer ended".to_owned());
            }
            // A short read has all there was; what comes next is another event. Not so where events are made up.
            if cfg!(unix) && read < buffer.len() && !closed {
                break None;
            }
        };
        let Some(why) = end else { return };
        if subscriber.state == State::Open {
            subscriber.state = State::Ended;
            subscriber.stream = None;
            self.ended += 1;
            *self.ends.entry(why).or_default() += 1;
        } else {
            self.fail(index, why);
        }
    }

    /// Says how far it is, if that is news.
    fn report(&mut self) -> io::Result<()> {
        let now = clock::now();
        if !self.connects_done {
            let (connected, failed) = (self.connected.connected, self.failed);
            if self.subscribers.len() == self.part.count as usize && self.on_the_way == 0 {
                self.connects_done = true;
                self.deadlines = VecDeque::new();
                return tell(&Report::Connected(self.connected.clone()));
            }
            if now - self.reported_at >= REPORT_EVERY {
                self.reported_at = now;
                return tell(&Report::Connecting { connected, failed });
            }
            return Ok(());
        }
        let Some(counts) = &self.counts else { return Ok(()) };
        let (delivered, last) = (counts.received.delivered, counts.received.last);
        if delivered != self.reported && now - self.reported_at >= REPORT_EVERY {
            (self.reported_at, self.reported) = (now, delivered);
            tell(&Report::Delivered(delivered))?;
        }
        if self.awaited.as_ref().is_some_and(|awaited| awaited.ended != self.ended) {
            let wanted = self.wanted();
            if let Some(awaited) = &mut self.awaited {
                (awaited.wanted, awaited.ended) = (wanted, self.ended);
            }
        }
        if let Some(awaited) = &mut self.awaited
            && !awaited.is_told
            && delivered >= awaited.wanted
            && now.saturating_sub(last) >= LINGER
        {
            awaited.is_told = true;
            return tell(&Report::Complete);
        }
        Ok(())
    }

    /// Deliveries so far, and those that open streams still lack.
    fn wanted(&self) -> u64 {
        let delivered = self.counts.as_ref().map_or(0, |counts| counts.received.delivered);
        delivered + self.lacking(State::Open)
    }

    /// What streams in this state lack of what is awaited.
    fn lacking(&self, state: State) -> u64 {
        let Some(awaited) = &self.awaited else { return 0 };
        let mut lacking = 0;
        for (index, subscriber) in self.subscribers.iter().enumerate().filter(|(_, one)| one.state == state) {
            let n = self.part.first + index as u32;
            let missing = subscriber.tally.missing(self.spread.count(awaited.published, n));
            let missing = missing.map(|place| self.spread.event(place, n));
            lacking += missing.filter(|event| awaited.refused.binary_search(event).is_err()).count() as u64;
        }
        lacking
    }

    fn received(&self) -> Received {
        let (Some(counts), Some(awaited)) = (&self.counts, &self.awaited) else { return Received::default() };
        let lost = self.lacking(State::Open) + self.lacking(State::Ended);
        let mut refused = vec![0; self.subscribers.len()];
        let mut refused_for_all = 0;
        for event in &awaited.refused {
            match self.spread.whom(*event) {
                None => refused_for_all += 1,
                Some(whom) => {
                    if let Some(count) = whom.checked_sub(self.part.first).and_then(|at| refused.get_mut(at as usize)) {
                        *count += 1;
                    }
                }
            }
        }
        let heard = |one: &Subscriber| matches!(one.state, State::Open | State::Ended);
        let expected = self.subscribers.iter().enumerate().filter(|(_, one)| heard(one)).map(|(index, _)| {
            let count = self.spread.count(awaited.published, self.part.first + index as u32);
            u64::from(count - refused[index] - refused_for_all)
        });
        Received {
            expected: expected.sum(),
            lost,
            ended: self.ended,
            ends: self.ends.clone(),
            latency: counts.latency.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value())).collect(),
            ..counts.received.clone()
        }
    }
}

/// Why an answer is no stream that can be read.
fn refusal(answer: &Answer) -> Option<String> {
    if answer.status != 200 {
        return Some(said(answer.status));
    }
    if !answer.is_stream {
        let what = answer.content_type.as_deref().unwrap_or("nothing that says what it is");
        return Some(format!("answered {what} instead of text/event-stream"));
    }
    match answer.encoding.as_deref() {
        None => None,
        Some(_) if answer.is_decoded() => None,
        Some("gzip" | "x-gzip") => Some("answered in gzip, which is read with --compressed only".to_owned()),
        Some(encoding) => Some(format!("answered in {encoding}, which this bench does not read")),
    }
}

fn cause(what: &str, error: &io::Error) -> String {
    format!("{what}: {error}")
}

/// Begins to connect.
fn open(part: &Part, index: usize, registry: &Registry) -> io::Result<TcpStream> {
    let to = part.request.address;
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // Closed with a reset: ten thousand sockets in TIME_WAIT would leave the next run without ports.
    socket.set_linger(Some(Duration::ZERO))?;
    if let Some(local) = local_address(part, index) {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if !is_under_way(&error) => return Err(error),
        _ => {}
    }
    let mut stream = TcpStream::from_std(socket.into());
    registry.register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

fn local_address(part: &Part, index: usize) -> Option<IpAddr> {
    let all = &part.local_addresses;
    (!all.is_empty()).then(|| all[(part.first as usize + index) % all.len()])
}

fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}
