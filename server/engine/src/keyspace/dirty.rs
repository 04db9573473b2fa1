//! Which keys have a change that is not released yet: a read that touched one of them must wait as long.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::ds::HashSeed;

/// Keys with unreleased changes, by a 64-bit hash of database and key. Two keys that share a hash only make a read
/// wait needlessly, never too little.
#[derive(Default)]
pub struct DirtyKeys {
    newest: HashMap<u64, u64, BuildHasherDefault<AlreadyHashed>>,
    order: VecDeque<(u64, u64)>,
    /// A change that is of no single key (FLUSHALL): every read waits for it.
    all: u64,
    released: u64,
}

impl DirtyKeys {
    /// The hash of a key as this table wants it.
    pub fn hash(seed: HashSeed, db: usize, key: &[u8]) -> u64 {
        seed.hash(key) ^ (db as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The key was changed by the batch `seq`.
    pub fn mark(&mut self, hash: u64, seq: u64) {
        debug_assert!(seq > self.released);
        if self.newest.insert(hash, seq) != Some(seq) {
            self.order.push_back((seq, hash));
        }
    }

    /// Any key may have been changed by the batch `seq`.
    pub fn mark_all(&mut self, seq: u64) {
        self.all = seq;
    }

    /// Is every change released?
    pub fn is_clean(&self) -> bool {
        self.newest.is_empty() && self.all <= self.released
    }

    /// The position that a read of this key waits for; 0: none.
    pub fn position(&self, hash: u64) -> u64 {
        let all = if self.all > self.released { self.all } else { 0 };
        self.newest.get(&hash).copied().unwrap_or(0).max(all)
    }

    /// The state is another one, that after `seq`, and all of it is safe.
    pub fn forget(&mut self, seq: u64) {
        *self = Self { released: seq, ..Self::default() };
    }

    /// Everything up to `seq` is released.
    pub fn release(&mut self, seq: u64) {
        self.released = self.released.max(seq);
        if self.order.back().is_some_and(|&(newest, _)| newest <= seq) {
            // A burst must not keep its memory for ever, but what a batch needed the next one may need again.
            let kept = KEYS_KEPT.max(self.order.len());
            self.order.clear();
            self.newest.clear();
            if self.newest.capacity().max(self.order.capacity()) > SPARE_MAX * kept {
                self.newest.shrink_to(kept);
                self.order.shrink_to(kept);
            }
            return;
        }
        while let Some(&(at, hash)) = self.order.front().filter(|&&(at, _)| at <= seq) {
            self.order.pop_front();
            if self.newest.get(&hash) == Some(&at) {
                self.newest.remove(&hash);
            }
        }
    }
}

/// Keys for which there is always room.
const KEYS_KEPT: usize = 4096;
/// Room is given back when it is for so many times as many keys as were released.
const SPARE_MAX: usize = 4;

/// The keys are hashes already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 keys are hashed");
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_dirty_until_its_newest_change_is_released() {
        let mut dirty = DirtyKeys::default();
        dirty.mark(1, 10);
        dirty.mark(2, 10);
        dirty.mark(1, 11);
        assert_eq!((dirty.position(1), dirty.position(2), dirty.position(3)), (11, 10, 0));
        dirty.release(10);
        assert_eq!((dirty.position(1), dirty.position(2)), (11, 0));
        dirty.release(11);
        assert!(dirty.is_clean());
    }

    #[test]
    fn a_burst_gives_its_room_back_and_batches_of_one_size_keep_theirs() {
        let mut dirty = DirtyKeys::default();
        let mut batch = |keys: u64, seq: u64| {
            (0..keys).for_each(|key| dirty.mark(key, seq));
            dirty.release(seq);
            (dirty.newest.capacity(), dirty.order.capacity())
        };
        let room = batch(20_000, 1);
        assert!(room.0 >= 20_000 && room.1 >= 20_000);
        assert_eq!(batch(20_000, 2), room);
        let (newest, order) = batch(1, 3);
        assert!(newest < 20_000 && order < 20_000, "{newest} {order}");
    }

    #[test]
    fn a_flush_makes_every_read_wait() {
        let mut dirty = DirtyKeys::default();
        dirty.mark_all(7);
        assert_eq!(dirty.position(99), 7);
        dirty.release(7);
        assert_eq!(dirty.position(99), 0);
        assert!(dirty.is_clean());
    }
}
