//! The limits of the product, in one place. `fixtures/limits.json` holds the same numbers for every language.

/// Longest event type, in bytes.
pub const EVENT_TYPE_MAX: usize = 128;
/// Longest id a publisher may give an event, in bytes.
pub const EVENT_ID_MAX: usize = 128;
/// Longest user, session or topic name, metadata name or metadata value, in bytes.
pub const NAME_MAX: usize = 255;
/// Most metadata pairs on one connection, and in one filter.
pub const METADATA_MAX: usize = 32;
/// Most topics on one connection.
pub const TOPICS_MAX: usize = 100;
/// Most users in one `userIds` target.
pub const USERS_MAX: usize = 10_000;
/// Largest event data, in bytes of JSON text after minifying.
pub const DATA_MAX: usize = 256 * 1024;
/// Most events in one publish.
pub const BATCH_MAX: usize = 1_000;
/// Most bytes of one publish, overheads included. It is kept and released in one piece.
pub const BATCH_BYTES: usize = 64 << 20;
/// Longest cursor text that is looked at, in bytes; a longer one means `reset`.
pub const CURSOR_MAX: usize = 512;
/// Most events that `last:N` may ask for.
pub const LAST_MAX: u64 = 10_000;
/// Largest `retry` a publisher may give, in milliseconds: one day. Browsers overflow their timers beyond 2³¹−1.
pub const RETRY_MAX: u32 = 86_400_000;

/// Most bytes handed to one connection in one visit.
pub const VISIT_BYTES: usize = 64 * 1024;
/// Most slices handed to one `writev`. Linux takes 1,024; beyond a few dozen the copy dominates.
pub const VISIT_SLICES: usize = 64;
/// Size of the in-memory pipe between a shard and an ordinary HTTP body, in bytes.
pub const PIPE_BYTES: usize = 16 * 1024;
/// Most bytes of frames one shard's window refers to.
pub const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of sets of recipients one shard's window refers to, each counted once.
pub const WINDOW_SETS_BYTES: usize = 32 * 1024 * 1024;
/// Most entries in one shard's window.
pub const WINDOW_ENTRIES: usize = 32_768;
/// Most records waiting in one shard's inbox. Beyond it the shard reads them from the log instead.
pub const INBOX_RECORDS: usize = 65_536;
/// Most bytes of frames waiting in one shard's inbox.
pub const INBOX_BYTES: usize = 16 * 1024 * 1024;
/// Most bytes of sets of recipients that records waiting in one shard's inbox refer to, each counted once.
pub const INBOX_SETS_BYTES: usize = 32 * 1024 * 1024;
/// Most chunks read from disk that are on their way to their connections.
pub const COLD_READS: usize = 16;
/// Most keys whose last dropped position is remembered one by one.
pub const DROPPED_KEYS_MAX: usize = 65_536;
/// Longest time for which the answer under an idempotency key is remembered: a day.
pub const IDEMPOTENCY_AGE_MS: u64 = 86_400_000;
/// Most bytes, about, of idempotency keys and their answers.
pub const IDEMPOTENCY_BYTES: usize = 64 * 1024 * 1024;
/// Postings up to this many connections are plain lists; larger ones are bitmaps.
pub const POSTING_LIST_MAX: usize = 32;
/// A fan-out up to this many connections goes into the quick ready list.
pub const QUICK_FANOUT: usize = 64;

/// Milliseconds after a planned end in which the peer may still read what was written.
pub const LINGER_MS: u64 = 1_000;
/// Milliseconds a connection may be registered before its response is sent.
pub const ATTACH_TIMEOUT_MS: u64 = 30_000;

const _: () = assert!(PIPE_BYTES <= VISIT_BYTES);
const _: () = assert!(WINDOW_BYTES >= 8 * DATA_MAX);
const _: () = assert!(QUICK_FANOUT >= POSTING_LIST_MAX);
