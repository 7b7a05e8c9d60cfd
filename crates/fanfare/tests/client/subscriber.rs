//! Subscriptions: what is handed over, where the next connection begins, and when it is made.

use crate::scripted::{HEAD, Network, Script, Scripted, header};
use crate::support::{PATIENCE, Wire, config, fixture, serve};
use fanfare::client::{Client, ClosingReason, Event, Reconnect, SubscribeError, Subscriber, Update};
use fanfare::{ConnectionOptions, Resume, SseEvent, Target};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::timeout;

const ONCE: Reconnect = Reconnect {
    enabled: false,
    interval: None,
    max_failures: None,
    connect_timeout: PATIENCE,
    idle_timeout: None,
    event_size_max: 1 << 20,
};

fn anybody() -> ConnectionOptions {
    ConnectionOptions::default()
}

fn subscribe(url: &str, reconnect: Reconnect) -> Subscriber {
    Client::new(url).unwrap().subscribe_with(anybody(), reconnect).unwrap()
}

async fn next(subscriber: &mut Subscriber) -> Option<Result<Update, SubscribeError>> {
    timeout(PATIENCE, subscriber.next()).await.expect("an update in time")
}

async fn update(subscriber: &mut Subscriber) -> Update {
    next(subscriber).await.expect("an update, not the end").expect("an update, no error")
}

async fn event(subscriber: &mut Subscriber) -> Event {
    match update(subscriber).await {
        Update::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

async fn verdict(subscriber: &mut Subscriber) -> Resume {
    match update(subscriber).await {
        Update::Connected(connected) => connected.resume,
        other => panic!("{other:?}"),
    }
}

/// The error and the delay of a wait.
async fn waiting(subscriber: &mut Subscriber) -> (Option<SubscribeError>, Duration, u32) {
    match update(subscriber).await {
        Update::Waiting { error, delay, failures, .. } => (error, delay, failures),
        other => panic!("{other:?}"),
    }
}

/// Everything up to the end.
async fn all(subscriber: &mut Subscriber) -> (Vec<Update>, Option<SubscribeError>) {
    let mut updates = Vec::new();
    loop {
        match next(subscriber).await {
            Some(Ok(update)) => updates.push(update),
            Some(Err(error)) => {
                assert!(next(subscriber).await.is_none(), "an error is the end");
                return (updates, Some(error));
            }
            None => return (updates, None),
        }
    }
}

#[tokio::test]
async fn golden_streams_are_read_as_the_table_says() {
    for vector in fixture("wire/parse.json").as_array().unwrap() {
        let name = &vector["name"];
        // The second form is for bytes that are not text: the parser's own test reads those.
        let Some(input) = vector["input"].as_str() else { continue };
        let before = vector["initialLastEventId"].as_str().unwrap_or_default();
        for size in [1, 7, usize::MAX] {
            let mut pieces = vec![HEAD.as_bytes().to_vec()];
            pieces.extend(input.as_bytes().chunks(size).map(<[u8]>::to_vec));
            let server = Scripted::new([Script::Bytes(pieces)]).await;
            let options = ConnectionOptions { last_event_id: Some(before.to_owned()), ..anybody() };
            let mut subscriber = Client::new(&server.url).unwrap().subscribe_with(options, ONCE).unwrap();
            let (updates, error) = all(&mut subscriber).await;
            // The first and the last word of our own servers become updates of their own.
            let planned = updates.iter().any(|update| matches!(update, Update::Closing { .. }));
            assert!(matches!(error, Some(SubscribeError::Ended)) || planned, "{name}: {error:?}");
            let told: Vec<_> = updates
                .iter()
                .map(|update| match update {
                    Update::Event(event) => (event.event.as_str(), Some(event.data.as_str())),
                    Update::Connected(_) => ("connected", None),
                    Update::Closing { .. } => ("$closing", None),
                    other => panic!("{name}: {other:?}"),
                })
                .collect();
            let mut expected = Vec::new();
            for (event, (told, data)) in vector["events"].as_array().unwrap().iter().zip(&told) {
                assert_eq!(*told, event["type"], "{name}");
                expected.push((*told, data.and(event["data"].as_str())));
            }
            assert_eq!(updates.len(), vector["events"].as_array().unwrap().len(), "{name}");
            assert_eq!(told, expected, "{name}");
            // Of ids of ours at the same place the first is kept: they mean the same.
            let place = |id: &str| if planned { id.split('~').next().unwrap().to_owned() } else { id.to_owned() };
            assert_eq!(place(subscriber.last_event_id()), place(vector["lastEventId"].as_str().unwrap()), "{name}");
        }
    }
}

#[tokio::test]
async fn only_an_event_stream_is_read() {
    for case in fixture("wire/content-type.json").as_array().unwrap() {
        let name = &case["name"];
        let kind = case["contentType"].as_str().map(|kind| format!("content-type: {kind}\r\n")).unwrap_or_default();
        let server = Scripted::new([Script::answer(200, &kind, "data: 1\n\n")]).await;
        let mut subscriber = subscribe(&server.url, Reconnect::default());
        let first = next(&mut subscriber).await.unwrap();
        match first {
            Ok(Update::Event(_)) => assert_eq!(case["opens"], true, "{name}"),
            Err(SubscribeError::ContentType(_)) => assert_eq!(case["opens"], false, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_network_that_is_cut_loses_and_repeats_nothing() {
    for wire in [Wire::Takeover, Wire::Axum] {
        let hub = serve(wire, config()).await;
        let network = Network::to(hub.addr).await;
        let client = Client::new(&network.url).unwrap();
        let options = ConnectionOptions { user_id: Some("ann".into()), topics: vec!["news".into()], ..anybody() };
        let reconnect = Reconnect { interval: Some(Duration::from_millis(1)), ..Reconnect::default() };
        let mut subscriber = client.subscribe_with(options, reconnect).unwrap();
        assert_eq!(verdict(&mut subscriber).await, Resume::Live);
        let publish = async |number: u32, target: Target| {
            hub.manager.publish(SseEvent::new("n", number).with_id(format!("own-{number}")), target).await.unwrap()
        };
        for number in 0..40 {
            let target = if number % 2 == 0 { Target::user("ann") } else { Target::topic("news") };
            if number % 5 == 4 {
                network.cut();
            }
            let receipt = publish(number, target).await;
            _ = publish(1_000, Target::user("somebody-else")).await;
            let event = loop {
                match update(&mut subscriber).await {
                    Update::Event(event) => break event,
                    Update::Connected(connected) => assert_eq!(connected.resume, Resume::Resumed),
                    Update::Waiting { error, .. } => assert!(error.unwrap().is_retryable()),
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(event.json::<u32>().unwrap(), number);
            assert_eq!(event.id, Some(format!("own-{number}")));
            assert_eq!(receipt.id.unwrap().split_once('~').unwrap().0, event.cursor);
        }
    }
}

#[tokio::test]
async fn identity_and_options_travel_in_the_query() {
    let hub = serve(Wire::Takeover, config()).await;
    let client = Client::new(&format!("http://{}", hub.addr)).unwrap();
    let options = ConnectionOptions {
        user_id: Some("a&b=c/ü".into()),
        session_id: Some("s 1".into()),
        topics: vec!["news".into(), "a+b".into()],
        metadata: [("page".into(), "x?y#z".into())].into(),
        slow_policy: Some(fanfare::SlowPolicy::Gap),
        ..anybody()
    };
    let mut subscriber = client.subscribe(options).unwrap();
    let Update::Connected(connected) = update(&mut subscriber).await else { panic!() };
    assert_eq!(connected.user_id.as_deref(), Some("a&b=c/ü"));
    assert_eq!(connected.session_id.as_deref(), Some("s 1"));
    assert_eq!(connected.heartbeat_interval, config().ping_interval);
    let [info] = client.clients(None, None).await.unwrap().clients.try_into().unwrap();
    assert_eq!((info.client_id, info.topics.len()), (connected.client_id, 2));
    assert_eq!(info.metadata["page"], "x?y#z");
    let sent = hub.manager.send(SseEvent::new("n", 1), Target::topic("a+b")).unwrap();
    assert_eq!((sent, event(&mut subscriber).await.data.as_str()), (1, "1"));

    for (name, options) in [
        ("userId", ConnectionOptions { user_id: Some(String::new()), ..anybody() }),
        ("topic", ConnectionOptions { topics: vec!["\n".into()], ..anybody() }),
        ("sse.slow", ConnectionOptions { metadata: [("sse.slow".into(), "gap".into())].into(), ..anybody() }),
        ("userId", ConnectionOptions { metadata: [("userId".into(), "eve".into())].into(), ..anybody() }),
    ] {
        let error = client.subscribe(options).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[tokio::test]
async fn each_verdict_is_told() {
    let hub = serve(Wire::Takeover, fanfare::SseConfig { history_bytes: 64 * 1024, ..config() }).await;
    let client = Client::new(&format!("http://{}", hub.addr)).unwrap();
    let first = hub.manager.publish(SseEvent::new("n", 0), Target::All).await.unwrap().id.unwrap();
    let from = |place: &str| client.subscribe(ConnectionOptions { last_event_id: Some(place.into()), ..anybody() });
    let mut resumed = from(&first).unwrap();
    assert_eq!(verdict(&mut resumed).await, Resume::Resumed);
    for _ in 0..40 {
        hub.manager.publish(SseEvent::new("n", "x".repeat(10_000)), Target::All).await.unwrap();
    }
    for (place, expected, loss) in
        [(first.as_str(), Resume::Gap, true), ("1.foreign.1", Resume::Reset, true), ("latest", Resume::Live, false)]
    {
        let mut subscriber = from(place).unwrap();
        let update = update(&mut subscriber).await;
        assert_eq!(update.is_loss(), loss);
        let Update::Connected(connected) = update else { panic!() };
        assert_eq!(connected.resume, expected, "{place}");
        assert_eq!(subscriber.last_event_id(), connected.cursor, "{place}");
    }
}

#[tokio::test]
async fn duplicates_are_dropped_and_ephemeral_events_are_not() {
    const CONNECTED: &str =
        "event: connected\nid: 1.e.4\ndata: {\"clientId\":\"c\",\"heartbeatInterval\":1000,\"resume\":\"resumed\"}\n\n";
    let stream = format!(
        "{CONNECTED}id: 1.e.3\ndata: 3\n\nid: 1.e.4~own\ndata: 4\n\nid: 1.e.4~~\ndata: 5\n\nid: 1.e.4~~own\ndata: 6\n\n\
         id: 1.e.z\ndata: 7\n\nid: 1.e.10~a~b\ndata: 8\n\nid: 1.e.10~~\nevent: ping\ndata: {{\"timestamp\":1}}\n\n\
         event: ping\ndata: mine\nid: 1.e.11\n\nid: 1.f.1\ndata: 9\n\n"
    );
    let server = Scripted::new([Script::stream(&stream)]).await;
    let options = ConnectionOptions { last_event_id: Some("1.e.4".into()), ..anybody() };
    let mut subscriber = Client::new(&server.url).unwrap().subscribe_with(options, ONCE).unwrap();
    assert_eq!(verdict(&mut subscriber).await, Resume::Resumed);
    let expected = [
        ("5", None, true),
        ("6", Some("own"), true),
        ("7", None, false),
        ("8", Some("a~b"), false),
        ("mine", None, false),
    ];
    for (data, id, ephemeral) in expected {
        let event = event(&mut subscriber).await;
        assert_eq!((event.data.as_str(), event.id.as_deref(), event.ephemeral), (data, id, ephemeral));
    }
    let last = event(&mut subscriber).await;
    assert_eq!((last.data.as_str(), last.cursor.as_str()), ("9", "1.f.1"));
}

#[tokio::test]
async fn the_place_is_behind_what_was_handed_over_not_behind_what_was_read() {
    let server = Scripted::new([Script::open("id: 1.e.1\ndata: 1\n\nid: 1.e.2\ndata: 2\n\nid: 1.e.3\n\n")]).await;
    let mut subscriber = subscribe(&server.url, ONCE);
    assert_eq!(subscriber.last_event_id(), "");
    event(&mut subscriber).await;
    assert_eq!(subscriber.last_event_id(), "1.e.1");
    event(&mut subscriber).await;
    // Behind it comes a block without data, which moves the place at once.
    assert_eq!(subscriber.last_event_id(), "1.e.3");
}

#[tokio::test]
async fn gaps_in_an_open_stream_are_told() {
    let stream = "id: 1.e.9\nevent: $gap\ndata: {\"reason\":\"slow\"}\n\nid: 1.f.1\nevent: $reset\ndata: {}\n\n";
    let server = Scripted::new([Script::open(stream)]).await;
    let mut subscriber = subscribe(&server.url, ONCE);
    for (reason, cursor, reset) in [(Some("slow"), "1.e.9", false), (None, "1.f.1", true)] {
        let update = update(&mut subscriber).await;
        assert!(update.is_loss());
        let Update::Gap(gap) = update else { panic!() };
        assert_eq!((gap.reason.as_deref(), gap.cursor.as_str(), gap.reset), (reason, cursor, reset));
    }
}

/// The shortest delay: what comes below it is lifted.
const SHORTEST: Duration = Duration::from_millis(100);

#[tokio::test]
async fn the_server_says_what_delays_grow_from_and_how_long_to_stay_away_once() {
    let closing = "retry: 700\nevent: $closing\ndata: {\"reason\":\"shutdown\",\"reconnect\":true}\n\n";
    let scripts = [
        Script::stream("retry: 1\ndata: 1\n\n"),
        Script::open(closing),
        Script::stream("data: 2\n\n"),
        Script::open(""),
    ];
    let server = Scripted::new(scripts).await;
    let mut subscriber = subscribe(&server.url, Reconnect::default());
    event(&mut subscriber).await;
    let (error, delay, failures) = waiting(&mut subscriber).await;
    assert!(matches!(error, Some(SubscribeError::Ended)));
    assert_eq!((delay, failures), (SHORTEST, 1));
    let Update::Closing { reason, reconnect } = update(&mut subscriber).await else { panic!() };
    assert_eq!((reason, reconnect), (ClosingReason::Shutdown, true));
    let (error, delay, failures) = waiting(&mut subscriber).await;
    assert!(error.is_none(), "it was planned");
    assert_eq!((delay, failures), (Duration::from_millis(700), 1), "and is no failure");
    event(&mut subscriber).await;
    let (_, delay, failures) = waiting(&mut subscriber).await;
    assert_eq!((delay, failures), (SHORTEST, 2), "the longer wait was for once");
}

#[tokio::test]
async fn what_the_program_says_goes_before_what_the_server_says() {
    let server = Scripted::new([Script::stream("retry: 100000\n\n")]).await;
    let reconnect = Reconnect { interval: Some(Duration::from_millis(1)), ..Reconnect::default() };
    let mut subscriber = subscribe(&server.url, reconnect);
    assert_eq!(waiting(&mut subscriber).await.1, SHORTEST);
}

#[tokio::test]
async fn a_server_that_closes_for_good_is_the_end() {
    for word in ["disconnected", "revoked", "something new"] {
        let stream = format!("event: $closing\ndata: {{\"reason\":\"{word}\",\"reconnect\":false}}\n\ndata: 1\n\n");
        let server = Scripted::new([Script::open(&stream)]).await;
        let mut subscriber = subscribe(&server.url, Reconnect::default());
        let (updates, error) = all(&mut subscriber).await;
        assert!(matches!(updates.as_slice(), [Update::Closing { reconnect: false, .. }]), "{updates:?}");
        let Some(SubscribeError::Closing(reason)) = error else { panic!("{error:?}") };
        assert_eq!(reason.as_str(), word);
        assert_eq!(matches!(reason, ClosingReason::Other(_)), word.contains(' '));
    }
}

#[tokio::test]
async fn no_room_is_a_failure_that_may_pass() {
    let closing = "retry: 1\nevent: $closing\ndata: {\"reason\":\"capacity\",\"reconnect\":true}\n\n";
    let server = Scripted::new([Script::open(closing)]).await;
    let reconnect =
        Reconnect { max_failures: Some(2), interval: Some(Duration::from_millis(1)), ..Reconnect::default() };
    let (updates, error) = all(&mut subscribe(&server.url, reconnect)).await;
    assert!(matches!(error, Some(SubscribeError::Closing(ClosingReason::Capacity))));
    assert_eq!(server.requests().len(), 2, "{updates:?}");
}

#[tokio::test]
async fn refusals_are_final_unless_they_may_pass() {
    for status in [204, 205, 400, 401, 403, 404, 405, 410] {
        let body = if status == 204 { "" } else { "{\"detail\":\"because\"}" };
        let server = Scripted::new([Script::answer(status, "", body)]).await;
        let (updates, error) = all(&mut subscribe(&server.url, Reconnect::default())).await;
        let Some(SubscribeError::Http { status: told, body, .. }) = error else { panic!("{error:?}") };
        assert_eq!((told, updates.len(), server.requests().len()), (status, 0, 1));
        assert_eq!(body, if status == 204 { "nothing" } else { "because" });
    }
    for status in [408, 425, 429, 500, 502, 503, 504, 599] {
        let server = Scripted::new([Script::answer(status, "retry-after: 7\r\n", "busy\u{1b}[31m")]).await;
        let mut subscriber = subscribe(&server.url, Reconnect::default());
        let (error, delay, failures) = waiting(&mut subscriber).await;
        assert!(delay >= Duration::from_secs(7) && failures == 1, "{delay:?}");
        let text = error.unwrap().to_string();
        assert!(text.contains("busy") && !text.contains('\u{1b}'), "{text:?}");
    }
}

#[tokio::test]
async fn a_refused_token_is_asked_for_once_more() {
    let scripts = [Script::answer(401, "", ""), Script::open("data: 1\n\n")];
    let server = Scripted::new(scripts).await;
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let source = move || format!("token-{}", counter.fetch_add(1, Ordering::Relaxed));
    let client = Client::new(&server.url).unwrap().with_token_source(source);
    event(&mut client.subscribe(anybody()).unwrap()).await;
    let tokens: Vec<_> =
        server.requests().iter().map(|request| header(request, "authorization").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["Bearer token-0", "Bearer token-1"]);

    let server = Scripted::new([Script::answer(401, "", "")]).await;
    let client = Client::new(&server.url).unwrap().with_token("always-the-same").unwrap();
    let (_, error) = all(&mut client.subscribe(anybody()).unwrap()).await;
    assert!(matches!(error, Some(SubscribeError::Http { status: 401, .. })));
    assert_eq!(server.requests().len(), 1, "it would be the same again");

    let server = Scripted::new([Script::answer(403, "", "")]).await;
    let client = Client::new(&server.url).unwrap().with_token_source(|| "expired".into());
    let (_, error) = all(&mut client.subscribe(anybody()).unwrap()).await;
    assert!(matches!(error, Some(SubscribeError::Http { status: 403, .. })));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn silence_is_noticed() {
    let connected =
        "event: connected\nid: 1.e.1\ndata: {\"clientId\":\"c\",\"heartbeatInterval\":1,\"resume\":\"live\"}\n\n";
    let server = Scripted::new([Script::open(connected)]).await;
    let idle = Duration::from_millis(60);
    let mut subscriber = subscribe(&server.url, Reconnect { idle_timeout: Some(idle), ..Reconnect::default() });
    verdict(&mut subscriber).await;
    let (error, ..) = waiting(&mut subscriber).await;
    assert!(matches!(error, Some(SubscribeError::Idle(told)) if told == idle), "{error:?}");

    let server = Scripted::new([Script::Stays(Vec::new())]).await;
    let limit = Duration::from_millis(60);
    let mut subscriber = subscribe(&server.url, Reconnect { connect_timeout: limit, ..Reconnect::default() });
    let (error, ..) = waiting(&mut subscriber).await;
    assert!(matches!(error, Some(SubscribeError::Timeout(told)) if told == limit), "{error:?}");
}

#[tokio::test]
async fn an_event_beyond_the_limit_is_the_end() {
    let server = Scripted::new([Script::open(&format!("data: 1\n\ndata: {}", "x".repeat(2_000)))]).await;
    let mut subscriber = subscribe(&server.url, Reconnect { event_size_max: 1_000, ..Reconnect::default() });
    let (updates, error) = all(&mut subscriber).await;
    assert!(matches!(error, Some(SubscribeError::TooLarge(1_000))), "{error:?}");
    assert_eq!(updates.len(), 1, "what came before is handed over");
}

#[tokio::test]
async fn where_it_was_travels_as_bytes_unless_no_server_would_take_it() {
    for (place, sent) in [("ümlaut 1", true), ("x", true), ("", false), ("a\nb", false)] {
        let server = Scripted::new([Script::open("data: 1\n\n")]).await;
        let options = ConnectionOptions { last_event_id: Some(place.into()), ..anybody() };
        event(&mut Client::new(&server.url).unwrap().subscribe(options).unwrap()).await;
        assert_eq!(header(&server.requests()[0], "last-event-id"), sent.then_some(place));
    }
    let long = format!("id: {}\ndata: 1\n\n", "x".repeat(5_000));
    let server = Scripted::new([Script::stream(&long), Script::open("data: 2\n\n")]).await;
    let interval = Some(Duration::from_millis(1));
    let mut subscriber = subscribe(&server.url, Reconnect { interval, ..Reconnect::default() });
    event(&mut subscriber).await;
    waiting(&mut subscriber).await;
    event(&mut subscriber).await;
    assert_eq!(header(&server.requests()[1], "last-event-id"), None);
}

#[tokio::test]
async fn redirects_are_followed_without_the_token() {
    let there = Scripted::new([Script::open("data: 1\n\n")]).await;
    let location = format!("location: {}/elsewhere\r\n", there.url);
    let here = Scripted::new([Script::answer(307, &location, "")]).await;
    let client = Client::new(&here.url).unwrap().with_token("secret").unwrap();
    event(&mut client.subscribe(anybody()).unwrap()).await;
    assert_eq!(header(&here.requests()[0], "authorization"), Some("Bearer secret"));
    assert!(there.requests()[0].starts_with("GET /elsewhere "));
    assert_eq!(header(&there.requests()[0], "authorization"), None);
    assert_eq!(header(&there.requests()[0], "referer"), None, "the address has names of users in it");
}

#[tokio::test]
async fn a_stream_that_was_compressed_on_its_way_is_told() {
    let head = HEAD.replace("\r\n\r\n", "\r\ncontent-encoding: gzip\r\n\r\n");
    let server = Scripted::new([Script::Stays([head.as_bytes(), b"\x1f\x8b\x08"].concat())]).await;
    let (updates, error) = all(&mut subscribe(&server.url, Reconnect::default())).await;
    assert!(updates.is_empty(), "{updates:?}");
    assert!(error.is_some_and(|error| error.to_string().contains("gzip")));
}

#[tokio::test]
async fn silence_may_be_accepted_for_ever() {
    let server = Scripted::new([Script::open("data: 1\n\n")]).await;
    let patient =
        Reconnect { idle_timeout: Some(Duration::MAX), connect_timeout: Duration::MAX, ..Reconnect::default() };
    assert_eq!(event(&mut subscribe(&server.url, patient)).await.data, "1");
}

#[tokio::test]
async fn asking_and_giving_up_loses_nothing() {
    let hub = serve(Wire::Takeover, config()).await;
    let mut subscriber = Client::new(&format!("http://{}", hub.addr)).unwrap().subscribe(anybody()).unwrap();
    verdict(&mut subscriber).await;
    let manager = hub.manager.clone();
    let publisher = tokio::spawn(async move {
        for number in 0..300u32 {
            manager.publish(SseEvent::new("n", json!({ "number": number })), Target::All).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 300 {
        // Given up nearly each time.
        if let Ok(next) = timeout(Duration::from_micros(50), subscriber.next()).await
            && let Update::Event(event) = next.unwrap().unwrap()
        {
            seen.push(event.json::<serde_json::Value>().unwrap()["number"].as_u64().unwrap());
        }
    }
    publisher.await.unwrap();
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_disconnected_subscriber_is_silent() {
    let server = Scripted::new([Script::open("data: 1\n\ndata: 2\n\n")]).await;
    let mut subscriber = subscribe(&server.url, Reconnect::default());
    event(&mut subscriber).await;
    subscriber.disconnect();
    event(&mut subscriber).await;
    assert!(next(&mut subscriber).await.is_none());
}
