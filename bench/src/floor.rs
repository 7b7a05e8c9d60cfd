//! The floor: no framework, no parsing, no bookkeeping; one `write` for each delivery.

use crate::AnyError;
use crate::measure::{EVENT_DATA, follow_orders};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: connected\ndata: {}\n\n";

#[expect(clippy::print_stdout, reason = "how the parent learns the address")]
pub(crate) fn serve(clients: usize) -> Result<(), AnyError> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let socket = socket2::SockRef::from(&listener);
    socket.listen(4_096)?;
    socket.set_tcp_nodelay(true)?;
    println!("{}", listener.local_addr()?);
    let mut streams: Vec<TcpStream> = Vec::with_capacity(clients);
    let mut request = [0; 2_048];
    for _ in 0..clients {
        let (mut stream, _) = listener.accept()?;
        if stream.read(&mut request)? == 0 {
            return Err("a subscriber left before it asked".into());
        }
        stream.write_all(HEAD.as_bytes())?;
        streams.push(stream);
    }
    let frame = format!("id: 1.pwdo4ngq4.1a2b\nevent: announcement\ndata: {EVENT_DATA}\n\n");
    let mut failed = false;
    follow_orders(|| {
        for stream in &mut streams {
            failed |= stream.write_all(frame.as_bytes()).is_err();
        }
    })?;
    if failed { Err("a write failed".into()) } else { Ok(()) }
}
