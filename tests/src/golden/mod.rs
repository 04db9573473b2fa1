//! Golden scripts: the language, its runner and the targets that it can talk to.
//!
//! A script is run twice, by clients that speak RESP2 and by clients that speak RESP3; each time from an empty
//! server. Where both renderings agree the script shows one line, otherwise a second one marked `resp3:`.

pub mod args;
mod engine;
mod reply;
mod script;
mod tcp;
mod view;

pub use engine::InProcess;
pub use reply::Reply;
pub use script::{Source, bless, check, replay, scripts_in};
pub use tcp::Tcp;

use std::time::Duration;

/// Scripts that no node of a cluster is sent, and what they show.
pub const ALONE: &[(&str, &str)] = &[
    ("cluster/", "a single server is in no cluster"),
    ("server/debug", "DEBUG looks at a node's own data, which lags, and refuses to write to a follower's"),
    ("server/failover", "a single server has nobody to hand over to"),
    (
        "server/wait",
        "a single server has no other nodes to count, and when those of a cluster are known to have a write is a matter of time",
    ),
];

/// The protocol that the clients of a run speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The protocol of a connection that never sent HELLO.
    Resp2,
    /// What `HELLO 3` switches to.
    Resp3,
}

/// What a client got when it waited for something to read.
#[derive(Debug)]
pub enum Received {
    /// One reply, or one pushed message.
    Reply(Reply),
    /// The server closed the connection.
    Closed,
    /// Nothing came within the limit.
    Nothing,
}

/// A server as scripts see it: named clients that send commands and receive replies.
///
/// Clients come into being with the first thing that they send.
pub trait Target {
    /// Drops all clients and all state; clients made from now on speak `protocol`.
    fn reset(&mut self, protocol: Protocol) -> anyhow::Result<()>;
    /// Sends one command without waiting for the reply.
    fn send(&mut self, client: &str, args: &[Vec<u8>]) -> anyhow::Result<()>;
    /// Sends bytes as they are, for tests of the protocol itself.
    fn send_raw(&mut self, client: &str, bytes: &[u8]) -> anyhow::Result<()>;
    /// The next thing for this client, waiting at most `limit` for it.
    fn receive(&mut self, client: &str, limit: Duration) -> anyhow::Result<Received>;
    /// How many clients are blocked in a command at this moment.
    fn blocked_clients(&mut self) -> anyhow::Result<usize>;
    /// Returns once everything that earlier commands caused has been delivered to the clients.
    fn settle(&mut self) -> anyhow::Result<()>;
    /// Lets this much time pass for the server.
    fn elapse(&mut self, time: Duration) -> anyhow::Result<()>;
}
