//! `fanfare subscribe`: a stream as people or programs want to see it.

use super::{Failure, connect, json_line, print};
use crate::cli::SubscribeOptions;
use crate::terminal::{BAD, DIM, GOOD, STRONG, WARNING, counted, is_for_people, note, plain, styled};
use fanfare::client::{Connected, Event, Gap, Reconnect, Update};
use fanfare::{ConnectionOptions, Resume};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

pub(crate) async fn subscribe(options: SubscribeOptions) -> Result<(), Failure> {
    let client = connect(&options.connect)?;
    let identity = ConnectionOptions {
        user_id: options.user,
        session_id: options.session,
        metadata: super::metadata("subscribe", &options.metadata),
        topics: options.topics,
        last_event_id: options.last_event_id.or(options.from),
        ..ConnectionOptions::default()
    };
    let reconnect =
        Reconnect { enabled: !options.no_reconnect, max_failures: options.max_failures, ..Reconnect::default() };
    let mut subscriber = client.subscribe_with(identity, reconnect)?;
    let people = is_for_people(options.json);
    let quiet = options.connect.quiet;
    let mut left = options.count;
    while let Some(update) = subscriber.next().await {
        match update.map_err(|error| Failure::Subscribe { url: client.url().to_owned(), error })? {
            Update::Event(event) => {
                if !options.events.is_empty() && !options.events.contains(&event.event) {
                    continue;
                }
                print(&if people { for_people(&event) } else { json_line(&Line::of(&event)) })?;
                if let Some(left) = &mut left {
                    *left -= 1;
                    if *left == 0 {
                        return Ok(());
                    }
                }
            }
            Update::Waiting { error, delay, .. } => {
                if !quiet {
                    let why = error.map_or_else(|| "the server will be back".to_owned(), |error| error.to_string());
                    let again = styled(DIM, &format!("reconnecting in {:.1} s", delay.as_secs_f64()));
                    note(&format!("{}; {again}", styled(WARNING, &plain(&format!("{}: {why}", client.url())))));
                }
            }
            update => {
                // Who asks for some events wants nothing else among them.
                if people || !options.events.is_empty() {
                    if !quiet {
                        note(&status(&update));
                    }
                } else if let Some(line) = control(&update) {
                    print(&line)?;
                }
            }
        }
    }
    match (options.count, left) {
        (Some(count), Some(left)) => Err(Failure::Missing(format!(
            "{}: the stream ended after {} of {}",
            client.url(),
            count - left,
            counted(count, "event")
        ))),
        _ => Ok(()),
    }
}

/// An event as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    event: &'a str,
    data: Data<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    cursor: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ephemeral: bool,
}

/// As it came, where it is JSON: numbers and the order of keys are kept. Else as a string.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'a> Line<'a> {
    fn of(event: &'a Event) -> Self {
        // What spans lines would break the line.
        let raw = serde_json::from_str(&event.data).ok().filter(|_| !event.data.contains('\n'));
        let data = raw.map_or(Data::Text(&event.data), Data::Json);
        Self { event: &event.event, data, id: event.id.as_deref(), cursor: &event.cursor, ephemeral: event.ephemeral }
    }
}

fn for_people(event: &Event) -> String {
    let mut line = format!("{}  {}", styled(STRONG, &plain(&event.event)), plain(&event.data));
    if let Some(id) = &event.id {
        line.push_str(&styled(DIM, &format!("  id {}", plain(id))));
    }
    let place = if event.ephemeral { "ephemeral" } else { &event.cursor };
    if !place.is_empty() {
        line.push_str(&styled(DIM, &format!("  {}", plain(place))));
    }
    line.push('\n');
    line
}

/// What the server said about the stream, in the words of the wire.
fn control(update: &Update) -> Option<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Hello<'a> {
        client_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<&'a str>,
        heartbeat_interval: u64,
        resume: &'static str,
    }
    #[derive(Serialize)]
    struct Loss<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Closing<'a> {
        reason: &'a str,
        reconnect: bool,
    }
    let line = |event: &str, data: serde_json::Result<Box<RawValue>>, cursor: &str| {
        // Strings, numbers and flags: this cannot fail.
        let data = data.unwrap_or_default();
        json_line(&Line { event, data: Data::Json(&data), id: None, cursor, ephemeral: false })
    };
    Some(match update {
        Update::Connected(Connected { client_id, user_id, session_id, heartbeat_interval, resume, cursor, .. }) => {
            let hello = Hello {
                client_id,
                user_id: user_id.as_deref(),
                session_id: session_id.as_deref(),
                heartbeat_interval: heartbeat_interval.as_millis() as u64,
                resume: resume.as_str(),
            };
            line("connected", to_raw_value(&hello), cursor)
        }
        Update::Gap(Gap { reason, cursor, reset, .. }) => {
            let loss = Loss { reason: reason.as_deref() };
            line(if *reset { "$reset" } else { "$gap" }, to_raw_value(&loss), cursor)
        }
        Update::Closing { reason, reconnect } => {
            let closing = Closing { reason: reason.as_str(), reconnect: *reconnect };
            line("$closing", to_raw_value(&closing), "")
        }
        _ => return None,
    })
}

fn status(update: &Update) -> String {
    match update {
        Update::Connected(connected) => {
            let (style, verdict) = match connected.resume {
                Resume::Live => (GOOD, "live: from now on"),
                Resume::Resumed => (GOOD, "resumed: everything that was missed follows"),
                Resume::Gap => (BAD, "gap: some events are gone, fetch the state anew"),
                Resume::Reset => (BAD, "reset: the place means nothing to the server, fetch the state anew"),
            };
            let client = styled(DIM, &plain(&connected.client_id));
            format!("Connected, {}  {client}", styled(style, verdict))
        }
        Update::Gap(gap) => {
            let why = gap.reason.as_deref().map(|reason| format!(" ({})", plain(reason))).unwrap_or_default();
            styled(BAD, &format!("Gap{why}: some events are gone, fetch the state anew"))
        }
        Update::Closing { reason, .. } => {
            styled(WARNING, &format!("The server closes the stream: {}", plain(reason.as_str())))
        }
        _ => String::new(),
    }
}
