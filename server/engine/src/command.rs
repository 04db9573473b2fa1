//! How a command is declared, and the table of all of them.
//!
//! A command is declared once, beside its handler, as a `static` [`Command`]. Everything else is derived from it:
//! arity checks, key extraction, COMMAND and its subcommands, ACL categories, the README's table.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::args::Args;
use crate::context::Context;
use crate::error::CommandResult;

/// What runs a command. The reply goes to `cx.reply`.
pub type Handler = fn(&mut Context<'_>, Args<'_>) -> CommandResult;

/// Tells the second argument the positions of all keys among the arguments, and what the command does to each.
pub type KeyFinder = fn(Args<'_>, &mut dyn FnMut(usize, KeyAccess));

/// The declaration of one command or subcommand.
pub struct Command {
    /// Lower case; a subcommand has its own name only (`"get"` of CONFIG GET).
    pub name: &'static str,
    /// Exact number of arguments, the name included; negative: at least so many.
    pub arity: i32,
    pub group: Group,
    /// The version of Redis that brought it.
    pub since: &'static str,
    pub flags: &'static [Flag],
    /// Where its keys are.
    pub keys: &'static [Keys],
    /// For keys declared with `variable_flags`: what a command with these arguments does to them.
    pub key_access: Option<fn(Args<'_>) -> KeyAccess>,
    /// For a command that names keys where no declaration finds them (SORT's STORE): all that it names.
    pub find_keys: Option<KeyFinder>,
    /// ACL categories that do not follow from group and flags.
    pub categories: &'static [Category],
    /// In our own words, one line.
    pub summary: &'static str,
    pub complexity: &'static str,
    /// The arguments in the notation of Redis's manual, from which COMMAND DOCS derives its tree:
    /// `"key [NX | XX] [GET] [EX seconds:integer | PX milliseconds:integer] value [value ...]"`.
    pub syntax: &'static str,
    /// COMMAND's hints for clients (`nondeterministic_output` …).
    pub tips: &'static [&'static str],
    pub subcommands: &'static [&'static Command],
    /// Not called when the command has subcommands and a known one was named.
    pub run: Handler,
}

/// The parts of a declaration that most commands leave out: `..COMMAND`.
pub const COMMAND: Command = Command {
    name: "",
    arity: 0,
    group: Group::Generic,
    since: "1.0.0",
    flags: &[],
    keys: &[],
    key_access: None,
    find_keys: None,
    categories: &[],
    summary: "",
    complexity: "O(1)",
    syntax: "",
    tips: &[],
    subcommands: &[],
    run: unreachable_container,
};

/// The handler of a container such as CONFIG, whose subcommands do the work: the dispatcher never calls it.
fn unreachable_container(_: &mut Context<'_>, _: Args<'_>) -> CommandResult {
    Err("ERR this command needs a subcommand".into())
}

/// The families of commands, as COMMAND DOCS names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Generic,
    String,
    Bitmap,
    HyperLogLog,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
    Geo,
    Json,
    Search,
    VectorSet,
    PubSub,
    Transactions,
    Scripting,
    Connection,
    Server,
    Cluster,
    Sentinel,
}

impl Group {
    /// The name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::HyperLogLog => "hyperloglog",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Geo => "geo",
            // Redis has them as modules.
            Self::Json | Self::Search | Self::VectorSet => "module",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Scripting => "scripting",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
        }
    }
}

/// Properties of a command; the names are those of COMMAND's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flag {
    /// May change data.
    Write,
    /// Reads data.
    ReadOnly,
    /// Refused while memory is over `maxmemory` and nothing can be evicted.
    DenyOom,
    Admin,
    PubSub,
    /// Not allowed in scripts.
    NoScript,
    Blocking,
    /// Allowed while the data set is being loaded.
    Loading,
    Stale,
    /// MONITOR shows it before it runs, not after: before the commands of a script.
    SkipMonitor,
    SkipSlowlog,
    Asking,
    Fast,
    /// Allowed before AUTH.
    NoAuth,
    /// Its effects may be written although it is not a Write command (EVAL, PUBLISH).
    MayReplicate,
    /// Not allowed inside MULTI.
    NoMulti,
    /// The declared keys are not all of them, or need more than a range to find.
    MovableKeys,
    AllowBusy,
    NoAsyncLoading,
    NoMandatoryKeys,
    Protected,
    /// The keys may be of any database, or of none: the reply waits for everything unreleased.
    KeylessRead,
    /// There is no such command on a single server.
    ClusterOnly,
}

/// ACL categories that are not derived from flags and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Admin,
    Keyspace,
    Dangerous,
    Connection,
    Scripting,
    Transaction,
    Set,
    SortedSet,
    List,
}

/// One way to find keys among the arguments, and what the command does to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    pub begin: Begin,
    pub find: Find,
    pub access: KeyAccess,
}

/// Where the first key, or the number of keys, stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument.
    Index(usize),
    /// After this keyword, searched from argument `from` (negative: from the end backwards).
    Keyword { word: &'static str, from: i32 },
    /// Cannot be told from the declaration.
    Unknown,
}

/// Which arguments from there on are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Every `step`th argument up to `last`, counted from the first key (0: just one), or from the end when
    /// negative (-1: the last argument). `limit` 2 means the first half of the rest, and so on.
    Range {
        last: i32,
        step: usize,
        limit: usize,
    },
    /// The argument at `begin` says how many keys follow it; they start `first` after it, `step` apart.
    Number {
        first: usize,
        step: usize,
    },
    Unknown,
}

/// What a command does to a key, as COMMAND INFO's key specifications say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAccess {
    /// `RO`, `RW`, `OW` or `RM`.
    pub mode: &'static str,
    /// Any of `ACCESS`, `UPDATE`, `INSERT`, `DELETE`, then `not_key`, `incomplete`, `variable_flags`.
    pub flags: &'static [&'static str],
}

/// RO ACCESS: reads and returns the value.
pub const READ: KeyAccess = KeyAccess { mode: "RO", flags: &["ACCESS"] };
/// RO without ACCESS: looks at metadata only (EXISTS, TYPE, STRLEN).
pub const METADATA: KeyAccess = KeyAccess { mode: "RO", flags: &[] };
/// RW UPDATE: changes what is there, returns none of it.
pub const UPDATE: KeyAccess = KeyAccess { mode: "RW", flags: &["UPDATE"] };
/// RW ACCESS UPDATE: changes and returns (INCR, GETSET).
pub const READ_UPDATE: KeyAccess = KeyAccess { mode: "RW", flags: &["ACCESS", "UPDATE"] };
/// RW ACCESS UPDATE, depending on the options: changes, and may return what was there (SET).
pub const READ_UPDATE_VARIABLE: KeyAccess =
    KeyAccess { mode: "RW", flags: &["ACCESS", "UPDATE", "variable_flags"] };
/// RW INSERT: only adds.
pub const INSERT: KeyAccess = KeyAccess { mode: "RW", flags: &["INSERT"] };
/// RW ACCESS: returns what is there and may rewrite it without changing what it says (PFCOUNT).
pub const READ_REWRITE: KeyAccess = KeyAccess { mode: "RW", flags: &["ACCESS"] };
/// RW ACCESS INSERT: reads, and only adds (PFMERGE).
pub const READ_INSERT: KeyAccess = KeyAccess { mode: "RW", flags: &["ACCESS", "INSERT"] };
/// RW DELETE: removes parts.
pub const DELETE: KeyAccess = KeyAccess { mode: "RW", flags: &["DELETE"] };
/// RW ACCESS DELETE: removes and returns parts (LPOP, SPOP).
pub const READ_DELETE: KeyAccess = KeyAccess { mode: "RW", flags: &["ACCESS", "DELETE"] };
/// OW UPDATE: overwrites whatever was there.
pub const OVERWRITE: KeyAccess = KeyAccess { mode: "OW", flags: &["UPDATE"] };
/// OW INSERT: sets the key if it is not there (RENAMENX).
pub const OVERWRITE_INSERT: KeyAccess = KeyAccess { mode: "OW", flags: &["INSERT"] };
/// RM DELETE: removes the key.
pub const REMOVE: KeyAccess = KeyAccess { mode: "RM", flags: &["DELETE"] };
/// Not a key at all, but found like one: the channels of sharded pub/sub.
pub const CHANNEL: KeyAccess = KeyAccess { mode: "", flags: &["not_key"] };

impl Keys {
    /// Keys that only the command itself can find: [`Command::find_keys`], or its handler from the data.
    pub const fn unknown(access: KeyAccess) -> Self {
        Self { begin: Begin::Unknown, find: Find::Unknown, access }
    }

    /// One key, at this argument.
    pub const fn at(index: usize, access: KeyAccess) -> Self {
        Self::range(index, 0, 1, access)
    }

    /// Keys from argument `first` to `last` (relative to `first`, or negative: from the end), every `step`.
    pub const fn range(first: usize, last: i32, step: usize, access: KeyAccess) -> Self {
        Self { begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 }, access }
    }

    /// `numkeys key [key ...]` with the number at argument `at`.
    pub const fn number(at: usize, access: KeyAccess) -> Self {
        Self { begin: Begin::Index(at), find: Find::Number { first: 1, step: 1 }, access }
    }

    /// After a keyword, searched from argument `from` on: `limit` 2 takes the first half of what follows.
    pub const fn after(word: &'static str, from: i32, last: i32, limit: usize, access: KeyAccess) -> Self {
        Self { begin: Begin::Keyword { word, from }, find: Find::Range { last, step: 1, limit }, access }
    }

    /// Are these really keys, not channels?
    pub fn are_keys(&self) -> bool {
        self.access != CHANNEL
    }

    /// Appends the positions of the keys in `args` (name at 0) to `into`. False when `args` do not fit.
    pub fn positions(&self, args: Args<'_>, into: &mut Vec<usize>) -> bool {
        let argc = args.len() as i64;
        let first = match self.begin {
            Begin::Unknown => return false,
            Begin::Index(index) => index as i64,
            Begin::Keyword { word, from } => {
                let hit = if from >= 0 {
                    (from as usize..args.len()).find(|&i| args.is(i, word))
                } else {
                    let start = (argc + i64::from(from)).clamp(0, argc - 1) as usize;
                    (1..=start).rev().find(|&i| args.is(i, word))
                };
                match hit {
                    Some(at) => at as i64 + 1,
                    None => return true,
                }
            }
        };
        if first >= argc {
            return matches!(self.begin, Begin::Keyword { .. });
        }
        match self.find {
            Find::Unknown => false,
            Find::Range { last, step, limit } => {
                let last = if last >= 0 {
                    first + i64::from(last)
                } else if limit <= 1 {
                    argc + i64::from(last)
                } else {
                    first + (argc - first) / limit as i64 + i64::from(last)
                };
                let mut at = first;
                while at <= last && at < argc {
                    into.push(at as usize);
                    at += step as i64;
                }
                true
            }
            Find::Number { first: offset, step } => {
                let Some(count) = crate::args::parse_i64(args[first as usize]).filter(|&n| n >= 0) else {
                    return false;
                };
                let start = first + offset as i64;
                if count > argc || start + (count - 1) * step as i64 >= argc {
                    return false;
                }
                into.extend((0..count).map(|i| (start + i * step as i64) as usize));
                true
            }
        }
    }
}

/// A set of [`Flag`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    fn of(flags: &[Flag]) -> Self {
        Self(flags.iter().fold(0, |set, &flag| set | 1 << flag as u8))
    }

    /// Is the flag in the set?
    pub fn has(self, flag: Flag) -> bool {
        self.0 & 1 << flag as u8 != 0
    }

    /// Is any of these two in the set?
    pub fn has_any(self, a: Flag, b: Flag) -> bool {
        self.0 & (1 << a as u8 | 1 << b as u8) != 0
    }

    /// The set with this flag, or without it.
    #[must_use]
    pub fn with(self, flag: Flag, on: bool) -> Self {
        let bit = 1 << flag as u8;
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }

    /// The flags of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A declaration in the table, with what is worked out once.
pub struct Entry {
    pub spec: &'static Command,
    pub flags: Flags,
    /// `config|get` for a subcommand; the name otherwise.
    pub full_name: String,
    /// Place in the statistics; the table's order.
    pub index: usize,
    pub parent: Option<&'static str>,
    /// By lower-case name.
    pub subcommands: HashMap<&'static str, usize>,
    /// The one key of a command that has just one: the common case, found without work.
    pub single_key: Option<usize>,
}

impl Entry {
    /// The name as errors have it: the commands of vector sets are of a module of Redis that has its names in capitals.
    pub fn said_name(&self) -> String {
        match self.spec.group {
            Group::VectorSet => self.full_name.to_uppercase(),
            _ => self.full_name.clone(),
        }
    }
}

/// All commands.
pub struct Table {
    entries: Vec<Entry>,
    by_name: HashMap<&'static [u8], usize, ahash::RandomState>,
    longest_name: usize,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::build(&crate::commands::all()));

/// The table of all commands.
pub fn table() -> &'static Table {
    &TABLE
}

impl Table {
    fn build(commands: &[&'static Command]) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut by_name = HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4));
        for &command in commands {
            let parent_index = push(&mut entries, command, None);
            let previous = by_name.insert(command.name.as_bytes(), parent_index);
            assert!(previous.is_none(), "command {} is declared twice", command.name);
            for &sub in command.subcommands {
                let index = push(&mut entries, sub, Some(command.name));
                entries[parent_index].subcommands.insert(sub.name, index);
            }
        }
        let longest_name = by_name.keys().map(|name| name.len()).max().unwrap_or(0);
        Self { entries, by_name, longest_name }
    }

    /// The command named so, in any case.
    pub fn find(&'static self, name: &[u8]) -> Option<&'static Entry> {
        let mut lower = [0u8; 32];
        debug_assert!(self.longest_name <= lower.len());
        if name.len() > self.longest_name {
            return None;
        }
        let lower = &mut lower[..name.len()];
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(&*lower).map(|&index| &self.entries[index])
    }

    /// The subcommand of `parent` named so, in any case.
    pub fn find_sub(&'static self, parent: &Entry, name: &[u8]) -> Option<&'static Entry> {
        let lower = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        parent.subcommands.get(lower.as_str()).map(|&index| &self.entries[index])
    }

    /// The command or subcommand of this full name: `get`, `config|get`.
    pub fn find_full(&'static self, name: &[u8]) -> Option<&'static Entry> {
        match name.iter().position(|&byte| byte == b'|') {
            Some(bar) => self.find_sub(self.find(&name[..bar])?, &name[bar + 1..]),
            None => self.find(name),
        }
    }

    /// The command or subcommand that `argv` names.
    pub fn resolve(&'static self, args: Args<'_>) -> Option<&'static Entry> {
        let entry = self.find(args.first()?)?;
        if entry.subcommands.is_empty() || args.len() < 2 {
            return Some(entry);
        }
        self.find_sub(entry, args[1])
    }

    /// All entries, subcommands after their parents.
    pub fn entries(&'static self) -> &'static [Entry] {
        &self.entries
    }
}

impl Entry {
    /// The positions of the keys in `args`; `None` when they cannot be told (bad numbers, or not declared).
    pub fn key_positions(&self, args: Args<'_>, into: &mut Vec<usize>) -> bool {
        into.clear();
        if let Some(find_keys) = self.spec.find_keys {
            find_keys(args, &mut |at, _| into.push(at));
            return true;
        }
        self.spec.keys.iter().filter(|keys| keys.are_keys()).all(|keys| keys.positions(args, into))
    }

    /// The positions of the keys in `args` with what the command does to each; `None` when they cannot be told.
    pub fn keys_with_access(&self, args: Args<'_>) -> Option<Vec<(usize, KeyAccess)>> {
        let mut found = Vec::new();
        if let Some(find_keys) = self.spec.find_keys {
            find_keys(args, &mut |at, access| found.push((at, access)));
            return Some(found);
        }
        let access_here = self.spec.key_access.map(|access| access(args));
        let mut positions = Vec::new();
        for keys in self.spec.keys.iter().filter(|keys| keys.are_keys()) {
            positions.clear();
            if !keys.positions(args, &mut positions) {
                return None;
            }
            let access = access_here.unwrap_or(keys.access);
            found.extend(positions.iter().map(|&at| (at, access)));
        }
        Some(found)
    }

    /// Does this arity allow so many arguments?
    pub fn arity_fits(&self, argc: usize) -> bool {
        let arity = self.spec.arity;
        if arity >= 0 { argc == arity as usize } else { argc >= arity.unsigned_abs() as usize }
    }
}

fn push(entries: &mut Vec<Entry>, spec: &'static Command, parent: Option<&'static str>) -> usize {
    let index = entries.len();
    let single_key = match spec.keys {
        [keys @ Keys { begin: Begin::Index(at), find: Find::Range { last: 0, .. }, .. }]
            if keys.are_keys() =>
        {
            Some(*at)
        }
        _ => None,
    };
    entries.push(Entry {
        spec,
        flags: Flags::of(spec.flags),
        full_name: parent.map_or_else(|| spec.name.to_owned(), |parent| format!("{parent}|{}", spec.name)),
        index,
        parent,
        subcommands: HashMap::new(),
        single_key,
    });
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(keys: Keys, line: &str) -> Option<Vec<usize>> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut found = Vec::new();
        keys.positions(Args::new(&args), &mut found).then_some(found)
    }

    #[test]
    fn keys_are_found_where_they_are_declared() {
        assert_eq!(positions(Keys::at(1, READ), "get k"), Some(vec![1]));
        assert_eq!(positions(Keys::range(1, -1, 2, UPDATE), "mset a 1 b 2"), Some(vec![1, 3]));
        assert_eq!(positions(Keys::range(1, -2, 1, READ), "blpop a b 0"), Some(vec![1, 2]));
        assert_eq!(positions(Keys::number(2, READ), "eval s 2 a b c"), Some(vec![3, 4]));
        assert_eq!(positions(Keys::number(2, READ), "eval s 3 a b"), None);
        assert_eq!(positions(Keys::number(2, READ), "eval s x a b"), None);
        let streams = Keys::after("STREAMS", 1, -1, 2, READ);
        assert_eq!(positions(streams, "xread count 1 streams a b 0 0"), Some(vec![4, 5]));
    }
}
