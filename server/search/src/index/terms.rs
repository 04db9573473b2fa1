//! The dictionary of terms, each with its postings.

use super::pattern::Pattern;
use super::postings::{Cleaning, Entry, Postings};
use super::{SAMPLES_MAX, sampled};
use crate::pieces::Pieces;
use crate::synonyms::SYNONYM_PREFIX;
use crate::text::STEM_PREFIX;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The place of a term, for as long as a document has it.
pub type TermId = u32;

/// A list is cleaned once the dead outnumber the living by this.
const DEAD_SLACK: u32 = 64;

#[derive(Debug, Default)]
pub struct Terms {
    ids: BTreeMap<Arc<[u8]>, TermId>,
    slots: Pieces<Slot>,
    free: Pieces<TermId>,
    /// Lists with many dead entries, the first of them in work.
    unclean: VecDeque<(TermId, u32)>,
    cleaning: Cleaning,
    /// Entries of documents that are there, and of such that are gone, of all lists.
    live: u64,
    dead: u64,
}

#[derive(Debug, Default)]
struct Slot {
    name: Arc<[u8]>,
    postings: Postings,
    unclean: bool,
    /// Tells a term from the one that had the slot before.
    generation: u32,
}

impl Terms {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn get(&self, term: &[u8]) -> Option<&Postings> {
        self.ids.get(term).map(|&id| &self.slots[id as usize].postings)
    }

    /// A term's name, which shares its memory with the dictionary.
    pub fn name_of(&self, term: &[u8]) -> Option<&Arc<[u8]>> {
        self.ids.get_key_value(term).map(|(name, _)| name)
    }

    /// A document, behind all others, has a term.
    pub fn push(&mut self, term: &[u8], doc: u32, entry: &Entry) -> TermId {
        let id = match self.ids.get(term) {
            Some(&id) => id,
            None => self.add(term),
        };
        self.slots[id as usize].postings.push(doc, entry);
        self.live += 1;
        id
    }

    fn add(&mut self, term: &[u8]) -> TermId {
        let name: Arc<[u8]> = Arc::from(term);
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            TermId::try_from(self.slots.len() - 1).expect("documents run out of ids before terms do")
        });
        let slot = &mut self.slots[id as usize];
        let generation = slot.generation;
        *slot = Slot { name: Arc::clone(&name), generation, ..Slot::default() };
        self.ids.insert(name, id);
        id
    }

    /// A document that had the term is gone. With its last document the term goes, too.
    pub fn bury(&mut self, id: TermId) {
        let slot = &mut self.slots[id as usize];
        slot.postings.bury();
        self.live -= 1;
        self.dead += 1;
        if slot.postings.live() == 0 {
            self.ids.remove(&slot.name);
            self.dead -= u64::from(slot.postings.dead());
            slot.postings = Postings::default();
            slot.name = Arc::default();
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id);
        } else if !slot.unclean && slot.postings.dead() > slot.postings.live() + DEAD_SLACK {
            slot.unclean = true;
            self.unclean.push_back((id, slot.generation));
        }
    }

    /// Cleans so many blocks of lists with many dead entries. True if there is nothing left to clean.
    pub fn clean(&mut self, blocks: usize, alive: &RoaringBitmap) -> bool {
        for _ in 0..blocks {
            let Some(&(id, generation)) = self.unclean.front() else { return true };
            let slot = &mut self.slots[id as usize];
            let dead = slot.postings.dead();
            let done = slot.generation != generation || slot.postings.clean_block(&mut self.cleaning, alive);
            self.dead -= u64::from(dead - slot.postings.dead());
            if done {
                if slot.generation == generation {
                    slot.unclean = false;
                }
                self.unclean.pop_front();
                self.cleaning = Cleaning::default();
            }
        }
        self.unclean.is_empty()
    }

    /// Visits the words that match, stems and groups of synonyms left out. See [`Pattern::walk`].
    pub fn walk<'a>(
        &'a self,
        pattern: &Pattern,
        mut visit: impl FnMut(&'a [u8], &'a Postings, bool) -> ControlFlow<()>,
    ) {
        pattern.walk(&self.ids, |word, &id, matches| {
            let is_word = !matches!(word.first(), Some(&(STEM_PREFIX | SYNONYM_PREFIX)));
            visit(word, &self.slots[id as usize].postings, matches && is_word)
        });
    }

    #[cfg(test)]
    pub fn iter_lists(&self) -> impl Iterator<Item = &Postings> {
        self.slots.iter().map(|slot| &slot.postings)
    }

    /// Entries of documents that are there, and of such that are gone.
    pub fn entries(&self) -> (u64, u64) {
        (self.live, self.dead)
    }

    /// Bytes of all lists, and of the dictionary: estimates, if they are many.
    pub fn memory(&self) -> (usize, usize) {
        let lists = sampled(self.slots.len(), SAMPLES_MAX, |at| self.slots[at].postings.memory());
        // A map's node holds its entries two thirds full; each name has its counts beside it.
        let names = sampled(self.slots.len(), SAMPLES_MAX, |at| self.slots[at].name.len() + 16);
        let map = self.ids.len() * (size_of::<Arc<[u8]>>() + size_of::<TermId>()) * 3 / 2;
        (lists, names + map + self.slots.memory() + self.free.memory())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry { frequency: 1, mask: 1, positions: vec![1] }
    }

    #[test]
    fn a_term_goes_with_its_last_document_and_its_place_is_used_again() {
        let mut terms = Terms::default();
        let a = terms.push(b"a", 1, &entry());
        let b = terms.push(b"b", 1, &entry());
        terms.bury(a);
        assert!(terms.get(b"a").is_none() && terms.get(b"b").is_some());
        assert_eq!(terms.push(b"c", 2, &entry()), a);
        assert_eq!(terms.get(b"c").unwrap().live(), 1);
        assert_ne!(a, b);
    }

    #[test]
    fn cleaning_is_done_in_steps_and_forgets_a_term_that_has_gone() {
        let mut terms = Terms::default();
        let mut alive = RoaringBitmap::new();
        let id = terms.push(b"often", 1, &entry());
        (2..=1000).for_each(|doc| assert_eq!(terms.push(b"often", doc, &entry()), id));
        alive.insert(1000);
        (0..999).for_each(|_| terms.bury(id));
        assert_eq!(terms.entries(), (1, 999));
        assert!(!terms.clean(2, &alive), "eight blocks are not cleaned in two steps");
        assert!(terms.entries().1 < 999);
        let other = terms.push(b"other", 1001, &entry());
        terms.bury(id);
        assert_eq!(terms.push(b"new", 1002, &entry()), id);
        alive.insert(1001);
        alive.insert(1002);
        assert!(terms.clean(100, &alive));
        assert_eq!(terms.get(b"new").unwrap().live(), 1);
        assert_ne!(other, id);
    }

    #[test]
    fn stems_are_no_words_to_a_pattern() {
        let mut terms = Terms::default();
        terms.push(b"+run", 1, &entry());
        terms.push(b"run", 1, &entry());
        let mut found = Vec::new();
        terms.walk(&Pattern::Infix(b"run".into()), |word, _, matches| {
            if matches {
                found.push(word.to_vec());
            }
            ControlFlow::Continue(())
        });
        assert_eq!(found, [b"run".to_vec()]);
    }
}
