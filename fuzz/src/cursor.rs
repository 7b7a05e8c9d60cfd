//! Whatever comes back as a cursor, an expectation or the name of a connection: read in one way or not at all.

use super::node::{Choice, Node};
use fanfare_core::disk::DiskConfig;
use fanfare_core::{ClientId, Cursor, Event, ExpectedLast, Name, Now, Resume, Start};

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let cursor = Cursor::parse(&text);
    if let Some(cursor) = cursor {
        let front = text.split('~').next().unwrap_or_default();
        assert_eq!(cursor.to_string(), front, "one spelling");
        assert_eq!(ExpectedLast::parse(&text), ExpectedLast::Event(cursor));
    }
    if let Some(id) = ClientId::parse(&text) {
        assert_eq!(id.to_string(), text, "one spelling");
    }
    if let Ok(name) = Name::new(&text) {
        assert_eq!(name.as_str(), text);
    }
    let choice = Choice { shards: 1, log_bytes: 1 << 20, disk: DiskConfig::default() };
    let mut node = Node::in_memory(choice, 35, Now::default());
    for number in 0..3 {
        node.publish(vec![(0, Event::new("e", number.to_string()).unwrap())], None);
    }
    let own = node.hub.cursor();
    assert_eq!((own.epoch, own.position), (35, 3));
    let line = node.connect(0, Start::After(cursor), usize::MAX).unwrap();
    let known = cursor.is_some_and(|cursor| cursor.epoch == 35 && cursor.position <= 3);
    assert_eq!(line.registration.resume, if known { Resume::Resumed } else { Resume::Reset });
    node.settle();
    let events = line.far.lock().unwrap().taken.windows(6).filter(|window| window == b"data: ").count();
    // `connected`, what is missing, and the ping that tells a resumed client that this is all.
    let missing = cursor.filter(|_| known).map(|cursor| 3 - cursor.position as usize);
    assert_eq!(events, 1 + missing.map_or(0, |missing| missing + 1));
    if let Some(id) = ClientId::parse(&text) {
        assert!(!node.hub.close_client(id, fanfare_core::Disconnect::Revoked), "nobody guesses a name");
    }
}
