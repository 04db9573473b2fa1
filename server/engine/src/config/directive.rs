//! What a directive is, and the macro that makes the table, the `Config` struct, its defaults and
//! the ids out of one declaration.

use std::borrow::Cow;
use std::str;

use super::directives::{Config, DIRECTIVES, DirectiveId};
use super::kinds::{Kind, Line, Refusal};

/// One directive of the config file, the command line and CONFIG.
#[derive(Debug)]
pub struct Directive {
    pub id: DirectiveId,
    /// As people write it: `maxmemory-policy`.
    pub name: &'static str,
    /// An older name that means the same.
    pub alias: Option<&'static str>,
    /// One line for people.
    pub doc: &'static str,
    pub group: Group,
    pub changes: Changes,
    pub effect: Effect,
    /// The value is a list of words, not one word.
    pub(super) many: fn() -> bool,
    pub(super) parse: fn(&mut Config, &[&str]) -> Result<bool, Refusal>,
    pub(super) format: fn(&Config) -> String,
    pub(super) lines: fn(&Config, &Config) -> Vec<Line>,
}

/// Chapters of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Network,
    Tls,
    Security,
    General,
    Persistence,
    Memory,
    Encodings,
    Clients,
    Observation,
    Cluster,
    Replication,
    /// For those who test a server. CONFIG GET shows them by name, not by pattern.
    Testing,
}

impl Group {
    /// Every group, in the order of `--help`.
    pub const ALL: [Self; 12] = [
        Self::Network,
        Self::Tls,
        Self::Security,
        Self::General,
        Self::Persistence,
        Self::Memory,
        Self::Encodings,
        Self::Clients,
        Self::Observation,
        Self::Cluster,
        Self::Replication,
        Self::Testing,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Network => "Network",
            Self::Tls => "TLS",
            Self::Security => "Security",
            Self::General => "General",
            Self::Persistence => "Persistence",
            Self::Memory => "Memory, eviction and expiry",
            Self::Encodings => "Compact encodings",
            Self::Clients => "Limits of clients and scripts",
            Self::Observation => "Slow log, latency and notifications",
            Self::Cluster => "Cluster",
            Self::Replication => "Replication",
            Self::Testing => "For tests",
        }
    }
}

/// When a directive may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// By CONFIG SET, at any time.
    Live,
    /// By CONFIG SET, if `enable-protected-configs` allows it: it names a place on the disk.
    Protected,
    /// By CONFIG SET, also to the same value: it names a file, which is read again.
    Reread,
    /// Only in the config file or on the command line.
    AtStart,
    /// As `AtStart`, but CONFIG SET may name the value that it has, for tools that write back all that they have read. They
    /// leave out what has been immutable in every Redis, and do not know what Cairn alone has.
    Fixed,
}

/// Whether a directive does anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what its doc says.
    Works,
    /// Accepted, kept and shown, so that config files and tools of Redis work. It steers a
    /// mechanism that Cairn does not have.
    None,
}

impl Directive {
    /// Finds a directive by its name or alias, in any case.
    pub fn find(name: &[u8]) -> Option<&'static Self> {
        Self::find_spelled(name).map(|(directive, _)| directive)
    }

    /// Like [`find`](Self::find), with the name that was meant: the directive's or its alias.
    pub(super) fn find_spelled(name: &[u8]) -> Option<(&'static Self, &'static str)> {
        DIRECTIVES.iter().find_map(|directive| {
            let spelled = directive.names().find(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
            Some((directive, spelled))
        })
    }

    /// Its name, and its alias if it has one.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [Some(self.name), self.alias].into_iter().flatten()
    }

    /// The default as CONFIG GET shows it.
    pub fn default_value(&self) -> String {
        (self.format)(&Config::default())
    }

    /// The default as people write it in a file: `64mb`, `""`.
    pub fn default_written(&self) -> String {
        let defaults = Config::default();
        let value = (self.format)(&defaults);
        match &(self.lines)(&defaults, &defaults)[..] {
            _ if value.is_empty() => "\"\"".to_owned(),
            [line] if !line.args.starts_with('"') => line.args.clone(),
            _ => value,
        }
    }

    /// Sets the value in `config`; whether it differs from before.
    pub(super) fn set<W: AsRef<[u8]>>(&self, config: &mut Config, words: &[W]) -> Result<bool, Refusal> {
        let words: Result<Vec<_>, _> = words.iter().map(|word| str::from_utf8(word.as_ref())).collect();
        (self.parse)(config, &words.map_err(|_| "argument must be valid UTF-8")?)
    }
}

impl DirectiveId {
    pub fn directive(self) -> &'static Directive {
        // The ids and the table come from one list, in one order.
        &DIRECTIVES[self as usize]
    }

    /// As people write it: `maxmemory-policy`.
    pub fn name(self) -> &'static str {
        self.directive().name
    }
}

/// For the macro: the list-ness of the kind that a field is declared with.
pub(super) fn is_many<K: Kind>(_: &K, _: fn(&Config) -> &K::Value) -> bool {
    K::MANY
}

/// For the macro: a value parsed by `kind` replaces `field`; whether it differs.
pub(super) fn replace<K: Kind>(kind: &K, field: &mut K::Value, words: &[&str]) -> Result<bool, Refusal> {
    let value = kind.parse(words, field)?;
    let differs = *field != value;
    *field = value;
    Ok(differs)
}

/// For the macro: `max_clients` to `max-clients`, at compile time.
pub(super) const fn dashed<const N: usize>(field: &str) -> [u8; N] {
    let field = field.as_bytes();
    let mut name = [0; N];
    let mut at = 0;
    while at < N {
        name[at] = if field[at] == b'_' { b'-' } else { field[at] };
        at += 1;
    }
    name
}

/// `field: Type = default, kind, Changes[, NoEffect] [(alias "…")];` below a group, with one line of
/// documentation, which is the field's rustdoc and the text of `--help`.
macro_rules! directives {
    ($( $group:ident { $(
        $(#[doc = $doc:literal])+
        $field:ident: $type:ty = $default:expr, $kind:expr, $changes:ident $(, $effect:ident)? $((alias $alias:literal))?;
    )+ } )+) => {
        /// The value of every directive. Fields bear the names of the directives and are in their
        /// units; `Default` is what an empty config file gives.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config { $($(
            $(#[doc = $doc])+
            pub $field: $type,
        )+)+
            /// The `user` lines, each as its words: a name and rules. No directive, but a table of its own.
            pub users: Vec<Vec<Vec<u8>>>,
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($( $field: $default, )+)+ users: Vec::new() }
            }
        }

        /// Names a directive in code; spelled like its field.
        #[allow(non_camel_case_types, reason = "one declaration gives the field and the id")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DirectiveId { $($( $field, )+)+ }

        /// Every directive, in the order of `--help`.
        pub static DIRECTIVES: &[Directive] = &[ $($( Directive {
            id: DirectiveId::$field,
            name: {
                const FIELD: &str = stringify!($field);
                const NAME: [u8; FIELD.len()] = dashed(FIELD);
                match std::str::from_utf8(&NAME) {
                    Ok(name) => name,
                    Err(_) => panic!("an identifier is UTF-8"),
                }
            },
            alias: directives!(@alias $($alias)?),
            doc: concat!($($doc),+).trim_ascii(),
            group: Group::$group,
            changes: Changes::$changes,
            effect: directives!(@effect $($effect)?),
            many: || is_many(&$kind, |config| &config.$field),
            parse: |config, words| replace(&$kind, &mut config.$field, words),
            format: |config| $kind.format(&config.$field),
            lines: |config, defaults| $kind.lines(&config.$field, &defaults.$field),
        }, )+)+ ];
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
    (@effect) => { Effect::Works };
    (@effect NoEffect) => { Effect::None };
}
pub(super) use directives;

/// A value for a message: bytes that are not text are shown as `\xNN`.
pub(super) fn shown(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.escape_ascii().to_string()),
    }
}
