//! Runs a command against a server, in a pipe or on a terminal, and tells what it said, without what differs each time.

use crate::support::{PATIENCE, Server, fanfare};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command, input: &str) -> Said {
    command.stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A command may end without reading it all.
    std::thread::spawn(move || _ = stdin.write_all(input.as_bytes()));
    let (sender, ended) = mpsc::channel();
    let id = child.id();
    std::thread::spawn(move || {
        let (mut out, mut err) = (String::new(), String::new());
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || stderr.read_to_string(&mut err).map(|_| err));
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let err = errors.join().unwrap().unwrap();
        sender.send(Said { code: child.wait().unwrap().code().unwrap_or(-1), out, err }).unwrap();
    });
    ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        panic!("it did not end: {command:?}")
    })
}

pub(crate) fn to(server: &Server, arguments: &[&str]) -> Command {
    let mut command = fanfare(arguments);
    command.env("FANFARE_URL", format!("http://{}", server.address));
    command
}

/// Runs a command as a script does, with its output in pipes.
pub(crate) fn piped(server: &Server, arguments: &[&str], input: &str) -> Said {
    run(to(server, arguments), input)
}

/// Runs it on a terminal; what it said is all together.
pub(crate) fn on_terminal(server: &Server, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let line: Vec<String> =
        [env!("CARGO_BIN_EXE_fanfare")].iter().chain(arguments).map(|argument| quote(argument)).collect();
    // The terminal is of no size unless told.
    let line = format!("stty cols 100 rows 50; exec {}", line.join(" "));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
    command.env("FANFARE_URL", format!("http://{}", server.address)).envs(environment.iter().copied());
    run(command, "")
}

impl Said {
    /// For a snapshot: escapes are visible, and every address, id and time is the same.
    pub(crate) fn told(&self) -> String {
        let mut text = format!("exit code {}\n", self.code);
        for (name, said) in [("stdout", &self.out), ("stderr", &self.err)] {
            if !said.is_empty() {
                writeln!(text, "--- {name}\n{}", said.trim_end()).unwrap();
            }
        }
        text.replace('\r', "").replace('\u{1b}', "<ESC>")
    }
}

/// Compares with the snapshot of this name.
#[macro_export]
macro_rules! assert_said {
    ($name:literal, $said:expr) => {{
        let mut settings = insta::Settings::clone_current();
        settings.set_omit_expression(true);
        settings.set_prepend_module_to_snapshot(false);
        for (pattern, replacement) in [
            // First, so that what follows is a word.
            (r"<ESC>\[(\d+)m", "<$1>"),
            (r"127\.0\.0\.1:\d+", "127.0.0.1:4000"),
            (r"\b1\.[0-9a-z]{5,13}\.([0-9a-z]+)", "1.EPOCH.$1"),
            (r"\b[a-z0-9]{26}\b", "CLIENT____________________"),
            (r#""connectedAt":\d+"#, r#""connectedAt":TIME"#),
            (r"(?m)\b\d+m?s( ago)?(</?\d*>)*$", "AGE"),
            (r"in \d+\.\d s", "in N.N s"),
        ] {
            settings.add_filter(pattern, replacement);
        }
        settings.bind(|| insta::assert_snapshot!($name, $said.told()));
    }};
}
