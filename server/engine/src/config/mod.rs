//! The configuration: values and rules. Reading files is the server's business.
//!
//! ```text
//! directives.rs   every directive, declared once: field, type, default, bounds, doc
//! directive.rs    what a directive is; the macro behind the declarations
//! kinds.rs        how a type of value is read, shown and written back
//! values.rs       the types that the engine matches on (MaxmemoryPolicy, NotifyFlags, …)
//! load.rs         logical lines of a config file or the command line into a Config
//! rewrite.rs      a Config back into the text of a config file (CONFIG REWRITE)
//! words.rs        quoting and byte counts
//! ```
//!
//! Code that needs a setting reads a field: `config.hash_max_listpack_entries`. CONFIG GET and SET
//! go through [`Config::get`] and [`Config::set`], whose texts are Redis's.

mod directive;
mod directives;
mod kinds;
mod load;
mod rewrite;
mod values;
mod words;

pub use directive::{Changes, Directive, Effect, Group};
pub use directives::{Config, DIRECTIVES, DirectiveId};
pub use load::{LoadError, Loader};
pub use rewrite::rewrite;
pub use values::{
    AppendFsync, ClusterRedirect, LogLevel, MaxmemoryPolicy, MemoryShare, NodeAddress, NotifyFlags, Origin,
    OutputBufferLimit, OutputBufferLimits, ProtectedAction, SaveRule, ShutdownFlags,
};

use crate::glob;
use directive::shown;
pub(crate) use words::{parse_memory, quote};

/// Why CONFIG SET changed nothing. The texts are those of Redis, without the leading `ERR`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// A value that is not allowed, or (made by the host) one that could not be put into effect.
    #[error("CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Refused { name: String, reason: String },
}

impl Config {
    /// CONFIG GET with one pattern; see [`get_all`](Self::get_all).
    pub fn get(&self, pattern: &[u8]) -> Vec<(String, String)> {
        self.get_all(&[pattern])
    }

    /// CONFIG GET: names and values, sorted by name, each name once. A pattern without `*`, `?` or
    /// `[` is a name, and comes back in the case in which it was asked for, as in Redis. Aliases
    /// are names of their own. Directives for tests are shown by name alone.
    pub fn get_all(&self, patterns: &[&[u8]]) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, directive: &Directive| {
            if !found.iter().any(|(seen, _)| seen.eq_ignore_ascii_case(name)) {
                found.push((name.to_owned(), (directive.format)(self)));
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
                if let Some(directive) = Directive::find(pattern) {
                    add(&shown(pattern), directive);
                }
                continue;
            }
            for directive in DIRECTIVES.iter().filter(|directive| directive.group != Group::Testing) {
                for name in directive.names() {
                    if glob::matches(pattern, name.as_bytes(), true) {
                        add(name, directive);
                    }
                }
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// CONFIG SET: all pairs of name and value, or none. Gives the directives whose value changed;
    /// the host puts them into effect. If it cannot (a port is taken), it [takes them back](Self::take_back)
    /// and answers with [`ConfigError::Refused`].
    pub fn set(&mut self, pairs: &[(&[u8], &[u8])], origin: Origin) -> Result<Vec<DirectiveId>, ConfigError> {
        let mut named: Vec<(&Directive, &'static str)> = Vec::with_capacity(pairs.len());
        for (name, _) in pairs {
            let (directive, spelled) = Directive::find_spelled(name)
                .ok_or_else(|| ConfigError::Unknown(shown(name).into_owned()))?;
            let refusal = match directive.changes {
                Changes::AtStart => Some("can't set immutable config"),
                Changes::Protected if !self.enable_protected_configs.allows(origin) => {
                    Some("can't set protected config")
                }
                // A name and its alias may meet in one command; the last one counts.
                _ if named.iter().any(|(_, seen)| *seen == spelled) => Some("duplicate parameter"),
                _ => None,
            };
            if let Some(reason) = refusal {
                let name = shown(name).into_owned();
                return Err(ConfigError::Refused { name, reason: reason.to_owned() });
            }
            named.push((directive, spelled));
        }

        let mut next = self.clone();
        let mut changed = Vec::new();
        for ((directive, spelled), (_, value)) in named.into_iter().zip(pairs) {
            let set = if (directive.many)() {
                // Redis splits a list at single spaces, and takes an empty text for an empty list.
                let words: Vec<_> =
                    if value.is_empty() { Vec::new() } else { value.split(|byte| *byte == b' ').collect() };
                directive.set(&mut next, &words)
            } else {
                directive.set(&mut next, &[value])
            };
            let refused = |reason| ConfigError::Refused { name: spelled.to_owned(), reason };
            let differs = set.map_err(refused)?;
            if differs && directive.changes == Changes::Fixed {
                return Err(refused("can't set immutable config".to_owned()));
            }
            let again = differs || directive.changes == Changes::Reread;
            if again && !changed.contains(&directive.id) {
                changed.push(directive.id);
            }
        }
        *self = next;
        Ok(changed)
    }

    /// Gives the directives of these names the values that they had in `before`.
    pub fn take_back(&mut self, names: &[&str], before: &Self) {
        for directive in DIRECTIVES.iter().filter(|directive| names.contains(&directive.name)) {
            let value = (directive.format)(before);
            let words: Vec<&str> =
                if (directive.many)() { value.split_ascii_whitespace().collect() } else { vec![&value] };
            directive.set(self, &words).expect("a value that was allowed before");
        }
    }
}

#[cfg(test)]
mod tests;
