//! Questions to indexes, as RediSearch answers them: FT.SEARCH, FT.AGGREGATE and what belongs to them.
//!
//! | where | what |
//! |---|---|
//! | `options` | arguments in |
//! | `parsed` | the query that they make, its time and its scores |
//! | `document` | what replies show of documents, read from the keys |
//! | `search`, `aggregate`, `cursor` | the answers |
//! | `explain`, `profile` | how an answer comes about |
//! | `words` | FT.TAGVALS, FT.SPELLCHECK |
//! | `get` | FT.GET, FT.MGET |
//!
//! An index says which documents are found; what is shown of them is read from their keys, so that nothing is shown that is
//! not there any more. No question takes longer than its time-out: the executor serves nobody else meanwhile.

mod aggregate;
mod cursor;
mod document;
mod explain;
#[cfg(all(feature = "fuzzing", any(test, feature = "testing")))]
pub mod fuzzing;
mod get;
mod options;
mod parsed;
mod profile;
mod reply;
mod search;
#[cfg(test)]
mod tests;
mod words;

use crate::command::Command;
use crate::context::Context;
use crate::error::{CommandError, CommandResult, printed};
use crate::host::Host;
use crate::keyspace::{Db, Keyspace};
use crate::search::IndexEntry;
use crate::search::settings::Settings;
use crate::shared::Shared;

pub(crate) use cursor::{CURSORS_OF_INDEX_MAX, Cursors};
pub(crate) use parsed::Deadline;

/// Every command of the family.
pub(in crate::commands) const COMMANDS: &[&Command] = &[
    &aggregate::FT_AGGREGATE,
    &cursor::FT_CURSOR,
    &explain::FT_EXPLAIN,
    &explain::FT_EXPLAINCLI,
    &get::FT_GET,
    &get::FT_MGET,
    &profile::FT_PROFILE,
    &search::FT_SEARCH,
    &words::FT_SPELLCHECK,
    &words::FT_TAGVALS,
];

/// What a question is asked of: one index, its documents, a clock.
#[derive(Clone, Copy)]
struct World<'w> {
    entry: &'w IndexEntry,
    /// Where the documents are.
    db: &'w Db,
    host: &'w dyn Host,
    now_ms: i64,
    settings: &'w Settings,
}

impl<'w> World<'w> {
    /// After [`look_up`] has found the index.
    fn new(shared: &'w Shared, keys: &'w Keyspace, host: &'w dyn Host, index: &[u8]) -> Self {
        Self {
            entry: shared.search.find(index).expect("the index has been looked up"),
            db: &keys.dbs()[0],
            host,
            now_ms: shared.now_ms,
            settings: &shared.search.settings,
        }
    }

    fn max_search_results(&self) -> usize {
        self.settings.max_search_results as usize
    }

    fn max_aggregate_results(&self) -> usize {
        self.settings.max_aggregate_results as usize
    }
}

/// Sees that there is such an index, that every write is in it, and that the question is counted.
fn look_up(cx: &mut Context<'_>, name: &[u8], dialect: usize) -> CommandResult {
    let Some(entry) = cx.use_index(name) else { return Err(said("No such index ", name, "")) };
    entry.dialects |= 1 << dialect;
    Ok(())
}

/// [`look_up`] for commands that do not run a query; RediSearch words their error otherwise.
fn look_up_only(cx: &mut Context<'_>, name: &[u8], dialect: usize) -> CommandResult {
    look_up(cx, name, dialect).map_err(|_| said("", name, ": no such index"))
}

/// An error that repeats what the client said.
fn said(before: &str, bytes: &[u8], after: &str) -> CommandError {
    CommandError::Bytes([before.as_bytes(), printed(bytes), after.as_bytes()].concat())
}

fn limits(cx: &Context<'_>) -> options::Limits {
    let settings = &cx.shared.search.settings;
    options::Limits {
        dialect: settings.default_dialect as usize,
        timeout_ms: settings.timeout_ms,
        max_search_results: settings.max_search_results,
        max_aggregate_results: settings.max_aggregate_results,
        cursor_max_idle_ms: settings.cursor_max_idle_ms,
    }
}
