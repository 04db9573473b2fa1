//! The documents that hold a term, in the order of their ids.
//!
//! A list is blocks of at most [`BLOCK_ENTRIES`] entries, so that a reader skips a block by its last id and cleaning
//! goes block by block:
//!
//! ```text
//! entry      header mask [frequency] positions
//! header     delta of the id to the entry before (the first of a block: the id) << 2 | frequency is 1 << 1 | one position
//! positions  the position, if it is one; else their length in bytes, then each as the delta to the one before
//! ```
//!
//! All numbers are varints. Entries of documents that are gone stay until they are cleaned away; `live` and `dead`
//! are always exact.

use super::{BLOCK_SAMPLES_MAX, sampled, varint};
use crate::schema::FieldMask;
use roaring::RoaringBitmap;

/// Entries of a block.
const BLOCK_ENTRIES: u16 = 128;

/// Past all documents.
pub const END: u32 = u32::MAX;

#[derive(Debug, Default)]
pub struct Postings {
    blocks: Vec<Block>,
    live: u32,
    dead: u32,
}

#[derive(Debug, Default)]
struct Block {
    /// The last id. An emptied block keeps it, so that blocks stay in order while a list is cleaned.
    last: u32,
    count: u16,
    data: Vec<u8>,
}

/// What a document has of a term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub frequency: u32,
    pub mask: FieldMask,
    pub positions: Vec<u32>,
}

/// How far a list has been cleaned.
#[derive(Debug, Default, Clone, Copy)]
pub struct Cleaning {
    read: usize,
    write: usize,
}

impl Postings {
    /// Documents that are there.
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Entries of documents that are gone.
    pub fn dead(&self) -> u32 {
        self.dead
    }

    /// Adds a document behind all others.
    pub fn push(&mut self, doc: u32, entry: &Entry) {
        let full = self.blocks.last().is_none_or(|block| block.count >= BLOCK_ENTRIES);
        if full {
            if let Some(block) = self.blocks.last_mut() {
                block.data.shrink_to_fit();
            }
            self.blocks.push(Block::default());
        }
        let block = self.blocks.last_mut().expect("one was added if there was none");
        assert!(block.count == 0 || block.last < doc, "documents come in the order of their ids");
        block.push(doc, entry);
        self.live += 1;
    }

    /// One of the documents is gone; its entry is still there.
    pub fn bury(&mut self) {
        self.live -= 1;
        self.dead += 1;
    }

    /// Cleans one block: entries of documents that are not `alive` go, what stays moves forward into blocks with room.
    /// True when the end was reached.
    pub fn clean_block(&mut self, cleaning: &mut Cleaning, alive: &RoaringBitmap) -> bool {
        if cleaning.read < self.blocks.len() {
            let block = std::mem::take(&mut self.blocks[cleaning.read]);
            // The hole that it leaves is still in order.
            self.blocks[cleaning.read].last = block.last;
            let mut entries = BlockReader::new(&block.data, block.count);
            while entries.next() {
                if alive.contains(entries.doc) {
                    self.keep(cleaning, &entries);
                } else {
                    self.dead -= 1;
                }
            }
            cleaning.read += 1;
        }
        let done = cleaning.read >= self.blocks.len();
        if done {
            let kept = if self.blocks.get(cleaning.write).is_some_and(|b| b.count > 0) { 1 } else { 0 };
            self.blocks.truncate(cleaning.write + kept);
            if self.blocks.capacity() > 2 * self.blocks.len() {
                self.blocks.shrink_to_fit();
            }
            self.blocks.iter_mut().for_each(|block| block.data.shrink_to_fit());
        }
        done
    }

    fn keep(&mut self, cleaning: &mut Cleaning, entry: &BlockReader) {
        if self.blocks[cleaning.write].count >= BLOCK_ENTRIES {
            cleaning.write += 1;
        }
        let block = &mut self.blocks[cleaning.write];
        let before = if block.count == 0 { 0 } else { block.last };
        let head = u64::from(entry.doc - before) << 2 | u64::from(entry.flags);
        varint::put(&mut block.data, u128::from(head));
        block.data.extend_from_slice(entry.body);
        block.last = entry.doc;
        block.count += 1;
    }

    /// Bytes on the heap, near enough.
    pub fn memory(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>()
            + sampled(self.blocks.len(), BLOCK_SAMPLES_MAX, |at| self.blocks[at].data.capacity())
    }

    pub fn cursor(&self) -> Cursor<'_> {
        Cursor {
            postings: self,
            block: 0,
            entries: self.blocks.first().map_or(BlockReader::EMPTY, |b| BlockReader::new(&b.data, b.count)),
        }
    }
}

impl Block {
    fn push(&mut self, doc: u32, entry: &Entry) {
        let before = if self.count == 0 { 0 } else { self.last };
        let single = entry.positions.len() == 1;
        let head = u64::from(doc - before) << 2 | u64::from(entry.frequency == 1) << 1 | u64::from(single);
        varint::put(&mut self.data, u128::from(head));
        varint::put(&mut self.data, entry.mask);
        if entry.frequency != 1 {
            varint::put(&mut self.data, u128::from(entry.frequency));
        }
        if single {
            varint::put(&mut self.data, u128::from(entry.positions[0]));
        } else {
            let mut deltas = Vec::with_capacity(entry.positions.len());
            let mut last = 0;
            for &position in &entry.positions {
                varint::put(&mut deltas, u128::from(position - last));
                last = position;
            }
            varint::put(&mut self.data, deltas.len() as u128);
            self.data.extend_from_slice(&deltas);
        }
        self.last = doc;
        self.count += 1;
    }
}

const ONE_POSITION: u8 = 1;
const FREQUENCY_IS_1: u8 = 2;

/// Reads the entries of a block.
#[derive(Debug, Clone, Copy)]
struct BlockReader<'a> {
    data: &'a [u8],
    at: usize,
    left: u16,
    doc: u32,
    flags: u8,
    frequency: u32,
    mask: FieldMask,
    /// Mask, frequency and positions as they stand.
    body: &'a [u8],
    positions: &'a [u8],
}

impl<'a> BlockReader<'a> {
    const EMPTY: Self = Self::new(&[], 0);

    const fn new(data: &'a [u8], count: u16) -> Self {
        Self { data, at: 0, left: count, doc: 0, flags: 0, frequency: 0, mask: 0, body: &[], positions: &[] }
    }

    #[inline]
    fn next(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let head = varint::get(self.data, &mut self.at);
        self.doc += (head >> 2) as u32;
        self.flags = head as u8 & 3;
        let start = self.at;
        self.mask = varint::get_wide(self.data, &mut self.at);
        self.frequency =
            if self.flags & FREQUENCY_IS_1 != 0 { 1 } else { varint::get(self.data, &mut self.at) as u32 };
        let positions = if self.flags & ONE_POSITION != 0 {
            let from = self.at;
            varint::get(self.data, &mut self.at);
            from
        } else {
            let len = varint::get(self.data, &mut self.at) as usize;
            self.at += len;
            self.at - len
        };
        self.positions = &self.data[positions..self.at];
        self.body = &self.data[start..self.at];
        true
    }
}

/// Goes through a list, forward only.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    postings: &'a Postings,
    block: usize,
    entries: BlockReader<'a>,
}

impl<'a> Cursor<'a> {
    /// To the first document from `target` on that has the term in one of the fields; `END` if there is none.
    /// Entries of documents that are gone are found too.
    pub fn seek(&mut self, target: u32, mask: FieldMask) -> u32 {
        if self.postings.blocks.get(self.block).is_some_and(|block| block.last < target) {
            self.skip_blocks(target);
        }
        loop {
            while self.entries.next() {
                if self.entries.doc >= target && self.entries.mask & mask != 0 {
                    return self.entries.doc;
                }
            }
            self.block += 1;
            let Some(block) = self.postings.blocks.get(self.block) else {
                self.block = self.postings.blocks.len();
                return END;
            };
            self.entries = BlockReader::new(&block.data, block.count);
        }
    }

    fn skip_blocks(&mut self, target: u32) {
        let ahead = &self.postings.blocks[self.block + 1..];
        // Nearly always it is one of the next.
        let near = ahead.iter().take(4).position(|block| block.last >= target);
        self.block += 1 + near.unwrap_or_else(|| ahead.partition_point(|block| block.last < target));
        self.entries = match self.postings.blocks.get(self.block) {
            Some(block) => BlockReader::new(&block.data, block.count),
            None => BlockReader::EMPTY,
        };
    }

    pub fn frequency(&self) -> u32 {
        self.entries.frequency
    }

    /// Where the term stands in the current document, in order.
    pub fn positions(&self) -> Positions<'a> {
        Positions { data: self.entries.positions, at: 0, last: 0 }
    }

    /// Documents at most, those that are gone included.
    pub fn estimate(&self) -> usize {
        (self.postings.live + self.postings.dead) as usize
    }
}

/// Positions of a term in a document.
#[derive(Debug, Clone)]
pub struct Positions<'a> {
    data: &'a [u8],
    at: usize,
    last: u32,
}

impl Iterator for Positions<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.at == self.data.len() {
            return None;
        }
        self.last += varint::get(self.data, &mut self.at) as u32;
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entry(frequency: u32, mask: FieldMask, positions: &[u32]) -> Entry {
        Entry { frequency, mask, positions: positions.to_vec() }
    }

    fn all(postings: &Postings, mask: FieldMask) -> Vec<(u32, Entry)> {
        let mut cursor = postings.cursor();
        let mut found = Vec::new();
        let mut doc = 0;
        loop {
            doc = cursor.seek(doc + 1, mask);
            if doc == END {
                return found;
            }
            let positions = cursor.positions().collect();
            found.push((doc, Entry { frequency: cursor.frequency(), mask: cursor.entries.mask, positions }));
        }
    }

    #[test]
    fn entries_come_back_as_they_were_put() {
        let mut postings = Postings::default();
        let put: Vec<(u32, Entry)> = (1..=1000)
            .map(|n| (n * 3, entry(1 + n % 3, 1 << (n % 100), &[1, 2, 100_000][..(n % 4) as usize % 4])))
            .collect();
        put.iter().for_each(|(doc, entry)| postings.push(*doc, entry));
        assert_eq!(all(&postings, FieldMask::MAX), put);
        let in_field_0: Vec<_> = put.into_iter().filter(|(_, e)| e.mask & 1 != 0).collect();
        assert_eq!(all(&postings, 1), in_field_0);
    }

    #[test]
    fn a_seek_skips_blocks_and_the_end_stays_the_end() {
        let mut postings = Postings::default();
        (1..=10_000).for_each(|doc| postings.push(doc * 2, &entry(1, 1, &[1])));
        let mut cursor = postings.cursor();
        assert_eq!(cursor.seek(15_001, 1), 15_002);
        assert_eq!(cursor.seek(20_000, 1), 20_000);
        assert_eq!(cursor.seek(20_001, 1), END);
        assert_eq!(cursor.seek(20_002, 1), END);
    }

    #[test]
    fn the_size_of_a_long_list_is_known_from_a_few_of_its_blocks() {
        let mut postings = Postings::default();
        for doc in 1..=100_000 {
            postings.push(doc, &entry(1 + doc % 3, 1, &[1, 2, 100_000][..(doc % 4) as usize % 4]));
            if doc.is_power_of_two() || doc == 100_000 {
                let data: usize = postings.blocks.iter().map(|block| block.data.capacity()).sum();
                let exact = data + postings.blocks.capacity() * size_of::<Block>();
                let memory = postings.memory();
                assert!(memory.abs_diff(exact) < exact / 10, "{memory} for {exact} of {doc}");
            }
        }
    }

    #[test]
    fn a_list_that_died_shrinks_to_what_lives() {
        let mut postings = Postings::default();
        let mut alive = RoaringBitmap::new();
        for doc in 1..=10_000 {
            postings.push(doc, &entry(1, 1, &[1]));
            if doc % 50 == 0 {
                alive.insert(doc);
            } else {
                postings.bury();
            }
        }
        let before = postings.memory();
        let mut cleaning = Cleaning::default();
        while !postings.clean_block(&mut cleaning, &alive) {}
        assert_eq!((postings.live(), postings.dead()), (200, 0));
        assert!(postings.memory() * 15 < before, "{} of {before}", postings.memory());
        assert_eq!(
            all(&postings, 1).iter().map(|e| e.0).collect::<Vec<_>>(),
            alive.iter().collect::<Vec<_>>()
        );
    }

    proptest! {
        // Cleaning goes on between writes and reads: what is alive is found all the time, in order, once.
        #[test]
        fn a_list_stays_whole_while_it_is_cleaned(steps in prop::collection::vec((0u8..8, any::<u16>()), 1..2000)) {
            let mut postings = Postings::default();
            let mut model = BTreeMap::new();
            let mut alive = RoaringBitmap::new();
            let mut next = 1;
            let mut cleaning = Cleaning::default();
            for (step, value) in steps {
                match step {
                    0..=4 => {
                        let put = entry(u32::from(value % 3) + 1, 1, &[u32::from(value)]);
                        postings.push(next, &put);
                        model.insert(next, put);
                        alive.insert(next);
                        next += 1 + u32::from(value % 5);
                    }
                    5 | 6 => {
                        let victim = model.keys().copied().nth(usize::from(value) % model.len().max(1));
                        if let Some(victim) = victim {
                            model.remove(&victim);
                            alive.remove(victim);
                            postings.bury();
                        }
                    }
                    _ => if postings.clean_block(&mut cleaning, &alive) { cleaning = Cleaning::default() },
                }
            }
            let mut found = all(&postings, 1);
            prop_assert!(found.is_sorted_by_key(|e| e.0));
            prop_assert_eq!(found.len(), (postings.live() + postings.dead()) as usize);
            found.retain(|(doc, _)| alive.contains(*doc));
            prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
        }
    }
}
