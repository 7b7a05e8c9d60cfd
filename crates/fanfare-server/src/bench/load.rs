//! One server under one load: subscribers connect, events are published, and what came of it is counted.

use super::Failure;
use super::crew::Crew;
use super::machine::{Cpu, Processes};
use super::message::{Connected, Failures, Order, Part, Received, Report, add_failures};
use super::progress::Progress;
use super::publisher::{Published, Publishing};
use super::report::Figures;
use super::request::Request;
use super::spread::Spread;
use crate::cli::{Fan, LoadOptions, Rate};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Streams from one address of a loopback target: a port each, of which Linux has 28,000.
const STREAMS_PER_ADDRESS: u32 = 20_000;
/// How often it is looked how far the publishing is.
const LOOK: Duration = Duration::from_millis(50);

/// A server, and how it is asked.
pub(super) struct Place {
    pub(super) subscribe: Request,
    pub(super) publish: Request,
    pub(super) processes: Processes,
    /// Its streams are asked for in gzip.
    pub(super) compressed: bool,
    /// What to connect from; none is the system's choice.
    pub(super) local_addresses: Vec<IpAddr>,
}

pub(super) struct Load<'a> {
    options: &'a LoadOptions,
    spread: Spread,
    /// What events of this bench are told by.
    run: u32,
}

impl<'a> Load<'a> {
    pub(super) fn new(options: &'a LoadOptions) -> Self {
        let spread = Spread::new(options.subscribers, options.target == Fan::One);
        // Whatever the server may still have of another bench does not count.
        let run = (super::clock::now() >> 10) as u32 ^ std::process::id().rotate_left(16);
        Self { options, spread, run }
    }

    /// Everything, from the first connect to the last delivery.
    pub(super) fn measure(&self, place: &Place, progress: &mut Progress) -> Result<Figures, Failure> {
        let options = self.options;
        let mut crew = Crew::start(options.subscribers, options.processes)?;
        let memory = place.processes.settled_memory();
        let cpu = place.processes.cpu();
        let connected = self.connect(&mut crew, place, progress)?;
        let cpu_connects = used(cpu, place.processes.cpu());
        let memory = grown(memory, place.processes.settled_memory());
        let warm_up = self.publish(&mut crew, place, progress, self.run, options.warm_up)?;
        if warm_up.0.refused.len() as u32 == warm_up.0.count {
            return Err(refused(&warm_up.0));
        }
        if warm_up.1.delivered == 0 && warm_up.1.expected > 0 {
            return Err(Failure::Silent(warm_up.0.count - warm_up.0.refused.len() as u32, connected.connected));
        }
        let cpu = place.processes.cpu();
        let (published, received) = self.publish(&mut crew, place, progress, !self.run, options.events)?;
        let cpu_deliveries = used(cpu, place.processes.cpu());
        progress.clear();
        Ok(Figures::new(&super::report::Measured {
            asked_compressed: place.compressed,
            connected,
            warm_up_lost: warm_up.1.lost,
            published,
            received,
            processes: crew.len(),
            rate: options.rate,
            publishers: options.publishers,
            cpu_connects,
            cpu_deliveries,
            memory,
        }))
    }

    fn connect(&self, crew: &mut Crew, place: &Place, progress: &mut Progress) -> Result<Connected, Failure> {
        let options = self.options;
        let processes = crew.len() as u32;
        let mut local_addresses = place.local_addresses.clone();
        if local_addresses.is_empty() {
            local_addresses = addresses_for(options.subscribers, place.subscribe.address.ip());
        }
        let mut first = 0;
        for member in 0..processes {
            // The remainder goes to the first ones.
            let count = options.subscribers / processes + u32::from(member < options.subscribers % processes);
            let part = Part {
                request: place.subscribe.clone(),
                first,
                count,
                subscribers: options.subscribers,
                one: options.target == Fan::One,
                connects_per_second: match options.connect_rate {
                    Rate::Max => None,
                    Rate::PerSecond(rate) => Some(rate * f64::from(count) / f64::from(options.subscribers)),
                },
                local_addresses: local_addresses.clone(),
                compressed: place.compressed,
                timeout_ms: options.timeout.as_millis() as u64,
            };
            crew.order(member as usize, &Order::Start(Box::new(part)))?;
            first += count;
        }
        let mut done = vec![0; processes as usize];
        let mut left = processes;
        let mut all = Connected { begun: u64::MAX, ..Connected::default() };
        while left > 0 {
            match crew.listen(LOOK)? {
                Some((member, Report::Connecting { connected, failed })) => done[member] = connected + failed,
                Some((member, Report::Connected(part))) => {
                    done[member] = part.connected + part.failures.values().sum::<u64>();
                    all.connected += part.connected;
                    all.compressed += part.compressed;
                    add_failures(&mut all.failures, &part.failures);
                    all.begun = all.begun.min(part.begun);
                    all.ended = all.ended.max(part.ended);
                    left -= 1;
                }
                _ => {}
            }
            progress.show("connected", done.iter().sum(), u64::from(options.subscribers));
        }
        if all.connected == 0 {
            return Err(unconnected(&place.subscribe, &all.failures));
        }
        Ok(all)
    }

    /// Publishes so many, waits until they have come or no more come, and asks what did.
    fn publish(
        &self,
        crew: &mut Crew,
        place: &Place,
        progress: &mut Progress,
        run: u32,
        count: u32,
    ) -> Result<(Published, Received), Failure> {
        let options = self.options;
        crew.order_all(&Order::Count { run, events: count })?;
        let mut left = crew.len();
        let mut begun = Instant::now();
        while left > 0 {
            match crew.listen(LOOK)? {
                Some((_, Report::Counting)) => left -= 1,
                _ if begun.elapsed() > options.timeout => return Err(Failure::Died("it does not answer".to_owned())),
                _ => {}
            }
        }
        let publishing = Publishing {
            request: place.publish.clone(),
            spread: self.spread,
            size: options.size as usize,
            rate: options.rate,
            publishers: options.publishers,
            // Sockets take no time of none.
            timeout: options.timeout.max(Duration::from_millis(1)),
        };
        let what = if run == self.run { "warm-up, published" } else { "published" };
        let done = AtomicU32::new(0);
        let mut delivered = vec![0; crew.len()];
        let published = std::thread::scope(|scope| {
            let publishing = scope.spawn(|| publishing.run(run, count, &done));
            while !publishing.is_finished() {
                if let Some((member, Report::Delivered(number))) = crew.listen(LOOK)? {
                    delivered[member] = number;
                }
                progress.show(what, u64::from(done.load(Ordering::Relaxed)), u64::from(count));
            }
            publishing.join().map_err(|_| Failure::Died("publishing".to_owned()))
        })?;
        crew.order_all(&Order::Await { published: count, refused: published.refused.clone() })?;
        let accepted = u64::from(count) - published.refused.len() as u64;
        let all = if options.target == Fan::One { accepted } else { accepted * u64::from(options.subscribers) };
        let mut left = crew.len();
        begun = Instant::now();
        while left > 0 && begun.elapsed() < options.timeout {
            match crew.listen(LOOK)? {
                Some((_, Report::Complete)) => left -= 1,
                Some((member, Report::Delivered(number))) => {
                    delivered[member] = number;
                    begun = Instant::now();
                }
                _ => {}
            }
            progress.show("delivered", delivered.iter().sum(), all);
        }
        crew.order_all(&Order::Tell)?;
        let mut received = Received::default();
        let mut left = crew.len();
        begun = Instant::now();
        while left > 0 {
            match crew.listen(LOOK)? {
                Some((_, Report::Received(part))) => {
                    received.add(&part);
                    left -= 1;
                }
                // It may have much to read before it gets to this.
                _ if begun.elapsed() > options.timeout * 6 => {
                    return Err(Failure::Died("it does not answer".to_owned()));
                }
                _ => {}
            }
        }
        Ok((published, received))
    }
}

/// Loopback has addresses enough, and each has its own ports. None if one is enough, or elsewhere.
fn addresses_for(subscribers: u32, target: IpAddr) -> Vec<IpAddr> {
    let many = subscribers.div_ceil(STREAMS_PER_ADDRESS);
    if many < 2 || !target.is_loopback() || target.is_ipv6() || cfg!(not(target_os = "linux")) {
        return Vec::new();
    }
    // From 127.0.0.2 on.
    (1..=many).map(|number| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + number).into()).collect()
}

fn used(before: Option<Cpu>, after: Option<Cpu>) -> Option<u64> {
    Some(after?.since(before?))
}

fn grown(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

fn unconnected(request: &Request, failures: &Failures) -> Failure {
    let most = failures.iter().max_by_key(|(_, count)| **count).map_or("", |(reason, _)| reason);
    let message = format!("no stream could be opened at {}: {most}", request.url);
    if most.starts_with("answered") { Failure::Refused(message) } else { Failure::Unreachable(message) }
}

fn refused(published: &Published) -> Failure {
    let most = published.failures.iter().max_by_key(|(_, count)| **count).map_or("", |(reason, _)| reason);
    let said = published.said.as_ref().map(|said| format!(": {said}")).unwrap_or_default();
    let message = format!("no event could be published: {most}{said}");
    if published.was_answered { Failure::Refused(message) } else { Failure::Unreachable(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn streams_that_one_address_has_no_ports_for_have_several() {
        let of = |subscribers, target: &str| {
            let all = addresses_for(subscribers, target.parse().unwrap());
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(
            of(20_000, "127.0.0.1").is_empty() && of(50_000, "10.0.0.1").is_empty() && of(50_000, "::1").is_empty()
        );
        assert_eq!(of(50_000, "127.0.0.1"), ["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
    }
}
