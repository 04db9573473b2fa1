//! Groups of words that mean the same: FT.SYNUPDATE, FT.SYNDUMP.
//!
//! A word of a group is indexed under the name of the group, too, and a query for one of its words asks for the group.

use crate::text;
use std::collections::{BTreeMap, BTreeSet};

/// What precedes a group's name among the terms.
pub const SYNONYM_PREFIX: u8 = b'~';

#[derive(Debug, Clone, Default)]
pub struct Synonyms {
    /// Of each word its groups, in the order that they were given.
    groups: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Synonyms {
    /// Adds words to a group. Documents that are there know of it after they are indexed again.
    pub fn add<'a>(&mut self, group: &[u8], words: impl IntoIterator<Item = &'a [u8]>) {
        for word in words {
            let groups = self.groups.entry(text::lower(word)).or_default();
            if !groups.iter().any(|known| known == group) {
                groups.push(group.to_vec());
            }
        }
    }

    /// The terms of a word's groups.
    pub fn terms_of<'a>(&'a self, word: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<'a> {
        let groups = self.groups.get(word).into_iter().flatten();
        groups.map(|group| [&[SYNONYM_PREFIX][..], group].concat())
    }

    /// All words with their groups.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[Vec<u8>])> {
        self.groups.iter().map(|(word, groups)| (&word[..], &groups[..]))
    }

    /// The names of all groups.
    pub fn names(&self) -> BTreeSet<&[u8]> {
        self.groups.values().flatten().map(Vec::as_slice).collect()
    }

    /// Words that have groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// How many groups a word is in.
    pub fn groups_of(&self, word: &[u8]) -> usize {
        self.groups.get(&text::lower(word)).map_or(0, Vec::len)
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_the_groups_it_was_added_to_in_any_case() {
        let mut synonyms = Synonyms::default();
        synonyms.add(b"g1", [&b"Boy"[..], b"child"]);
        synonyms.add(b"g2", [&b"child"[..], b"CHILD"]);
        assert_eq!(synonyms.terms_of(b"child").collect::<Vec<_>>(), [b"~g1".to_vec(), b"~g2".to_vec()]);
        assert_eq!(synonyms.terms_of(b"boy").count(), 1);
        assert_eq!(synonyms.names().len(), 2);
    }
}
