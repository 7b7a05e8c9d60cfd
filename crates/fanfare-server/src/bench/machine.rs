//! What the kernel says: about the machine, and about processes on it.

use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// Memory has stopped changing when it was the same so often, so long apart; no longer than the whole.
const SAME: u32 = 15;
const APART: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 100;

/// Where a bench was made.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    pub(super) system: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<String>,
    pub(super) cores: usize,
    /// On which of them the bench may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bench_cores: Option<String>,
}

impl Machine {
    pub(super) fn here() -> Self {
        let release = read("/proc/sys/kernel/osrelease").map(|text| format!(" {}", text.trim())).unwrap_or_default();
        let cpu = read("/proc/cpuinfo").and_then(|text| field(&text, "model name"));
        let online = read("/sys/devices/system/cpu/online").map_or(0, |list| in_list(&list).len());
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            system: format!("{}{release} ({})", std::env::consts::OS, std::env::consts::ARCH),
            cpu,
            cores: online.max(allowed),
            bench_cores: cores(std::process::id()),
        }
    }
}

/// The cores a process may run on, as the kernel lists them.
pub(super) fn cores(pid: u32) -> Option<String> {
    field(&read(&format!("/proc/{pid}/status"))?, "Cpus_allowed_list")
}

/// Whether two lists of cores have one in common.
pub(super) fn share(one: &str, other: &str) -> bool {
    !in_list(one).is_disjoint(&in_list(other))
}

/// What this thread, and what it starts, runs on from now on; unless the system does not let it.
pub(super) fn run_on(cores: &str) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_setaffinity};
        let mut set = CpuSet::new();
        for core in in_list(cores).into_iter().map(|core| core as usize).filter(|core| *core < CpuSet::MAX_CPU) {
            set.set(core);
        }
        _ = sched_setaffinity(None, &set);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = cores;
}

/// `0-2,5`, in order and each once.
pub(super) fn in_list(list: &str) -> BTreeSet<u32> {
    let parts = list.trim().split(',').filter_map(|part| {
        let (begin, end) = part.split_once('-').unwrap_or((part, part));
        Some(begin.parse::<u32>().ok()?..=end.parse::<u32>().ok()?)
    });
    parts.flatten().collect()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Processes that are measured together, with their children.
#[derive(Debug, Clone, Default)]
pub(super) struct Processes(Vec<u32>);

impl Processes {
    /// An error says which is not there.
    pub(super) fn new(pids: &[u32]) -> Result<Self, String> {
        for pid in pids {
            if cfg!(not(target_os = "linux")) {
                return Err("--pid reads /proc, which only Linux has".to_owned());
            }
            if memory(*pid).is_none() {
                return Err(format!("--pid {pid}: there is no such process on this machine"));
            }
        }
        Ok(Self(pids.to_vec()))
    }

    /// Them and all their children, as it is now.
    fn all(&self) -> Vec<u32> {
        let mut all = self.0.clone();
        let mut at = 0;
        while let Some(pid) = all.get(at).copied() {
            for task in tasks(pid) {
                let children = read(&format!("{task}/children")).unwrap_or_default();
                let new = children.split_whitespace().filter_map(|pid| pid.parse().ok());
                let new: Vec<u32> = new.filter(|pid| !all.contains(pid)).collect();
                all.extend(new);
            }
            at += 1;
        }
        all
    }

    pub(super) fn cores(&self) -> Option<String> {
        let lists: Vec<String> = self.all().into_iter().filter_map(cores).collect();
        let first = lists.first()?.clone();
        Some(if lists.iter().all(|list| *list == first) { first } else { lists.join(",") })
    }

    /// CPU time until now; `None` if nothing is measured.
    pub(super) fn cpu(&self) -> Option<Cpu> {
        let all = self.all();
        (!all.is_empty()).then(|| Cpu {
            exact: all.iter().flat_map(|pid| tasks(*pid)).filter_map(|task| cpu_of_thread(&task)).sum(),
            coarse: all.iter().filter_map(|pid| cpu_of_process(*pid)).sum(),
        })
    }

    /// Resident bytes, once they have stopped changing.
    pub(super) fn settled_memory(&self) -> Option<u64> {
        let now = || -> Option<u64> {
            let all = self.all();
            (!all.is_empty()).then(|| all.into_iter().filter_map(memory).sum())
        };
        let mut last = now()?;
        let mut same = 0;
        for _ in 0..LOOKS_MAX {
            std::thread::sleep(APART);
            let next = now()?;
            same = if next == last { same + 1 } else { 0 };
            last = next;
            if same >= SAME {
                break;
            }
        }
        Some(last)
    }
}

fn tasks(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().to_string_lossy().into_owned()).collect()
}

/// CPU time in nanoseconds, that in the kernel included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cpu {
    /// As the scheduler counts it, of the threads that live.
    exact: u64,
    /// Of those that have ended too, in ticks.
    coarse: u64,
}

/// What `/proc` counts in.
const TICK: u64 = 10_000_000;

impl Cpu {
    /// Exact, unless threads have ended meanwhile and took more with them than rounding can be.
    pub(super) fn since(self, earlier: Self) -> u64 {
        let (exact, coarse) = (self.exact.saturating_sub(earlier.exact), self.coarse.saturating_sub(earlier.coarse));
        if coarse > exact + 3 * TICK { coarse } else { exact }
    }
}

fn cpu_of_thread(task: &str) -> Option<u64> {
    read(&format!("{task}/schedstat"))?.split_whitespace().next()?.parse().ok()
}

fn cpu_of_process(pid: u32) -> Option<u64> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The name may have anything in it, but its end is the last parenthesis.
    let mut numbers = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map(str::parse::<u64>);
    Some((numbers.next()?.ok()? + numbers.next()?.ok()?) * TICK)
}

fn memory(pid: u32) -> Option<u64> {
    let text = field(&read(&format!("/proc/{pid}/status"))?, "VmRSS")?;
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_compared() {
        assert!(share("0-3", "2,5") && !share("0-1,4", "2-3,5") && share("7", "7\n"));
    }

    #[test]
    fn threads_that_ended_count_too() {
        let before = Cpu { exact: 50 * TICK, coarse: 60 * TICK };
        assert_eq!(Cpu { exact: 51 * TICK, coarse: 62 * TICK }.since(before), TICK);
        assert_eq!(Cpu { exact: 1, coarse: 160 * TICK }.since(before), 100 * TICK);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_works_has_used_time() {
        let own = Processes::new(&[std::process::id()]).unwrap();
        let before = own.cpu().unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(30) {
            std::hint::black_box(0);
        }
        assert!(
            own.cpu().unwrap().since(before) > 0 && memory(std::process::id()).unwrap() > 0 && own.cores().is_some()
        );
        assert!(Processes::new(&[u32::MAX]).is_err());
        assert_eq!(Processes::default().cpu(), None);
    }
}
