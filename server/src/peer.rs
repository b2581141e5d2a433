//! Who is at the other end of a connection.

use std::net::SocketAddr;

/// The address of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);
