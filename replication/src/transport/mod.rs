//! Between nodes: TCP, frames, the proof of who is who.
//!
//! - [`frame`] messages cut into bounded, checksummed frames; [`message`] what they say; no I/O in either
//! - [`net`] the machine beneath, in one trait; [`conn`] one connection; [`tls`] with certificates on both sides
//! - [`handshake`] shared secret, node ids, what each says of itself
//! - [`client`] openraft's network; [`server`] the other end of it; [`snapshot`] a snapshot's way from one to the other
//!
//! Each purpose has a connection of its own (see [`message::Purpose`]), so that a heartbeat never waits behind a long
//! entry. Nothing here keeps time or takes chances by itself: time is tokio's, the rest is [`net::Net`]'s.

mod client;
mod conn;
mod frame;
#[cfg(test)]
mod group_tests;
mod handshake;
mod message;
pub mod net;
mod server;
mod snapshot;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod tls;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cairn_storage::snapshot::SnapshotDir;
use futures_util::future::BoxFuture;

use self::client::{Factory, Lanes, Target};
use self::handshake::Credentials;
use self::net::Net;
use self::snapshot::Receiving;
use self::tls::Tls;
use crate::admin::{Inbound, Joiner, PeerInfo, Transport};
use crate::types::{NodeId, Peer};

/// The shortest silence that says anything about a peer: less is a busy machine.
const SILENCE_MIN: Duration = Duration::from_millis(250);

/// An address of this machine to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAt {
    pub host: String,
    /// A machine that does not have it can do without.
    pub optional: bool,
}

/// What the transport is told at the start.
pub struct Options {
    pub listen: Vec<ListenAt>,
    /// Peers' port.
    pub port: u16,
    /// What all nodes of the group know.
    pub secret: Option<Vec<u8>>,
    pub tls: Option<Tls>,
    /// A peer that shows no sign of life for so long while it is waited for is given up, and so is a connection that
    /// takes so long to be made. A sign of life is an answer, a word that it still works at one, or that it takes what is sent to it.
    pub silence: Duration,
    /// Where snapshots that are received go,
    pub snapshots: SnapshotDir,
    /// under the name that a start looks for, once they have been found good.
    pub snapshot_file: String,
}

/// The peer transport over a [`Net`].
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    net: Arc<dyn Net>,
    options: Options,
    /// The node. Set when it serves.
    inbound: OnceLock<Arc<dyn Inbound>>,
    lanes: Lanes,
    receiving: Receiving,
}

impl Peers {
    pub fn new(net: Arc<dyn Net>, mut options: Options) -> Peers {
        options.silence = options.silence.max(SILENCE_MIN);
        let receiving = Receiving::new(options.snapshots.clone(), options.snapshot_file.clone());
        let (inbound, lanes) = (OnceLock::new(), Lanes::default());
        Peers { shared: Arc::new(Shared { net, options, inbound, lanes, receiving }) }
    }
}

impl Transport for Peers {
    type Factory = Factory;

    fn factory(&self) -> Factory {
        Factory::new(Arc::clone(&self.shared))
    }

    fn serve(&self, inbound: Arc<dyn Inbound>) -> BoxFuture<'static, io::Result<()>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if shared.inbound.set(Arc::clone(&inbound)).is_err() {
                return Err(io::Error::other("the transport serves a node already"));
            }
            server::serve(shared, inbound).await
        })
    }

    fn hello(&self, host: &str, cluster_port: u16) -> BoxFuture<'static, Result<PeerInfo, String>> {
        let shared = Arc::clone(&self.shared);
        let target = Target { id: None, host: host.to_owned(), port: cluster_port };
        Box::pin(async move { client::hello(&shared, &target).await })
    }

    fn join(&self, leader: &Peer, joiner: Joiner) -> BoxFuture<'static, Result<(), String>> {
        let shared = Arc::clone(&self.shared);
        let target = Target { id: None, host: leader.host.clone(), port: leader.cluster_port };
        Box::pin(async move { client::join(&shared, &target, joiner).await })
    }
}

impl Shared {
    fn heard(&self, node: NodeId) {
        if let Some(inbound) = self.inbound.get() {
            inbound.heard(node);
        }
    }

    fn credentials(&self, me: PeerInfo) -> Credentials<'_> {
        Credentials { secret: self.options.secret.as_deref(), net: &*self.net, me }
    }

    /// How often a peer is to say that it works on an answer: a few times before it would be given up.
    fn alive_ms(&self) -> u32 {
        u32::try_from(self.options.silence.as_millis() / 4).unwrap_or(u32::MAX)
    }
}
