//! A leaf's index: from hashes to the numbers of entries, by open addressing over groups of eight slots.
//!
//! ```text
//!  slot    │ 7 bits tag of the hash │ 9 bits number + 1 │      0: free
//!  group   │ slot 0 │ slot 2 │ …   │ slot 1 │ slot 3 │ …      two words of four slots, compared all at once
//!  index   [group; 2^k]        home group: low k bits of the hash; when that is full, the next one
//! ```
//!
//! A look-up compares all tags of a group with a few word operations: usually one group, one candidate and no
//! mispredicted branch. The tag is hash bits 9 to 15, which the trie's digits and the choice of the group do not use.
//!
//! Invariants: an entry is in its home group, or in a later one if all groups from its home up to there are
//! full. At most 7/8 of the slots are taken, so some group has a free slot and every search ends.

use super::LEAF_MAX;
use crate::ds::prefetch::prefetch;

const GROUP_SLOTS: usize = 8;
const SLOTS_MIN: usize = 16;
const NUMBER_BITS: u32 = 9;
const NUMBER_MASK: u16 = (1 << NUMBER_BITS) - 1;
const TAG_MASK: u16 = !NUMBER_MASK;

const _: () = assert!(LEAF_MAX < 1 << NUMBER_BITS && LEAF_MAX <= load_max(1 << NUMBER_BITS));

/// How many entries an index of so many slots may serve.
const fn load_max(slots: usize) -> usize {
    slots / 8 * 7
}

/// The part of a slot that comes from the hash.
#[inline]
fn tag(hash: u64) -> u16 {
    hash as u16 & TAG_MASK
}

/// The index of a leaf, or none (for leaves that are better searched one by one).
#[derive(Clone)]
pub(super) struct Index {
    groups: Box<[Group]>,
}

/// Where a slot is. Valid until the index is next changed.
#[derive(Clone, Copy)]
pub(super) struct Place {
    group: usize,
    lane: Lane,
}

impl Index {
    pub(super) fn none() -> Self {
        Self { groups: Box::default() }
    }

    /// A free index with room for so many entries, at most [`LEAF_MAX`].
    pub(super) fn for_entries(entries: usize) -> Self {
        debug_assert!(entries <= LEAF_MAX);
        let mut slots = SLOTS_MIN;
        while load_max(slots) < entries {
            slots *= 2;
        }
        Self { groups: vec![Group::FREE; slots / GROUP_SLOTS].into_boxed_slice() }
    }

    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn slots(&self) -> usize {
        self.groups.len() * GROUP_SLOTS
    }

    /// How many entries it can serve; 0 if there is none.
    pub(super) fn capacity(&self) -> usize {
        load_max(self.slots())
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.groups)
    }

    /// The slot of that hash for whose entry number `is_it`.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Option<Place> {
        let mut group = self.home(hash);
        loop {
            let slots = self.groups[group];
            let free = slots.free_lanes();
            // A free slot looks like tag 0.
            for lane in slots.lanes_where(TAG_MASK, tag(hash)).without(free) {
                if is_it(slots.number(lane)) {
                    return Some(Place { group, lane });
                }
            }
            if free.0 != 0 {
                return None;
            }
            group = self.next(group);
        }
    }

    /// Starts loading the home group of the hash.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        if !self.is_none() {
            prefetch(&raw const self.groups[self.home(hash)]);
        }
    }

    /// The number of the entry that a search for the hash most likely ends with.
    #[inline]
    pub(super) fn likely(&self, hash: u64) -> Option<usize> {
        let slots = self.groups[self.home(hash)];
        let lane = slots.lanes_where(TAG_MASK, tag(hash)).without(slots.free_lanes()).next()?;
        Some(slots.number(lane))
    }

    #[inline]
    pub(super) fn number(&self, place: Place) -> usize {
        self.groups[place.group].number(place.lane)
    }

    /// Adds an entry. There must be room: fewer than `capacity` entries.
    pub(super) fn link(&mut self, hash: u64, number: usize) {
        let mut group = self.home(hash);
        loop {
            if let Some(lane) = self.groups[group].free_lanes().next() {
                self.groups[group].set(lane, tag(hash) | (number + 1) as u16);
                return;
            }
            group = self.next(group);
        }
    }

    /// The entry at `place` has moved to another number.
    pub(super) fn renumber(&mut self, place: Place, number: usize) {
        let group = &mut self.groups[place.group];
        group.set(place.lane, group.get(place.lane) & TAG_MASK | (number + 1) as u16);
    }

    /// Frees a slot. If its group was full, entries that had to go past it may now be out of place: one of them
    /// takes the slot, and so on from where that one was.
    pub(super) fn unlink(&mut self, place: Place, hash_of: impl Fn(usize) -> u64) {
        let mut gap = place;
        loop {
            let was_full = self.groups[gap.group].is_full();
            self.groups[gap.group].set(gap.lane, 0);
            if !was_full {
                return;
            }
            let Some(stray) = self.first_that_passed(gap.group, &hash_of) else { return };
            let slot = self.groups[stray.group].get(stray.lane);
            self.groups[gap.group].set(gap.lane, slot);
            gap = stray;
        }
    }

    /// An entry beyond the group whose home is the group or before.
    fn first_that_passed(&self, passed: usize, hash_of: impl Fn(usize) -> u64) -> Option<Place> {
        let mask = self.groups.len() - 1;
        let mut group = passed;
        loop {
            group = self.next(group);
            let slots = self.groups[group];
            let from_passed = group.wrapping_sub(passed) & mask;
            let stray = slots.taken_lanes().find(|&lane| {
                let home = self.home(hash_of(slots.number(lane)));
                group.wrapping_sub(home) & mask >= from_passed
            });
            if let Some(lane) = stray {
                return Some(Place { group, lane });
            }
            if !slots.is_full() {
                return None;
            }
        }
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.groups.len() - 1)
    }

    #[inline]
    fn next(&self, group: usize) -> usize {
        (group + 1) & (self.groups.len() - 1)
    }

    /// Checks the invariants, given the hashes of the entries 0, 1, ….
    #[cfg(test)]
    pub(super) fn assert_valid(&self, hashes: &[u64]) {
        assert!(hashes.len() <= self.capacity());
        let taken: usize = self.groups.iter().map(|group| group.taken_lanes().count()).sum();
        assert_eq!(taken, hashes.len());
        for (number, &hash) in hashes.iter().enumerate() {
            // `find` gives up at the first group that is not full, so it proves the place, too.
            let place = self.find(hash, |found| found == number).expect("every entry has a slot");
            assert_eq!(self.groups[place.group].get(place.lane) & TAG_MASK, tag(hash));
        }
    }
}

/// Eight slots, two words of four 16-bit lanes.
#[derive(Clone, Copy)]
struct Group([u64; 2]);

/// A lane, as the bit that stands for it in [`Lanes`]: word in bit 0, shift in the word in bits 4 and 5.
type Lane = u32;

const LANE_ONES: u64 = 0x0001_0001_0001_0001;
const LANE_TOPS: u64 = LANE_ONES << 15;

impl Group {
    const FREE: Self = Self([0; 2]);

    /// The lanes with `slot & mask == value`.
    #[inline]
    fn lanes_where(self, mask: u16, value: u16) -> Lanes {
        let mask = LANE_ONES * u64::from(mask);
        let value = LANE_ONES * u64::from(value);
        let [even, odd] = self.0.map(|word| {
            let differs = (word ^ value) & mask;
            // The top bit of each lane that is not 0: of the lane itself, or carried there from the bits below.
            let carried = (differs & !LANE_TOPS) + !LANE_TOPS;
            !(carried | differs) & LANE_TOPS
        });
        Lanes(even >> 1 | odd)
    }

    #[inline]
    fn free_lanes(self) -> Lanes {
        self.lanes_where(u16::MAX, 0)
    }

    fn taken_lanes(self) -> Lanes {
        Lanes(LANE_TOPS | LANE_TOPS >> 1).without(self.free_lanes())
    }

    #[inline]
    fn is_full(self) -> bool {
        self.free_lanes().0 == 0
    }

    #[inline]
    fn get(self, lane: Lane) -> u16 {
        (self.0[lane as usize & 1] >> (lane & 0x30)) as u16
    }

    #[inline]
    fn number(self, lane: Lane) -> usize {
        usize::from(self.get(lane) & NUMBER_MASK) - 1
    }

    fn set(&mut self, lane: Lane, slot: u16) {
        let word = &mut self.0[lane as usize & 1];
        let shift = lane & 0x30;
        *word = *word & !(u64::from(u16::MAX) << shift) | u64::from(slot) << shift;
    }
}

/// A set of lanes: bits 14, 30, 46, 62 for the first word's, the bits above for the second's.
#[derive(Clone, Copy)]
struct Lanes(u64);

impl Lanes {
    #[inline]
    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Iterator for Lanes {
    type Item = Lane;

    #[inline]
    fn next(&mut self) -> Option<Lane> {
        if self.0 == 0 {
            return None;
        }
        let lane = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_found_whatever_is_beside_them() {
        let values = [0, 1, 0x01ff, 0x0200, 0x7fff, 0x8000, 0xfe00, 0xffff];
        for a in values {
            for b in values {
                let mut group = Group::FREE;
                for (i, lane) in group.free_lanes().enumerate() {
                    group.set(lane, if i % 3 == 0 { a } else { b });
                }
                for mask in [u16::MAX, TAG_MASK] {
                    for value in values.map(|value| value & mask) {
                        let found: Vec<Lane> = group.lanes_where(mask, value).collect();
                        let expected: Vec<Lane> = Group::FREE
                            .free_lanes()
                            .filter(|&lane| group.get(lane) & mask == value)
                            .collect();
                        assert_eq!(found, expected, "{a:x} {b:x} {mask:x} {value:x}");
                    }
                }
            }
        }
        assert_eq!(Group::FREE.free_lanes().count(), GROUP_SLOTS);
    }

    #[test]
    fn removing_from_full_groups_leaves_no_entry_unreachable() {
        // Homes crowd in three of the four groups, the last of which overflows into the first.
        let mut hashes: Vec<u64> = (0..28).map(|i| [3, 3, 0, 2][i % 4] | (i as u64 % 5) << 9).collect();
        let mut index = Index::for_entries(hashes.len());
        assert_eq!(index.slots(), 32);
        for (number, &hash) in hashes.iter().enumerate() {
            index.link(hash, number);
        }
        index.assert_valid(&hashes);
        let mut at = 5;
        while !hashes.is_empty() {
            at = (at * 7 + 3) % hashes.len();
            let last = hashes.len() - 1;
            let place = index.find(hashes[at], |number| number == at).expect("every entry has a slot");
            index.unlink(place, |number| hashes[number]);
            if at != last {
                let place =
                    index.find(hashes[last], |number| number == last).expect("every entry has a slot");
                index.renumber(place, at);
            }
            hashes.swap_remove(at);
            index.assert_valid(&hashes);
        }
    }
}
