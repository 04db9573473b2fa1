//! FT.CONFIG: settings of this node. They are neither logged nor replicated, and no effect depends on them.

/// What queries take when they do not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Milliseconds that a query may take; 0: as long as it wants.
    pub timeout_ms: u64,
    /// A query that takes too long is an error, not an answer of what was found so far.
    pub fail_on_timeout: bool,
    pub default_dialect: u8,
    /// Characters of a prefix at least.
    pub min_prefix: usize,
    /// Terms that a prefix may stand for.
    pub max_expansions: usize,
    pub max_search_results: usize,
    pub max_aggregate_results: usize,
    pub cursor_read_size: usize,
    pub cursor_max_idle_ms: u64,
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
            max_aggregate_results: usize::MAX,
            cursor_read_size: 1000,
            cursor_max_idle_ms: 300_000,
        }
    }
}
