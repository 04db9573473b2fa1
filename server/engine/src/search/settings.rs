//! FT.CONFIG: settings of this node. They are neither logged nor replicated, and no effect depends on them.

use super::cursor::Cursor;
use crate::error::CommandResult;

/// RediSearch's figure for "as many as there are".
pub const RESULTS_MAX: u64 = 1 << 31;
/// Dialects go up to here.
pub const DIALECT_MAX: u64 = 4;

/// What queries take when they do not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Milliseconds that a query may take; 0: as long as it wants.
    pub timeout_ms: u64,
    /// A query that takes too long is an error, not an answer of what was found so far.
    pub fail_on_timeout: bool,
    pub default_dialect: u64,
    /// Characters of a prefix at least.
    pub min_prefix: u64,
    /// Terms that a prefix may stand for.
    pub max_expansions: u64,
    pub max_search_results: u64,
    pub max_aggregate_results: u64,
    pub cursor_max_idle_ms: u64,
    /// Rows that a cursor reads at a time.
    pub cursor_read_size: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout_ms: 500,
            fail_on_timeout: false,
            default_dialect: 1,
            min_prefix: 2,
            max_expansions: 200,
            max_search_results: 1_000_000,
            max_aggregate_results: RESULTS_MAX,
            cursor_max_idle_ms: 300_000,
            cursor_read_size: 1000,
        }
    }
}

/// A setting as FT.CONFIG knows it.
pub struct Setting {
    pub name: &'static str,
    pub help: &'static str,
    kind: Kind,
}

enum Kind {
    /// A number that is at least so much.
    Number {
        min: u64,
        max: Option<(u64, &'static str)>,
        place: fn(&mut Settings) -> &mut u64,
    },
    /// A number of results; negative or very much: all.
    Results(fn(&mut Settings) -> &mut u64),
    OnTimeout,
    /// It is what it is.
    Fixed(&'static str),
}

/// Those that have a meaning here, in RediSearch's order.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "MINPREFIX",
        help: "Set the minimum prefix for expansions (`*`)",
        kind: Kind::Number { min: 1, max: None, place: |s| &mut s.min_prefix },
    },
    Setting {
        name: "MINSTEMLEN",
        help: "Set the minimum word length to stem (default 4)",
        kind: Kind::Fixed("4"),
    },
    Setting {
        name: "MAXSEARCHRESULTS",
        help: "Maximum number of results from ft.search command",
        kind: Kind::Results(|s| &mut s.max_search_results),
    },
    Setting {
        name: "MAXAGGREGATERESULTS",
        help: "Maximum number of results from ft.aggregate command",
        kind: Kind::Results(|s| &mut s.max_aggregate_results),
    },
    Setting {
        name: "MAXEXPANSIONS",
        help: "Maximum prefix expansions to be used in a query",
        kind: Kind::Number { min: 1, max: None, place: |s| &mut s.max_expansions },
    },
    Setting {
        name: "MAXPREFIXEXPANSIONS",
        help: "Maximum prefix expansions to be used in a query",
        kind: Kind::Number { min: 1, max: None, place: |s| &mut s.max_expansions },
    },
    Setting {
        name: "TIMEOUT",
        help: "Query (search) timeout",
        kind: Kind::Number { min: 0, max: None, place: |s| &mut s.timeout_ms },
    },
    Setting {
        name: "DEFAULT_SCORER",
        help: "Default scorer to use when no scorer is specified in queries",
        kind: Kind::Fixed("BM25STD"),
    },
    Setting {
        name: "ON_TIMEOUT",
        help: "Action to perform when search timeout is exceeded (choose RETURN or FAIL)",
        kind: Kind::OnTimeout,
    },
    Setting {
        name: "CURSOR_MAX_IDLE",
        help: "max idle time allowed to be set for cursor, setting it height might cause high memory consumption.",
        kind: Kind::Number { min: 0, max: None, place: |s| &mut s.cursor_max_idle_ms },
    },
    Setting {
        name: "INDEX_CURSOR_LIMIT",
        help: "Max number of cursors for a given index that can be opened inside of a shard. Default is 128",
        kind: Kind::Fixed("128"),
    },
    Setting {
        name: "DEFAULT_DIALECT",
        help: "Set RediSearch default dialect version through the lifetime of the server.",
        kind: Kind::Number {
            min: 1,
            max: Some((DIALECT_MAX, "Default dialect version cannot be higher than 4")),
            place: |s| &mut s.default_dialect,
        },
    },
];

impl Setting {
    pub fn find(name: &[u8]) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| name.eq_ignore_ascii_case(setting.name.as_bytes()))
    }

    /// Its value as text.
    pub fn value(&self, settings: &mut Settings) -> String {
        match &self.kind {
            Kind::Number { place, .. } => place(settings).to_string(),
            Kind::Results(place) => match *place(settings) {
                RESULTS_MAX.. => "unlimited".to_owned(),
                count => count.to_string(),
            },
            Kind::OnTimeout => if settings.fail_on_timeout { "fail" } else { "return" }.to_owned(),
            Kind::Fixed(text) => (*text).to_owned(),
        }
    }

    /// Takes its value from the arguments.
    pub fn set(&self, settings: &mut Settings, cursor: &mut Cursor<'_>) -> CommandResult {
        match &self.kind {
            Kind::Number { min, max, place } => {
                let value = cursor.size(*min as usize).map_err(|bad| bad.text())? as u64;
                if let Some((max, error)) = max
                    && value > *max
                {
                    return Err((*error).into());
                }
                *place(settings) = value;
            }
            Kind::Results(place) => {
                let value = cursor.int().map_err(|bad| bad.text())?;
                *place(settings) = u64::try_from(value).unwrap_or(RESULTS_MAX).min(RESULTS_MAX);
            }
            Kind::OnTimeout => {
                let word = cursor.bytes().map_err(|bad| bad.text())?;
                settings.fail_on_timeout = match word {
                    _ if word.eq_ignore_ascii_case(b"return") => false,
                    _ if word.eq_ignore_ascii_case(b"fail") => true,
                    _ => return Err("Invalid ON_TIMEOUT value".into()),
                };
            }
            Kind::Fixed(_) => return Err("Not modifiable at runtime".into()),
        }
        Ok(())
    }
}
