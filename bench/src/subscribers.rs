//! Thousands of subscribers in one thread, who count the events they get.

use crate::AnyError;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

/// Connects that wait for their answer at one time: a storm, but not more than a listener's queue.
const WAVE: usize = 500;

struct Subscriber {
    stream: TcpStream,
    events: usize,
    /// The last byte was an LF: the next one ends an event.
    lf: bool,
}

#[expect(clippy::print_stdout, reason = "how the parent learns how far it is")]
pub(crate) fn run(address: &str, clients: usize) -> Result<(), AnyError> {
    fanfare::raise_descriptor_limit();
    let address: SocketAddr = address.parse()?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4_096);
    let mut subscribers: Vec<Subscriber> = Vec::with_capacity(clients);
    while subscribers.len() < clients {
        let wave = WAVE.min(clients - subscribers.len());
        for _ in 0..wave {
            subscribers.push(connect(address, subscribers.len(), &poll)?);
        }
        // The head ends like an event, so `connected` is the second.
        let begun = subscribers.len();
        while subscribers[begun - wave..].iter().any(|subscriber| subscriber.events < 1) {
            poll_once(&mut poll, &mut events, &mut subscribers)?;
        }
    }
    // Whatever came while connecting does not count.
    for subscriber in &mut subscribers {
        subscriber.events = 0;
    }
    println!("connected");
    for line in std::io::stdin().lines() {
        let line = line?;
        let wanted: usize = line.trim_start_matches("until ").parse()?;
        let total = wanted * clients;
        let mut counted: usize = subscribers.iter().map(|subscriber| subscriber.events).sum();
        while counted < total {
            counted += poll_once(&mut poll, &mut events, &mut subscribers)?;
        }
        println!("received");
    }
    Ok(())
}

fn connect(address: SocketAddr, number: usize, poll: &Poll) -> Result<Subscriber, AnyError> {
    let mut stream = std::net::TcpStream::connect(address)?;
    // In one piece, as clients send it: written piece by piece, each would wake the server.
    let head = format!(
        "GET /api/sse?userId=user-{number:08}&sessionId=session-{number:012}&topic=topic-{}&page=page-{}&region=region-{} \
         HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n",
        number % 100,
        number % 50,
        number % 5
    );
    stream.write_all(head.as_bytes())?;
    // Closed with a reset: ten thousand sockets in TIME_WAIT would leave the next round without ports.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
    Ok(Subscriber { stream, events: 0, lf: false })
}

/// Reads whatever is there. Returns the events that were completed.
fn poll_once(poll: &mut Poll, events: &mut Events, subscribers: &mut [Subscriber]) -> Result<usize, AnyError> {
    let mut counted = 0;
    poll.poll(events, None)?;
    let mut buffer = [0; 16 * 1024];
    for event in events.iter() {
        let subscriber = &mut subscribers[event.token().0];
        loop {
            match subscriber.stream.read(&mut buffer) {
                Ok(0) => return Err("the server closed a stream".into()),
                Ok(read) => counted += subscriber.take(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(counted)
}

impl Subscriber {
    fn take(&mut self, bytes: &[u8]) -> usize {
        let before = self.events;
        for byte in bytes {
            // Heads end with CR LF CR LF, which is not two LFs in a row.
            self.events += usize::from(*byte == b'\n' && self.lf);
            self.lf = *byte == b'\n';
        }
        self.events - before
    }
}
