//! A server in a process of its own, and what the system says of that process.

use crate::support::{PATIENCE, config, request};
use fanfare::{SseConfig, SseManager};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const MIB: usize = 1 << 20;
/// Says to a child process what it is: bytes of history and most clients.
const ROLE: &str = "FANFARE_TEST_SERVER";
/// The test that a child process runs.
const ROLE_TEST: &str = "a_child_process_serves_until_it_is_ended";

/// Serves, if this process was started for it; never returns then.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub(crate) fn serve_if_asked_to() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (history, clients) = role.split_once(' ').unwrap();
    let default_max_clients = SseConfig::default().max_clients;
    let settings =
        SseConfig { history_bytes: history.parse().unwrap(), max_clients: clients.parse().unwrap(), ..config() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let manager = SseManager::new(settings).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nserving {} {default_max_clients}", listener.local_addr().unwrap());
        fanfare::serve(listener, fanfare::router(manager).allow_all()).await.unwrap();
    });
}

/// A running server; it is killed with this value.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) addr: SocketAddr,
    /// What `max_clients` would be by default in there.
    pub(crate) default_max_clients: u64,
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Process {
    pub(crate) fn start(descriptors: Option<u64>, history_bytes: usize, max_clients: usize) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut command = match descriptors {
            None => Command::new(own),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]).arg(own);
                shell
            }
        };
        command.args(["--exact", ROLE_TEST, "--nocapture", "--test-threads=1"]);
        command.env(ROLE, format!("{history_bytes} {max_clients}")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("serving ").map(str::to_owned));
        let said = said.expect("the child says where it serves");
        let (addr, default_max_clients) = said.split_once(' ').unwrap();
        Self { addr: addr.parse().unwrap(), default_max_clients: default_max_clients.parse().unwrap(), child }
    }

    fn proc(&self, name: &str) -> std::path::PathBuf {
        format!("/proc/{}/{name}", self.child.id()).into()
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Resident bytes.
    pub(crate) fn memory(&self) -> usize {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1_024
    }

    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(self.proc("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // The kernel's unit for this file has been a hundredth of a second for ever.
        Duration::from_millis(ticks * 10)
    }

    pub(crate) async fn publish(&self, body: &Value) -> Value {
        let headers = [("content-type", "application/json")];
        let answer = request(self.addr, "POST", "/api/sse/publish", &headers, body.to_string().as_bytes()).await;
        assert_eq!(answer.head.status, 200, "{}", answer.text());
        answer.json()
    }

    pub(crate) async fn stats(&self) -> Value {
        request(self.addr, "GET", "/api/sse/stats", &[], b"").await.json()
    }

    /// Waits until a number in the statistics is what it should be.
    pub(crate) async fn becomes(&self, field: &str, expected: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats().await;
            if stats[field] == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{field} never became {expected}: {stats}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
