//! Where connections come in.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use cairn_engine::shared::Shared;
use cairn_engine::{ClientInfo, Slot};

use super::connection::Connection;
use super::now_ms;
use super::stream::{Accepted, Stream};
use super::wake::{Ready, Token};

/// What admitting a connection changes.
pub(super) struct Door<'a> {
    pub connections: &'a mut Vec<Option<Box<Connection>>>,
    pub connected: &'a mut usize,
    pub rejected: &'a mut u64,
    pub ready: &'a Arc<Ready>,
}

impl Door<'_> {
    /// Makes a client of an accepted connection, or turns it away.
    pub fn admit(&mut self, shared: &mut Shared, accepted: Accepted) -> Option<Slot> {
        let Accepted { mut stream, address, local_address, unix_socket, local } = accepted;
        let config = &shared.config;
        let refusal: Option<&[u8]> = if *self.connected >= config.maxclients as usize {
            Some(b"-ERR max number of clients reached\r\n")
        } else if config.protected_mode && shared.acl.default_needs_no_password() && !local {
            Some(
                b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set \
                  for the default user. In this mode connections are only accepted from the loopback interface. Set a \
                  password (requirepass), or set protected-mode to no if the network is to be trusted.\r\n",
            )
        } else {
            None
        };
        if let Some(refusal) = refusal {
            *self.rejected += 1;
            // Best effort: the socket is new, so there is room for one line.
            let _ = stream.write_now(&[IoSlice::new(refusal)]);
            return None;
        }
        let fd = prepare_socket(&stream, config.tcp_keepalive);
        let tls = matches!(stream, Stream::Tls(_));
        let slot = shared.connect(ClientInfo { address, local_address, fd, unix_socket, tls });
        let token = Token::new(slot, Arc::clone(self.ready));
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        self.connections[slot] = Some(Box::new(Connection::new(stream, token, now_ms())));
        *self.connected += 1;
        Some(slot)
    }
}

/// Options of a client's socket; returns its descriptor for CLIENT LIST.
pub(super) fn prepare_socket(stream: &Stream, keepalive_s: u32) -> i32 {
    use std::os::fd::AsRawFd;
    let tcp = match stream {
        Stream::Tcp(stream) => stream,
        Stream::Tls(stream) => stream.socket(),
        Stream::Unix(stream) => return stream.as_raw_fd(),
        Stream::Boxed(_) => return -1,
    };
    prepare_tcp(tcp, keepalive_s);
    tcp.as_raw_fd()
}

/// Failures leave a working, only slower or less watched, socket.
pub(super) fn prepare_tcp(tcp: &tokio::net::TcpStream, keepalive_s: u32) {
    let _ = tcp.set_nodelay(true);
    if keepalive_s > 0 {
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(keepalive_s.into()))
            .with_interval(Duration::from_secs((keepalive_s / 3).max(1).into()));
        let _ = socket2::SockRef::from(tcp).set_tcp_keepalive(&keepalive);
    }
}
