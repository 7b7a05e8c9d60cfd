//! The same work done by redb: a table of records, an index by user, one transaction for whatever waits, synced.

use crate::AnyError;
use redb::{Database, Durability, ReadableDatabase as _, TableDefinition};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const BY_USER: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("by_user");
/// Most events in one transaction, about what Fanfare puts into one group.
const GROUP: usize = 8_192;

type Batch = Vec<(String, String)>;
type Reply = tokio::sync::oneshot::Sender<Result<(), String>>;

pub(crate) struct RedbLog {
    database: Arc<Database>,
    submissions: Option<Sender<(Batch, Reply)>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl RedbLog {
    pub(crate) fn open(directory: &Path) -> Result<Self, AnyError> {
        let database = Arc::new(Database::create(directory.join("log.redb"))?);
        let (sender, receiver) = channel();
        let writer = {
            let database = Arc::clone(&database);
            std::thread::spawn(move || write(&database, &receiver))
        };
        Ok(Self { database, submissions: Some(sender), writer: Some(writer) })
    }

    pub(crate) async fn append(&self, batch: Batch) -> Result<(), String> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let submissions = self.submissions.as_ref().ok_or("closed")?;
        submissions.send((batch, reply)).map_err(|error| error.to_string())?;
        answer.await.map_err(|error| error.to_string())?
    }

    /// Reads every record of a user.
    pub(crate) fn read(&self, user: &str) -> Result<usize, AnyError> {
        let transaction = self.database.begin_read()?;
        let log = transaction.open_table(LOG)?;
        let index = transaction.open_table(BY_USER)?;
        let mut found = 0;
        for entry in index.range((user, 0)..=(user, u64::MAX))? {
            let (key, ()) = entry.map(|(key, _)| (key, ()))?;
            found += usize::from(log.get(key.value().1)?.is_some_and(|record| !record.value().is_empty()));
        }
        Ok(found)
    }
}

impl Drop for RedbLog {
    fn drop(&mut self) {
        self.submissions = None;
        if let Some(writer) = self.writer.take() {
            // One that failed has told whoever waited.
            _ = writer.join();
        }
    }
}

fn write(database: &Database, submissions: &Receiver<(Batch, Reply)>) {
    let mut position = 0;
    while let Ok(first) = submissions.recv() {
        let mut group = vec![first];
        let mut events = group[0].0.len();
        while events < GROUP
            && let Ok(more) = submissions.try_recv()
        {
            events += more.0.len();
            group.push(more);
        }
        let result = commit(database, &group, &mut position).map_err(|error| error.to_string());
        for (_, reply) in group {
            _ = reply.send(result.clone());
        }
    }
}

fn commit(database: &Database, group: &[(Batch, Reply)], position: &mut u64) -> Result<(), AnyError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut log = transaction.open_table(LOG)?;
        let mut index = transaction.open_table(BY_USER)?;
        for (user, data) in group.iter().flat_map(|(batch, _)| batch) {
            *position += 1;
            let frame = format!("id: 1.1234567890.{position}\nevent: notification\ndata: {data}\n\n");
            log.insert(*position, frame.as_bytes())?;
            index.insert((user.as_str(), *position), ())?;
        }
    }
    Ok(transaction.commit()?)
}
