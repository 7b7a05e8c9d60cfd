//! `fanfare bench` against a real server, and against one that loses, repeats and mixes up what it is told to: what comes
//! out is exact. No times: what is fast here is slow elsewhere.
//! `INSTA_UPDATE=always cargo test -p fanfare-server --test bench` writes the snapshots anew.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

#[path = "cli/said.rs"]
mod said;
mod support;

use flate2::write::GzEncoder;
use said::{Said, on_terminal, piped, run, to};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use support::{Server, fanfare, fanfare_under};

/// A small load, quickly published.
const SMALL: [&str; 4] = ["bench", "--json", "--events=20", "--connect-rate=max"];
const PACED: [&str; 2] = ["--subscribers=200", "--rate=200/s"];

fn small<'a>(extra: &[&'a str]) -> Vec<&'a str> {
    [&SMALL[..], &PACED, extra].concat()
}

fn alone(arguments: &[&str]) -> Said {
    run(fanfare(arguments), "")
}

fn told(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"))
}

/// These figures of the server.
fn figures<const N: usize>(said: &Said, names: [&str; N]) -> [u64; N] {
    let told = told(said);
    names.map(|name| told["server"][name].as_u64().unwrap_or_else(|| panic!("{name} of {told}")))
}

#[test]
fn everything_is_delivered_and_counted() {
    let server = Server::start(&[]);
    for extra in [&[][..], &["--target=one"], &["--publishers=3", "--warm-up=5"], &["--size=4000", "--processes=3"]] {
        let said = piped(&server, &small(extra), "");
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        let expected = if extra == ["--target=one"] { 20 } else { 4_000 };
        assert_eq!(
            figures(&said, ["connected", "published", "expected", "delivered", "lost", "duplicates", "misdirected"]),
            [200, 20, expected, expected, 0, 0, 0],
            "{extra:?}"
        );
    }
    let said = piped(&server, &[&SMALL[..], &["--subscribers=200", "--rate=max"]].concat(), "");
    assert_eq!(figures(&said, ["delivered", "lost", "duplicates", "reordered"]), [4_000, 0, 0, 0]);
    let stats = told(&piped(&server, &["stats"], ""));
    // Each time 5 to warm up.
    assert_eq!(stats["totalEventsPublished"], 5 * 25);
}

#[test]
fn a_server_that_compresses_sends_less_and_loses_nothing() {
    let server = Server::start(&[]);
    let said = piped(&server, &small(&["--compressed", "--size=1000"]), "");
    assert_eq!(figures(&said, ["compressed", "delivered", "lost", "duplicates", "reordered"]), [200, 4_000, 0, 0, 0]);
    let told = told(&said);
    assert_eq!(told["warnings"], Value::Null);
    let figure = |name| told["server"][name].as_f64().unwrap();
    assert!(figure("bytesPerDelivery") < 0.8 * figure("decodedBytesPerDelivery"), "{told}");
}

#[test]
fn what_json_has() {
    let server = Server::start(&[]);
    let pid = server.id().to_string();
    let said = piped(&server, &small(&["--pid", &pid]), "");
    assert_eq!(said.code, 0, "{said:?}");
    let mut told = told(&said);
    assert!(told["server"]["cpuPerDeliveryUs"].as_f64().unwrap() > 0.0, "{told}");
    // Not every processor says its name.
    told["machine"].as_object_mut().unwrap().remove("cpu");
    for (object, name) in [("machine", "system"), ("machine", "benchCores"), ("server", "cores")] {
        assert!(told[object][name].is_string(), "{told}");
        told[object][name] = json!("TEXT");
    }
    without_numbers(&mut told);
    assert_said!("bench_json", Said { code: 0, out: format!("{told:#}"), err: String::new() });
}

fn without_numbers(value: &mut Value) {
    match value {
        Value::Number(_) => *value = json!("NUMBER"),
        Value::Object(all) => all.values_mut().for_each(without_numbers),
        Value::Array(all) => all.iter_mut().for_each(without_numbers),
        _ => {}
    }
}

#[test]
fn the_floor_is_measured_under_the_same_load() {
    let server = Server::start(&[]);
    for target in ["all", "one"] {
        let said = piped(&server, &small(&["--floor", "--target", target]), "");
        assert_eq!(said.code, 0, "{said:?}");
        let told = told(&said);
        for name in ["connected", "published", "expected", "delivered", "lost", "duplicates"] {
            assert_eq!(told["floor"][name], told["server"][name], "{name}");
        }
        assert!(told["ratio"]["latencyP99"].as_f64().unwrap() > 0.0, "{told}");
        assert!(told["floor"]["cpuPerDeliveryUs"].as_f64().unwrap() > 0.0, "{told}");
        // The same bytes, but for a cursor's length; heartbeats weigh little among four thousand.
        let bytes = |of: &str| told[of]["bytesPerDelivery"].as_f64().unwrap();
        assert!(target == "one" || (bytes("floor") - bytes("server")).abs() < 8.0, "{told}");
    }
}

/// The cores this test may run on.
#[cfg(target_os = "linux")]
fn own_cores() -> Vec<u32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let parts = list.trim().split(',').map(|part| part.split_once('-').unwrap_or((part, part)));
    parts.flat_map(|(begin, end)| begin.parse().unwrap()..=end.parse().unwrap()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_floor_runs_where_the_server_does() {
    let cores = own_cores();
    // With a single core all of it is there, and the floor too.
    let (first, last) = (cores[0].to_string(), cores[cores.len() - 1].to_string());
    let server = Server::spawn(fanfare_under(&["taskset", "-c", &last], &["--listen", "127.0.0.1:0"]));
    let (url, pid) = (format!("http://{}", server.address), server.id().to_string());
    let bench = |extra: &[&str]| {
        let arguments = [&SMALL[..], &["--subscribers=50", "--rate=200/s", "--floor", "--url", &url], extra].concat();
        let said = run(fanfare_under(&["taskset", "-c", &first], &arguments), "");
        assert_eq!(said.code, 0, "{said:?}");
        told(&said)
    };
    let told = bench(&["--pid", &pid]);
    for (object, name, core) in
        [("machine", "benchCores", &first), ("server", "cores", &last), ("floor", "cores", &last)]
    {
        assert_eq!(told[object][name], **core, "{object}: {told}");
    }
    assert_eq!(told["warnings"], Value::Null);
    // Without --pid nobody knows where the server runs.
    let told = bench(&[]);
    assert_eq!(told["floor"]["cores"], first);
    let warned = told["warnings"][0].as_str().is_some_and(|text| text.contains("with --pid the floor runs on those"));
    assert_eq!(warned, told["machine"]["cores"].as_u64().unwrap() > 1, "{told}");
}

#[test]
fn few_descriptors_make_more_processes() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address);
    let few = |arguments: &[&str]| {
        let limit = "ulimit -n 64; exec \"$0\" \"$@\"";
        let mut command = fanfare_under(&["bash", "-c", limit], &[&SMALL, arguments].concat());
        command.env("FANFARE_URL", &url);
        run(command, "")
    };
    let said = few(&PACED);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(figures(&said, ["processes", "connected", "delivered", "lost"]), [7, 200, 4_000, 0]);
    let said = few(&["--subscribers=100000"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("raise the limit on descriptors"), "{said:?}");
}

#[test]
fn a_table_and_a_bar_are_for_people() {
    let server = Server::start(&[]);
    let arguments = ["bench", "--subscribers=50", "--events=10", "--rate=100/s"];
    let said = on_terminal(&server, &arguments, &[]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("delivered 500 of 500") && said.out.contains('█'), "{said:?}");
    let said = piped(&server, &arguments, "");
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    let rows: Vec<&str> =
        said.out.lines().map(|line| line.split("  ").find(|part| !part.is_empty()).unwrap_or("")).collect();
    for row in ["connected", "published", "delivered", "lost", "latency p50", "p99.9"] {
        assert!(rows.contains(&row), "{row}: {rows:?}");
    }
    assert!(said.out.contains("50 streams of http://") && said.out.contains("500 of 500"), "{said:?}");
}

#[test]
fn streams_come_from_the_addresses_that_are_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let peers = std::thread::spawn(move || {
        let accepted = (0..10).map(|_| listener.accept().unwrap());
        let peers = accepted.map(|(mut socket, peer)| {
            _ = socket.read(&mut [0; 4_096]);
            socket.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").unwrap();
            peer.ip().to_string()
        });
        peers.collect::<BTreeSet<_>>()
    });
    let addresses = ["127.0.0.2", "127.0.0.3"].map(|address| format!("--local-address={address}"));
    let said = alone(&["bench", "--subscribers=10", "--url", &url, &addresses[0], &addresses[1]]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("answered 503 Service Unavailable"), "{said:?}");
    assert_eq!(peers.join().unwrap(), ["127.0.0.2", "127.0.0.3"].map(str::to_owned).into());
}

#[test]
fn no_time_is_too_long_and_none_is_short() {
    let server = Server::start(&[]);
    let said = piped(&server, &small(&["--timeout=99999999999d"]), "");
    assert_eq!((said.code, figures(&said, ["delivered"])), (0, [4_000]), "{said:?}");
    let said = piped(&server, &small(&["--timeout=0s"]), "");
    assert!(matches!(said.code, 1 | 3) && said.err.starts_with("fanfare: no stream could be opened"), "{said:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_is_left_of_a_bench_that_is_killed() {
    let server = Server::start(&[]);
    let mut command = to(&server, &["bench", "--subscribers=100", "--events=1000000", "--processes=3"]);
    let mut bench = command.spawn().unwrap();
    let connected = |server: &Server| told(&piped(server, &["stats"], ""))["totalClients"].as_u64().unwrap();
    let wait_for = |number| {
        let deadline = std::time::Instant::now() + support::PATIENCE;
        while connected(&server) != number {
            assert!(std::time::Instant::now() < deadline, "never {number} streams");
        }
    };
    wait_for(100);
    bench.kill().unwrap();
    bench.wait().unwrap();
    // The streams end with the processes that had them.
    wait_for(0);
}

/// A stream of the scripted server. Every second one is chunked, and all are written in small pieces.
struct Stream {
    socket: Option<TcpStream>,
    chunked: bool,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl Stream {
    fn send(&mut self, data: &str) {
        let mut frame = format!(": comment\nid: 1\nevent: x\ndata: {data}\n\n").into_bytes();
        if let Some(gzip) = &mut self.gzip {
            gzip.write_all(&frame).unwrap();
            gzip.flush().unwrap();
            frame = std::mem::take(gzip.get_mut());
        }
        self.write(&frame);
    }

    fn write(&mut self, body: &[u8]) {
        let Some(socket) = &mut self.socket else { return };
        for piece in body.chunks(50) {
            let head = format!("{:x}\r\n", piece.len());
            let wire = if self.chunked { [head.as_bytes(), piece, b"\r\n"].concat() } else { piece.to_vec() };
            socket.write_all(&wire).unwrap();
        }
    }
}

/// What it does with an event: its number, whom it is for, its data. It returns the status of its answer.
type Script = Box<dyn FnMut(usize, usize, &str, &mut [Stream]) -> u16 + Send>;

/// Streams are `GET /N`, or `GET /N?gzip` for those that are compressed where that is asked for, and `GET /N?always` for
/// those that always are; an event is a body of number, recipient and data. Returns its address.
fn scripted(script: Script) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (script, streams) = (Arc::new(Mutex::new(script)), Arc::new(Mutex::new(Vec::<Stream>::new())));
    std::thread::spawn(move || {
        for socket in listener.incoming().map(Result::unwrap) {
            socket.set_nodelay(true).unwrap();
            let (script, streams) = (Arc::clone(&script), Arc::clone(&streams));
            std::thread::spawn(move || serve(socket, &script, &streams));
        }
    });
    address
}

fn serve(socket: TcpStream, script: &Mutex<Script>, streams: &Mutex<Vec<Stream>>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut socket = socket;
    loop {
        let (mut first, mut line, mut length, mut asks_gzip) = (String::new(), String::new(), 0, false);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        while reader.read_line(&mut line).unwrap() > 2 {
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.trim().parse().unwrap();
            }
            asks_gzip |= line == "accept-encoding: gzip\r\n";
            line.clear();
        }
        if let Some(path) = first.strip_prefix("GET /") {
            let (number, how) = path.split(' ').next().unwrap().split_once('?').unwrap_or((path, ""));
            let number: usize = number.split(' ').next().unwrap().parse().unwrap();
            let gzip = how == "always" || (how == "gzip" && asks_gzip);
            let chunked = number % 2 == 1;
            let mut how = if chunked { "transfer-encoding: chunked\r\n" } else { "" }.to_owned();
            how += if gzip { "content-encoding: gzip\r\n" } else { "" };
            write!(socket, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{how}\r\n").unwrap();
            let mut streams = streams.lock().unwrap();
            if streams.len() <= number {
                streams.resize_with(number + 1, || Stream { socket: None, chunked: false, gzip: None });
            }
            let gzip = gzip.then(|| GzEncoder::new(Vec::new(), flate2::Compression::fast()));
            streams[number] = Stream { socket: Some(socket), chunked, gzip };
            return;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let mut words = body.split(' ');
        let (seq, n) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap_or(0));
        let status = script.lock().unwrap()(seq, n, words.next().unwrap(), &mut streams.lock().unwrap());
        write!(socket, "HTTP/1.1 {status} X\r\ncontent-length: 5\r\n\r\nhello").unwrap();
    }
}

/// Ten subscribers and twenty events, one of them to warm up.
fn at(address: &str, one: bool, extra: &[&str]) -> Said {
    streams_at(address, "{n}", one, extra)
}

fn streams_at(address: &str, path: &str, one: bool, extra: &[&str]) -> Said {
    let (subscribe, publish) = (format!("http://{address}/{path}"), format!("http://{address}/publish"));
    let (target, body) = if one { ("one", "{seq} {n} {data}") } else { ("all", "{seq} - {data}") };
    let mut arguments = vec!["bench", "--json", "--subscribers=10", "--events=20", "--warm-up=1", "--rate=200/s"];
    arguments.extend(["--timeout=1s", "--target", target, "--publish-body", body]);
    arguments.extend(["--subscribe-url", &subscribe, "--publish-url", &publish]);
    arguments.extend(extra);
    alone(&arguments)
}

#[test]
fn losses_repetitions_and_disorder_are_told_exactly() {
    let mut held = String::new();
    let address = scripted(Box::new(move |seq, _, data, streams| {
        for (number, stream) in streams.iter_mut().enumerate() {
            let odd = number % 2 == 1;
            match seq {
                3 if !odd => {}
                5 => {
                    stream.send(data);
                    stream.send(data);
                }
                7 if odd => data.clone_into(&mut held),
                8 if odd => {
                    stream.send(data);
                    stream.send(&held);
                }
                _ => stream.send(data),
            }
        }
        200
    }));
    let names = ["connected", "expected", "delivered", "lost", "duplicates", "reordered", "streamsEnded"];
    let said = at(&address, false, &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(figures(&said, names), [10, 200, 195, 5, 10, 5, 0]);
    let said = at(&address, false, &["--allow-loss"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(figures(&said, names), [10, 200, 195, 5, 10, 5, 0]);
}

#[test]
fn a_stream_that_ends_has_lost_the_rest() {
    let mut begun = 0;
    let address = scripted(Box::new(move |seq, _, data, streams| {
        // The first is the warm-up.
        begun += 1;
        if seq == 10 && begun > 1 {
            streams[0].socket = None;
            streams[1].socket.as_mut().unwrap().write_all(b"0\r\n\r\n").unwrap();
            streams[1].socket = None;
        }
        for stream in streams.iter_mut() {
            stream.send(data);
        }
        200
    }));
    let said = at(&address, false, &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(figures(&said, ["expected", "delivered", "lost", "streamsEnded"]), [200, 180, 20, 2]);
    let ends = json!({ "closed the connection": 1, "its answer ended": 1 });
    assert_eq!(told(&said)["server"]["streamFailures"], ends);
}

/// Sends everything to everybody.
fn faithful() -> String {
    scripted(Box::new(|_, _, data, streams| {
        for stream in streams.iter_mut() {
            stream.send(data);
        }
        200
    }))
}

#[test]
fn compressed_streams_are_decoded_and_what_they_save_is_told() {
    let address = faithful();
    let plain = told(&streams_at(&address, "{n}?gzip", false, &[]));
    // A frame of the scripted server; for half of the streams it is in four chunks, with 3 × 6 and 5 bytes around them.
    let frame = (": comment\nid: 1\nevent: x\ndata: \n\n".len() + 128) as f64;
    assert_eq!(plain["server"]["bytesPerDelivery"], frame + 11.5, "{plain}");
    assert_eq!(plain["server"]["decodedBytesPerDelivery"], frame, "{plain}");
    assert_eq!((&plain["server"]["compressed"], &plain["load"]["compressed"]), (&Value::Null, &json!(false)));

    let said = streams_at(&address, "{n}?gzip", false, &["--compressed"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    assert_eq!(figures(&said, ["connected", "compressed", "delivered", "lost", "duplicates"]), [10, 10, 200, 0, 0]);
    let compressed = told(&said);
    assert_eq!(compressed["server"]["decodedBytesPerDelivery"], frame);
    let bytes = compressed["server"]["bytesPerDelivery"].as_f64().unwrap();
    assert!(bytes > 50.0 && bytes < 0.8 * frame, "{compressed}");
    assert_eq!(compressed["warnings"], Value::Null);
}

#[test]
fn losses_in_compressed_streams_are_told_exactly() {
    let address = scripted(Box::new(|seq, _, data, streams| {
        for (number, stream) in streams.iter_mut().enumerate() {
            match seq {
                3 if number < 3 => {}
                5 if number < 2 => {
                    stream.send(data);
                    stream.send(data);
                }
                _ => stream.send(data),
            }
        }
        200
    }));
    let said = streams_at(&address, "{n}?always", false, &["--compressed"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(figures(&said, ["compressed", "delivered", "lost", "duplicates"]), [10, 197, 3, 2]);
}

#[test]
fn streams_that_are_not_compressed_although_asked_for_are_told() {
    let address = faithful();
    let said = at(&address, false, &["--compressed"]);
    assert_eq!((said.code, figures(&said, ["compressed", "delivered"])), (0, [0, 200]), "{said:?}");
    assert_eq!(told(&said)["warnings"], json!(["no stream came in gzip, although --compressed asked for it"]));
    let always = format!("http://{address}/{{n}}?always");
    let refused = alone(&["bench", "--subscribers=10", "--subscribe-url", &always]);
    assert_said!("bench_gzip_unasked", refused);
}

#[test]
fn a_stream_whose_compression_is_broken_ends_and_is_told() {
    let mut begun = 0;
    let address = scripted(Box::new(move |seq, _, data, streams| {
        // The first is the warm-up.
        begun += 1;
        for (number, stream) in streams.iter_mut().enumerate() {
            if seq == 10 && begun > 1 && number < 2 {
                stream.write(b"\xff\xff\xff\xff");
                stream.socket = None;
            }
            stream.send(data);
        }
        200
    }));
    let said = streams_at(&address, "{n}?gzip", false, &["--compressed"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(figures(&said, ["compressed", "delivered", "lost", "streamsEnded"]), [10, 180, 20, 2]);
    let ends = json!({ "answered with broken gzip data (invalid block type)": 2 });
    assert_eq!(told(&said)["server"]["streamFailures"], ends);
}

#[test]
fn an_event_for_one_that_reaches_another_is_told() {
    let address = scripted(Box::new(move |seq, n, data, streams| {
        let n = if seq == 4 { (n + 1) % 10 } else { n };
        streams[n].send(data);
        // The number of an event that never was.
        let (front, due) = data.rsplit_once('-').unwrap();
        streams[n].send(&format!("{}ffffffff-{due}", &front[..front.len() - 8]));
        200
    }));
    let said = at(&address, true, &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(figures(&said, ["expected", "delivered", "lost", "misdirected"]), [20, 19, 1, 21]);
}

#[test]
fn an_event_that_is_refused_is_not_lost() {
    let address = scripted(Box::new(|seq, _, data, streams| {
        if matches!(seq, 2 | 9) {
            return 503;
        }
        for stream in streams.iter_mut() {
            stream.send(data);
        }
        202
    }));
    let said = at(&address, false, &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(figures(&said, ["published", "expected", "delivered", "lost"]), [18, 180, 180, 0]);
    let told = told(&said);
    assert_eq!(told["server"]["publishFailures"], json!({ "answered 503 Service Unavailable": 2 }));
    assert_eq!(told["server"]["publishRefusal"], "hello");
}

#[test]
fn a_server_that_refuses_is_told() {
    let silent = scripted(Box::new(|_, _, _, _| 200));
    assert_said!("bench_silent", at(&silent, false, &[]));
    let refusing = scripted(Box::new(|_, _, _, _| 413));
    assert_said!("bench_publish_refused", at(&refusing, false, &[]));
    let server = Server::start(&["--max-clients", "120", "--token", "secret-token"]);
    assert_said!("bench_token", piped(&server, &["bench", "--subscribers=10"], ""));
    let said = piped(&server, &small(&["--token", "secret-token"]), "");
    // Places that are taken end with `$closing`, which is a stream too, and ends.
    assert_eq!(said.code, 1, "{said:?}");
    let [ended, lost] = figures(&said, ["streamsEnded", "lost"]);
    assert_eq!((ended, lost), (80, 80 * 20), "{said:?}");
    let missing = format!("http://{}/nowhere", server.address);
    assert_said!("bench_not_there", alone(&["bench", "--subscribers=10", "--subscribe-url", &missing]));
    let text = format!("http://{}/healthz", server.address);
    let said = alone(&["bench", "--subscribers=10", "--subscribe-url", &text]);
    assert!(said.code == 1 && said.err.contains("instead of text/event-stream"), "{said:?}");
    // A port that was free a moment ago.
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    assert_said!("bench_unreachable", alone(&["bench", "--subscribers=10", "--url", &url]));
}

#[test]
fn options_that_make_no_sense_are_refused() {
    assert_said!("bench_https", alone(&["bench", "--url", "https://127.0.0.1:4000"]));
    assert_said!("bench_rate", alone(&["bench", "--rate", "5"]));
    assert_said!("bench_size", alone(&["bench", "--size", "10"]));
    assert_said!("bench_subscribers", alone(&["bench", "--subscribers", "0"]));
    assert_said!("bench_url", alone(&["bench", "--url", "localhost:4000"]));
    assert_said!("bench_no_data", alone(&["bench", "--publish-body", "{seq}"]));
    assert_said!("bench_no_n", alone(&["bench", "--target=one", "--publish-body", "{data}"]));
    assert_said!("bench_n", alone(&["bench", "--publish-body", "{n} {data}"]));
    assert_said!("bench_header", alone(&["bench", "--publish-header", "a b: c"]));
    assert_said!("bench_pid", alone(&["bench", "--pid", "4294967295"]));
}
