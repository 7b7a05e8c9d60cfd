//! One connection from its first byte to its last.

use crate::support::{Answer, Raw, Subscriber, Wire, config, eventually, request_text, serve_app};
use crate::{SUBSCRIBE, expect_a_working_stream, is_taken_over, read_until, with};
use axum::extract::ConnectInfo;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::routing::get;
use fanfare::{ConnectionOptions, SseManager};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[tokio::test]
async fn head_and_connected_come_in_one_piece() {
    let server = with(|app| app).await;
    let mut raw = Raw::connect(server.addr).await;
    raw.send(SUBSCRIBE).await;
    assert!(raw.fill().await);
    let text = String::from_utf8(raw.rest.clone()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\nconnection: close") && head.contains("\r\ndate: "), "{head}");
    assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
    let cursor = server.manager.cursor();
    assert!(body.starts_with(&format!("id: {cursor}\nevent: connected\nretry: ")), "{body}");
    assert!(body.ends_with("}\n\n") && body.matches("\n\n").count() == 1, "one whole frame: {body}");
}

#[tokio::test]
async fn answers_to_pipelined_requests_arrive_whole_before_the_stream() {
    // More than the kernel takes at once, so that hyper still holds some of it when the stream is ready.
    const LARGE: usize = 8 << 20;
    let server = with(|app| app.route("/large", get(async || "x".repeat(LARGE)))).await;
    let mut raw = Raw::connect(server.addr).await;
    let cursor = request_text("GET", "/api/sse/cursor", &[], b"");
    let large = request_text("GET", "/large", &[], b"");
    raw.send([&cursor, &large, SUBSCRIBE.as_bytes()].concat()).await;
    assert_eq!(raw.answer().await.json()["id"], server.manager.cursor());
    let answer = raw.answer().await;
    assert!(answer.body.len() == LARGE && answer.body.iter().all(|byte| *byte == b'x'));
    assert!(is_taken_over(&raw.head().await));
    expect_a_working_stream(&server, &mut raw).await;
}

#[tokio::test]
async fn a_connection_kept_alive_may_become_a_stream() {
    let server = with(|app| app).await;
    let mut raw = Raw::connect(server.addr).await;
    for _ in 0..5 {
        raw.send(request_text("GET", "/api/sse/cursor", &[], b"")).await;
        assert_eq!(raw.answer().await.head.status, 200);
        let publish = request_text(
            "POST",
            "/api/sse/publish",
            &[("content-type", "application/json")],
            br#"{"event":"n","data":1}"#,
        );
        raw.send(publish).await;
        assert_eq!(raw.answer().await.head.status, 200);
    }
    raw.send(SUBSCRIBE).await;
    assert!(is_taken_over(&raw.head().await));
    expect_a_working_stream(&server, &mut raw).await;
}

#[tokio::test]
async fn what_a_client_sends_on_its_stream_is_discarded() {
    let server = with(|app| app).await;
    let mut raw = Raw::connect(server.addr).await;
    let cursor = request_text("GET", "/api/sse/cursor", &[], b"");
    raw.send([SUBSCRIBE.as_bytes(), &cursor].concat()).await;
    assert!(is_taken_over(&raw.head().await));
    expect_a_working_stream(&server, &mut raw).await;
    raw.send(&cursor).await;
    server.manager.broadcast(fanfare::SseEvent::new("second", 2)).unwrap();
    read_until(&mut raw, "event: second\ndata: 2\n\n").await;
    assert!(!String::from_utf8_lossy(&raw.rest).contains("HTTP/1.1"), "no second answer");
    assert_eq!(server.manager.engine_stats().clients, 1);
}

#[tokio::test]
async fn a_head_in_single_bytes_is_a_head() {
    let server = with(|app| app).await;
    let mut raw = Raw::connect(server.addr).await;
    for byte in SUBSCRIBE.bytes() {
        raw.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(is_taken_over(&raw.head().await));
    expect_a_working_stream(&server, &mut raw).await;
}

#[tokio::test]
async fn a_preface_of_http2_in_pieces_is_recognised() {
    let server = with(|app| app).await;
    for cut in [1, 2, 3, 4, 23] {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let mut raw = Raw::connect(server.addr).await;
        raw.stream.set_nodelay(true).unwrap();
        raw.send(&preface[..cut]).await;
        // Lets the server look at the first piece before the second is there.
        let other = server.get("/api/sse/cursor").await;
        assert_eq!(other.head.status, 200);
        raw.send(&preface[cut..]).await;
        raw.send(b"\0\0\0\x04\0\0\0\0\0").await;
        while raw.rest.len() < 9 {
            assert!(raw.fill().await, "cut after {cut}: the connection ended");
        }
        assert_eq!(
            raw.rest[3],
            4,
            "cut after {cut}: SETTINGS come first, not {:?}",
            String::from_utf8_lossy(&raw.rest)
        );
    }
}

#[tokio::test]
async fn requests_with_a_body_or_expect_are_answered_by_hyper() {
    let server = with(|app| app).await;
    let heads = [
        "GET /api/sse HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{}",
        "GET /api/sse HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /api/sse HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n\r\n",
    ];
    for text in heads {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(text).await;
        let head = raw.head().await;
        assert!(head.status == 200 && head.is_chunked(), "{text}: {head:?}");
        expect_a_working_stream(&server, &mut raw).await;
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_stream_delimited_by_close() {
    let server = with(|app| app).await;
    for text in ["GET /api/sse HTTP/1.0\r\n\r\n", "GET /api/sse HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(text).await;
        assert!(is_taken_over(&raw.head().await), "{text}");
        expect_a_working_stream(&server, &mut raw).await;
        server.manager.broadcast(fanfare::SseEvent::new("last", 1)).unwrap();
        read_until(&mut raw, "event: last").await;
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_so_is_a_head_that_does_not_end() {
    let server = with(|app| app).await;
    let silent = async {
        let mut raw = Raw::connect(server.addr).await;
        let began = Instant::now();
        assert!(!raw.fill().await, "nothing is said to who says nothing");
        began.elapsed()
    };
    let trickling = async {
        let mut raw = Raw::connect(server.addr).await;
        let began = Instant::now();
        raw.send("GET /api/sse HTTP/1.1\r\nhost: test\r\nx: ").await;
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                more = raw.fill() => if !more { break },
                _ = ticks.tick() => raw.stream.writable().await.map(|()| _ = raw.stream.try_write(b"x")).unwrap(),
            }
        }
        let answer = String::from_utf8_lossy(&raw.rest);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        began.elapsed()
    };
    let (silent, trickling) = tokio::join!(silent, trickling);
    let within = |elapsed: Duration, seconds: u64| {
        // The server's clock began to run a little after ours, or a little before.
        let elapsed = elapsed + Duration::from_millis(100);
        elapsed >= Duration::from_secs(seconds) && elapsed < Duration::from_secs(seconds + 8)
    };
    assert!(within(silent, 5), "{silent:?}");
    assert!(within(trickling, 10), "{trickling:?}");
}

#[tokio::test]
async fn websockets_of_the_application_work_beside_streams() {
    async fn echo(mut socket: WebSocket) {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    }
    let server = with(|app| app.route("/ws", get(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))).await;
    let (mut stream, _) = Subscriber::connect(&server, "").await;
    let mut raw = Raw::connect(server.addr).await;
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    raw.send(request_text("GET", "/ws", &headers, b"")).await;
    let head = raw.head().await;
    assert_eq!((head.status, head.get("sec-websocket-accept")), (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    for text in ["hello", "again"] {
        let mask = [1, 2, 3, 4];
        let masked = text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let frame: Vec<u8> = [0x81, 0x80 | text.len() as u8].into_iter().chain(mask).chain(masked).collect();
        raw.send(frame).await;
        while raw.rest.len() < 2 + text.len() {
            assert!(raw.fill().await);
        }
        assert_eq!(std::mem::take(&mut raw.rest), [&[0x81, text.len() as u8], text.as_bytes()].concat());
        server.manager.broadcast(fanfare::SseEvent::new("n", text)).unwrap();
        assert_eq!(stream.next_own().await.json(), text);
    }
}

#[tokio::test]
async fn handlers_of_the_application_may_answer_with_a_connection() {
    let manager = SseManager::new(config()).unwrap();
    let own = manager.clone();
    let handler = async move |ConnectInfo(peer): ConnectInfo<SocketAddr>| {
        let user_id = Some(peer.ip().to_string());
        own.create_connection(ConnectionOptions { user_id, ..ConnectionOptions::default() }).unwrap()
    };
    let server = serve_app(Wire::Takeover, manager, axum::Router::new().route("/mine", get(handler))).await;
    let mut raw = Raw::connect(server.addr).await;
    raw.send(request_text("GET", "/mine", &[], b"")).await;
    assert!(is_taken_over(&raw.head().await));
    read_until(&mut raw, "\"userId\":\"127.0.0.1\"").await;
    expect_a_working_stream(&server, &mut raw).await;
    drop(raw);
    server.clients_become(0).await;

    // A response whose body nobody may send.
    let mut raw = Raw::connect(server.addr).await;
    raw.send(request_text("HEAD", "/mine", &[("connection", "close")], b"")).await;
    assert_eq!(raw.head().await.get("content-type"), Some("text/event-stream"));
    assert!(raw.until_end().await.is_empty());
    server.clients_become(0).await;
}

#[tokio::test]
async fn a_handler_that_panics_takes_nobody_with_it() {
    let server = with(|app| app.route("/panic", get(async || -> String { panic!("on purpose") }))).await;
    let (mut stream, _) = Subscriber::connect(&server, "").await;
    let mut raw = Raw::connect(server.addr).await;
    raw.send(request_text("GET", "/panic", &[], b"")).await;
    raw.until_end().await;
    server.manager.broadcast(fanfare::SseEvent::new("n", 1)).unwrap();
    assert_eq!(stream.data(1).await, ["1"]);
    assert_eq!(server.get("/api/sse/cursor").await.head.status, 200);
}

#[tokio::test]
async fn stopping_finishes_what_is_being_answered_and_leaves_streams_to_the_manager() {
    let manager = SseManager::new(config()).unwrap();
    let (entered, wait_entered) = tokio::sync::oneshot::channel();
    let (release, wait_release) = tokio::sync::oneshot::channel::<()>();
    let gates = std::sync::Arc::new(std::sync::Mutex::new(Some((entered, wait_release))));
    let slow = get(async move || {
        let (entered, release) = gates.lock().unwrap().take().unwrap();
        entered.send(()).unwrap();
        release.await.unwrap();
        "done"
    });
    let app = fanfare::router(manager.clone()).allow_all().into_router().route("/slow", slow);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = fanfare::serve(listener, app).with_graceful_shutdown(async { _ = stopped.await });
    assert_eq!(serve.local_addr().unwrap(), addr);
    let serving = tokio::spawn(serve.into_future());

    let mut stream = Raw::connect(addr).await;
    stream.send(SUBSCRIBE).await;
    read_until(&mut stream, "event: connected").await;
    let mut idle = Raw::connect(addr).await;
    idle.send(request_text("GET", "/api/sse/cursor", &[], b"")).await;
    assert_eq!(idle.answer().await.head.status, 200);
    let mut slow = Raw::connect(addr).await;
    slow.send(request_text("GET", "/slow", &[], b"")).await;
    wait_entered.await.unwrap();

    stop.send(()).unwrap();
    assert!(!idle.fill().await, "an idle connection is closed");
    let deadline = Instant::now() + crate::support::PATIENCE;
    while tokio::net::TcpStream::connect(addr).await.is_ok() {
        assert!(Instant::now() < deadline, "it still accepts");
    }
    assert!(!serving.is_finished(), "it waits for the answer");
    release.send(()).unwrap();
    let answer: Answer = slow.answer().await;
    assert_eq!(answer.text(), "done");
    serving.await.unwrap().unwrap();
    manager.broadcast(fanfare::SseEvent::new("after", 1)).unwrap();
    read_until(&mut stream, "event: after").await;
    manager.destroy();
    read_until(&mut stream, "\"reason\":\"shutdown\"").await;
    eventually("the stream is forgotten", || manager.engine_stats().clients == 0).await;
}
