//! Coming back: nothing lost, nothing twice while the history reaches back, and the truth where it does not.

use crate::support::{Event, Subscriber, Subscription, Wire, config, serve};
use fanfare::{SseConfig, SseEvent, Target};

/// Events of some hundred bytes, so that a cut anywhere within them is likely to tear one.
fn event(number: usize) -> SseEvent {
    SseEvent::new("n", format!("{number}:{}", "x".repeat(100 + number % 7 * 40)))
}

fn number(event: &Event) -> usize {
    event.json().as_str().unwrap().split(':').next().unwrap().parse().unwrap()
}

fn numbers(events: &[Event]) -> Vec<usize> {
    events.iter().filter(|event| !event.is_control()).map(number).collect()
}

async fn read_numbers(subscriber: &mut Subscriber, count: usize) -> Vec<usize> {
    let mut found = Vec::new();
    while found.len() < count {
        let event = subscriber.next().await;
        if event.event != "ping" {
            assert!(!event.is_control(), "{event:?}");
            found.push(number(&event));
        }
    }
    found
}

/// Resumes again and again, each time cut after `step` bytes more than before, until everything was read.
async fn read_in_cuts(
    server: &crate::support::Server,
    mut last_event_id: String,
    total: usize,
    step: usize,
) -> Vec<usize> {
    let mut seen = Vec::new();
    let mut torn = 0;
    let mut bytes = step;
    while seen.len() < total {
        let subscriber = Subscriber::open(server, &Subscription::default().after(&last_event_id)).await;
        let (events, parser) = subscriber.cut_replay_after(bytes).await;
        torn += usize::from(parser.inside_a_frame());
        if let Some(connected) = events.first() {
            assert_eq!(connected.json()["resume"], "resumed");
        }
        let found = numbers(&events);
        if !parser.last_event_id().is_empty() {
            parser.last_event_id().clone_into(&mut last_event_id);
        }
        // At the start of a replay a cut yields nothing but the greeting: go further the next time.
        bytes = if found.is_empty() { bytes + step } else { step };
        seen.extend(found);
    }
    assert!(torn > 3, "the cuts tear frames: {torn}");
    seen
}

pub(crate) async fn a_cut_anywhere_in_live_delivery_loses_and_repeats_nothing(wire: Wire) {
    let server = serve(wire, config()).await;
    let mut seen = Vec::new();
    let mut last_event_id = None;
    let mut published = 0;
    let mut torn = 0;
    for cut in (1..900).step_by(23) {
        let mut subscription = Subscription::default();
        subscription.last_event_id.clone_from(&last_event_id);
        let (subscriber, connected) = Subscriber::resume(&server, &subscription).await;
        assert_eq!(connected.json()["resume"], if last_event_id.is_none() { "live" } else { "resumed" });
        for _ in 0..5 {
            server.manager.broadcast(event(published)).unwrap();
            published += 1;
        }
        let (events, parser) = subscriber.cut_after(cut).await;
        torn += usize::from(parser.inside_a_frame());
        seen.extend(numbers(&events));
        last_event_id = Some(parser.last_event_id().to_owned());
    }
    let (mut subscriber, _) =
        Subscriber::resume(&server, &Subscription::default().after(&last_event_id.unwrap())).await;
    let missing = published - seen.len();
    seen.extend(read_numbers(&mut subscriber, missing).await);
    assert_eq!(seen, (0..published).collect::<Vec<_>>());
    assert!(torn > 10, "the cuts tear frames: {torn}");
}

pub(crate) async fn a_cut_before_the_first_event_loses_nothing(wire: Wire) {
    let server = serve(wire, config()).await;
    let (subscriber, connected) = Subscriber::connect(&server, "").await;
    subscriber.abort();
    for published in 0..3 {
        server.manager.broadcast(event(published)).unwrap();
    }
    // Once more cut before anything but `connected` was read.
    let (subscriber, again) = Subscriber::resume(&server, &Subscription::default().after(&connected.id)).await;
    subscriber.reset();
    assert_eq!(again.id, connected.id, "the presented cursor");
    let (mut subscriber, _) = Subscriber::resume(&server, &Subscription::default().after(&again.id)).await;
    assert_eq!(read_numbers(&mut subscriber, 3).await, [0, 1, 2]);
}

pub(crate) async fn a_cut_anywhere_in_a_replay_loses_and_repeats_nothing(wire: Wire) {
    const TOTAL: usize = 60;
    let server = serve(wire, config()).await;
    let start = server.manager.cursor();
    for published in 0..TOTAL {
        server.manager.broadcast(event(published)).unwrap();
    }
    for step in [333, 777, 1_501] {
        let seen = read_in_cuts(&server, start.clone(), TOTAL, step).await;
        assert_eq!(seen, (0..TOTAL).collect::<Vec<_>>(), "cut every {step} bytes");
    }
}

pub(crate) async fn a_resumed_client_is_told_so_and_hears_a_ping_at_once(wire: Wire) {
    let server = serve(wire, config()).await;
    let start = server.manager.cursor();
    let (mut subscriber, connected) = Subscriber::resume(&server, &Subscription::default().after(&start)).await;
    assert_eq!((connected.json()["resume"].as_str(), connected.id.as_str()), (Some("resumed"), start.as_str()));
    assert_eq!(subscriber.next().await.event, "ping", "with nothing to catch up on");

    (0..3).for_each(|number| _ = server.manager.broadcast(event(number)).unwrap());
    server.manager.send_to_user("other", event(3)).unwrap();
    let (mut subscriber, connected) = Subscriber::resume(&server, &Subscription::default().after(&start)).await;
    assert_eq!(connected.id, start);
    for expected in 0..3 {
        assert_eq!(number(&subscriber.next_own().await), expected);
    }
    let ping = subscriber.next().await;
    assert_eq!((ping.event.as_str(), ping.id), ("ping", server.manager.cursor()));
    // One, not one for each of its events.
    server.manager.broadcast(event(4)).unwrap();
    assert_eq!(number(&subscriber.next_own().await), 4);
}

pub(crate) async fn replay_goes_over_into_live_without_a_seam(wire: Wire) {
    const BEFORE: usize = 2_000;
    const AFTER: usize = 2_000;
    let server = serve(wire, config()).await;
    let start = server.manager.cursor();
    (0..BEFORE).for_each(|number| _ = server.manager.broadcast(event(number)).unwrap());
    let manager = server.manager.clone();
    let thread = std::thread::spawn(move || {
        (BEFORE..BEFORE + AFTER).for_each(|number| _ = manager.broadcast(event(number)).unwrap());
    });
    let (mut subscriber, _) = Subscriber::resume(&server, &Subscription::default().after(&start)).await;
    let seen = read_numbers(&mut subscriber, BEFORE + AFTER).await;
    thread.join().unwrap();
    assert!(seen.iter().copied().eq(0..BEFORE + AFTER), "in order, each once");
}

pub(crate) async fn replay_is_matched_against_the_present_identity(wire: Wire) {
    let server = serve(wire, config()).await;
    let (_, connected) = Subscriber::connect(&server, "userId=ann").await;
    server.manager.send_to_user("ann", event(1)).unwrap();
    server.manager.send_to_user("bob", event(2)).unwrap();
    server.manager.broadcast(event(3)).unwrap();
    for (query, expected) in [("userId=ann", [1, 3]), ("userId=bob", [2, 3])] {
        let (mut subscriber, _) = Subscriber::resume(&server, &Subscription::new(query).after(&connected.id)).await;
        assert_eq!(read_numbers(&mut subscriber, 2).await, expected, "{query}");
        assert_eq!(subscriber.next().await.event, "ping", "and nothing else");
    }
}

pub(crate) async fn a_cursor_read_before_loading_state_makes_no_hole(wire: Wire) {
    let server = serve(wire, config()).await;
    server.manager.broadcast(event(0)).unwrap();
    let answer = server.get("/api/sse/cursor").await.json();
    let id = answer["id"].as_str().unwrap();
    server.manager.broadcast(event(1)).unwrap();
    let query = format!("lastEventId={id}");
    let (mut subscriber, connected) = Subscriber::connect(&server, &query).await;
    assert_eq!(connected.json()["resume"], "resumed");
    assert_eq!(read_numbers(&mut subscriber, 1).await, [1]);
}

pub(crate) async fn history_that_is_gone_is_a_gap_and_says_where_it_ends(wire: Wire) {
    const TOTAL: usize = 1_000;
    let server = serve(wire, SseConfig { history_bytes: 64 * 1024, ..config() }).await;
    let start = server.manager.cursor();
    (0..TOTAL).for_each(|number| _ = server.manager.broadcast(event(number)).unwrap());
    let (mut subscriber, connected) = Subscriber::resume(&server, &Subscription::default().after(&start)).await;
    assert_eq!(connected.json()["resume"], "gap");
    assert_ne!(connected.id, start, "the end of the gap");
    let first = number(&subscriber.next_own().await);
    assert!(first > 0 && first < TOTAL, "{first}");
    let position = u64::from_str_radix(connected.id.rsplit('.').next().unwrap(), 36).unwrap();
    let begin = u64::from_str_radix(start.rsplit('.').next().unwrap(), 36).unwrap();
    assert_eq!(position - begin, first as u64, "everything after the end of the gap is there");
    let rest = read_numbers(&mut subscriber, TOTAL - first - 1).await;
    assert!(rest.into_iter().eq(first + 1..TOTAL));
}

pub(crate) async fn a_hot_topic_makes_no_gap_for_a_quiet_user(wire: Wire) {
    let server = serve(wire, SseConfig { history_bytes: 64 * 1024, ..config() }).await;
    let start = server.manager.cursor();
    (0..1_000).for_each(|number| _ = server.manager.send(event(number), Target::topic("hot")).unwrap());
    server.manager.send_to_user("ann", event(7)).unwrap();
    let (mut quiet, connected) =
        Subscriber::resume(&server, &Subscription::new("userId=ann&topic=cold").after(&start)).await;
    assert_eq!((connected.json()["resume"].as_str(), connected.id), (Some("resumed"), start.clone()));
    assert_eq!(read_numbers(&mut quiet, 1).await, [7]);
    let (_, connected) = Subscriber::resume(&server, &Subscription::new("topic=hot").after(&start)).await;
    assert_eq!(connected.json()["resume"], "gap");
}

pub(crate) async fn a_cursor_that_means_nothing_here_is_a_reset_and_never_an_error(wire: Wire) {
    let server = serve(wire, config()).await;
    let foreign = serve(wire, config()).await.manager.cursor();
    server.manager.broadcast(event(0)).unwrap();
    let own = server.manager.cursor();
    let beyond = format!("{}.zz", own.rsplit_once('.').unwrap().0);
    let long = format!("{own}~{}", "x".repeat(512));
    let just_right = format!("{own}~{}", "x".repeat(512 - own.len() - 1));
    let garbage = ["42", "garbage", "1..", "last", "LATEST", "\"1.a.b\"", "2.a.b", "%00", "-1", "~", "0"];
    for id in garbage.into_iter().chain([foreign.as_str(), &beyond, &long]) {
        let (mut subscriber, connected) = Subscriber::resume(&server, &Subscription::default().after(id)).await;
        assert_eq!(connected.json()["resume"], "reset", "{id:?}");
        assert_eq!(connected.id, server.manager.cursor(), "the present");
        server.manager.broadcast(event(1)).unwrap();
        assert_eq!(number(&subscriber.next_own().await), 1, "live from here on");
    }
    let (_, connected) = Subscriber::resume(&server, &Subscription::default().after(&just_right)).await;
    assert_eq!(connected.json()["resume"], "resumed", "512 bytes are still looked at");
}

pub(crate) async fn starts_are_the_earliest_the_latest_or_the_last_so_many(wire: Wire) {
    let server = serve(wire, config()).await;
    for number in 0..6 {
        let target = if number % 2 == 0 { Target::user("ann") } else { Target::user("bob") };
        server.manager.send(event(number), target).unwrap();
    }
    let cases: [(&str, &str, &[usize]); 5] = [
        ("earliest", "resumed", &[0, 2, 4]),
        ("last:2", "resumed", &[2, 4]),
        ("last:10000", "resumed", &[0, 2, 4]),
        ("latest", "live", &[]),
        ("last:1", "resumed", &[4]),
    ];
    for (start, verdict, expected) in cases {
        for subscription in [
            Subscription::new(&format!("userId=ann&lastEventId={start}")),
            Subscription::new("userId=ann").after(start),
        ] {
            let (mut subscriber, connected) = Subscriber::resume(&server, &subscription).await;
            assert_eq!(connected.json()["resume"], verdict, "{start}");
            assert_eq!(read_numbers(&mut subscriber, expected.len()).await, expected, "{start}");
        }
    }
}

pub(crate) async fn the_header_wins_over_the_query(wire: Wire) {
    let server = serve(wire, config()).await;
    let old = server.manager.cursor();
    server.manager.broadcast(event(0)).unwrap();
    let new = server.manager.cursor();
    server.manager.broadcast(event(1)).unwrap();
    let query = format!("lastEventId={old}");
    let (mut subscriber, connected) = Subscriber::resume(&server, &Subscription::new(&query).after(&new)).await;
    assert_eq!(connected.id, new);
    assert_eq!(read_numbers(&mut subscriber, 1).await, [1]);
}

pub(crate) async fn the_id_of_an_ephemeral_event_resumes_at_the_place_before_it(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut subscriber, _) = Subscriber::connect(&server, "").await;
    server.manager.broadcast(event(0).ephemeral()).unwrap();
    let id = subscriber.next_own().await.id;
    assert!(id.ends_with("~~"), "{id}");
    server.manager.broadcast(event(1)).unwrap();
    let (mut subscriber, connected) = Subscriber::resume(&server, &Subscription::default().after(&id)).await;
    assert_eq!(connected.json()["resume"], "resumed");
    assert_eq!(read_numbers(&mut subscriber, 1).await, [1]);
}

pub(crate) async fn events_for_a_client_id_die_with_it(wire: Wire) {
    let server = serve(wire, config()).await;
    let (subscriber, connected) = Subscriber::connect(&server, "userId=ann").await;
    let client_id = connected.json()["clientId"].as_str().unwrap().to_owned();
    subscriber.abort();
    server.clients_become(0).await;
    assert_eq!(server.manager.send_to_client(&client_id, event(0)).unwrap(), 0);
    server.manager.broadcast(event(1)).unwrap();
    let (mut subscriber, again) =
        Subscriber::resume(&server, &Subscription::new("userId=ann").after(&connected.id)).await;
    assert_ne!(again.json()["clientId"], client_id.as_str(), "the same place, another name");
    assert_eq!(read_numbers(&mut subscriber, 1).await, [1]);
}
