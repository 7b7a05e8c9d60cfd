//! Who may do what, and where the endpoints are.

use crate::refusal;
use crate::support::{Server, Subscriber, Subscription, Wire, config, serve_app};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use fanfare::{Access, AccessRequest, Action, ConnectionOptions, Denied, SseManager, SseRouter};
use serde_json::json;

async fn with(configure: impl FnOnce(SseRouter) -> Router) -> Server {
    let manager = SseManager::new(config()).unwrap();
    let app = configure(fanfare::router(manager.clone()));
    serve_app(Wire::Takeover, manager, app).await
}

const CLOSED: [(&str, &str); 9] = [
    ("GET", "/api/sse/stats"),
    ("GET", "/api/sse/events"),
    ("GET", "/api/sse/clients"),
    ("POST", "/api/sse/publish"),
    ("POST", "/api/sse/notify/system"),
    ("POST", "/api/sse/notify/nope"),
    ("POST", "/api/sse/demo"),
    ("DELETE", "/api/sse/clients/x"),
    ("DELETE", "/api/sse/users/x"),
];

#[tokio::test]
async fn unless_the_application_says_more_only_subscribing_is_open() {
    let server = with(SseRouter::into_router).await;
    let (_subscriber, _) = Subscriber::connect(&server, "userId=ann").await;
    assert_eq!(server.get("/api/sse/cursor").await.head.status, 200);
    for (method, target) in CLOSED {
        let body = json!({ "event": "n", "data": 1 }).to_string();
        let answer = server.request(method, target, &[("content-type", "application/json")], body.as_bytes()).await;
        assert_eq!(answer.problem(), refusal(403, "forbidden", &[]), "{method} {target}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("authorize") && detail.contains("allow_all"), "it names the way out: {detail}");
    }
    assert_eq!(server.manager.stats().total_events_published, 0);
}

#[tokio::test]
async fn the_hook_sees_what_is_wanted_and_its_refusals_are_passed_on() {
    let server = with(|router| {
        router
            .authorize(|request: AccessRequest| async move {
                let token = request.headers.get("authorization").and_then(|value| value.to_str().ok());
                match (token, request.action) {
                    (None, _) => Err(Denied::unauthorized("say who you are")),
                    (Some("reader"), Action::Subscribe | Action::Stats) => Ok(Access::allow()),
                    (Some("reader"), action) => Err(Denied::forbidden(format!("{action:?} is not for readers"))),
                    _ => Ok(Access::allow()),
                }
            })
            .into_router()
    })
    .await;
    let all = CLOSED.iter().chain([&("GET", "/api/sse"), &("GET", "/api/sse/cursor")]);
    for (method, target) in all {
        let answer = server.request(method, target, &[], b"").await;
        assert_eq!(answer.problem(), refusal(401, "unauthorized", &[]), "{method} {target}");
        assert!(answer.head.get("www-authenticate").is_some(), "{method} {target}");
    }
    let as_reader = [("authorization", "reader"), ("content-type", "application/json")];
    assert_eq!(server.request("GET", "/api/sse/stats", &as_reader, b"").await.head.status, 200);
    for (action, method, target) in [
        ("History", "GET", "/api/sse/events"),
        ("Clients", "GET", "/api/sse/clients"),
        ("Cursor", "GET", "/api/sse/cursor"),
        ("Publish", "POST", "/api/sse/publish"),
        ("Publish", "POST", "/api/sse/notify/system"),
        ("Demo", "POST", "/api/sse/demo"),
        ("Disconnect", "DELETE", "/api/sse/clients/x"),
        ("Disconnect", "DELETE", "/api/sse/users/x"),
    ] {
        let answer = server.request(method, target, &as_reader, b"").await;
        assert_eq!(answer.problem(), refusal(403, "forbidden", &[]), "{method} {target}");
        assert_eq!(answer.json()["detail"], format!("{action} is not for readers"), "{method} {target}");
    }
    let subscription = Subscription::default().header("authorization", "reader");
    assert_eq!(Subscriber::open(&server, &subscription).await.head.status, 200);
}

#[tokio::test]
async fn the_identity_the_hook_gives_takes_the_place_of_the_one_asked_for() {
    let server = with(|router| {
        router
            .authorize(|request: AccessRequest| async move {
                if request.action == Action::Subscribe {
                    let requested = request.requested.expect("a subscriber asks for an identity");
                    assert_eq!(requested.user_id.as_deref(), Some("root"));
                    assert_eq!(request.extensions.get::<&str>(), Some(&"put there by a middleware"));
                }
                Ok(Access::allow_as(ConnectionOptions {
                    user_id: Some("ann".into()),
                    topics: vec!["own".into()],
                    ..ConnectionOptions::default()
                }))
            })
            .into_router()
            .layer(from_fn(|mut request: Request, next: Next| async move {
                request.extensions_mut().insert("put there by a middleware");
                next.run(request).await
            }))
    })
    .await;
    let manager = &server.manager;
    let start = manager.cursor();
    manager.send_to_user("root", fanfare::SseEvent::new("n", "for root")).unwrap();
    manager.send_to_user("ann", fanfare::SseEvent::new("n", "for ann")).unwrap();
    let query = "userId=root&topic=secret&sse.heartbeat=comment";
    let (mut subscriber, connected) = Subscriber::resume(&server, &Subscription::new(query).after(&start)).await;
    assert_eq!((&connected.json()["userId"], &connected.json()["resume"]), (&json!("ann"), &json!("resumed")));
    assert_eq!(subscriber.data(1).await, ["\"for ann\""]);
    let send = |topic: &str| manager.send(fanfare::SseEvent::new("n", topic), fanfare::Target::topic(topic)).unwrap();
    assert_eq!((send("secret"), send("own")), (0, 1));
    assert_eq!(subscriber.data(1).await, ["\"own\""]);
    let page = server.get("/api/sse/events?userId=root").await.json();
    assert_eq!(page["events"].as_array().unwrap().len(), 2, "history is read as ann, too: {page}");
}

#[tokio::test]
async fn the_endpoints_may_live_under_another_path() {
    let server = with(|router| router.allow_all().base_path("/live/events").into_router()).await;
    assert_eq!(server.get("/live/events/stats").await.head.status, 200);
    assert_eq!(server.get("/api/sse/stats").await.head.status, 404);
    let page = server.get("/sse-demo").await;
    assert!(page.text().contains("/live/events"), "the page is told");
    let raw = server.get("/live/events/openapi.json").await;
    assert!(raw.text().contains("/live/events"), "so is the description");
}

#[tokio::test]
async fn the_demo_may_be_left_out() {
    let server = with(|router| router.allow_all().demo(false).into_router()).await;
    assert_eq!(server.get("/sse-demo").await.head.status, 404);
    assert_eq!(server.post("/api/sse/demo", json!({ "type": "broadcast", "message": "m" })).await.head.status, 404);
    assert_eq!(server.get("/api/sse/stats").await.head.status, 200);
}

#[tokio::test]
async fn it_nests_in_an_application_with_middleware_around_it() {
    let stamp = from_fn(|request: Request, next: Next| async move {
        let mut response = next.run(request).await;
        let headers = response.headers_mut();
        headers.append("set-cookie", "a=1".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        headers.insert("x-frame-options", "DENY".parse().unwrap());
        response
    });
    let server = with(|router| {
        Router::new()
            .route("/", axum::routing::get(async || "the application"))
            .nest("/v1", router.allow_all().into_router())
            .fallback(async || (http::StatusCode::NOT_FOUND, "the application's own"))
            .layer(stamp)
    })
    .await;
    assert_eq!(server.get("/").await.text(), "the application");
    assert_eq!(server.get("/v1/api/sse/nothing").await.text(), "the application's own");
    let mut raw = crate::support::Raw::connect(server.addr).await;
    raw.send(crate::support::request_text("GET", "/v1/api/sse?userId=ann", &[], b"")).await;
    let head = raw.head().await;
    assert_eq!(head.status, 200);
    assert_eq!((head.get("transfer-encoding"), head.get("connection")), (None, Some("close")), "still taken over");
    assert_eq!(head.get("x-frame-options"), Some("DENY"));
    let cookies: Vec<_> = head.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, v)| v).collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let answer = server.post("/v1/api/sse/publish", json!({ "event": "n", "data": "nested" })).await;
    assert_eq!(answer.json()["clients"], 1);
    while !String::from_utf8_lossy(&raw.rest).contains("nested") {
        assert!(raw.fill().await);
    }
    let answer = server.request("PUT", "/v1/api/sse/publish", &[], b"").await;
    assert_eq!(answer.problem(), refusal(405, "method-not-allowed", &[]), "refusals keep their shape");
}

#[tokio::test]
async fn a_limit_of_the_url_counts_what_the_client_sent_when_nested() {
    let server = with(|router| Router::new().nest("/v1", router.allow_all().into_router())).await;
    let target = format!("/v1/api/sse/stats?userId={}", "x".repeat(fanfare::URL_MAX - 24));
    assert_eq!(target.len(), fanfare::URL_MAX + 1);
    assert_eq!(server.get(&target).await.problem(), refusal(414, "uri-too-long", &[]));
}
