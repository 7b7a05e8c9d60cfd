//! Fanfare as an application embeds it.

use crate::AnyError;
use crate::measure::{EVENT_DATA, follow_orders};
use fanfare::{SseConfig, SseEvent, SseManager};
use serde_json::value::RawValue;

#[expect(clippy::print_stdout, reason = "how the parent learns the address")]
pub(crate) fn serve() -> Result<(), AnyError> {
    fanfare::raise_descriptor_limit();
    let manager = SseManager::new(SseConfig { max_clients: 100_000, enable_logging: false, ..SseConfig::default() })?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    let app = fanfare::router(manager.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { fanfare::serve(tokio::net::TcpListener::from_std(listener)?, app).await })
    });
    let data: Box<RawValue> = RawValue::from_string(EVENT_DATA.to_owned())?;
    let mut failed = false;
    follow_orders(|| failed |= manager.broadcast(SseEvent::from_json("announcement", &data)).is_err())?;
    if failed { Err("a publish failed".into()) } else { Ok(()) }
}
