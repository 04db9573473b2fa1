//! How much copy-on-write has copied. A copy is memory that a snapshot costs, not data: eviction leaves it out.

use std::cell::Cell;

thread_local! {
    static COPIED: Cell<u64> = const { Cell::new(0) };
}

/// Bytes of table leaves that this thread has copied since it began, because somebody else still reads the original.
pub fn copied_bytes() -> u64 {
    COPIED.get()
}

pub(super) fn note_copy(bytes: usize) {
    COPIED.set(COPIED.get() + bytes as u64);
}
