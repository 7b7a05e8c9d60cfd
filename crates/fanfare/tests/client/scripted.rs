//! A server that answers each connection as it was told to, byte by byte, and a network that can be cut.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What one connection gets.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// These bytes, in these pieces, and then the end.
    Bytes(Vec<Vec<u8>>),
    /// These bytes, and then nothing more.
    Stays(Vec<u8>),
}

pub(crate) const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

impl Script {
    /// An event stream that ends.
    pub(crate) fn stream(text: &str) -> Self {
        Self::Bytes(vec![format!("{HEAD}{text}").into_bytes()])
    }

    /// An event stream that stays open.
    pub(crate) fn open(text: &str) -> Self {
        Self::Stays(format!("{HEAD}{text}").into_bytes())
    }

    pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
        Self::Bytes(vec![format!("{head}{body}").into_bytes()])
    }
}

/// Dropped, it is gone.
pub(crate) struct Scripted {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// One script for each connection, the last one for all that follow.
    pub(crate) async fn new(scripts: impl IntoIterator<Item = Script>) -> Self {
        let mut scripts: VecDeque<Script> = scripts.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let script = if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() };
                tokio::spawn(play(stream, script.unwrap(), Arc::clone(&seen)));
            }
        });
        Self { url, requests, task }
    }

    /// The requests so far, head and body, each as text.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// The value of a header, as it was sent.
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A client that goes away in between is no failure of the script's.
async fn play(mut stream: TcpStream, script: Script, seen: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&piece[..length]),
        }
    }
    seen.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    match script {
        Script::Bytes(pieces) => {
            stream.set_nodelay(true).unwrap();
            for piece in pieces {
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
                // So that the pieces have a chance to arrive as such.
                tokio::task::yield_now().await;
            }
            // Until the peer has read it: what is unread at a close may be lost.
            _ = stream.shutdown().await;
            _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Script::Stays(bytes) => {
            _ = stream.write_all(&bytes).await;
            _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = header(&head.to_ascii_lowercase(), "content-length").map_or(0, |value| value.parse().unwrap());
    body.len() >= length
}

/// A way to a server that can be cut.
pub(crate) struct Network {
    pub(crate) url: String,
    cuts: watch::Sender<u32>,
}

impl Network {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (cuts, watched) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cuts = watched.clone();
                // Only what comes from now on is about this connection.
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { url, cuts }
    }

    /// Every connection breaks; new ones are possible.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}
