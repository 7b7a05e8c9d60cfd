//! What is refused at the door: queries, paths, methods, content types, all of them hostile.

use crate::support::{Answer, Raw, Server, request_text};
use crate::{open, refusal};
use serde_json::json;

async fn subscribe(server: &Server, query: &str) -> Answer {
    let answer = server.get(&format!("/api/sse?{query}")).await;
    assert_ne!(answer.head.status, 200, "{query}");
    answer
}

#[tokio::test]
async fn a_query_that_is_not_clear_is_malformed() {
    let server = open().await;
    let cases = [
        ("userId=a&userId=b", "#/query/userId"),
        ("userId=a&userId=a", "#/query/userId"),
        ("sessionId=a&x=1&sessionId=b", "#/query/sessionId"),
        ("lastEventId=1&lastEventId=2", "#/query/lastEventId"),
        ("page=a&page=b", "#/query/page"),
        ("sse.heartbeat=event&sse.heartbeat=comment", "#/query/sse.heartbeat"),
        ("sse.slow=gap&sse.slow=gap", "#/query/sse.slow"),
        ("userId=", "#/query/userId"),
        ("userId", "#/query/userId"),
        ("sessionId=", "#/query/sessionId"),
        ("topic=a&topic=", "#/query/topic"),
        ("lastEventId=", "#/query/lastEventId"),
        ("page=", "#/query/page"),
        ("=x", "#/query/"),
        ("sse.heartbeat=none", "#/query/sse.heartbeat"),
        ("sse.compression=deflate", "#/query/sse.compression"),
        ("sse.slow=later", "#/query/sse.slow"),
        ("sse.slow=Gap", "#/query/sse.slow"),
        ("sse.slow=", "#/query/sse.slow"),
        ("sse.heartbeet=event", "#/query/sse.heartbeet"),
        ("sse.=x", "#/query/sse."),
        ("a%2Fb=1&a%2fb=2", "#/query/a~1b"),
        ("userId=%", "#/query"),
        ("userId=%4", "#/query"),
        ("userId=%zz", "#/query"),
        ("userId=%FF", "#/query"),
        ("userId=%C3%28", "#/query"),
        ("%ED%A0%80=x", "#/query"),
    ];
    for (query, pointer) in cases {
        assert_eq!(subscribe(&server, query).await.problem(), refusal(400, "malformed", &[pointer]), "{query}");
    }
    assert_eq!(server.manager.engine_stats().clients, 0);
}

#[tokio::test]
async fn names_with_control_characters_are_refused_never_stripped() {
    let server = open().await;
    for bad in ["%0D", "%0A", "%0d%0aid:%201", "a%00", "%1B[2J", "%7F", "%C2%85", "%E2%80%A8", "%E2%80%AE", "%EF%BB%BF"]
    {
        for name in ["userId", "sessionId", "topic", "page"] {
            let answer = subscribe(&server, &format!("{name}={bad}")).await;
            assert_eq!(answer.problem(), refusal(422, "invalid", &[&format!("#/query/{name}")]), "{name}={bad}");
        }
        assert_eq!(subscribe(&server, &format!("a{bad}=x")).await.problem().0, 422, "a name with {bad}");
        let body = format!("{{\"event\":\"n\",\"data\":1,\"to\":{{\"userId\":\"a\\u000a{}\"}}}}", "b");
        assert_eq!(server.post("/api/sse/publish", body).await.problem(), refusal(422, "invalid", &["#/to/userId"]));
        let answer = server.request("DELETE", &format!("/api/sse/users/{bad}"), &[], b"").await;
        assert_eq!(answer.problem(), refusal(422, "invalid", &["#/path/userId"]), "{bad}");
        let answer = server.request("DELETE", &format!("/api/sse/clients/{bad}"), &[], b"").await;
        assert_eq!(answer.problem(), refusal(404, "not-found", &["#/path/clientId"]), "{bad}");
        let answer = server.get(&format!("/api/sse/stats?userId={bad}")).await;
        assert_eq!(answer.problem(), refusal(422, "invalid", &["#/query/userId"]), "{bad}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_text_is_malformed() {
    let server = open().await;
    let cases =
        [("DELETE", "users/%FF"), ("DELETE", "clients/%C3%28"), ("POST", "notify/%FF"), ("DELETE", "users/%ED%A0%80")];
    for (method, path) in cases {
        let answer =
            server.request(method, &format!("/api/sse/{path}"), &[("content-type", "application/json")], b"{}").await;
        let (status, slug, _) = answer.problem();
        assert_eq!((status, slug.as_str()), (400, "malformed"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_start_that_asks_for_too_much_is_refused() {
    let server = open().await;
    for start in ["last:0", "last:10001", "last:", "last:-1", "last:1.5", "last:99999999999999999999"] {
        let answer = subscribe(&server, &format!("lastEventId={start}")).await;
        assert_eq!(answer.problem(), refusal(422, "invalid", &["#/query/lastEventId"]), "{start}");
        let answer = server.get(&format!("/api/sse/events?lastEventId={start}")).await;
        assert_eq!(answer.problem(), refusal(422, "invalid", &["#/query/lastEventId"]), "{start}");
    }
}

#[tokio::test]
async fn parameters_of_the_reading_endpoints_are_checked() {
    let server = open().await;
    let cases = [
        ("stats?user=x", "#/query/user"),
        ("stats?userId=", "#/query/userId"),
        ("stats?userId=a&userId=a", "#/query/userId"),
        ("stats?userId=%FF", "#/query"),
        ("cursor?x=1", "#/query/x"),
        ("clients?limit=0", "#/query/limit"),
        ("clients?limit=1001", "#/query/limit"),
        ("clients?limit=x", "#/query/limit"),
        ("clients?limit=", "#/query/limit"),
        ("clients?after=x", "#/query/after"),
        ("clients?after=-1", "#/query/after"),
        ("clients?page=1", "#/query/page"),
        ("events?limit=0", "#/query/limit"),
        ("events?limit=1001", "#/query/limit"),
        ("events?limit=", "#/query/limit"),
        ("events?limit=1&limit=2", "#/query/limit"),
        ("events?userId=", "#/query/userId"),
        ("events?sse.x=1", "#/query/sse.x"),
    ];
    for (target, pointer) in cases {
        let answer = server.get(&format!("/api/sse/{target}")).await;
        assert_eq!(answer.problem(), refusal(400, "malformed", &[pointer]), "{target}");
    }
    assert_eq!(server.get("/api/sse/clients?after=4000000000").await.json()["clients"], json!([]));
}

#[tokio::test]
async fn the_demo_says_what_it_lacks() {
    let server = open().await;
    let cases = [
        (json!({}), &["#/type", "#/message"][..]),
        (json!({ "type": "broadcast" }), &["#/message"]),
        (json!({ "message": "m" }), &["#/type"]),
        (json!({ "type": "unknown", "message": "m" }), &["#/type"]),
        (json!({ "type": "user", "message": "m" }), &["#/userId"]),
        (json!({ "type": "user", "message": "m", "userId": "" }), &["#/userId"]),
        (json!({ "type": "user", "message": "m", "userId": 7 }), &["#/userId"]),
        (json!({ "type": "system", "message": 7 }), &["#/message"]),
        (json!({ "type": "system", "message": "m", "data": { "level": "loud" } }), &["#/data/level"]),
        (json!({ "type": "progress", "message": "m", "data": { "progress": 101 } }), &["#/data/progress"]),
        (json!({ "type": "progress", "message": "m", "data": { "progress": "50" } }), &["#/data/progress"]),
        (json!({ "type": "progress", "message": "m", "data": { "operationId": 1 } }), &["#/data/operationId"]),
        (json!({ "type": "update", "message": "m", "data": { "type": 1 } }), &["#/data/type"]),
        (json!({ "type": "broadcast", "message": "m", "level": "info" }), &["#/level"]),
        (json!([]), &["#"]),
    ];
    for (body, pointers) in cases {
        let answer = server.post("/api/sse/demo", &body).await;
        assert_eq!(answer.problem(), refusal(422, "invalid", pointers), "{body}");
    }
    assert_eq!(server.stats().await["totalEventsPublished"], 0);
}

#[tokio::test]
async fn an_unknown_helper_is_not_found() {
    let server = open().await;
    for helper in ["nope", "System", "system%20", "%00"] {
        let answer = server.post(&format!("/api/sse/notify/{helper}"), json!({ "message": "m" })).await;
        assert_eq!(answer.problem(), refusal(404, "not-found", &["#/path/helper"]), "{helper}");
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_apply() {
    let server = open().await;
    let endpoints = [
        ("", "GET"),
        ("/stats", "GET"),
        ("/cursor", "GET"),
        ("/events", "GET"),
        ("/clients", "GET"),
        ("/openapi.json", "GET"),
        ("/publish", "POST"),
        ("/notify/system", "POST"),
        ("/demo", "POST"),
        ("/clients/x", "DELETE"),
        ("/users/x", "DELETE"),
    ];
    for (path, method) in endpoints {
        for other in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if other == method {
                continue;
            }
            let answer = server.request(other, &format!("/api/sse{path}"), &[], b"").await;
            assert_eq!(answer.problem(), refusal(405, "method-not-allowed", &[]), "{other} {path}");
            let allow = answer.head.get("allow").unwrap();
            assert!(allow.split(',').any(|allowed| allowed.trim() == method), "{other} {path}: {allow}");
        }
    }
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let server = open().await;
    let body = json!({ "event": "n", "data": 1 }).to_string();
    let unsupported = refusal(415, "unsupported-media-type", &["#/header/Content-Type"]);
    for path in ["publish", "demo", "notify/success"] {
        let target = format!("/api/sse/{path}");
        let answer = server.request("POST", &target, &[], body.as_bytes()).await;
        assert_eq!(answer.problem(), unsupported, "{path}, none");
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", "", "é"] {
            let answer = server.request("POST", &target, &[("content-type", content_type)], body.as_bytes()).await;
            assert_eq!(answer.problem(), unsupported, "{path}, {content_type}");
        }
    }
    for path in ["demo", "notify/success"] {
        let headers = [("content-type", "application/x-ndjson")];
        let answer = server.request("POST", &format!("/api/sse/{path}"), &headers, b"{}").await;
        assert_eq!(answer.problem().0, 415, "{path} takes one object");
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON", "application/json;v=1"] {
        let headers = [("content-type", content_type)];
        let answer = server.request("POST", "/api/sse/publish", &headers, body.as_bytes()).await;
        assert_eq!(answer.head.status, 200, "{content_type}");
    }
}

#[tokio::test]
async fn what_is_no_http_harms_nobody() {
    let server = open().await;
    let texts: [&[u8]; 6] = [
        b"GET /api/sse HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /api/sse?userId=\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET  /api/sse HTTP/1.1\r\nbad header\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"POST /api/sse/publish HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    ];
    for text in texts {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(text).await;
        let answer = raw.until_end().await;
        let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.0 4");
        assert!(
            refused,
            "{:?} was answered with {:?}",
            String::from_utf8_lossy(text),
            String::from_utf8_lossy(&answer)
        );
    }
    let mut raw = Raw::connect(server.addr).await;
    raw.send(request_text("GET", "/api/sse/cursor", &[], b"")).await;
    assert_eq!(raw.answer().await.head.status, 200);
}
