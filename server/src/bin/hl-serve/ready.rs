//! `hl-serve --ready`: whether a server is ready, for containers that have no other client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Time to connect, and to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the server at `address`.
///
/// # Errors
/// If it does not answer that it is ready.
pub(crate) fn run(address: SocketAddr) -> Result<()> {
    let failed = || format!("no server answers at {address}");
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(failed)?;
    stream.set_read_timeout(Some(TIMEOUT)).with_context(failed)?;
    let request = format!("GET /v2/health/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(failed)?;
    let mut answer = String::new();
    stream.take(1 << 16).read_to_string(&mut answer).with_context(failed)?;
    let status = answer.lines().next().unwrap_or("nothing");
    ensure!(
        status.split(' ').nth(1) == Some("200"),
        "the server at {address} is not ready: it answered `{status}`"
    );
    Ok(())
}
