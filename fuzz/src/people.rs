//! Who connects and who is written to: a few of each kind, and who gets what, said a second time in the plainest way.

use fanfare_core::{Filter, Identity, Name, Target};

pub const READERS: usize = 5;
pub const TARGETS: usize = 8;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn reader(number: usize) -> Identity {
    let metadata = vec![(name("page"), name("home"))];
    match number {
        0 => Identity::anonymous(),
        1 => Identity::anonymous().with_user(name("ada")),
        2 => Identity::anonymous().with_user(name("bob")).with_metadata(metadata).unwrap(),
        3 => Identity::anonymous().with_topics(vec![name("news"), name("ada")]).unwrap(),
        _ => Identity::anonymous().with_user(name("ada")).with_session(name("s")),
    }
}

pub fn target(number: usize) -> Target {
    match number {
        0 => Target::All,
        1 => Target::User(name("ada")),
        2 => Target::User(name("bob")),
        3 => Target::users(vec![name("ada"), name("bob"), name("cleo")]).unwrap(),
        4 => Target::Topic(name("news")),
        5 => Target::Session(name("s")),
        6 => {
            let filter = Filter::new(Some(name("bob")), None, vec![(name("page"), name("home"))]);
            Target::Filter(filter.unwrap())
        }
        _ => Target::users(Vec::new()).unwrap(),
    }
}

pub fn gets(reader: usize, target: usize) -> bool {
    match target {
        0 => true,
        1 => matches!(reader, 1 | 4),
        2 | 6 => reader == 2,
        3 => matches!(reader, 1 | 2 | 4),
        4 => reader == 3,
        5 => reader == 4,
        _ => false,
    }
}
