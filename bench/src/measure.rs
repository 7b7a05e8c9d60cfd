//! Child processes that are talked to line by line, and what the kernel counted for them.

use crate::AnyError;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// CPU time of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu_us: f64,
}

impl Usage {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { cpu_us: self.cpu_us - earlier.cpu_us }
    }
}

/// A process of this program in another role. Dropped, it is killed.
pub(crate) struct Child {
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts it on a core of its own, where `taskset` is there.
    pub(crate) fn start(core: usize, arguments: &[&str]) -> Result<Self, AnyError> {
        let program = std::env::current_exe()?;
        let pinned = Command::new("taskset").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
        let mut command = if pinned {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(program);
            command
        } else {
            Command::new(program)
        };
        Self::spawn(command.args(arguments))
    }

    /// [`Child::start`], and it goes before everything else on that core, where this is allowed: what it waits for is
    /// then the server.
    pub(crate) fn start_first(core: usize, arguments: &[&str]) -> Result<Self, AnyError> {
        let first = ["-c", &core.to_string(), "chrt", "--fifo", "10"];
        let quiet = || Stdio::null();
        let allowed = Command::new("taskset").args(first).arg("true").stdout(quiet()).stderr(quiet()).status();
        if allowed.is_ok_and(|status| status.success()) {
            Self::spawn(Command::new("taskset").args(first).arg(std::env::current_exe()?).args(arguments))
        } else {
            Self::start(core, arguments)
        }
    }

    /// Starts it wherever the system likes: it has several threads to measure.
    pub(crate) fn start_anywhere(arguments: &[&str]) -> Result<Self, AnyError> {
        Self::spawn(Command::new(std::env::current_exe()?).args(arguments))
    }

    fn spawn(command: &mut Command) -> Result<Self, AnyError> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().ok_or("no standard input")?;
        let output = BufReader::new(process.stdout.take().ok_or("no standard output")?);
        Ok(Self { process, input, output })
    }

    pub(crate) fn say(&mut self, line: &str) -> Result<(), AnyError> {
        Ok(writeln!(self.input, "{line}")?)
    }

    pub(crate) fn line(&mut self) -> Result<String, AnyError> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a process ended early".into());
        }
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn expect(&mut self, expected: &str) -> Result<(), AnyError> {
        let line = self.line()?;
        if line == expected { Ok(()) } else { Err(format!("expected {expected:?}, got {line:?}").into()) }
    }

    fn read(&self, file: &str) -> Result<String, AnyError> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id()))?)
    }

    /// CPU time of all its threads, kernel included, in the scheduler's nanoseconds.
    pub(crate) fn usage(&self) -> Result<Usage, AnyError> {
        let mut nanoseconds = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            // A thread may end while we look.
            if let Ok(stat) = std::fs::read_to_string(task?.path().join("schedstat")) {
                nanoseconds += stat.split(' ').next().unwrap_or_default().parse::<f64>()?;
            }
        }
        Ok(Usage { cpu_us: nanoseconds / 1e3 })
    }

    fn memory(&self) -> Result<u64, AnyError> {
        let status = self.read("status")?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
        Ok(kib * 1_024)
    }

    /// Resident memory, once it has stopped changing.
    pub(crate) fn settled_memory(&self) -> Result<u64, AnyError> {
        let mut last = self.memory()?;
        let mut same = 0;
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.memory()?;
            same = if now == last { same + 1 } else { 0 };
            last = now;
            if same >= 15 {
                break;
            }
        }
        Ok(last)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Follows `publish COUNT PAUSE_US` lines from standard input.
pub(crate) fn follow_orders(mut publish: impl FnMut()) -> Result<(), AnyError> {
    for line in std::io::stdin().lines() {
        let line = line?;
        let mut words = line.split(' ').skip(1);
        let count: u64 = words.next().unwrap_or_default().parse()?;
        let pause = Duration::from_micros(words.next().unwrap_or_default().parse()?);
        for _ in 0..count {
            publish();
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
    }
    Ok(())
}

/// The event everybody gets: a frame of 128 bytes with a cursor of usual length.
pub(crate) const EVENT_DATA: &str = r#"{"message":"the quick brown fox jumps over the lazy dog again","n":12345}"#;
