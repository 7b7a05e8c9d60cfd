//! What each endpoint answers when all is well.

use crate::open;
use crate::support::{Subscriber, eventually};
use fanfare::{SseEvent, Target};
use serde_json::{Value, json};

#[tokio::test]
async fn statistics_have_the_five_fields_of_old_and_the_settings() {
    let server = open().await;
    let answer = server.get("/api/sse/stats").await;
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    assert_eq!(answer.head.get("cache-control"), Some("no-store"));
    let stats = answer.json();
    for key in ["totalClients", "clientsByUser", "averageConnectionDuration", "totalEventsSent", "lastEventTime"] {
        assert!(stats.get(key).is_some(), "{key} in {stats}");
    }
    let settings = json!({
        "pingInterval": 72_000_000, "clientTimeout": 144_000_000, "maxClients": 10_000, "enableLogging": true
    });
    assert_eq!(stats["settings"], settings);
}

#[tokio::test]
async fn statistics_of_one_user_count_that_user() {
    let server = open().await;
    let (_first, _) = Subscriber::connect(&server, "userId=a%20b").await;
    let answer = server.get("/api/sse/stats?userId=a+b").await.json();
    assert_eq!(answer, json!({ "userId": "a b", "totalClients": 1 }));
    let answer = server.get("/api/sse/stats?userId=absent").await.json();
    assert_eq!(answer, json!({ "userId": "absent", "totalClients": 0 }));
}

#[tokio::test]
async fn statistics_name_the_thousand_largest_users_and_say_that_there_are_more() {
    let server = open().await;
    let connections: Vec<_> = (0..1_005)
        .flat_map(|number| std::iter::repeat_n(number, 1 + usize::from(number >= 1_000)))
        .map(|number: usize| {
            let options = fanfare::ConnectionOptions { user_id: Some(format!("u{number:04}")), ..Default::default() };
            server.manager.create_connection(options).unwrap()
        })
        .collect();
    let stats = server.stats().await;
    assert_eq!(stats["totalClients"], connections.len());
    let users = stats["clientsByUser"].as_object().unwrap();
    assert_eq!((users.len(), &stats["clientsByUserTruncated"]), (1_000, &json!(true)));
    assert!((1_000..1_005).all(|number| users[&format!("u{number:04}")] == 2), "the largest are among them");
}

#[tokio::test]
async fn the_demo_sends_its_seven_types() {
    let server = open().await;
    let (mut ann, _) = Subscriber::connect(&server, "userId=ann").await;
    let (mut bob, _) = Subscriber::connect(&server, "userId=bob").await;
    let send = async |body: Value| {
        let answer = server.post("/api/sse/demo", &body).await;
        assert_eq!(answer.head.status, 200, "{}", answer.text());
        answer.json()["clients"].clone()
    };
    let cases = [
        (json!({ "type": "broadcast" }), 2, "notification", json!({ "message": "m" })),
        (json!({ "type": "broadcast", "data": [1] }), 2, "notification", json!({ "message": "m", "data": [1] })),
        (json!({ "type": "user", "userId": "ann" }), 1, "notification", json!({ "message": "m" })),
        (json!({ "type": "system" }), 2, "system", json!({ "message": "m", "level": "info" })),
        (
            json!({ "type": "system", "userId": "ann", "data": { "level": "error" } }),
            1,
            "system",
            json!({ "message": "m", "level": "error" }),
        ),
        (json!({ "type": "progress" }), 2, "progress", json!({ "operationId": "demo", "progress": 0, "message": "m" })),
        (
            json!({ "type": "progress", "userId": "ann", "data": { "progress": 75, "operationId": "op" } }),
            1,
            "progress",
            json!({ "operationId": "op", "progress": 75, "message": "m" }),
        ),
        (
            json!({ "type": "success", "userId": "ann", "data": { "x": 1 } }),
            1,
            "success",
            json!({ "message": "m", "data": { "x": 1 } }),
        ),
        (json!({ "type": "error", "userId": "ann" }), 1, "error", json!({ "error": "m" })),
        (
            json!({ "type": "error", "data": { "code": 7 } }),
            2,
            "error",
            json!({ "error": "m", "context": { "code": 7 } }),
        ),
    ];
    let mut for_bob = Vec::new();
    for (mut body, clients, event, data) in cases {
        body["message"] = "m".into();
        assert_eq!(send(body.clone()).await, clients, "{body}");
        let received = ann.next_own().await;
        let mut payload = received.json();
        assert!(payload.as_object_mut().unwrap().remove("timestamp").is_some_and(|at| at.is_u64()), "{body}");
        assert_eq!((received.event.as_str(), &payload), (event, &data), "{body}");
        if clients == 2 {
            for_bob.push(received.data);
        }
    }
    let body = json!({ "type": "update", "message": "m", "data": { "type": "content" } });
    assert_eq!(send(body).await, 2);
    let update = ann.next_own().await;
    assert_eq!((update.event.as_str(), &update.json()["type"]), ("update", &json!("content")));
    for_bob.push(update.data);
    assert_eq!(bob.data(for_bob.len()).await, for_bob);
}

#[tokio::test]
async fn history_as_json_has_what_the_identity_may_see_page_after_page() {
    let server = open().await;
    let start = server.manager.cursor();
    for number in 0..10 {
        let target = if number % 2 == 0 { Target::user("ann") } else { Target::topic("news") };
        server.manager.send(SseEvent::new("n", json!({ "number": number })).with_id("own"), target).unwrap();
    }
    let all = server.get("/api/sse/events?userId=ann").await.json();
    assert_eq!(all["resume"], "resumed");
    let numbers = |page: &Value| -> Vec<u64> {
        page["events"].as_array().unwrap().iter().map(|event| event["data"]["number"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&all), [0, 2, 4, 6, 8]);
    assert_eq!(all["events"][0]["event"], "n");
    assert!(all["events"][0]["id"].as_str().unwrap().ends_with("~own"));
    assert_eq!(all["next"], server.manager.cursor());

    let (mut seen, mut next) = (Vec::new(), start);
    loop {
        let target = format!("/api/sse/events?userId=ann&topic=news&limit=3&lastEventId={next}");
        let page = server.get(&target).await.json();
        let found = numbers(&page);
        assert!(found.len() <= 3);
        if found.is_empty() {
            break;
        }
        seen.extend(found);
        page["next"].as_str().unwrap().clone_into(&mut next);
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    assert_eq!(numbers(&server.get("/api/sse/events?topic=news&lastEventId=last:2").await.json()), [7, 9]);
    let reset = server.get("/api/sse/events?userId=ann&lastEventId=foreign").await.json();
    assert_eq!(reset["resume"], "reset");
    assert_eq!(numbers(&server.get("/api/sse/events?userId=ann&lastEventId=latest").await.json()), [0u64; 0]);
}

#[tokio::test]
async fn connections_are_listed_page_after_page() {
    let server = open().await;
    let mut subscribers = Vec::new();
    for number in 0..7 {
        let query = format!("userId=u{}&sessionId=s{number}&topic=b&topic=a&page=home", number % 2);
        subscribers.push(Subscriber::connect(&server, &query).await);
    }
    let page = server.get("/api/sse/clients").await.json();
    assert_eq!(page["totalClients"], 7);
    let first = &page["clients"][0];
    assert_eq!((&first["metadata"], &first["topics"]), (&json!({ "page": "home" }), &json!(["a", "b"])));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    assert!(first["connectedAt"].as_u64().is_some_and(|at| at <= now + 1 && now - at < 20_000), "{first}");

    let mut sessions = std::collections::BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("/api/sse/clients?limit=3{after}")).await.json();
        let clients = page["clients"].as_array().unwrap();
        assert!(clients.len() <= 3);
        for client in clients {
            assert!(sessions.insert(client["sessionId"].as_str().unwrap().to_owned()), "{client} twice");
        }
        let Some(next) = page.get("next") else { break };
        after = format!("&after={}", next.as_str().unwrap());
    }
    assert_eq!(sessions.len(), 7);
    let page = server.get("/api/sse/clients?userId=u1").await.json();
    assert_eq!(page["clients"].as_array().unwrap().len(), 3);
    drop(subscribers);
    server.clients_become(0).await;
    assert_eq!(server.get("/api/sse/clients").await.json()["clients"], json!([]));
}

#[tokio::test]
async fn connections_are_ended_by_client_and_by_user() {
    let server = open().await;
    let (mut first, connected) = Subscriber::connect(&server, "userId=a%2Fb").await;
    let (mut second, _) = Subscriber::connect(&server, "userId=a%2Fb").await;
    let target = format!("/api/sse/clients/{}", connected.json()["clientId"].as_str().unwrap());
    let answer = server.request("DELETE", &target, &[], b"").await;
    assert_eq!((answer.head.status, answer.body.as_slice()), (204, &b""[..]));
    assert_eq!(first.next().await.json()["reason"], "disconnected");
    let answer = server.request("DELETE", &target, &[], b"").await;
    assert_eq!(answer.problem(), crate::refusal(404, "not-found", &["#/path/clientId"]));
    let answer = server.request("DELETE", "/api/sse/users/a%2Fb", &[], b"").await;
    assert_eq!((answer.head.status, answer.json()), (200, json!({ "disconnected": 1 })));
    assert_eq!(second.next().await.json()["reason"], "disconnected");
    let answer = server.request("DELETE", "/api/sse/users/a%2Fb", &[], b"").await;
    assert_eq!((answer.head.status, answer.json()), (200, json!({ "disconnected": 0 })));
    eventually("nobody", || server.manager.engine_stats().clients == 0).await;
}

#[tokio::test]
async fn the_cursor_is_where_the_log_ends() {
    let server = open().await;
    let before = server.get("/api/sse/cursor").await.json();
    server.manager.broadcast(SseEvent::new("n", 1)).unwrap();
    let after = server.get("/api/sse/cursor").await.json();
    assert_ne!(before, after);
    assert_eq!(after, json!({ "id": server.manager.cursor() }));
}

#[tokio::test]
async fn the_demo_page_and_the_description_of_the_interface_are_there() {
    let server = open().await;
    let page = server.get("/sse-demo").await;
    assert_eq!(page.head.status, 200);
    assert!(page.head.get("content-type").unwrap().starts_with("text/html"));
    assert!(page.text().contains("/api/sse"), "it knows where the endpoints are");
    let description = server.get("/api/sse/openapi.json").await;
    assert_eq!(description.head.status, 200);
    assert!(description.json()["openapi"].as_str().unwrap().starts_with('3'));
    let paths = description.json()["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for path in ["stats", "cursor", "events", "publish", "clients", "demo"] {
        assert!(paths.iter().any(|known| known.ends_with(path)), "{path} in {paths:?}");
    }
}
