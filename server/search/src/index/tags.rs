//! The values of a TAG field, each with its documents.

use super::pattern::Pattern;
use super::{SAMPLES_MAX, sampled};
use crate::pieces::Pieces;
use crate::text;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

pub type TagId = u32;

/// Bytes of a tag that count.
const TAG_LEN_MAX: usize = 0x1000;

#[derive(Debug, Default)]
pub struct Tags {
    ids: BTreeMap<Arc<[u8]>, TagId>,
    slots: Pieces<Slot>,
    free: Pieces<TagId>,
}

#[derive(Debug, Default)]
struct Slot {
    name: Arc<[u8]>,
    docs: RoaringBitmap,
}

impl Tags {
    /// The documents with a value, as it is kept.
    pub fn get(&self, tag: &[u8]) -> Option<&RoaringBitmap> {
        self.ids.get(tag).map(|&id| &self.slots[id as usize].docs)
    }

    pub fn insert(&mut self, tag: &[u8], doc: u32) -> TagId {
        let id = match self.ids.get(tag) {
            Some(&id) => id,
            None => {
                let name: Arc<[u8]> = Arc::from(tag);
                let id = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(Slot::default());
                    TagId::try_from(self.slots.len() - 1).expect("documents run out of ids before tags do")
                });
                self.slots[id as usize].name = Arc::clone(&name);
                self.ids.insert(name, id);
                id
            }
        };
        self.slots[id as usize].docs.insert(doc);
        id
    }

    pub fn remove(&mut self, id: TagId, doc: u32) {
        let slot = &mut self.slots[id as usize];
        slot.docs.remove(doc);
        if slot.docs.is_empty() {
            self.ids.remove(&slot.name);
            *slot = Slot::default();
            self.free.push(id);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &RoaringBitmap)> {
        self.ids.iter().map(|(name, &id)| (&**name, &self.slots[id as usize].docs))
    }

    pub fn walk<'a>(
        &'a self,
        pattern: &Pattern,
        mut visit: impl FnMut(&'a [u8], &'a RoaringBitmap, bool) -> ControlFlow<()>,
    ) {
        pattern.walk(&self.ids, |tag, &id, matches| visit(tag, &self.slots[id as usize].docs, matches));
    }

    pub fn memory(&self) -> usize {
        let docs = sampled(self.slots.len(), SAMPLES_MAX, |at| self.slots[at].docs.serialized_size() + 32);
        let names = sampled(self.slots.len(), SAMPLES_MAX, |at| self.slots[at].name.len() + 16);
        docs + names + self.ids.len() * 30 + self.slots.memory() + self.free.memory()
    }
}

/// Cuts a text into tags: at the separator, spaces around them gone, in lower case unless case counts.
pub fn split(text: &[u8], separator: Option<u8>, case_sensitive: bool, index_empty: bool) -> Vec<Vec<u8>> {
    let Some(separator) = separator else {
        return vec![kept(text, case_sensitive)];
    };
    let pieces = text.split(|&b| b == separator).map(trim);
    pieces.filter(|tag| index_empty || !tag.is_empty()).map(|tag| kept(tag, case_sensitive)).collect()
}

fn kept(tag: &[u8], case_sensitive: bool) -> Vec<u8> {
    let tag = &tag[..tag.len().min(TAG_LEN_MAX)];
    if case_sensitive { tag.to_vec() } else { text::lower(tag) }
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && text::is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && text::is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_cut_trimmed_and_lowered() {
        let cut = |text: &str| split(text.as_bytes(), Some(b','), false, false);
        assert_eq!(cut(" Foo Bar ,baz,, "), [b"foo bar".to_vec(), b"baz".to_vec()]);
        assert_eq!(split(b"a;B", Some(b';'), true, false), [b"a".to_vec(), b"B".to_vec()]);
        assert_eq!(split(b"A, b", None, false, false), [b"a, b".to_vec()]);
        assert_eq!(split(b"", Some(b','), false, true), [b"".to_vec()]);
        assert_eq!(split(b"a,", Some(b','), false, true), [b"a".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn a_value_goes_with_its_last_document() {
        let mut tags = Tags::default();
        let id = tags.insert(b"red", 1);
        assert_eq!(tags.insert(b"red", 2), id);
        tags.remove(id, 1);
        assert_eq!(tags.get(b"red").unwrap().iter().collect::<Vec<_>>(), [2]);
        tags.remove(id, 2);
        assert!(tags.get(b"red").is_none() && tags.len() == 0);
        assert_eq!(tags.insert(b"blue", 3), id);
    }
}
