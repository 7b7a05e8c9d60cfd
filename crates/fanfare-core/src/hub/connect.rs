//! Connections, from their registration to their end.

use super::{Guarded, Hub};
use crate::control::{Disconnect, connected_frame};
use crate::cursor::Cursor;
use crate::dropped::Loss;
use crate::gzip::{self, Encoding};
use crate::key::{Key, Kind};
use crate::log::Log;
use crate::mail::{Arrival, ConnectionOptions, Message, Port};
use crate::sink::Token;
use crate::target::{ClientId, Identity, Name};
use crate::time::Now;
use bytes::Bytes;

/// Where a new connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After what the cursor stands for; `None` is a cursor that could not be read.
    After(Option<Cursor>),
    /// With the oldest event kept.
    Earliest,
    /// With so many events of its own from the end of the history.
    Last(u64),
    /// Now.
    Live,
    /// Behind a position that was found out before.
    #[doc(hidden)]
    At(u64),
}

/// The verdict on a new connection's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Some events between cursor and start are gone.
    Gap,
    /// No cursor was sent.
    Live,
    /// The cursor means nothing here.
    Reset,
    /// Everything after the cursor follows.
    Resumed,
}

impl Resume {
    /// The word for it in `connected`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Live => "live",
            Self::Reset => "reset",
            Self::Resumed => "resumed",
        }
    }

    /// The verdict behind a word, `None` for any other.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Gap, Self::Live, Self::Reset, Self::Resumed].into_iter().find(|resume| resume.as_str() == text)
    }
}

/// Why a connection is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// `max_clients` is reached.
    #[error("all {0} places for clients are taken")]
    Capacity(usize),
    /// The hub drains or is destroyed.
    #[error("the hub is closing")]
    Closing,
}

/// A registered connection: in the directory, not yet attached to a sink.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its name.
    pub client_id: ClientId,
    /// The verdict on its start.
    pub resume: Resume,
    /// Its place.
    pub cursor: Cursor,
    /// A jittered reconnection time in milliseconds.
    pub retry_ms: u32,
}

impl Registration {
    /// What the poller and the shard know the connection by.
    pub fn token(&self) -> Token {
        Token::new(self.client_id.slot, self.client_id.generation)
    }

    /// The `connected` frame, with `data` as one line of JSON.
    pub fn connected_frame(&self, data: &str) -> Bytes {
        connected_frame(self.cursor, self.retry_ms, data)
    }
}

impl<S> Hub<S> {
    /// Registers a connection: from this moment it is counted, and everything for it is kept for it.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] when there is no room, or when the hub is closing.
    pub fn register(
        &self,
        identity: &Identity,
        start: Start,
        options: ConnectionOptions,
        now: Now,
    ) -> Result<Registration, RegisterError> {
        let mut keys = identity.keys(&self.inner.keyer);
        keys.sort_unstable();
        let start = self.find_last(&keys, start);
        let mut lock = self.lock();
        let guarded = &mut *lock;
        if guarded.closing {
            return Err(RegisterError::Closing);
        }
        if guarded.directory.len() >= self.inner.config.max_clients {
            guarded.refused += 1;
            return Err(RegisterError::Capacity(self.inner.config.max_clients));
        }
        guarded.log.enforce(now.mono_ms);
        let (resume, shown, position) = self.resolve(&guarded.log, &keys, start);
        let (slot, generation) = guarded.directory.insert(identity, &self.inner.keyer, now.mono_ms);
        let client_id = ClientId { slot, generation, tag: self.client_tag(slot, generation) };
        let cursor = guarded.log.cursor(shown);
        let (low, high) = self.inner.config.retry_ms;
        let retry_ms = guarded.random.between(low, high);
        // Under the lock, so that the shard finds it before every record it is to get.
        let tail = guarded.log.tail();
        // A shard with connections has timers that will see this one; the first must set them going.
        let first = guarded.directory.shard_len(slot as usize % self.inner.ports.len()) == 1;
        let resumes = matches!(resume, Resume::Resumed | Resume::Gap);
        let opened_ms = now.mono_ms;
        let arrival = Arrival { slot, generation, position, tail, opened_ms, resumes, options };
        let port = self.port(slot);
        port.inbox.fill(|mail| mail.messages.push(Message::Add(arrival)));
        drop(lock);
        if first {
            port.wake_if_asleep();
        }
        Ok(Registration { client_id, resume, cursor, retry_ms })
    }

    /// Gives a registered connection its sink. `head` is written as it is, before everything else; then `first`, and all
    /// that follows it, in the given encoding.
    pub fn attach(&self, token: Token, sink: S, mut head: Vec<u8>, first: Bytes, encoding: Encoding) {
        let (greeting, member) = match encoding {
            Encoding::Identity if head.is_empty() => (first, None),
            Encoding::Identity => {
                head.extend_from_slice(&first);
                (head.into(), None)
            }
            Encoding::Gzip => {
                let (greeting, member) = gzip::begin(head, &first);
                (greeting, Some(member))
            }
        };
        self.send(token.slot(), Message::Attach { token, sink, greeting, member });
    }

    /// Tells the shard that a sink which was full takes bytes again.
    pub fn writable(&self, token: Token) {
        self.send(token.slot(), Message::Writable { token });
    }

    /// Ends a connection. False if it was gone already.
    pub fn close(&self, token: Token, reason: Disconnect) -> bool {
        let mut guarded = self.lock();
        let known = self.remove_and_tell(&mut guarded, token, reason);
        drop(guarded);
        self.port(token.slot()).wake_if_asleep();
        known
    }

    fn remove_and_tell(&self, guarded: &mut Guarded, token: Token, reason: Disconnect) -> bool {
        let known = guarded.directory.remove(token.slot(), token.generation());
        if known {
            // Under the lock, so that the shard hears of it before the slot is used again.
            self.port(token.slot()).inbox.fill(|mail| mail.messages.push(Message::Close { token, reason }));
        }
        known
    }

    /// Ends the connection with this name. False if there is none.
    pub fn close_client(&self, client_id: ClientId, reason: Disconnect) -> bool {
        client_id.tag == self.client_tag(client_id.slot, client_id.generation)
            && self.close(Token::new(client_id.slot, client_id.generation), reason)
    }

    /// Ends every connection of a user, and says how many there were.
    pub fn close_user(&self, user: &Name, reason: Disconnect) -> usize {
        let key = self.inner.keyer.key(Kind::User, "", user.as_str());
        let mut guarded = self.lock();
        let slots = guarded.directory.slots_of(key);
        for (slot, generation) in &slots {
            self.remove_and_tell(&mut guarded, Token::new(*slot, *generation), reason);
        }
        drop(guarded);
        self.inner.ports.iter().for_each(Port::wake_if_asleep);
        slots.len()
    }

    /// Takes no more connections and ends those that are there, spread over the window.
    pub fn drain(&self, reason: Disconnect, window_ms: u64) {
        self.lock().closing = true;
        for port in &self.inner.ports {
            port.inbox.fill(|mail| mail.messages.push(Message::Drain { reason, window_ms }));
            port.wake_if_asleep();
        }
    }

    /// Drains at once and takes no more events.
    pub fn destroy(&self) {
        self.inner.store.close();
        self.lock().closed = true;
        self.drain(Disconnect::Shutdown, 0);
    }

    pub(crate) fn forget(&self, token: Token) -> bool {
        self.lock().directory.remove(token.slot(), token.generation())
    }

    /// Where `last:N` begins, if that is for the disk to say: it is read before the release lock is taken. Blocks.
    pub(super) fn find_last(&self, keys: &[Key], start: Start) -> Start {
        let (Start::Last(count), Some(disk)) = (start, &self.inner.disk) else { return start };
        // Memory may drop it before the lock is taken again; then it is read from disk.
        if let Some(position) = self.lock().log.last_matching(keys, count) {
            return Start::At(position);
        }
        match disk.log.last_matching(keys, count) {
            Some(position) => Start::At(position),
            None => Start::Earliest,
        }
    }

    /// The verdict on a start, the position shown in `connected`, and the position to read from.
    pub(super) fn resolve(&self, log: &Log, keys: &[Key], start: Start) -> (Resume, u64, u64) {
        let disk = self.inner.disk.as_ref().map(|disk| &disk.log);
        // Either may reach further back: the disk's bounds may be the smaller ones.
        let floor = disk.map_or_else(|| log.floor(), |disk| disk.floor().min(log.floor()));
        let resumed = |position: u64| (Resume::Resumed, position, position);
        match start {
            Start::Live => (Resume::Live, log.tail(), log.tail()),
            Start::Earliest => resumed(floor),
            Start::At(position) => resumed(position.max(floor)),
            Start::Last(count) => resumed(log.last_matching(keys, count).unwrap_or(floor)),
            Start::After(cursor) => match cursor.and_then(|cursor| log.resolve(cursor)) {
                None => (Resume::Reset, log.tail(), log.tail()),
                Some(position) => {
                    let loss = match disk {
                        Some(disk) if position < log.floor() => disk.loss(keys, None, position),
                        Some(_) => Loss::Nothing,
                        None => log.loss(keys, None, position),
                    };
                    match loss {
                        Loss::Nothing => (Resume::Resumed, position, position.max(floor)),
                        Loss::GapUntil(end) => (Resume::Gap, end, end),
                    }
                }
            },
        }
    }
}
