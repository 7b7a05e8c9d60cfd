//! `fanfare publish`: one event from arguments or standard input, or a stream of them line by line.

use super::{Failure, ask, json_line, print};
use crate::cli::{self, PublishOptions, TargetOptions};
use crate::terminal::{DIM, GOOD, STRONG, counted, is_for_people, note, plain, styled};
use fanfare::client::{Client, RequestError, parse_event};
use fanfare::{BODY_MAX, Receipt, SendError, SseEvent, SseFilter, Target, limits};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use tokio::sync::mpsc;

/// Bytes of lines and their targets in one publish: the rest of its body is what stands around them.
const BATCH_BYTES: usize = BODY_MAX / 2;
/// Longest line, in bytes: data, with room for white space and the rest of an event.
const LINE_MAX: usize = 2 * limits::DATA_MAX;

pub(crate) async fn publish(options: PublishOptions) -> Result<(), Failure> {
    let target = target(&options.target);
    let client = ask(&options.answered)?;
    let printer = Printer { people: is_for_people(options.answered.json), quiet: options.answered.connect.quiet };
    if options.ndjson {
        return publish_lines(&client, &options, target, printer).await;
    }
    let name = options.event.clone().unwrap_or_default();
    let data = match options.data.as_deref() {
        None | Some("-") => read_data(&name)?,
        Some(data) => data.to_owned(),
    };
    let mut event = SseEvent::from_json(name, &json(&data, options.text).map_err(Failure::Input)?);
    if let Some(id) = &options.id {
        event = event.with_id(id);
    }
    if let Some(retry) = options.retry {
        event = event.with_retry_ms(retry.as_millis() as u64);
    }
    if let Some(id) = &options.expect_last_id {
        event = event.with_expected_last_id(id);
    }
    if options.ephemeral {
        event = event.ephemeral();
    }
    let target = target.unwrap_or(Target::All);
    let receipt = match &options.idempotency_key {
        Some(key) => client.publish_with_key(key, event, target).await,
        None => client.publish(event, target).await,
    };
    printer.print(&[receipt.map_err(in_flags)?])
}

/// What is wrong with the event, in the words of this command.
fn in_flags(error: RequestError) -> Failure {
    const FLAGS: [(&str, &str); 9] = [
        ("/expectLastId", "--expect-last-id "),
        ("/retry", "--retry: "),
        ("/to/clientId", "--client "),
        ("/to/filter/metadata", "--metadata "),
        ("/to/filter/sessionId", "--session "),
        ("/to/filter/userId", "--user "),
        ("/to/sessionId", "--session "),
        ("/to/topic", "--topic "),
        ("/to/userId", "--user "),
    ];
    match error {
        RequestError::Event(SendError::Invalid { pointer, detail } | SendError::TooLarge { pointer, detail }) => {
            let flag = FLAGS.iter().find(|(start, _)| pointer.starts_with(start)).map_or("", |(_, flag)| flag);
            Failure::Input(format!("{flag}{detail}"))
        }
        other => other.into(),
    }
}

/// Several users are a list; everything else that is given must hold. `None` is for everybody.
fn target(options: &TargetOptions) -> Option<Target> {
    let TargetOptions { users, session, metadata, topic, client } = options;
    if let Some(topic) = topic {
        return Some(Target::topic(topic));
    }
    if let Some(client) = client {
        return Some(Target::Client(client.clone()));
    }
    let pairs = super::metadata("publish", metadata);
    match (users.as_slice(), session, pairs.is_empty()) {
        ([], None, true) => None,
        ([user], None, true) => Some(Target::user(user)),
        ([], Some(session), true) => Some(Target::Session(session.clone())),
        ([] | [_], ..) => {
            let user_id = users.first().cloned();
            Some(Target::Filter(SseFilter { user_id, session_id: session.clone(), metadata: pairs }))
        }
        (_, None, true) => Some(Target::users(users)),
        _ => cli::refuse(
            "publish",
            "several of --user cannot be used together with --session or --metadata: publish once for each",
        ),
    }
}

/// What a target takes in the body at most, for each line again: every byte may be escaped.
fn target_bytes(options: &TargetOptions) -> usize {
    let TargetOptions { users, session, metadata, topic, client } = options;
    let names = users.iter().chain(session).chain(topic).chain(client);
    let names = names.chain(metadata.iter().flat_map(|(name, value)| [name, value]));
    names.map(|name| 2 * name.len() + "\"\":".len()).sum()
}

/// What is given as data, as JSON.
fn json(data: &str, text: bool) -> Result<Box<RawValue>, String> {
    if text {
        return to_raw_value(data).map_err(|error| error.to_string());
    }
    serde_json::from_str(data).map_err(|error| {
        let shown: String = data.chars().take(40).collect();
        format!("the data is not JSON ({error}): {}; --text sends text as it is", plain(&shown))
    })
}

/// Data of an event of this type, as the line that would have been its whole.
fn whole(event: &str, data: &str, text: bool) -> Result<String, String> {
    #[derive(Serialize)]
    struct Whole<'a> {
        event: &'a str,
        data: &'a RawValue,
    }
    let data = json(data, text)?;
    serde_json::to_string(&Whole { event, data: &data }).map_err(|error| error.to_string())
}

/// All of standard input, without the line end that commands put behind their answer.
fn read_data(event: &str) -> Result<String, Failure> {
    let missing = |why| Failure::Input(format!("no data for the event {event:?}: {why}"));
    if io::stdin().is_terminal() {
        return Err(missing("write it behind the type, or pipe it in"));
    }
    let mut data = String::new();
    let read = io::stdin().lock().take(LINE_MAX as u64 + 1).read_to_string(&mut data);
    read.map_err(|error| Failure::Input(format!("standard input cannot be read: {error}")))?;
    if data.len() > LINE_MAX {
        return Err(Failure::Input(format!("standard input has more than {LINE_MAX} bytes, too much for one event")));
    }
    if data.is_empty() {
        return Err(missing("write it behind the type; standard input is empty"));
    }
    let line = data.strip_suffix('\n').map_or(data.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.to_owned())
}

/// What a line of standard input came to.
struct Line {
    number: u64,
    /// In the body.
    bytes: usize,
    event: (SseEvent, Target),
}

async fn publish_lines(
    client: &Client,
    options: &PublishOptions,
    target: Option<Target>,
    mut printer: Printer,
) -> Result<(), Failure> {
    let target = target.unwrap_or(Target::All);
    let read = {
        let (name, text, ephemeral) = (options.event.clone(), options.text, options.ephemeral);
        let target_bytes = target_bytes(&options.target);
        move |line: &str| {
            let line = name.as_ref().map_or(Ok(Cow::Borrowed(line)), |name| whole(name, line, text).map(Cow::Owned))?;
            let (event, to) = parse_event(&line).map_err(|error| match error {
                RequestError::Invalid { detail, .. } => detail,
                other => other.to_string(),
            })?;
            let event = if ephemeral { event.ephemeral() } else { event };
            let bytes = line.len() + if to.is_none() { target_bytes } else { 0 };
            Ok((bytes, (event, to.unwrap_or_else(|| target.clone()))))
        }
    };
    let (sender, mut lines) = mpsc::channel(limits::BATCH_MAX);
    // A read of standard input cannot be given up: its thread ends with the process.
    std::thread::spawn(move || read_lines(read, &sender));
    let mut published = 0;
    let mut pending: Option<Line> = None;
    let mut wrong = None;
    while wrong.is_none() {
        let mut batch = Vec::new();
        let mut bytes = 0;
        // Under a key, batches must be the same each time; else they are what is there.
        while batch.len() < limits::BATCH_MAX {
            let next = match pending.take() {
                Some(line) => Some(Ok(line)),
                None if batch.is_empty() || options.idempotency_key.is_some() => lines.recv().await,
                None => lines.try_recv().ok(),
            };
            match next {
                Some(Ok(line)) if bytes > 0 && bytes + line.bytes > BATCH_BYTES => {
                    pending = Some(line);
                    break;
                }
                Some(Ok(line)) => {
                    bytes += line.bytes;
                    batch.push(line);
                }
                Some(Err(error)) => {
                    wrong = Some(error);
                    break;
                }
                None => break,
            }
        }
        if wrong.is_some() && options.idempotency_key.is_some() {
            // Once the line is put right, this batch is another one, which the key would refuse.
            break;
        }
        let Some(first) = batch.first().map(|line| line.number) else { break };
        let last = batch.last().map_or(first, |line| line.number);
        let events: Vec<_> = batch.into_iter().map(|line| line.event).collect();
        let receipts = match &options.idempotency_key {
            Some(key) => client.publish_batch_with_key(&format!("{key}-{first}"), &events).await,
            None => client.publish_batch(&events).await,
        };
        let receipts = receipts.inspect_err(|error| {
            let fate = if error.is_transient() { "may have been published or not" } else { "were not published" };
            note(&format!("lines {first} to {last} {fate}; {} before them were", counted(published, "event")));
        })?;
        published += receipts.len() as u64;
        match printer.print(&receipts) {
            // Whoever read the receipts wants no more of them. The lines are to be published all the same.
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => printer.quiet = true,
            result => result.inspect_err(|_| {
                note(&format!("{} were published, up to line {last}", counted(published, "event")));
            })?,
        }
    }
    match wrong {
        Some((number, error)) => Err(Failure::Input(format!(
            "line {number}: {error}; {} before it {} published",
            counted(published, "event"),
            if published == 1 { "was" } else { "were" }
        ))),
        None => Ok(()),
    }
}

type Read = Result<Line, (u64, String)>;

/// Reads line by line until the end, or until nobody wants more. Empty lines count but say nothing.
fn read_lines(read: impl Fn(&str) -> Result<(usize, (SseEvent, Target)), String>, lines: &mpsc::Sender<Read>) {
    let mut input = io::stdin().lock();
    let mut buffer = Vec::new();
    for number in 1.. {
        buffer.clear();
        let line = match input.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', &mut buffer) {
            Ok(0) => return,
            Ok(_) if buffer.len() > LINE_MAX => Err(format!("it has more than {LINE_MAX} bytes")),
            Ok(_) => std::str::from_utf8(&buffer).map_err(|error| format!("it is not UTF-8: {error}")),
            Err(error) => Err(format!("standard input cannot be read: {error}")),
        };
        let line = line.map(|line| line.trim_end_matches(['\n', '\r']));
        if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
            continue;
        }
        let event = line.and_then(&read).map(|(bytes, event)| Line { number, bytes, event });
        let event = event.map_err(|error| (number, error));
        let wrong = event.is_err();
        if lines.blocking_send(event).is_err() || wrong {
            return;
        }
    }
}

struct Printer {
    people: bool,
    quiet: bool,
}

impl Printer {
    fn print(&self, receipts: &[Receipt]) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        let line = if self.people { sentence } else { json_line };
        print(&receipts.iter().map(line).collect::<String>())
    }
}

fn sentence(receipt: &Receipt) -> String {
    let clients = styled(STRONG, &counted(receipt.clients as u64, "client"));
    let kept = match (receipt.durability.as_ref(), &receipt.id) {
        ("disk", _) => "on disk",
        ("memory", _) => "in memory",
        (_, None) => "nowhere",
        (other, _) => other,
    };
    let id = receipt.id.as_deref().map(|id| format!(" {}", styled(DIM, &plain(id)))).unwrap_or_default();
    format!("{} to {clients}, kept {}{id}\n", styled(GOOD, "Published"), plain(kept))
}
