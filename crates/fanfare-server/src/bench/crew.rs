//! The processes that subscribe: this program in another role, told what to do and listened to.

use super::Failure;
use super::message::{Order, Report};
use crate::cli::Role;
use clap::ValueEnum as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Descriptors a process of subscribers needs besides.
const RESERVE: u64 = 32;
/// Where the limit cannot be asked for: what is usual.
const ROOM: u64 = if cfg!(windows) { 16_384 } else { 256 - RESERVE };
/// More processes than these need another machine.
const PROCESSES_MAX: u32 = 256;
/// How long a process may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process of this program. Dropped, it is ended.
pub(super) struct Member {
    process: Child,
    input: Option<ChildStdin>,
}

impl Member {
    pub(super) fn start(role: Role) -> Result<(Self, BufReader<ChildStdout>), Failure> {
        let system = |error| Failure::System("a process cannot be started", error);
        let program = std::env::current_exe().map_err(system)?;
        let name = role.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut command = Command::new(program);
        command.args(["bench", "--role", &name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(system)?;
        let output = process.stdout.take().map(BufReader::new);
        let member = Self { input: process.stdin.take(), process };
        output.map(|output| (member, output)).ok_or_else(|| Failure::Died("it has no output".to_owned()))
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.input = None;
        // It may have ended by itself.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// All of them.
pub(super) struct Crew {
    members: Vec<Member>,
    reports: mpsc::Receiver<(usize, Option<Report>)>,
    sender: mpsc::Sender<(usize, Option<Report>)>,
}

impl Crew {
    /// As many as asked for, or as the limit on descriptors makes necessary for so many subscribers.
    pub(super) fn start(subscribers: u32, processes: Option<u32>) -> Result<Self, Failure> {
        let (sender, reports) = mpsc::channel();
        let mut crew = Self { members: Vec::new(), reports, sender };
        let room = crew.hire()?.map_or(ROOM, |limit| limit.saturating_sub(RESERVE)).max(1);
        let needed = u64::from(subscribers).div_ceil(room);
        let wanted = u64::from(processes.unwrap_or(1)).min(u64::from(subscribers)).max(needed);
        if wanted > u64::from(PROCESSES_MAX) {
            return Err(Failure::Input(format!(
                "{subscribers} subscribers need {needed} processes of {room} streams each, and more than {PROCESSES_MAX} are \
                 not started: raise the limit on descriptors (ulimit -n)"
            )));
        }
        while (crew.members.len() as u64) < wanted {
            crew.hire()?;
        }
        Ok(crew)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// One more; returns how many descriptors it may have.
    fn hire(&mut self) -> Result<Option<u64>, Failure> {
        let (member, mut output) = Member::start(Role::Subscribers)?;
        let (index, sender) = (self.members.len(), self.sender.clone());
        self.members.push(member);
        std::thread::spawn(move || {
            let mut line = String::new();
            loop {
                line.clear();
                let report = match output.read_line(&mut line) {
                    Ok(1..) => serde_json::from_str(&line).ok(),
                    _ => None,
                };
                let ended = report.is_none();
                if sender.send((index, report)).is_err() || ended {
                    return;
                }
            }
        });
        match self.reports.recv_timeout(PATIENCE) {
            Ok((_, Some(Report::Room(room)))) => Ok(room),
            _ => Err(Failure::Died("it did not begin".to_owned())),
        }
    }

    pub(super) fn order(&mut self, member: usize, order: &Order) -> Result<(), Failure> {
        let system = |error| Failure::System("a process of subscribers cannot be told what to do", error);
        let Some(input) = &mut self.members[member].input else { return Ok(()) };
        let mut line = serde_json::to_string(order).map_err(|error| system(error.into()))?;
        line.push('\n');
        input.write_all(line.as_bytes()).map_err(system)
    }

    pub(super) fn order_all(&mut self, order: &Order) -> Result<(), Failure> {
        (0..self.members.len()).try_for_each(|member| self.order(member, order))
    }

    /// The next report; `None` if none comes for so long.
    pub(super) fn listen(&self, patience: Duration) -> Result<Option<(usize, Report)>, Failure> {
        match self.reports.recv_timeout(patience) {
            Ok((member, Some(report))) => Ok(Some((member, report))),
            Ok((_, None)) => Err(Failure::Died("it ended, or said what means nothing".to_owned())),
            Err(_) => Ok(None),
        }
    }
}
