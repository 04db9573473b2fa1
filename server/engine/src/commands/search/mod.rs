//! `FT.*`: secondary indexes, as RediSearch has them in Redis 8.
//!
//! `index`: indexes come, change and go; `info`: what they hold; `alias`: their other names; `words`: synonyms and dictionaries;
//! `config`: FT.CONFIG.
//!
//! Whatever reads an index gets the registry by [`Context::search`], which brings the indexes up to date with every write before.
//! A reply depends on keys that nobody can name: the commands are declared with [`crate::command::Flag::KeylessRead`].

mod alias;
mod config;
mod index;
mod info;
pub(crate) mod query;
mod words;

use crate::command::Command;
use crate::context::Context;
use crate::error::CommandError;
use crate::search::{IndexEntry, Search};

/// Every command of the family.
pub(super) const COMMANDS: &[&Command] = &[
    &alias::FT_ALIASADD,
    &alias::FT_ALIASDEL,
    &alias::FT_ALIASUPDATE,
    &config::FT_CONFIG,
    &index::FT_ALTER,
    &index::FT_CREATE,
    &index::FT_DROP,
    &index::FT_DROPINDEX,
    &index::FT_LIST,
    &info::FT_INFO,
    &words::FT_DICTADD,
    &words::FT_DICTDEL,
    &words::FT_DICTDUMP,
    &words::FT_SYNDUMP,
    &words::FT_SYNUPDATE,
];

pub(crate) use index::drop_idle;

/// RediSearch spells it in two ways.
pub(super) const UNKNOWN_INDEX: CommandError = CommandError::new("Unknown Index name");

impl Context<'_> {
    /// All indexes, with every write up to now in them.
    pub(crate) fn search(&mut self) -> &mut Search {
        self.shared.search.catch_up(self.keys);
        &mut self.shared.search
    }

    /// The index of this name or alias, for a command that looks at it. Catches up, and counts as a use.
    pub(crate) fn use_index(&mut self, name: &[u8]) -> Option<&mut IndexEntry> {
        let now_ms = self.now_ms();
        let entry = self.search().find_mut(name)?;
        entry.used(now_ms);
        Some(entry)
    }

    /// Definitions have changed, as `argv` says. Replicas of Redis's kind do not hear of it: they may know no indexes.
    fn definitions_changed(&mut self, argv: &[&[u8]]) {
        self.keep(argv);
        self.shared.effects.add_dirty(1);
    }
}
