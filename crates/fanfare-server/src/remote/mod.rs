//! Commands that ask a running server. The exit code says whose fault a failure was, and whether trying again can help.

mod clients;
mod publish;
mod stats;
mod subscribe;

use crate::cli::{self, Answered, Connect};
use crate::terminal::{self, DIM, WARNING, styled};
use fanfare::client::{Client, RequestError, SubscribeError};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

pub(crate) use clients::{clients, disconnect};
pub(crate) use publish::publish;
pub(crate) use stats::stats;
pub(crate) use subscribe::subscribe;

const FAILED: u8 = 1;
const WRONG_INPUT: u8 = 2;
const TRY_LATER: u8 = 3;

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was given is wrong.
    #[error("{0}")]
    Input(String),
    /// What is asked for is not there.
    #[error("{0}")]
    Missing(String),
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("{url}: {error}")]
    Subscribe { url: String, error: SubscribeError },
    #[error("the system refused what the command needs")]
    System(#[source] io::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Input(_) | Self::Request(RequestError::Event(_) | RequestError::Invalid { .. }) => WRONG_INPUT,
            Self::Request(error) if error.is_transient() => TRY_LATER,
            Self::Subscribe { error, .. } if error.is_retryable() => TRY_LATER,
            _ => FAILED,
        }
    }

    /// What to do about it.
    fn hint(&self) -> Option<&'static str> {
        const TOKEN: &str = "give the server's token with --token or FANFARE_TOKEN";
        const WHERE: &str = "is the server running? `fanfare` starts one; --url or FANFARE_URL say where it is";
        match self {
            Self::Request(RequestError::Refused(problem)) => match problem.status {
                401 | 403 => Some(TOKEN),
                404 => Some("the path in --url or FANFARE_URL may be another one"),
                409 => Some("read what is there, and expect that"),
                _ => None,
            },
            Self::Request(RequestError::Unavailable { .. })
            | Self::Subscribe { error: SubscribeError::Network(..), .. } => Some(WHERE),
            Self::Request(RequestError::Foreign { .. })
            | Self::Subscribe { error: SubscribeError::ContentType(_), .. } => {
                Some("--url or FANFARE_URL say where the server is, with its path if that is not /api/sse")
            }
            Self::Subscribe { error: SubscribeError::Http { status: 401 | 403, .. }, .. } => Some(TOKEN),
            _ => None,
        }
    }
}

/// Runs a command to its end, and says what went wrong.
pub(crate) fn run(command: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Failure::System).and_then(|runtime| runtime.block_on(command)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the answer has what they wanted.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            crate::complain(&failure);
            if let Some(hint) = failure.hint() {
                terminal::note(&format!("  hint: {hint}"));
            }
            failure.code().into()
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    terminal::print(text).map_err(Failure::Output)
}

fn json_line(value: &impl serde::Serialize) -> String {
    // Strings, numbers and lists: this cannot fail.
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut line = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        // JSON allows them within strings as they are. Terminals obey some, and a pipe without colours would lose others.
        match c {
            '\u{7f}'..='\u{9f}' => _ = write!(line, "\\u{:04x}", u32::from(c)),
            c => line.push(c),
        }
    }
    line.push('\n');
    line
}

/// Metadata, of which each name has one value.
fn metadata(command: &str, pairs: &[(String, String)]) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for (name, value) in pairs {
        if map.insert(name.clone(), value.clone()).is_some() {
            cli::refuse(
                command,
                &format!("--metadata {name} is given twice, and a connection has one value for each name"),
            );
        }
    }
    map
}

fn connect(options: &Connect) -> Result<Client, Failure> {
    let mut client = Client::new(&options.url)?;
    if let Some(token) = &options.token {
        client = client.with_token(token)?;
    }
    for (name, value) in &options.headers {
        client = client.with_header(name, value)?;
    }
    Ok(client)
}

/// For a question: tries until its time is over, and says so.
fn ask(options: &Answered) -> Result<Client, Failure> {
    let client = connect(&options.connect)?.with_deadline(options.timeout);
    if options.connect.quiet {
        return Ok(client);
    }
    Ok(client.on_retry(|error, delay| {
        let error = terminal::plain(&error.to_string()).into_owned();
        let again = styled(DIM, &format!("trying again in {:.1} s", delay.as_secs_f64()));
        terminal::note(&format!("{}; {again}", styled(WARNING, &error)));
    }))
}
