//! Who gets what: targets, counts, ids, and data that arrives as it was sent.

use crate::support::{Server, Subscriber, Subscription, Wire, config, serve};
use fanfare::{SseEvent, SseFilter, Target};
use serde_json::json;
use std::collections::BTreeMap;

fn filter(user: Option<&str>, session: Option<&str>, metadata: &[(&str, &str)]) -> Target {
    Target::Filter(SseFilter {
        user_id: user.map(Into::into),
        session_id: session.map(Into::into),
        metadata: metadata.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    })
}

pub(crate) async fn every_kind_of_target_reaches_whom_it_names_and_counts_them(wire: Wire) {
    const QUERIES: [&str; 5] = [
        "userId=ann&sessionId=s1&topic=news&topic=sport&page=home&lang=de",
        "userId=ann&sessionId=s2&topic=news&page=home&lang=en",
        "userId=bob&sessionId=s3&topic=sport&page=home&lang=de",
        "sessionId=s1&page=cart",
        "",
    ];
    let server = serve(wire, config()).await;
    let mut subscribers = Vec::new();
    let mut ids = Vec::new();
    for query in QUERIES {
        let (subscriber, connected) = Subscriber::connect(&server, query).await;
        ids.push(connected.json()["clientId"].as_str().unwrap().to_owned());
        subscribers.push(subscriber);
    }
    let cases: Vec<(Target, &[usize])> = vec![
        (Target::All, &[0, 1, 2, 3, 4]),
        (Target::user("ann"), &[0, 1]),
        (Target::user("bob"), &[2]),
        (Target::users(["ann", "bob", "nobody"]), &[0, 1, 2]),
        (Target::Session("s1".into()), &[0, 3]),
        (Target::topic("news"), &[0, 1]),
        (Target::topic("sport"), &[0, 2]),
        (Target::Client(ids[4].clone()), &[4]),
        (Target::Client(ids[0].clone()), &[0]),
        (filter(Some("ann"), None, &[]), &[0, 1]),
        (filter(Some("ann"), Some("s2"), &[]), &[1]),
        (filter(None, Some("s1"), &[("page", "cart")]), &[3]),
        (filter(None, None, &[("page", "home")]), &[0, 1, 2]),
        (filter(None, None, &[("page", "home"), ("lang", "de")]), &[0, 2]),
        (filter(Some("ann"), Some("s1"), &[("page", "home"), ("lang", "de")]), &[0]),
        (filter(Some("bob"), Some("s1"), &[]), &[]),
        // A name of one kind is no name of another.
        (Target::topic("ann"), &[]),
        (Target::user("s1"), &[]),
        (filter(None, None, &[("lang", "home")]), &[]),
    ];
    let mut expected: Vec<Vec<String>> = vec![Vec::new(); QUERIES.len()];
    for (number, (target, recipients)) in cases.iter().enumerate() {
        let receipt = server.manager.publish(SseEvent::new("probe", number), target.clone()).await.unwrap();
        assert_eq!(receipt.clients, recipients.len(), "{target:?}");
        recipients.iter().for_each(|recipient| expected[*recipient].push(number.to_string()));
    }
    server.manager.broadcast(SseEvent::new("last", "last")).unwrap();
    for (subscriber, mut expected) in subscribers.iter_mut().zip(expected) {
        expected.push("\"last\"".into());
        assert_eq!(subscriber.data(expected.len()).await, expected);
    }
}

pub(crate) async fn one_connection_named_twice_gets_an_event_once(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut subscriber, _) = Subscriber::connect(&server, "userId=ann&topic=t&topic=t").await;
    let send = async |target: Target| server.manager.publish(SseEvent::new("probe", 1), target).await.unwrap().clients;
    assert_eq!(send(Target::users(["ann", "ann", "bob"])).await, 1);
    assert_eq!(send(Target::topic("t")).await, 1);
    server.manager.broadcast(SseEvent::new("last", 2)).unwrap();
    assert_eq!(subscriber.data(3).await, ["1", "1", "2"]);
}

pub(crate) async fn an_event_for_nobody_is_counted_as_nobody_and_harms_nobody(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut subscriber, _) = Subscriber::connect(&server, "userId=ann").await;
    let before = server.manager.cursor();
    let nobody = server.manager.publish(SseEvent::new("probe", 1), Target::Users(Vec::new())).await.unwrap();
    assert_eq!((nobody.id, nobody.clients), (None, 0));
    assert_eq!(server.manager.cursor(), before, "nothing is logged");
    let absent = server.manager.publish(SseEvent::new("probe", 2), Target::user("absent")).await.unwrap();
    assert!(absent.id.is_some() && absent.clients == 0, "kept for whoever comes: {absent:?}");
    let unknown = server.manager.send_to_client("no-such-client", SseEvent::new("probe", 3)).unwrap();
    assert_eq!(unknown, 0);
    server.manager.broadcast(SseEvent::new("last", 4)).unwrap();
    assert_eq!(subscriber.data(1).await, ["4"]);
}

pub(crate) async fn the_id_of_the_receipt_is_the_id_on_the_wire(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut subscriber, connected) = Subscriber::connect(&server, "").await;
    let plain = server.manager.publish(SseEvent::new("plain", 1), Target::All).await.unwrap();
    let named = server.manager.publish(SseEvent::new("named", 2).with_id("order:7!"), Target::All).await.unwrap();
    let event = subscriber.next_own().await;
    assert_eq!(Some(&event.id), plain.id.as_ref());
    assert!(!event.id.contains('~') && event.id != connected.id, "{event:?}");
    let event = subscriber.next_own().await;
    assert_eq!(Some(&event.id), named.id.as_ref());
    assert_eq!(event.id, format!("{}~order:7!", server.manager.cursor()));
    assert_eq!((plain.durability.as_ref(), named.durability.as_ref()), ("memory", "memory"));
}

pub(crate) async fn an_ephemeral_event_reaches_those_present_and_is_not_kept(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut subscriber, connected) = Subscriber::connect(&server, "").await;
    let receipt = server.manager.publish(SseEvent::new("typing", 1).with_id("own").ephemeral(), Target::All).await;
    let receipt = receipt.unwrap();
    assert_eq!((receipt.id, receipt.clients, receipt.durability.as_ref()), (None, 1, "ephemeral"));
    server.manager.broadcast(SseEvent::new("kept", 2)).unwrap();
    // Order between ephemeral and durable events is not promised.
    let mut events = [subscriber.next_own().await, subscriber.next_own().await];
    events.sort_by_key(|event| event.data.clone());
    assert!(events[0].id.split_once("~~").is_some_and(|(cursor, _)| !cursor.is_empty()), "{:?}", events[0]);
    let (mut second, verdict) = Subscriber::resume(&server, &Subscription::default().after(&connected.id)).await;
    assert_eq!(verdict.json()["resume"], "resumed");
    assert_eq!(second.data(1).await, ["2"], "only what is kept is replayed");
}

pub(crate) async fn text_arrives_as_it_was_sent_line_ends_included(wire: Wire) {
    let text = "one\ntwo\r\nthree\rfour\u{0}\u{85}\u{2028}\u{feff}: id: x\n\ndata: y\ttab \"quote\" \\ Grüße 🎉";
    let server = serve(wire, config()).await;
    let (mut subscriber, _) = Subscriber::connect(&server, "").await;
    server.manager.broadcast(SseEvent::new("text", json!({ "text": text }))).unwrap();
    assert_eq!(subscriber.next_own().await.json()["text"], text);
    // Number text and key order are the publisher's, white space is not.
    let body = r#"{"event": "raw", "data": {"z": 1.50e+3, "a": [12345678901234567890,  "x y"] } }"#;
    server.post("/api/sse/publish", body).await;
    assert_eq!(subscriber.next_own().await.data, r#"{"z":1.50e+3,"a":[12345678901234567890,"x y"]}"#);
}

pub(crate) async fn every_other_type_may_be_used_lifecycle_names_included(wire: Wire) {
    let types = ["message", "error", "open", "close", "__proto__", "constructor", "toString", "a b", "Größe", ":x"];
    let server = serve(wire, config()).await;
    let (mut subscriber, _) = Subscriber::connect(&server, "").await;
    for event_type in types {
        server.manager.broadcast(SseEvent::new(event_type, event_type)).unwrap();
        let event = subscriber.next_own().await;
        assert_eq!((event.event.as_str(), event.json()), (event_type, json!(event_type)));
    }
}

pub(crate) async fn the_largest_event_arrives_whole(wire: Wire) {
    let text = "é".repeat((256 * 1024 - 2) / 2);
    let server = serve(wire, config()).await;
    let (mut subscriber, _) = Subscriber::connect(&server, "").await;
    for _ in 0..5 {
        server.manager.broadcast(SseEvent::new("large", &text)).unwrap();
    }
    for _ in 0..5 {
        let event = subscriber.next_own().await;
        assert_eq!(event.data.len(), 256 * 1024);
        assert!(event.json() == *text, "every byte");
    }
}

pub(crate) async fn a_retry_travels_with_its_event(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut subscriber, _) = Subscriber::connect(&server, "").await;
    server.manager.broadcast(SseEvent::new("slower", 1).with_retry_ms(12_345)).unwrap();
    assert_eq!(subscriber.next_own().await.retry, Some(12_345));
}

pub(crate) async fn events_of_concurrent_publishers_arrive_all_in_order_of_position(wire: Wire) {
    const PUBLISHERS: usize = 4;
    const EACH: usize = 500;
    let server = serve(wire, config()).await;
    let (mut subscriber, _) = Subscriber::connect(&server, "").await;
    let threads: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let manager = server.manager.clone();
            std::thread::spawn(move || {
                for number in 0..EACH {
                    manager.broadcast(SseEvent::new("n", [publisher, number])).unwrap();
                }
            })
        })
        .collect();
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    let mut last = 0;
    for _ in 0..PUBLISHERS * EACH {
        let event = subscriber.next_own().await;
        let position = u64::from_str_radix(event.cursor().rsplit('.').next().unwrap(), 36).unwrap();
        assert!(position > last, "{position} after {last}");
        last = position;
        let [publisher, number]: [usize; 2] = serde_json::from_value(event.json()).unwrap();
        assert_eq!(*next.entry(publisher).or_default(), number, "each publisher's own order");
        next.insert(publisher, number + 1);
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

pub(crate) async fn a_hundred_streams_get_everything(wire: Wire) {
    let server: Server = serve(wire, config()).await;
    let mut subscribers = Vec::new();
    for number in 0..100 {
        subscribers.push(Subscriber::connect(&server, &format!("userId=u{number}")).await.0);
    }
    let mut expected: Vec<String> = Vec::new();
    for number in 0..50 {
        assert_eq!(server.manager.broadcast(SseEvent::new("n", number)).unwrap(), 100);
        assert_eq!(server.manager.send_to_user("u7", SseEvent::new("n", "seven")).unwrap(), 1);
        expected.push(number.to_string());
    }
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        let wanted = if number == 7 { 100 } else { 50 };
        let mut data = subscriber.data(wanted).await;
        data.retain(|data| data != "\"seven\"");
        assert_eq!(data, expected);
    }
}
