//! A hot topic does not delay a quiet one: how many writes of a hot topic's event lie between the publish of a quiet
//! topic's event and its own write.

#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

use fanfare_core::{
    ConnectionOptions, Encoding, Ending, Event, Hub, HubConfig, Identity, Input, MemoryStore, Name, Now, Seed, Sink,
    Start, Target, Token, Turn,
};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

/// Writes that may lie between.
const BETWEEN: usize = 4;

#[derive(Default)]
struct Course {
    writes: usize,
    /// The write of a hot subscriber in which the quiet event is published, as another thread would.
    publish_at: Option<usize>,
    published_at: Option<usize>,
    quiet_at: Option<usize>,
}

struct Watched {
    course: Arc<Mutex<Course>>,
    hub: Hub<Watched>,
    quiet: bool,
    now: Now,
}

fn topic(name: &str) -> Name {
    Name::new(name).unwrap()
}

fn publish(hub: &Hub<Watched>, name: &str, now: Now) {
    let draft = hub.draft(&Event::new("news", "1").unwrap(), &Target::Topic(topic(name)));
    hub.publish(vec![draft], None, now, Box::new(|receipts| assert!(receipts.is_ok())));
}

impl Sink for Watched {
    fn attach(&mut self, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut course = self.course.lock().unwrap();
        course.writes += 1;
        let write = course.writes;
        if self.quiet {
            course.quiet_at = course.published_at.and(Some(write));
        } else if course.publish_at == Some(write) {
            course.published_at = Some(write);
            drop(course);
            publish(&self.hub, "quiet", self.now);
        }
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn read_and_discard(&mut self) -> io::Result<Input> {
        Ok(Input::Open)
    }

    fn finish(&mut self) -> Ending {
        Ending::Done
    }

    fn unacknowledged_ms(&mut self) -> Option<u64> {
        None
    }
}

/// Writes of the hot topic between the quiet event's publish and its write.
fn between(hot_subscribers: usize) -> usize {
    let mut now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };
    let (hub, mut shards) = Hub::new(HubConfig::default(), Box::new(MemoryStore), Seed([1, 2, 3, 4, 5 << 40, 6]), now);
    let mut shard = shards.pop().unwrap();
    let course = Arc::new(Mutex::new(Course::default()));
    for subscriber in 0..=hot_subscribers {
        let quiet = subscriber == hot_subscribers;
        let topics = vec![topic(if quiet { "quiet" } else { "hot" })];
        let identity = Identity::anonymous().with_topics(topics).unwrap();
        let registered = hub.register(&identity, Start::Live, ConnectionOptions::default(), now).unwrap();
        let sink = Watched { course: Arc::clone(&course), hub: hub.clone(), quiet, now };
        hub.attach(registered.token(), sink, Vec::new(), registered.connected_frame("{}"), Encoding::Identity);
    }
    let mut settle = |now| while shard.turn(now) == Turn::Busy {};
    settle(now);
    // The hot topic is hot: its subscribers were written to just now, the quiet one's was not.
    now.mono_ms += 100;
    publish(&hub, "hot", now);
    settle(now);
    now.mono_ms += 1;
    {
        let mut course = course.lock().unwrap();
        course.publish_at = Some(course.writes + 10);
    }
    publish(&hub, "hot", now);
    settle(now);
    let course = course.lock().unwrap();
    course.quiet_at.unwrap() - course.published_at.unwrap() - 1
}

#[test]
fn a_quiet_event_waits_for_few_writes_of_a_hot_topic() {
    for hot_subscribers in [20, 60, 200, 2_000] {
        let found = between(hot_subscribers);
        assert!(found <= BETWEEN, "{found} writes to {hot_subscribers} hot subscribers went before");
    }
}
