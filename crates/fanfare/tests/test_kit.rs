//! The test kit: what it breaks is broken, over every transport, and each assertion fails where it should.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

mod support;

use fanfare::Resume;
use fanfare::test_util::RECORDED_MAX;
use fanfare::{Connection, ConnectionOptions, SendError, SlowPolicy, SseConfig, SseEvent, SseManager, Target};
use serde_json::json;
use std::time::Duration;
use support::{Raw, Subscriber, Subscription, Wire, config, eventually, request_text, serve};

fn event(number: u32) -> SseEvent {
    SseEvent::new("n", number)
}

fn manager() -> SseManager {
    SseManager::new(config()).unwrap()
}

fn connect(manager: &SseManager) -> Connection {
    manager.create_connection(ConnectionOptions::default()).unwrap()
}

fn after(last_event_id: &str) -> ConnectionOptions {
    ConnectionOptions { last_event_id: Some(last_event_id.to_owned()), ..ConnectionOptions::default() }
}

/// What a future panics with.
async fn panic_of<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> String {
    let Err(error) = tokio::spawn(future).await else { panic!("it did not fail") };
    message(error.into_panic().as_ref())
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    match panic.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => panic.downcast_ref::<String>().unwrap().clone(),
    }
}

fn panics(run: impl FnOnce()) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
    message(panic.as_ref())
}

// What is served

macro_rules! over_every_transport {
    ($($name:ident)+) => {
        over_every_transport!(@over takeover Takeover $($name)+);
        over_every_transport!(@over axum Axum $($name)+);
        over_every_transport!(@over axum_http2 AxumHttp2 $($name)+);
        over_every_transport!(@over http2 Http2 $($name)+);
    };
    (@over $transport:ident $wire:ident $($name:ident)+) => {
        mod $transport {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Wire::$wire).await;
            })+
        }
    };
}

over_every_transport! {
    a_cut_client_hears_no_reason_and_resumes
    a_cut_in_the_middle_of_an_event_tears_it_and_loses_nothing
    a_stalled_client_gets_nothing_until_it_resumes
    a_client_that_falls_behind_meets_its_policy
    a_client_that_fell_behind_forgotten_history_is_told_a_gap
    forgotten_history_is_a_gap_for_those_who_missed_something
    a_restart_ends_every_connection_and_resets_every_cursor
}

async fn a_cut_client_hears_no_reason_and_resumes(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut subscriber, connected) = Subscriber::connect(&server, "userId=ann").await;
    let clients = server.manager.expect_clients_of("ann", 1).await;
    assert_eq!(connected.json()["clientId"], clients[0]);
    server.manager.broadcast(event(1)).unwrap();
    let mut seen = subscriber.next_own().await.id;
    if !wire.is_http2() {
        server.manager.broadcast(event(11)).unwrap();
    }
    server.manager.faults().cut(&clients[0]);
    assert_eq!(server.manager.stats().total_clients, 0, "its place is free at once");
    if !wire.is_http2() {
        let last = subscriber.next_own().await;
        assert_eq!(last.data, "11", "what came before the cut has arrived");
        seen = last.id;
    }
    assert!(subscriber.try_next().await.is_none());
    eventually("it is counted", || server.manager.stats().disconnects["error"] == 1).await;
    server.manager.broadcast(event(2)).unwrap();
    let (mut again, connected) = Subscriber::resume(&server, &Subscription::default().after(&seen)).await;
    assert_eq!(connected.json()["resume"], "resumed");
    assert_eq!(again.next_own().await.data, "2");
}

async fn a_cut_in_the_middle_of_an_event_tears_it_and_loses_nothing(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut subscriber, connected) = Subscriber::connect(&server, "").await;
    let clients = server.manager.expect_clients(1).await;
    server.manager.faults().cut_after(&clients[0], 25);
    server.manager.broadcast(event(1)).unwrap();
    let before = subscriber.bytes;
    assert!(subscriber.try_next().await.is_none());
    if !wire.is_http2() {
        assert_eq!((subscriber.bytes - before, subscriber.parser.inside_a_frame()), (25, true));
    }
    let (mut again, _) = Subscriber::resume(&server, &Subscription::default().after(&connected.id)).await;
    assert_eq!(again.next_own().await.data, "1");
}

async fn a_stalled_client_gets_nothing_until_it_resumes(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut kept, connected) = Subscriber::connect(&server, "").await;
    let kept_id = connected.json()["clientId"].as_str().unwrap().to_owned();
    let (mut lost, connected) = Subscriber::connect(&server, "").await;
    let lost_id = connected.json()["clientId"].as_str().unwrap().to_owned();
    let (mut healthy, _) = Subscriber::connect(&server, "").await;
    let faults = server.manager.faults();
    faults.stall(&kept_id);
    faults.stall(&lost_id);
    for number in 0..100 {
        server.manager.broadcast(event(number)).unwrap();
        assert_eq!(healthy.next_own().await.data, number.to_string(), "nobody else is held up");
    }
    faults.cut(&lost_id);
    assert!(lost.try_next().await.is_none(), "not one of them was written");
    faults.resume(&kept_id);
    for number in 0..100 {
        assert_eq!(kept.next_own().await.data, number.to_string());
    }
    // In time it goes on as if nothing had been.
    server.manager.broadcast(event(100)).unwrap();
    assert_eq!(kept.next_own().await.data, "100");
}

async fn a_client_that_falls_behind_meets_its_policy(wire: Wire) {
    let server = serve(wire, config()).await;
    for policy in ["catch-up", "gap", "disconnect"] {
        let (mut slow, connected) = Subscriber::connect(&server, &format!("sse.slow={policy}")).await;
        let client_id = connected.json()["clientId"].as_str().unwrap().to_owned();
        server.manager.broadcast(event(1)).unwrap();
        assert_eq!(slow.next_own().await.data, "1");
        let faults = server.manager.faults();
        faults.stall(&client_id);
        server.manager.broadcast(event(2)).unwrap();
        faults.fall_behind(&client_id).await;
        server.manager.broadcast(event(3)).unwrap();
        faults.resume(&client_id);
        match policy {
            "catch-up" => assert_eq!(slow.data(2).await, ["2", "3"]),
            "gap" => {
                let gap = slow.next().await;
                assert_eq!((gap.event.as_str(), gap.json()), ("$gap", json!({ "reason": "slow" })));
                server.manager.broadcast(event(4)).unwrap();
                assert_eq!(slow.next_own().await.data, "4");
            }
            _ => {
                let closing = slow.next().await;
                assert_eq!((closing.event.as_str(), &closing.json()["reason"]), ("$closing", &json!("slow")));
                slow.expect_end().await;
            }
        }
    }
    assert_eq!(server.stats().await["slowReaders"], json!({ "catch-up": 1, "gap": 1, "disconnect": 1 }));
}

async fn a_client_that_fell_behind_forgotten_history_is_told_a_gap(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut slow, _) = Subscriber::connect(&server, "").await;
    let client = server.manager.expect_clients(1).await.remove(0);
    let faults = server.manager.faults();
    faults.stall(&client);
    server.manager.broadcast(event(1)).unwrap();
    faults.fall_behind(&client).await;
    faults.forget_history();
    faults.resume(&client);
    let gap = slow.next().await;
    assert_eq!((gap.event.as_str(), gap.json()), ("$gap", json!({ "reason": "retention" })));
}

async fn forgotten_history_is_a_gap_for_those_who_missed_something(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut ann, connected) = Subscriber::connect(&server, "userId=ann").await;
    let (mut bob, _) = Subscriber::connect(&server, "userId=bob").await;
    let (ann_id, bob_id) = (connected.json()["clientId"].as_str().unwrap().to_owned(), {
        server.manager.expect_clients_of("bob", 1).await.remove(0)
    });
    let faults = server.manager.faults();
    faults.stall(&ann_id);
    faults.stall(&bob_id);
    server.manager.send_to_user("ann", event(1)).unwrap();
    faults.forget_history();
    assert_eq!(server.manager.stats().history_events, 0);
    faults.cut(&ann_id);
    faults.cut(&bob_id);
    assert!(ann.try_next().await.is_none() && bob.try_next().await.is_none());
    for (user, verdict) in [("ann", "gap"), ("bob", "resumed")] {
        let query = format!("userId={user}");
        let (mut again, told) = Subscriber::resume(&server, &Subscription::new(&query).after(&connected.id)).await;
        assert_eq!(told.json()["resume"], verdict, "{user}");
        server.manager.send_to_user(user, event(2)).unwrap();
        assert_eq!(again.data(1).await, ["2"]);
    }
}

async fn a_restart_ends_every_connection_and_resets_every_cursor(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut one, connected) = Subscriber::connect(&server, "").await;
    let (mut two, _) = Subscriber::connect(&server, "").await;
    server.manager.broadcast(event(1)).unwrap();
    let seen = one.next_own().await.id;
    two.next_own().await;
    server.manager.faults().restart();
    assert!(one.try_next().await.is_none() && two.try_next().await.is_none());
    for old in [&connected.id, &seen] {
        let (_, again) = Subscriber::resume(&server, &Subscription::default().after(old)).await;
        assert_eq!(again.json()["resume"], "reset");
        let (_, again) = Subscriber::resume(&server, &Subscription::default().after(&again.id)).await;
        assert_eq!(again.json()["resume"], "resumed", "what is given out after it is good");
        let page = server.get(&format!("/api/sse/events?lastEventId={old}")).await.json();
        assert_eq!((&page["resume"], &page["events"]), (&json!("reset"), &json!([])));
    }
}

#[tokio::test]
async fn a_cut_body_is_a_broken_one_where_http_can_tell() {
    let server = serve(Wire::Axum, config()).await;
    for cut in [true, false] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(request_text("GET", "/api/sse", &[("accept", "text/event-stream"), ("connection", "close")], b""))
            .await;
        assert!(raw.head().await.is_chunked());
        let client = server.manager.expect_clients(1).await.remove(0);
        if cut {
            server.manager.faults().cut(&client);
        } else {
            server.manager.disconnect_client(&client);
        }
        let body = raw.until_end().await;
        assert_eq!(body.ends_with(b"0\r\n\r\n"), !cut, "{:?}", String::from_utf8_lossy(&body));
        server.manager.expect_clients(0).await;
    }
}

#[tokio::test]
async fn refused_sends_are_refused_over_http_and_recorded_nowhere() {
    let server = serve(Wire::Takeover, config()).await;
    let published = server.manager.record();
    for (error, status) in [(SendError::Full, 507), (SendError::ReadOnly, 503), (SendError::Busy, 503)] {
        server.manager.faults().refuse_sends(error.clone());
        assert_eq!(server.post("/api/sse/publish", r#"{"event":"n","data":1}"#).await.problem().0, status);
        assert_eq!(server.manager.send_to_user("ann", event(1)), Err(error.clone()));
        assert_eq!(server.manager.publish(event(1), Target::All).await, Err(error.clone()));
        let wrong = server.manager.broadcast(SseEvent::new("ping", 1));
        assert!(matches!(wrong, Err(SendError::Invalid { .. })), "the event's own fault comes first");
    }
    published.expect_nothing();
    server.manager.faults().accept_sends();
    assert_eq!(server.post("/api/sse/publish", r#"{"event":"n","data":1}"#).await.head.status, 200);
    assert_eq!(published.expect("n", &Target::All), 1);
}

// What is read in process

#[tokio::test]
async fn faults_work_on_connections_read_in_process() {
    let manager = manager();
    let faults = manager.faults();
    let mut page = connect(&manager);
    let start = page.expect_resume(Resume::Live).await.cursor;
    faults.cut_after(page.client_id(), 10);
    manager.broadcast(event(1)).unwrap();
    page.expect_end().await;
    let mut page = manager.create_connection(after(&start)).unwrap();
    let connected = page.expect_resume(Resume::Resumed).await;
    assert_eq!((connected.cursor, connected.user_id), (start.clone(), None));
    assert_eq!(page.expect_event("n").await, 1);
    faults.stall(page.client_id());
    manager.broadcast(event(2)).unwrap();
    faults.resume(page.client_id());
    assert_eq!(page.expect_event("n").await, 2);
    faults.cut(page.client_id());
    page.expect_end().await;
    faults.forget_history();
    manager.create_connection(after(&start)).unwrap().expect_resume(Resume::Gap).await;
    let mut page = connect(&manager);
    faults.restart();
    page.expect_end().await;
    manager.create_connection(after(&start)).unwrap().expect_resume(Resume::Reset).await;
}

#[tokio::test]
async fn a_policy_is_met_in_process_too() {
    for policy in [SlowPolicy::CatchUp, SlowPolicy::Gap, SlowPolicy::Disconnect] {
        let manager = SseManager::new(SseConfig { slow_policy: policy, ..config() }).unwrap();
        let mut page = connect(&manager);
        page.expect_connected().await;
        let faults = manager.faults();
        faults.fall_behind(page.client_id()).await;
        manager.broadcast(event(1)).unwrap();
        faults.resume(page.client_id());
        match policy {
            SlowPolicy::Gap => assert_eq!(page.expect_event("$gap").await["reason"], "slow"),
            SlowPolicy::Disconnect => assert_eq!(page.expect_closing("slow").await["reconnect"], true),
            _ => {
                assert_eq!(page.expect_event("n").await, 1);
                page.expect_silence().await;
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_told_a_gap_who_missed_nothing_but_the_filler() {
    let manager = SseManager::new(SseConfig { slow_policy: SlowPolicy::Gap, ..config() }).unwrap();
    let published = manager.record();
    let mut page = connect(&manager);
    page.expect_connected().await;
    manager.faults().fall_behind(page.client_id()).await;
    manager.faults().resume(page.client_id());
    page.expect_silence().await;
    manager.broadcast(event(1)).unwrap();
    assert_eq!(page.expect_event("n").await, 1);
    page.expect_silence().await;
    assert_eq!(published.take().len(), 1, "the kit's own events are not recorded");
}

#[tokio::test]
async fn a_stall_lasts_until_its_timeout_by_the_manual_clock() {
    let (manager, clock) = SseManager::with_manual_clock(SseConfig::default()).unwrap();
    let mut page = connect(&manager);
    page.expect_connected().await;
    let faults = manager.faults();
    faults.stall(page.client_id());
    manager.broadcast(event(1)).unwrap();
    faults.fall_behind(page.client_id()).await;
    clock.advance(Duration::from_secs(299));
    assert_eq!(manager.stats().total_clients, 1);
    clock.advance(Duration::from_secs(31));
    assert_eq!(manager.stats().disconnects["slow"], 1, "when the clock has moved, it has happened");
    faults.resume(page.client_id());
    page.expect_closing("slow").await;
}

#[tokio::test]
async fn silence_is_exact() {
    let (manager, clock) = SseManager::with_manual_clock(SseConfig::default()).unwrap();
    let ann = ConnectionOptions { user_id: Some("ann".to_owned()), ..ConnectionOptions::default() };
    let mut page = manager.create_connection(ann.clone()).unwrap();
    page.expect_silence().await;
    clock.advance(Duration::from_secs(30));
    manager.send_to_user("bob", event(1)).unwrap();
    page.expect_silence().await;
    // However much lies before it: live, and in a replay.
    let start = manager.cursor();
    for number in 0..3_000 {
        manager.send_to_user("ann", SseEvent::new("n", json!([number, "x".repeat(500)]))).unwrap();
    }
    for number in 0..3_000 {
        assert_eq!(page.expect_event("n").await[0], number);
    }
    page.expect_silence().await;
    let mut replay =
        manager.create_connection(ConnectionOptions { last_event_id: Some(start), ..ann.clone() }).unwrap();
    for number in 0..3_000 {
        assert_eq!(replay.expect_event("n").await[0], number);
    }
    replay.expect_silence().await;
    page.expect_silence().await;
    assert!(manager.received_by(&ann).unwrap().iter().all(|event| event.event == "n"), "nobody else sees the marker");
}

#[test]
fn assertions_need_no_timers_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let manager = manager();
        let mut page = connect(&manager);
        page.expect_connected().await;
        let elsewhere = manager.clone();
        let thread = std::thread::spawn(move || elsewhere.broadcast(event(1)).unwrap());
        assert_eq!(page.expect_event("n").await, 1);
        manager.faults().fall_behind(page.client_id()).await;
        assert_eq!(manager.expect_clients(1).await, [page.client_id()]);
        thread.join().unwrap();
    });
}

#[tokio::test]
async fn what_was_published_is_recorded_with_its_target() {
    let manager = manager();
    manager.broadcast(event(0)).unwrap();
    let published = manager.record();
    let _page = connect(&manager);
    manager.send_to_user("ann", event(1)).unwrap();
    manager.publish(event(2).with_id("two").with_retry_ms(5), Target::topic("t")).await.unwrap();
    manager.publish_blocking(event(3).ephemeral(), Target::All).unwrap();
    let batch = vec![(event(4), Target::users(["ann", "bob"])), (SseEvent::new("m", json!({ "x": 5 })), Target::All)];
    let receipts = manager.publish_batch(batch).await.unwrap();
    assert!(manager.broadcast(SseEvent::new("$wrong", 6)).is_err());
    let all = published.all();
    assert_eq!(all.iter().map(|event| event.clients).collect::<Vec<_>>(), [0, 0, 1, 0, 1]);
    assert_eq!((all[1].id.as_deref(), all[1].retry_ms, all[1].ephemeral), (Some("two"), Some(5), false));
    assert_eq!((all[2].cursor.as_deref(), all[2].ephemeral), (None, true));
    assert_eq!(all[4].cursor, receipts[1].id);
    assert_eq!(published.expect("n", &Target::users(["ann", "bob"])), 4);
    assert_eq!(published.expect("m", &Target::All), json!({ "x": 5 }));
    assert_eq!(published.next().await.target, Target::user("ann"));
    assert_eq!(published.take().len(), 2);
    published.expect_nothing();
    let elsewhere = manager.clone();
    let thread = std::thread::spawn(move || elsewhere.broadcast(event(7)).unwrap());
    assert_eq!(published.next().await.data, 7);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_repeated_request_is_recorded_once() {
    let server = serve(Wire::Takeover, config()).await;
    let published = server.manager.record();
    for _ in 0..2 {
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        let body = br#"[{"event":"n","data":1},{"event":"n","data":2}]"#;
        assert_eq!(server.request("POST", "/api/sse/publish", &headers, body).await.head.status, 200);
    }
    assert_eq!(published.take().len(), 2);
}

#[test]
fn a_recorder_has_a_bound_and_says_so() {
    let manager = manager();
    let published = manager.record();
    for number in 0..=RECORDED_MAX as u32 {
        manager.broadcast(event(number)).unwrap();
    }
    let panic = panics(|| _ = published.expect("n", &Target::user("ann")));
    assert!(panic.contains("\n  and 9980 more\n  (1 older ones were forgotten"), "{panic}");
    assert_eq!(published.expect("n", &Target::All), 1, "the oldest is gone");
}

#[test]
fn the_process_wide_functions_are_recorded_by_the_process_wide_manager() {
    let published = fanfare::sse_manager().unwrap().record();
    fanfare::success_notification("saved", None, Some("ann of this test")).unwrap();
    assert_eq!(published.expect("success", &Target::user("ann of this test"))["message"], "saved");
}

#[test]
fn the_history_is_matched_as_for_a_client() {
    let manager = manager();
    manager.send(event(1), Target::topic("a")).unwrap();
    let middle = manager.cursor();
    manager.send(event(2), Target::users(["ann"])).unwrap();
    manager.broadcast(event(3)).unwrap();
    manager.broadcast(event(4).ephemeral()).unwrap();
    let data = |options: &ConnectionOptions| {
        manager.received_by(options).unwrap().into_iter().map(|event| event.data).collect::<Vec<_>>()
    };
    let ann = ConnectionOptions {
        user_id: Some("ann".to_owned()),
        topics: vec!["a".to_owned()],
        ..ConnectionOptions::default()
    };
    assert_eq!(data(&ann), ["1", "2", "3"]);
    assert_eq!(data(&ConnectionOptions { last_event_id: Some(middle), ..ann.clone() }), ["2", "3"]);
    assert_eq!(data(&ConnectionOptions { last_event_id: Some("last:1".to_owned()), ..ann }), ["3"]);
    assert_eq!(data(&ConnectionOptions::default()), ["3"]);
    assert!(data(&after("latest")).is_empty());
    assert!(manager.received_by(&after("last:0")).is_err());
}

// What fails

/// A page that has read its `connected`, and what it is read by.
async fn page(manager: &SseManager) -> Connection {
    let mut page = connect(manager);
    page.expect_connected().await;
    page
}

#[tokio::test]
async fn assertions_fail_with_what_came_instead_and_where_it_was_expected() {
    let manager = manager();
    let sent = async |number: u32| {
        let page = page(&manager).await;
        manager.broadcast(event(number)).unwrap();
        page
    };
    let mut one = sent(1).await;
    let line = line!() + 1;
    let panic = panic_of(async move { one.expect_event("other").await }).await;
    let (what, place) = panic.split_once('\n').unwrap();
    assert_eq!(what, r#"expected "other", got "n" with 1"#);
    assert!(place.starts_with(&format!("  expected at {}:{line}:", file!())), "{place}");

    let mut one = sent(2).await;
    let panic = panic_of(async move { one.expect_silence().await }).await;
    assert!(panic.starts_with(r#"expected silence, got "n" with 2"#), "{panic}");
    let mut one = sent(3).await;
    let panic = panic_of(async move { one.expect_end().await }).await;
    assert!(panic.starts_with(r#"expected the end of the stream, got "n" with 3"#), "{panic}");
    let mut one = sent(4).await;
    let panic = panic_of(async move { one.expect_connected().await }).await;
    assert!(panic.starts_with(r#"expected `connected`, got "n" with 4"#), "{panic}");
    let mut one = sent(5).await;
    let panic = panic_of(async move { one.expect_closing("slow").await }).await;
    assert!(panic.starts_with(r#"expected `$closing` for "slow", got "n" with 5"#), "{panic}");

    let mut one = connect(&manager);
    let panic = panic_of(async move { one.expect_resume(Resume::Gap).await }).await;
    assert!(panic.starts_with(r#"expected `connected` with "gap", got it with "live""#), "{panic}");

    let ended = async || {
        let page = page(&manager).await;
        manager.disconnect_client(page.client_id());
        page
    };
    let mut one = ended().await;
    let panic = panic_of(async move { one.expect_closing("slow").await }).await;
    assert!(panic.contains(r#"got "$closing" with {"reason":"disconnected""#), "{panic}");
    let mut one = ended().await;
    let panic = panic_of(async move { one.expect_silence().await }).await;
    assert!(panic.starts_with(r#"expected silence, got "$closing""#), "{panic}");
    let mut one = ended().await;
    let panic = panic_of(async move { one.expect_event("n").await }).await;
    assert!(panic.starts_with(r#"expected "n", got "$closing""#), "{panic}");
    let mut one = ended().await;
    one.expect_event("$closing").await;
    let panic = panic_of(async move {
        one.expect_event("$gap").await;
    })
    .await;
    assert!(panic.starts_with(r#"expected "$gap", got the end of the stream"#), "{panic}");
    let mut one = page(&manager).await;
    manager.faults().cut(one.client_id());
    let panic = panic_of(async move { one.expect_silence().await }).await;
    assert!(panic.starts_with("expected silence, got the end of the stream"), "{panic}");
}

#[tokio::test]
async fn a_gap_is_not_passed_over_in_silence() {
    let manager = SseManager::new(SseConfig { slow_policy: SlowPolicy::Gap, ..config() }).unwrap();
    let mut gaps = Vec::new();
    for _ in 0..2 {
        let page = page(&manager).await;
        manager.faults().stall(page.client_id());
        manager.broadcast(event(1)).unwrap();
        manager.faults().fall_behind(page.client_id()).await;
        manager.faults().resume(page.client_id());
        gaps.push(page);
    }
    let (mut one, mut two) = (gaps.pop().unwrap(), gaps.pop().unwrap());
    let panic = panic_of(async move { one.expect_silence().await }).await;
    assert!(panic.starts_with(r#"expected silence, got "$gap" with {"reason":"slow"}"#), "{panic}");
    let panic = panic_of(async move { two.expect_event("n").await }).await;
    assert!(panic.starts_with(r#"expected "n", got "$gap""#), "{panic}");
}

#[tokio::test]
async fn assertions_that_wait_in_vain_say_for_what() {
    let manager = manager();
    let published = manager.record();
    let (mut one, mut two, mut three) = (page(&manager).await, page(&manager).await, page(&manager).await);
    manager.faults().stall(three.client_id());
    // Never polled, so it has no stream.
    let unread = connect(&manager);
    let (faults, unread_id) = (manager.faults(), unread.client_id().to_owned());
    let (users, all) = (manager.clone(), manager.clone());
    let (one, two, three, four, five, six, seven) = tokio::join!(
        panic_of(async move { one.expect_event("n").await }),
        panic_of(async move { two.next_event().await }),
        panic_of(async move { three.expect_silence().await }),
        panic_of(async move { faults.fall_behind(&unread_id).await }),
        panic_of(async move { users.expect_clients_of("ann", 1).await }),
        panic_of(async move { all.expect_clients(99).await }),
        panic_of(async move { published.next().await }),
    );
    assert!(one.starts_with(r#"expected "n", got nothing for ten seconds"#), "{one}");
    assert!(two.starts_with("expected an event, or the end, got nothing for ten seconds"), "{two}");
    assert!(three.starts_with("expected silence, and the event of the kit that ends it, got nothing"), "{three}");
    assert!(four.contains("has no stream that could stall"), "{four}");
    assert!(five.starts_with(r#"expected the number of clients of "ann" to become 1, got 0 after"#), "{five}");
    assert!(six.starts_with("expected the number of clients to become 99, got "), "{six}");
    assert!(seven.starts_with("expected something published, got nothing for ten seconds"), "{seven}");
}

#[tokio::test]
async fn faults_and_recorders_that_do_not_fit_say_why() {
    let manager = manager();
    let open = page(&manager).await;
    let faults = manager.faults();
    let gone = {
        let gone = page(&manager).await;
        faults.cut(gone.client_id());
        let id = gone.client_id().to_owned();
        eventually("it is gone", || manager.stats().disconnects["error"] == 1).await;
        id
    };
    for client_id in ["nonsense", &gone] {
        let calls: [&dyn Fn(); 4] =
            [&|| faults.stall(client_id), &|| faults.resume(client_id), &|| faults.cut_after(client_id, 1), &|| {
                drop(faults.fall_behind(client_id));
            }];
        for call in calls {
            let panic = panics(call);
            let expected = format!("no connection has the client id {client_id:?}; open are [{:?}]", open.client_id());
            assert_eq!(panic, expected);
        }
        assert!(panics(|| faults.cut(client_id)).contains(client_id));
    }
    let published = manager.record();
    let panic = panics(|| _ = published.expect("n", &Target::All));
    assert_eq!(panic, r#"expected a published "n" for All, got nothing"#);
    manager.send_to_user("ann", event(1)).unwrap();
    let panic = panics(|| _ = published.expect("n", &Target::All));
    assert_eq!(panic, "expected a published \"n\" for All, got 1 events:\n  \"n\" for User(\"ann\") with 1");
    let panic = panics(|| published.expect_nothing());
    assert!(panic.starts_with("expected nothing published, got 1 events:\n"), "{panic}");

    manager.destroy();
    assert!(panics(|| faults.restart()).starts_with("restart: the manager was destroyed"));
    let directory = tempfile::tempdir().unwrap();
    let on_disk = SseManager::new(SseConfig { data_dir: Some(directory.path().to_owned()), ..config() }).unwrap();
    assert!(panics(|| on_disk.faults().forget_history()).starts_with("forget_history: the history is on disk"));
    assert!(panics(|| on_disk.faults().restart()).starts_with("restart: the history is on disk"));
    // Everything else works there.
    let mut page = page(&on_disk).await;
    let published = on_disk.record();
    on_disk.publish(event(1), Target::All).await.unwrap();
    assert_eq!(page.expect_event("n").await, 1);
    page.expect_silence().await;
    on_disk.faults().fall_behind(page.client_id()).await;
    on_disk.publish(event(2), Target::All).await.unwrap();
    on_disk.faults().resume(page.client_id());
    assert_eq!(page.expect_event("n").await, 2);
    assert_eq!(published.take().len(), 2);
}
