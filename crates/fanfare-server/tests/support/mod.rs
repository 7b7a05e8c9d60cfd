//! The binary as a child process on a port of the system's choosing, and just enough HTTP to talk to it.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) log: mpsc::Receiver<String>,
}

/// The binary with a clean environment and these arguments.
pub(crate) fn fanfare(arguments: &[&str]) -> Command {
    fanfare_under(&[], arguments)
}

/// The same, started by another program that is given it as its last arguments.
pub(crate) fn fanfare_under(wrapper: &[&str], arguments: &[&str]) -> Command {
    let all: Vec<&str> = wrapper.iter().chain(&[env!("CARGO_BIN_EXE_fanfare")]).chain(arguments).copied().collect();
    let mut command = Command::new(all[0]);
    command.args(&all[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FANFARE_")) {
        command.env_remove(name);
    }
    command
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["--listen", "127.0.0.1:0"];
        all.extend(arguments);
        Self::spawn(fanfare(&all))
    }

    pub(crate) fn spawn(command: Command) -> Self {
        Self::try_spawn(command).unwrap_or_else(|said| panic!("it did not start: {said}"))
    }

    /// What it said instead, if it does not start.
    pub(crate) fn try_spawn(mut command: Command) -> Result<Self, String> {
        let mut child = command.spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("its stderr");
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut said = String::new();
        let address = address_in(|| match log.recv_timeout(PATIENCE) {
            Ok(line) => {
                said.push_str(&line);
                said.push('\n');
                Some(line)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no line with the address"),
        });
        let Some(address) = address else {
            wait(&mut child);
            return Err(said);
        };
        Ok(Self { child, address, log })
    }

    /// A server whose log is read up to its address and no further; also returns the end that could read on.
    pub(crate) fn with_unread_log() -> (Self, BufReader<ChildStderr>) {
        let mut child = fanfare(&["--listen", "127.0.0.1:0"]).spawn().expect("the binary starts");
        let mut reader = BufReader::new(child.stderr.take().expect("its stderr"));
        let address = address_in(|| {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line with the address");
            Some(line)
        });
        let address = address.expect("it starts");
        let (_, log) = mpsc::channel();
        (Self { child, address, log }, reader)
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash does: nothing more is done by it.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ended");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Sends a request and reads the answer to the end of its connection: head and body.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[&str], body: &str) -> (String, String) {
        let mut stream = self.open(method, path, headers, body);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    pub(crate) fn open(&self, method: &str, path: &str, headers: &[&str], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        if !body.is_empty() {
            request.push_str("content-type: application/json\r\ncontent-length: ");
            request.push_str(&body.len().to_string());
            request.push_str("\r\n");
        }
        request.push_str("connection: close\r\n\r\n");
        request.push_str(body);
        stream.write_all(request.as_bytes()).expect("the request goes out");
        stream
    }

    /// Opens a stream and waits for `connected`.
    pub(crate) fn subscribe(&self, path: &str) -> BufReader<TcpStream> {
        let mut reader = BufReader::new(self.open("GET", path, &["accept: text/event-stream"], ""));
        read_until(&mut reader, "event: connected");
        reader
    }
}

/// The address in the first line that has one. `None` if the lines end before; what is no JSON is why.
fn address_in(mut next: impl FnMut() -> Option<String>) -> Option<SocketAddr> {
    loop {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&next()?) else { continue };
        if let Some(address) = line["address"].as_str() {
            return Some(address.parse().expect("an address"));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Reads lines up to one that contains `wanted`; returns all of them.
pub(crate) fn read_until(reader: &mut BufReader<TcpStream>, wanted: &str) -> String {
    let mut all = String::new();
    loop {
        let start = all.len();
        assert!(reader.read_line(&mut all).expect("a line") > 0, "the stream ended before {wanted:?}: {all}");
        if all[start..].contains(wanted) {
            return all;
        }
    }
}

/// Waits for a process with a deadline.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a status") {
            return status;
        }
        assert!(Instant::now() < deadline, "the process did not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}
