//! Following another server by hand (REPLICAOF), as the engine knows it: whom, how far, and what that means for commands.
//!
//! The host speaks to the primary. What it sends is run as commands of one client, [`crate::client::ClientState::primary`],
//! who may do everything, is answered nothing, and whose effects are logged like anybody's. Everybody else only reads, unless
//! `replica-read-only` is off, and nothing expires or is evicted: the primary says what goes.

use crate::client::{BlockedOn, Slot};
use crate::context::Context;
use crate::error::CommandError;
use crate::host::{LogLevel, Request};
use crate::shared::Shared;

/// What a client hears that waits for something which only a primary can give.
pub(crate) const UNBLOCKED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
/// Bytes of an error that are repeated in the log.
const ERROR_BYTES_SHOWN: usize = 256;
/// The refusal of a database that this server has not got: what follows would be done to another one.
const NO_SUCH_DATABASE: &[u8] = b"ERR DB index is out of range";
/// How the dispatcher begins its refusal of a unit that no journal entry can hold.
const UNIT_TOO_LARGE: &[u8] = b"ERR this script or transaction has written more";
/// The refusal of what needs fresh data.
pub(crate) const STALE: CommandError =
    CommandError::new("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");

/// How far the connection to the primary has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// There is none; it is tried again soon.
    Down,
    Connecting,
    /// The two tell each other who they are.
    Handshake,
    /// The primary's data is being received, loaded or made durable; the old is served meanwhile.
    Sync,
    /// The stream is being followed.
    Up,
}

impl Link {
    /// ROLE's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "connect",
            Self::Connecting => "connecting",
            Self::Handshake => "handshake",
            Self::Sync => "sync",
            Self::Up => "connected",
        }
    }
}

/// Up to where the state is that of a primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The primary's name for its stream.
    pub id: String,
    /// Bytes of it that have been executed as whole units.
    pub offset: u64,
    /// The database that the stream has selected there.
    pub db: usize,
}

/// The primary's data on its way here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// 0: it is not said beforehand.
    pub total: u64,
    pub read: u64,
    pub last_io_ms: i64,
}

/// Whom this server follows.
#[derive(Clone, Debug)]
pub struct Following {
    pub host: String,
    pub port: u16,
    pub link: Link,
    /// `None`: the state has never been that of any primary.
    pub history: Option<History>,
    /// The client whose commands are the primary's, while the link is up.
    pub slot: Option<Slot>,
    /// Bytes of the stream that have been executed, those of an open transaction among them.
    pub read_to: u64,
    pub transfer: Option<Transfer>,
    /// When the primary was last heard of while the link was up, in Unix milliseconds.
    pub last_io_ms: i64,
    /// Since when the link is down; `None`: it has never been up.
    pub down_since_ms: Option<i64>,
    /// The primary wants to know when everything up to this offset is safe.
    pub ack_wanted: Option<u64>,
}

impl Following {
    fn new(host: &str, port: u16, history: Option<History>) -> Self {
        let read_to = history.as_ref().map_or(0, |history| history.offset);
        Self {
            host: host.to_owned(),
            port,
            link: Link::Down,
            history,
            slot: None,
            read_to,
            transfer: None,
            last_io_ms: 0,
            down_since_ms: None,
            ack_wanted: None,
        }
    }

    /// `bytes` of the stream have been executed. `whole`: no transaction is open after them.
    pub fn executed(&mut self, bytes: u64, db: usize, whole: bool) {
        self.read_to += bytes;
        if whole && let Some(history) = &mut self.history {
            history.offset = self.read_to;
            history.db = db;
        }
    }
}

impl Shared {
    /// This server follows `host` from here on. Its state stays until the primary's has come.
    pub(crate) fn follow(&mut self, host: &str, port: u16) {
        let history = self.following.take().and_then(|before| before.history);
        let was_primary = !self.replica;
        self.following = Some(Box::new(Following::new(host, port, history)));
        self.config.replicaof = format!("{host} {port}");
        self.replica = true;
        // The rest of the running transaction still writes, but not for replicas: as in Redis, whose replicas have nothing of it.
        self.effects.stop_telling();
        if was_primary {
            self.end_waits();
        }
    }

    /// This server follows nobody any more: its state goes on from where it is, under a new name.
    pub(crate) fn follow_nobody(&mut self) {
        let Some(following) = self.following.take() else { return };
        self.config.replicaof.clear();
        if let Some(history) = following.history {
            self.note_former(history);
        }
        self.replication_id = crate::engine::replication_id(&self.rng);
        if !self.replacing {
            self.write_again();
        }
    }

    /// The state is that of `history`, which this server does not follow any more.
    pub fn note_former(&mut self, history: History) {
        self.effects.go_on_from(history.offset);
        self.former_history = Some((history.id, history.offset + 1));
    }

    /// The state has been replaced, or is not going to be.
    pub fn end_replacing(&mut self) {
        if std::mem::take(&mut self.replacing) && self.following.is_none() {
            self.write_again();
        }
    }

    fn write_again(&mut self) {
        self.replica = false;
        self.effects.set_refused(false);
        self.unit_writes = true;
    }

    /// Do commands that write need [`may_write_here`](Self::may_write_here)?
    pub(crate) fn is_bound(&self) -> bool {
        self.following.is_some() || self.replacing
    }

    /// Does this client write although everybody else must not?
    pub(crate) fn may_write_here(&self, is_primary: bool) -> bool {
        if self.replacing {
            return false;
        }
        if self.following.is_some() { is_primary || !self.config.replica_read_only } else { !self.replica }
    }

    /// Is the data old, and not to be shown?
    pub(crate) fn is_stale(&self) -> bool {
        let down = |following: &Following| following.link != Link::Up;
        self.following.as_deref().is_some_and(down) && !self.config.replica_serve_stale_data
    }

    /// Clients that wait in a blocking command are told that nothing will come, as in Redis, and closed: they think that
    /// they are at a primary. Those that a pause holds have not begun.
    fn end_waits(&mut self) {
        let waits = |slot: Slot| {
            let blocked = self.clients.get(slot)?.as_ref()?.state.blocked.as_ref()?;
            Some(!matches!(blocked.on, BlockedOn::Pause | BlockedOn::Host | BlockedOn::Penalty))
        };
        let slots: Vec<Slot> = self.clients.iter().map(|(slot, _)| slot).collect();
        for slot in slots.into_iter().filter(|&slot| waits(slot) == Some(true)).collect::<Vec<_>>() {
            self.unblock_with_error(slot, UNBLOCKED);
            if let Some(client) = self.client(slot) {
                client.state.close_after_reply = true;
            }
            self.touch(slot);
        }
    }
}

/// A command of the primary was refused: from here on the two may differ. That is said loudly and counted, and
/// `propagation-error-behavior` decides, as in Redis. Without the right database nothing that follows would be right.
pub(crate) fn note_refusal(cx: &mut Context<'_>, error: &[u8]) {
    cx.shared.stats.unexpected_error_replies += 1;
    let offset = cx.shared.following.as_ref().map_or(0, |following| following.read_to);
    let line = format!(
        "== CRITICAL == a command of the primary failed here, so that the data may differ: '{}' after byte {offset} of its stream, in \
         database {}: {}",
        cx.command.full_name,
        cx.keys.selected(),
        String::from_utf8_lossy(&error[..error.len().min(ERROR_BYTES_SHOWN)]),
    );
    cx.host.log(LogLevel::Warning, &line);
    if matches!(cx.shared.config.propagation_error_behavior, "panic" | "panic-on-replicas") {
        cx.host.log(LogLevel::Warning, "stopping at once: propagation-error-behavior");
        cx.host.request(Request::Crash);
    }
    if error.starts_with(NO_SUCH_DATABASE) || error.starts_with(UNIT_TOO_LARGE) {
        // The link ends before this command; it is tried again, and fails as loudly, until somebody has seen to it.
        cx.client.close_now = true;
    }
}

/// The state is at no point of the primary's stream any more: the next link asks for all of the data.
pub(crate) fn lose_place(shared: &mut Shared) {
    if let Some(following) = &mut shared.following {
        following.history = None;
    }
}
