//! What the engine knows of one connection.

use std::collections::{HashSet, VecDeque};

use cairn_proto::ReplyWriter;

use crate::acl::Login;
use crate::args::OwnedArgs;
use crate::client_memory::Weight;
use crate::command::{Entry, Flags};
use crate::config::Origin;
use crate::tracking::Tracking;

/// A client's place in the table: small, reused after a disconnect.
pub type Slot = usize;

/// What the host says of a new connection.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    pub address: String,
    pub local_address: String,
    pub fd: i32,
    /// Came over a Unix socket.
    pub unix_socket: bool,
    /// Came by TLS.
    pub tls: bool,
}

/// One connection: its state, and what it is yet to be sent.
pub struct Client {
    pub state: ClientState,
    pub reply: ReplyWriter,
}

/// Everything of a client but its output.
pub struct ClientState {
    /// Unique for ever, unlike the slot.
    pub id: u64,
    pub slot: Slot,
    pub info: ClientInfo,
    pub connected_at_ms: i64,
    pub last_command_at_ms: i64,
    pub db: usize,
    pub authenticated: bool,
    /// As which user.
    pub login: Login,
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    pub last_command: Option<&'static Entry>,
    /// MULTI is open.
    pub transaction: Option<Box<Transaction>>,
    pub watched: Watches,
    /// A watched key has changed, or has expired: EXEC must fail.
    pub watch_broken: bool,
    pub subscriptions: Subscriptions,
    /// CLIENT TRACKING is on.
    pub tracking: Option<Box<Tracking>>,
    pub blocked: Option<Box<Blocked>>,
    pub reply_mode: ReplyMode,
    pub monitor: bool,
    /// Its session is at another node, and subscribed there: the messages come through here.
    pub listens_elsewhere: bool,
    pub no_evict: bool,
    pub no_touch: bool,
    /// READONLY: reads may be answered by a node that does not lead, from what it has by then.
    pub readonly: bool,
    /// Close once everything written has been sent.
    pub close_after_reply: bool,
    /// Close at once, dropping output.
    pub close_now: bool,
    /// Output that waits for a journal position, oldest first.
    pub holds: VecDeque<Hold>,
    /// In the list of clients with new output.
    pub touched: bool,
    /// Output over the soft limit since.
    pub over_soft_limit_since_ms: Option<i64>,
    /// Bytes that the host has received and not made arguments of.
    pub query_buffer: usize,
    /// Bytes of the arguments of an unfinished command.
    pub query_args: usize,
    pub query_buffer_free: usize,
    /// What it counts for under `maxmemory-clients`.
    pub weight: Option<Weight>,
    /// What went over the connection, for CLIENT LIST.
    pub net_input_bytes: u64,
    pub net_output_bytes: u64,
    /// Those that it has run, with those that its scripts have called.
    pub commands: u64,
    /// The journal position of the last write (0: none): what WAITAOF waits for.
    pub written_seq: u64,
    /// How long the stream for replicas of Redis's kind was after the last write: what WAIT waits for.
    pub written_offset: u64,
    /// What it has said of itself as a replica of Redis's kind.
    pub replica: Option<Box<Replica>>,
    /// It is the server that this one follows: what it says is executed as it is, and not answered.
    pub primary: bool,
}

/// A client that is a replica of Redis's kind, or is about to become one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    /// The port that it says it listens to (0: it has not said).
    pub port: u16,
    /// The address at which it says it is reached.
    pub address: Option<Vec<u8>>,
    /// It takes a snapshot of unknown length, with a mark at its end.
    pub takes_mark: bool,
    /// The newest version of RDB files that it is known to read; 0: nothing is known.
    pub rdb_version: u16,
    /// It wants a snapshot and nothing after it.
    pub only_snapshot: bool,
    /// What its snapshot is to be without.
    pub without_data: bool,
    pub without_functions: bool,
    /// How far it has come; `None`: it has not asked to be fed.
    pub stage: Option<FeedStage>,
    /// By SYNC: it is of the kind that need not acknowledge anything.
    pub silent: bool,
    /// So many bytes of the stream it has, as it says itself, and when it last said so.
    pub acknowledged: u64,
    pub acknowledged_at_ms: i64,
    /// So many bytes it has on its disk, if it says so.
    pub synced: u64,
    /// Bytes of the stream that the host keeps for it, beside its output.
    pub waiting_bytes: usize,
}

/// How far a replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedStage {
    /// Its snapshot is still to be made, or on its way to it.
    Waiting,
    Sending,
    /// It hears of effects as they are released.
    Online,
}

impl FeedStage {
    /// As INFO shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "wait_bgsave",
            Self::Sending => "send_bulk",
            Self::Online => "online",
        }
    }
}

/// Which output limit a client is under, and what CLIENT LIST TYPE and KILL TYPE call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientClass {
    Normal,
    /// Listens to a channel or pattern.
    PubSub,
    /// Is fed the stream of effects.
    Replica,
    /// Is followed.
    Primary,
}

/// Output from `from` on (an offset of the reply stream) may leave once `seq` is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub from: u64,
    pub seq: u64,
}

/// The queue of a MULTI.
#[derive(Default)]
pub struct Transaction {
    pub commands: Vec<(&'static Entry, OwnedArgs)>,
    /// A command could not be queued: EXEC must fail.
    pub broken: bool,
    /// What the queued commands are, taken together.
    pub flags: Flags,
    /// One of them must not be answered from stale data.
    pub wants_fresh: bool,
    /// Bytes of the queued arguments.
    pub memory: usize,
}

/// A key under WATCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedKey {
    pub db: usize,
    pub key: Box<[u8]>,
}

/// What a client watches.
#[derive(Default)]
pub struct Watches {
    keys: Vec<WatchedKey>,
    /// Bytes of the names.
    name_bytes: usize,
}

impl Watches {
    pub fn push(&mut self, key: WatchedKey) {
        self.name_bytes += key.key.len();
        self.keys.push(key);
    }

    /// Leaves nothing.
    pub fn take(&mut self) -> Vec<WatchedKey> {
        std::mem::take(self).keys
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Bytes that this takes.
    pub fn memory(&self) -> usize {
        self.name_bytes + self.keys.capacity() * size_of::<WatchedKey>()
    }
}

/// Channels that a client listens to.
#[derive(Default)]
pub struct Subscriptions {
    pub channels: HashSet<Box<[u8]>>,
    pub patterns: HashSet<Box<[u8]>>,
    pub shard_channels: HashSet<Box<[u8]>>,
}

impl Subscriptions {
    /// Channels and patterns, as the reply to SUBSCRIBE counts them.
    pub fn count(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Does the client listen to anything?
    pub fn any(&self) -> bool {
        self.count() + self.shard_channels.len() > 0
    }

    /// Does the client listen to anything but this channel?
    pub fn any_but(&self, channel: &[u8]) -> bool {
        let others = self.channels.len() - usize::from(self.channels.contains(channel));
        others + self.patterns.len() + self.shard_channels.len() > 0
    }

    /// Bytes of the tables of channels, not of the names in them.
    pub fn memory(&self) -> usize {
        (self.channels.capacity() + self.patterns.capacity() + self.shard_channels.capacity())
            * size_of::<Box<[u8]>>()
    }
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The reply of the next command is dropped.
    SkipNext,
    /// The reply of the running command is dropped.
    Skip,
}

/// A client that waits. Its command is run again when what it waits for may have come.
pub struct Blocked {
    pub on: BlockedOn,
    /// The turn's time at which it gives up; `None`: never.
    pub deadline_ms: Option<i64>,
    pub since_ms: i64,
    pub command: &'static Entry,
    pub args: OwnedArgs,
    /// The reply when the time is up.
    pub on_timeout: TimeoutReply,
}

/// What a blocked client waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockedOn {
    /// Elements in any of these keys of `db`.
    Keys { db: usize, keys: Vec<Box<[u8]>>, kind: BlockKind },
    /// CLIENT PAUSE to end.
    Pause,
    /// The answer to a log-in that failed: it comes late, so that guessing takes time.
    Penalty,
    /// The host to answer ([`crate::Engine::answer`]).
    Host,
    /// WAIT, and WAITAOF in a cluster: others to have its writes ([`crate::Engine::serve_waits`]).
    Replicas(ReplicaWait),
}

/// What WAIT or WAITAOF is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaWait {
    /// The journal position of the client's last write (0: it has written nothing).
    pub position: u64,
    /// How many other nodes are to have it.
    pub replicas: usize,
    /// WAITAOF: whether it is to be on this node's disk too.
    pub local: Option<bool>,
    /// An index of the log that the write is not past, once that is known.
    pub index: Option<u64>,
    /// Of a single node: how long the stream for replicas was after the write.
    pub offset: u64,
}

/// Which type of value serves a blocked client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    List,
    SortedSet,
    /// XREAD.
    Stream,
    /// XREADGROUP: also woken when the key goes away or changes type, to be told so.
    StreamGroup,
}

/// What a blocked client is told when its time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutReply {
    NullArray,
    Null,
    Integer(i64),
    /// An error, which was counted when it came about.
    Error(&'static str),
    /// WAIT, and WAITAOF in a cluster: how many have the writes by then.
    Replicas,
    /// WAITAOF: whether the local log is synced up to `position` by then, and no replica.
    Synced {
        position: u64,
        /// That is what it waits for.
        local: bool,
    },
}

impl ClientState {
    /// A new connection.
    pub fn new(id: u64, slot: Slot, info: ClientInfo, now_ms: i64) -> Self {
        Self {
            id,
            slot,
            info,
            connected_at_ms: now_ms,
            last_command_at_ms: now_ms,
            db: 0,
            authenticated: false,
            login: Login::default_user(),
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            last_command: None,
            transaction: None,
            watched: Watches::default(),
            watch_broken: false,
            subscriptions: Subscriptions::default(),
            tracking: None,
            blocked: None,
            reply_mode: ReplyMode::On,
            monitor: false,
            listens_elsewhere: false,
            no_evict: false,
            no_touch: false,
            readonly: false,
            close_after_reply: false,
            close_now: false,
            holds: VecDeque::new(),
            touched: false,
            over_soft_limit_since_ms: None,
            query_buffer: 0,
            query_args: 0,
            query_buffer_free: 0,
            weight: None,
            net_input_bytes: 0,
            net_output_bytes: 0,
            commands: 0,
            written_seq: 0,
            written_offset: 0,
            replica: None,
            primary: false,
        }
    }

    /// Which limits it is under.
    pub fn class(&self) -> ClientClass {
        if self.primary {
            ClientClass::Primary
        } else if self.is_fed() {
            ClientClass::Replica
        } else if self.subscriptions.any() || self.listens_elsewhere {
            ClientClass::PubSub
        } else {
            ClientClass::Normal
        }
    }

    /// Has it asked to be fed as a replica?
    pub fn is_fed(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.stage.is_some())
    }

    /// Does it come from this machine?
    pub fn origin(&self) -> Origin {
        let host = self.info.address.rsplit_once(':').map_or("", |(host, _)| host);
        if self.info.unix_socket || matches!(host, "127.0.0.1" | "::1" | "[::1]") {
            Origin::Local
        } else {
            Origin::Remote
        }
    }

    /// Is the client going away, so that nothing may be written to it any more?
    pub fn closing(&self) -> bool {
        self.close_now || self.close_after_reply
    }

    /// Output written from `from` on waits for `seq`.
    pub fn hold(&mut self, from: u64, seq: u64) {
        if self.holds.back().is_none_or(|last| last.seq < seq) {
            self.holds.push_back(Hold { from, seq });
        }
    }

    /// Up to which offset of its output the client may be sent, when `released` is released and `end` written.
    pub fn sendable(&mut self, released: u64, end: u64) -> u64 {
        while self.holds.front().is_some_and(|hold| hold.seq <= released) {
            self.holds.pop_front();
        }
        self.holds.front().map_or(end, |hold| hold.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_held_from_the_first_unreleased_reply_on() {
        let mut client = ClientState::new(1, 0, ClientInfo::default(), 0);
        client.hold(10, 5);
        client.hold(20, 5);
        client.hold(30, 6);
        client.hold(40, 3); // needs less than what stands before it
        assert_eq!(client.sendable(4, 50), 10);
        assert_eq!(client.sendable(5, 50), 30);
        assert_eq!(client.sendable(6, 50), 50);
    }
}
