//! An array that grows without moving what it has.
//!
//! A `Vec` that has no room left moves all of its entries, within one write: everybody waits for as long as some megabytes take. An
//! array of one entry for each document, vector or term is in pieces for that reason.

use std::ops::{Index, IndexMut};

/// Bytes of a piece, unless a single entry is longer: the most that is moved or made room for at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Entries by number. All pieces but the last are full, and none is empty; the first grows up to its size, as a `Vec` does, so
/// that few entries take little. The later ones have all of their room from the beginning, and never move.
#[derive(Debug)]
pub struct Pieces<T> {
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> Pieces<T> {
    /// A full piece has two to the power of this many entries.
    const SHIFT: u32 = match PIECE_BYTES / size_of::<T>() {
        0 => 0,
        fit => fit.ilog2(),
    };
    const PIECE_LEN: usize = 1 << Self::SHIFT;

    #[inline]
    fn place(at: usize) -> (usize, usize) {
        (at >> Self::SHIFT, at & (Self::PIECE_LEN - 1))
    }

    pub fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| ((self.pieces.len() - 1) << Self::SHIFT) + last.len())
    }

    pub fn push(&mut self, entry: T) {
        self.with_room(1).push(entry);
    }

    /// The last piece, with room for one entry at least and for `more` if they all go into it.
    fn with_room(&mut self, more: usize) -> &mut Vec<T> {
        if self.pieces.last().is_none_or(|last| last.len() == Self::PIECE_LEN) {
            self.pieces.push(Vec::new());
        }
        let is_first = self.pieces.len() == 1;
        let last = self.pieces.last_mut().expect("one was added if there was none");
        let wanted = match is_first {
            true => (last.len() + more).next_power_of_two().min(Self::PIECE_LEN),
            false => Self::PIECE_LEN,
        };
        last.reserve_exact(wanted - last.len());
        last
    }

    pub fn pop(&mut self) -> Option<T> {
        let last = self.pieces.last_mut()?;
        let entry = last.pop();
        if last.is_empty() {
            self.pieces.pop();
        }
        entry
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    /// Bytes of the entries and of the room for more; not what entries own elsewhere.
    pub fn memory(&self) -> usize {
        // All but the first and the last have as much room as each other.
        let ends = self.pieces.first().into_iter().chain(self.pieces.last()).take(self.pieces.len());
        let room: usize =
            ends.map(Vec::capacity).sum::<usize>() + (self.pieces.len().saturating_sub(2) << Self::SHIFT);
        room * size_of::<T>() + self.pieces.capacity() * size_of::<Vec<T>>()
    }
}

impl<T: Clone> Pieces<T> {
    /// Makes it this long at least.
    pub fn grow(&mut self, len: usize, entry: T) {
        while self.len() < len {
            let lacking = len - self.len();
            let piece = self.with_room(lacking);
            piece.resize((piece.len() + lacking).min(Self::PIECE_LEN), entry.clone());
        }
    }
}

impl<T> Index<usize> for Pieces<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        let (piece, row) = Self::place(at);
        &self.pieces[piece][row]
    }
}

impl<T> IndexMut<usize> for Pieces<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        let (piece, row) = Self::place(at);
        &mut self.pieces[piece][row]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_full_piece_never_moves() {
        let full = Pieces::<u64>::PIECE_LEN;
        assert_eq!(full, 8192);
        let mut pieces = Pieces::default();
        (0..=full).for_each(|n| pieces.push(n as u64));
        let places = [0, full - 1, full].map(|at| (at, &raw const pieces[at]));
        pieces.grow(5 * full, 7);
        pieces.push(8);
        assert!(places.iter().all(|&(at, place)| std::ptr::eq(&pieces[at], place)));
        assert_eq!(
            pieces.iter().copied().take(full + 1).collect::<Vec<_>>(),
            (0..=full as u64).collect::<Vec<_>>()
        );
        assert_eq!(
            (pieces[full + 1], pieces[5 * full - 1], pieces[5 * full], pieces.len()),
            (7, 7, 8, 5 * full + 1)
        );
        assert!(pieces.pieces.iter().all(|piece| piece.capacity() * size_of::<u64>() <= PIECE_BYTES));
    }

    #[test]
    fn what_is_popped_was_pushed_last() {
        let count = 3 * Pieces::<[u64; 16]>::PIECE_LEN as u64;
        let mut pieces = Pieces::default();
        assert_eq!((pieces.pop(), pieces.len()), (None, 0));
        (0..count).for_each(|n| pieces.push([n; 16]));
        for n in (0..count).rev() {
            assert_eq!((pieces.pop(), pieces.len()), (Some([n; 16]), n as usize));
        }
        assert!(pieces.pieces.is_empty() && pieces.memory() < 1000, "what is empty is given back");
        pieces.push([1; 16]);
        assert_eq!((pieces[0], pieces.len()), ([1; 16], 1));
    }

    #[test]
    fn few_entries_take_little_and_many_no_more_than_a_piece_beside_them() {
        let mut pieces = Pieces::default();
        for len in 1..=100_000usize {
            pieces.push(0u32);
            let exact: usize = pieces.pieces.iter().map(|piece| piece.capacity() * 4).sum();
            let memory = pieces.memory();
            assert_eq!(memory, exact + pieces.pieces.capacity() * size_of::<Vec<u32>>());
            assert!(memory < 8 * len + 200 && memory < 4 * len + PIECE_BYTES + 500, "{memory} for {len}");
        }
    }

    #[test]
    fn an_entry_may_be_longer_than_a_piece() {
        let mut pieces = Pieces::default();
        (0..3).for_each(|n| pieces.push([n; PIECE_BYTES + 1]));
        assert_eq!((pieces[2][0], pieces.len(), pieces.pieces.len()), (2, 3, 3));
    }
}
