//! The value types of directives: what the rest of the engine matches on instead of text.

use std::fmt;

/// What gives way when `maxmemory` is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxmemoryPolicy {
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    Noeviction,
}

impl MaxmemoryPolicy {
    /// Keys carry an access counter instead of an access time.
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::VolatileLfu | Self::AllkeysLfu)
    }

    /// Keys carry an access time that eviction reads.
    pub fn is_lru(self) -> bool {
        matches!(self, Self::VolatileLru | Self::AllkeysLru)
    }

    /// Keys without an expiry may be evicted too.
    pub fn is_allkeys(self) -> bool {
        matches!(self, Self::AllkeysLru | Self::AllkeysLfu | Self::AllkeysRandom)
    }
}

/// When a write counts as kept, and so when its reply leaves the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFsync {
    /// After write(2); a thread syncs once a second. A power cut loses up to about a second.
    Everysec,
    /// After fdatasync(2). Loses nothing.
    Always,
    /// After write(2); the kernel syncs when it likes. A power cut loses up to tens of seconds.
    No,
}

/// The least severe message that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
    Nothing,
}

/// Who may use a guarded feature (`enable-debug-command`, `enable-protected-configs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectedAction {
    No,
    Yes,
    /// Connections from the loopback address or the Unix socket only.
    Local,
}

impl ProtectedAction {
    /// Whether a client from `origin` may go ahead.
    pub fn allows(self, origin: Origin) -> bool {
        match self {
            Self::Yes => true,
            Self::Local => origin == Origin::Local,
            Self::No => false,
        }
    }
}

/// What a node that does not lead does with commands for the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterRedirect {
    /// Passes them on, so that every client works with every node.
    Proxy,
    /// Answers with -MOVED, which clients for Redis Cluster follow.
    Moved,
}

/// Where a node's clients connect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    pub port: u16,
}

impl NodeAddress {
    /// Reads `host:port` or `[::1]:port`. `None` when it is not that, or the port is 0.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']')?,
            // Without brackets nobody can tell which colon ends the address.
            None if host.contains(':') => return None,
            None => host,
        };
        let well_formed = !host.is_empty() && !host.contains([' ', ',', '[', ']']);
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| *port != 0 && digits)?;
        well_formed.then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Where a client's connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The loopback address or the Unix socket.
    Local,
    Remote,
}

/// A type whose values are a fixed list of words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// In the order in which Redis names them in its error.
    const ALL: &'static [(&'static str, Self)];
}

impl Choice for MaxmemoryPolicy {
    const ALL: &'static [(&'static str, Self)] = &[
        ("volatile-lru", Self::VolatileLru),
        ("volatile-lfu", Self::VolatileLfu),
        ("volatile-random", Self::VolatileRandom),
        ("volatile-ttl", Self::VolatileTtl),
        ("allkeys-lru", Self::AllkeysLru),
        ("allkeys-lfu", Self::AllkeysLfu),
        ("allkeys-random", Self::AllkeysRandom),
        ("noeviction", Self::Noeviction),
    ];
}

impl Choice for AppendFsync {
    const ALL: &'static [(&'static str, Self)] =
        &[("everysec", Self::Everysec), ("always", Self::Always), ("no", Self::No)];
}

impl Choice for ClusterRedirect {
    const ALL: &'static [(&'static str, Self)] = &[("proxy", Self::Proxy), ("moved", Self::Moved)];
}

impl Choice for LogLevel {
    const ALL: &'static [(&'static str, Self)] = &[
        ("debug", Self::Debug),
        ("verbose", Self::Verbose),
        ("notice", Self::Notice),
        ("warning", Self::Warning),
        ("nothing", Self::Nothing),
    ];
}

impl Choice for ProtectedAction {
    const ALL: &'static [(&'static str, Self)] =
        &[("no", Self::No), ("yes", Self::Yes), ("local", Self::Local)];
}

macro_rules! display_choice {
    ($($choice:ty),*) => {$(
        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (word, _) = Self::ALL
                    .iter()
                    .find(|(_, value)| value == self)
                    .expect("every variant is listed in ALL: a test checks the defaults and the round trip");
                f.write_str(word)
            }
        }
    )*};
}
display_choice!(MaxmemoryPolicy, AppendFsync, LogLevel, ProtectedAction);

/// Classes of keyspace events (`notify-keyspace-events`): which events are published, and on
/// which of the two kinds of channel.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct NotifyFlags(u16);

impl NotifyFlags {
    /// `K`: publish on `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: Self = Self(1 << 0);
    /// `E`: publish on `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: Self = Self(1 << 1);
    /// `g`: commands that concern no type (DEL, EXPIRE, RENAME).
    pub const GENERIC: Self = Self(1 << 2);
    /// `$`
    pub const STRING: Self = Self(1 << 3);
    /// `l`
    pub const LIST: Self = Self(1 << 4);
    /// `s`
    pub const SET: Self = Self(1 << 5);
    /// `h`
    pub const HASH: Self = Self(1 << 6);
    /// `z`
    pub const ZSET: Self = Self(1 << 7);
    /// `x`: a key expired.
    pub const EXPIRED: Self = Self(1 << 8);
    /// `e`: a key was evicted.
    pub const EVICTED: Self = Self(1 << 9);
    /// `t`
    pub const STREAM: Self = Self(1 << 10);
    /// `d`: modules; there are none, the letter is accepted.
    pub const MODULE: Self = Self(1 << 11);
    /// `m`: a read found no key. Not part of `A`.
    pub const KEY_MISS: Self = Self(1 << 12);
    /// `n`: a key was created. Not part of `A`.
    pub const NEW: Self = Self(1 << 13);
    /// `A`: every class except `m` and `n`.
    pub const ALL: Self = Self(
        Self::GENERIC.0
            | Self::STRING.0
            | Self::LIST.0
            | Self::SET.0
            | Self::HASH.0
            | Self::ZSET.0
            | Self::EXPIRED.0
            | Self::EVICTED.0
            | Self::STREAM.0
            | Self::MODULE.0,
    );
    /// Nothing is published.
    pub const NONE: Self = Self(0);

    /// Letters that `A` stands for, and `n`, in the order in which Redis writes them.
    const CLASSES: [(char, Self); 11] = [
        ('g', Self::GENERIC),
        ('$', Self::STRING),
        ('l', Self::LIST),
        ('s', Self::SET),
        ('h', Self::HASH),
        ('z', Self::ZSET),
        ('x', Self::EXPIRED),
        ('e', Self::EVICTED),
        ('t', Self::STREAM),
        ('d', Self::MODULE),
        ('n', Self::NEW),
    ];
    const CHANNELS: [(char, Self); 3] = [('K', Self::KEYSPACE), ('E', Self::KEYEVENT), ('m', Self::KEY_MISS)];

    /// Reads the letters of `notify-keyspace-events`; `None` for a letter that is not one.
    pub fn parse(letters: &str) -> Option<Self> {
        letters.chars().try_fold(Self::NONE, |flags, letter| {
            let class = if letter == 'A' {
                Self::ALL
            } else {
                Self::CLASSES.iter().chain(&Self::CHANNELS).find(|(known, _)| *known == letter)?.1
            };
            Some(flags.union(class))
        })
    }

    /// Every class of `other` is in `self`.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Some class of `other` is in `self`.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The letters as CONFIG GET shows them: classes (or `A`, which hides `n` as in Redis), then K, E, m.
impl fmt::Display for NotifyFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = |f: &mut fmt::Formatter<'_>, table: &[(char, Self)]| {
            table
                .iter()
                .filter(|(_, class)| self.contains(*class))
                .try_for_each(|(letter, _)| write!(f, "{letter}"))
        };
        if self.contains(Self::ALL) {
            f.write_str("A")?;
        } else {
            letters(f, &Self::CLASSES)?;
        }
        letters(f, &Self::CHANNELS)
    }
}

impl fmt::Debug for NotifyFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NotifyFlags({self})")
    }
}

/// Take a snapshot `seconds` after the last one if there were at least `changes` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveRule {
    pub seconds: u64,
    pub changes: u64,
}

/// When a client that does not read its replies is disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// Bytes; 0 = no limit. Beyond it the connection is closed at once.
    pub hard: u64,
    /// Bytes; 0 = no limit. Beyond it for `soft_seconds` the connection is closed.
    pub soft: u64,
    pub soft_seconds: u64,
}

/// One [`OutputBufferLimit`] for each class of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputBufferLimits {
    pub normal: OutputBufferLimit,
    pub replica: OutputBufferLimit,
    pub pubsub: OutputBufferLimit,
}

impl OutputBufferLimits {
    pub(super) const DEFAULT: Self = Self {
        normal: OutputBufferLimit { hard: 0, soft: 0, soft_seconds: 0 },
        replica: OutputBufferLimit { hard: 256 << 20, soft: 64 << 20, soft_seconds: 60 },
        pubsub: OutputBufferLimit { hard: 32 << 20, soft: 8 << 20, soft_seconds: 60 },
    };
}

/// A bound given in bytes or as a part of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryShare {
    /// 0 = no bound.
    Bytes(u64),
    /// 0 to 100.
    PercentOfMaxmemory(u8),
}

/// What SHUTDOWN is given when a signal asks for it (`shutdown-on-sigterm`, `-sigint`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ShutdownFlags {
    pub save: bool,
    pub nosave: bool,
    pub now: bool,
    pub force: bool,
}
