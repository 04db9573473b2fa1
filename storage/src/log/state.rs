//! What a log says, record by record. Appending and recovery go through the same rules: what one asserts
//! before it writes, the other checks when it reads.

use std::fmt;

use bytes::Bytes;

use super::format::Kind;

/// The sum of all records up to some point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogState {
    /// Index of the next entry; the one before it is the last.
    pub next_index: u64,
    /// Entries from here on are in the files, as far as they are not purged.
    pub available_from: u64,
    /// Entries up to here are not needed any more; 0 if none has been purged.
    pub purged: u64,
    /// Entries up to here are committed; 0 if nobody has said so.
    pub committed: u64,
    /// The newest vote.
    pub vote: Option<Bytes>,
    /// A lower bound of the next entry's term.
    pub term: u64,
}

/// A record that cannot follow those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Illegal {
    pub expected: String,
    pub found: String,
}

impl LogState {
    /// The state before the first record of a log whose next entry has this index.
    pub(crate) fn starting_at(next_index: u64) -> LogState {
        LogState { next_index, available_from: next_index, purged: 0, committed: 0, vote: None, term: 0 }
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.next_index - 1
    }

    /// Takes in the next record. After an error the state is as before.
    pub(crate) fn apply(
        &mut self,
        kind: Kind,
        index: u64,
        term: u64,
        payload: impl FnOnce() -> Bytes,
    ) -> Result<(), Illegal> {
        let limit = |what: &str, legal: bool, bound: u64| {
            let found = || Illegal { expected: format!("{what} {bound}"), found: index.to_string() };
            if legal { Ok(()) } else { Err(found()) }
        };
        match kind {
            Kind::Entry => {
                limit("entry", index == self.next_index, self.next_index)?;
                if term < self.term {
                    let expected = format!("a term of at least {}", self.term);
                    return Err(Illegal { expected, found: term.to_string() });
                }
                // There is always a next index.
                limit("an index below", index < u64::MAX, u64::MAX)?;
                self.next_index = index + 1;
                self.term = term;
            }
            Kind::Vote => self.vote = Some(payload()),
            Kind::Truncate => {
                limit("to truncate after at most entry", index < self.next_index, self.last_index())?;
                limit("to truncate after at least the purged entry", index >= self.purged, self.purged)?;
                self.next_index = index + 1;
                self.available_from = self.available_from.min(self.next_index);
                // The term of the entry that is last now is not at hand, and a lower bound will do.
                self.term = 0;
            }
            Kind::Committed => self.committed = self.committed.max(index),
            Kind::Purge => {
                limit("to purge an index below", index < u64::MAX, u64::MAX)?;
                self.purged = self.purged.max(index);
                if index >= self.next_index {
                    self.next_index = index + 1;
                    self.available_from = self.next_index;
                    self.term = 0;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: &mut LogState, index: u64, term: u64) -> Result<(), Illegal> {
        state.apply(Kind::Entry, index, term, Bytes::new)
    }

    #[test]
    fn entries_follow_each_other_and_terms_never_fall() {
        let mut state = LogState::starting_at(5);
        entry(&mut state, 5, 2).unwrap();
        assert!(entry(&mut state, 7, 2).is_err());
        assert!(entry(&mut state, 5, 2).is_err());
        assert!(entry(&mut state, 6, 1).is_err());
        entry(&mut state, 6, 2).unwrap();
        assert_eq!(state.last_index(), 6);
    }

    #[test]
    fn a_truncation_stays_between_the_purged_and_the_last_entry() {
        let mut state = LogState::starting_at(1);
        (1..=9).for_each(|index| entry(&mut state, index, 1).unwrap());
        state.apply(Kind::Purge, 4, 0, Bytes::new).unwrap();
        assert!(state.apply(Kind::Truncate, 3, 0, Bytes::new).is_err());
        assert!(state.apply(Kind::Truncate, 10, 0, Bytes::new).is_err());
        state.apply(Kind::Truncate, 4, 0, Bytes::new).unwrap();
        assert_eq!(state.next_index, 5);
    }

    #[test]
    fn a_purge_beyond_the_end_moves_the_end() {
        let mut state = LogState::starting_at(1);
        state.apply(Kind::Purge, 100, 0, Bytes::new).unwrap();
        assert_eq!((state.next_index, state.available_from, state.purged), (101, 101, 100));
    }
}
