//! `SharedBuf`: growable bytes behind one thin pointer, reference-counted, copied on write.
//!
//! ```text
//!  SharedBuf (8 bytes)      one heap block, its size rounded up to an allocation class
//!  ┌──────┐   ┌──────────┬─────────┬─────────┬───────────────────┬───────────┐
//!  │ head ├──►│ refs u32 │ len u32 │ cap u32 │ len bytes of data │ spare     │
//!  └──────┘   └──────────┴─────────┴─────────┴───────────────────┴───────────┘
//!             0          4         8         12                  12+len      12+cap
//! ```
//!
//! A string value, a listpack, a long key: everything that is bytes lives in one of these. A snapshot or a reply
//! holds on to the bytes with a clone (one counter); whoever writes while others hold a clone gets an own copy,
//! so a clone never changes. The pointer is thin because it sits in every entry of the keyspace, where a `Vec`
//! would cost 16 bytes more.
//!
//! Invariants:
//! - `len <= cap`, and bytes `0..len` of the data are initialised.
//! - `len` and the data are written only while `refs == 1`, through `&mut`.
//! - `cap == 0` means the one static header of all empty buffers: never written, counted or freed.
//!
//! All `unsafe` of the data structures is in this file, but for the one line of `prefetch`.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use bytes::Bytes;

use super::size_class::size_class;

/// The longest buffer. Callers enforce Redis's own limit (`proto-max-bulk-len`, 512 MB) long before.
pub const LEN_MAX: usize = u32::MAX as usize;

/// Up to this length `extend_from_slice` doubles; beyond, it adds this much (the policy of Redis's sds).
const DOUBLING_MAX: usize = 1024 * 1024;

/// References after which cloning aborts, far below the counter's overflow (as `std::sync::Arc` does).
const REFS_MAX: u32 = i32::MAX as u32;

#[repr(C)]
struct Header {
    refs: AtomicU32,
    len: u32,
    cap: u32,
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 12 && size_of::<Option<SharedBuf>>() == 8);

static EMPTY: Header = Header { refs: AtomicU32::new(1), len: 0, cap: 0 };

/// Growable bytes behind one thin pointer; see the module's page.
pub struct SharedBuf {
    head: NonNull<Header>,
}

// SAFETY: the block is reached only through the pointer, the count is atomic, and all else is written only by
// the single owner (`refs == 1`, `&mut self`), as with `Arc<Vec<u8>>`.
unsafe impl Send for SharedBuf {}
// SAFETY: as above; `&SharedBuf` gives read access and `clone`, and both are safe from several threads.
unsafe impl Sync for SharedBuf {}

impl SharedBuf {
    /// The empty buffer; allocates nothing.
    pub const fn new() -> Self {
        Self { head: NonNull::from_ref(&EMPTY) }
    }

    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        if capacity == 0 { Self::new() } else { Self::allocate(capacity) }
    }

    /// A buffer with a copy of `bytes`.
    pub fn from_slice(bytes: &[u8]) -> Self {
        let mut buf = Self::with_capacity(bytes.len());
        buf.extend_from_slice(bytes);
        buf
    }

    pub fn len(&self) -> usize {
        self.header().len as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes fit without another allocation (if the buffer is not shared).
    pub fn capacity(&self) -> usize {
        self.header().cap as usize
    }

    /// What the block costs on the heap. Clones share it.
    pub fn heap_size(&self) -> usize {
        match self.capacity() {
            0 => 0,
            capacity => size_class(HEADER + capacity),
        }
    }

    /// Whether both are the same block, not just the same bytes.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.head == other.head
    }

    /// Whether nobody else holds this block, so that a write happens in place.
    pub fn is_unique(&self) -> bool {
        // Acquire pairs with the release in `drop`: what a former co-owner read is finished before we write.
        self.capacity() != 0 && self.header().refs.load(Ordering::Acquire) == 1
    }

    /// The bytes, for writing; copies them first if they are shared.
    pub fn make_mut(&mut self) -> &mut [u8] {
        if self.is_empty() {
            return &mut [];
        }
        self.own(self.len());
        let len = self.len();
        // SAFETY: `own` made us the only owner, `&mut self` keeps it so, and `0..len` is initialised.
        unsafe { std::slice::from_raw_parts_mut(self.data(), len) }
    }

    /// Appends, with room to spare for the next append.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let len = self.len();
        let new_len = len + bytes.len();
        self.own_greedily(new_len);
        // SAFETY: we own the block and it has room for `new_len`. `bytes` cannot lie in it: whoever could lend
        // `bytes` from it would hold a clone, and then `own` has moved us to another block.
        unsafe {
            self.data().add(len).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.set_len(new_len);
        }
    }

    /// Grows with `byte`, with room to spare, or truncates.
    pub fn resize(&mut self, new_len: usize, byte: u8) {
        let len = self.len();
        if new_len <= len {
            return self.truncate(new_len);
        }
        self.own_greedily(new_len);
        // SAFETY: we own the block and it has room for `new_len`.
        unsafe {
            self.data().add(len).write_bytes(byte, new_len - len);
            self.set_len(new_len);
        }
    }

    /// Cuts to `new_len` (no effect if shorter already). Keeps the memory; see [`Self::shrink_to_fit`].
    pub fn truncate(&mut self, new_len: usize) {
        if new_len >= self.len() {
            return;
        }
        if self.is_unique() {
            // SAFETY: we own the block, and `new_len` is less than what is initialised.
            unsafe { self.set_len(new_len) };
        } else {
            *self = Self::from_slice(&self[..new_len]);
        }
    }

    /// Makes room for `additional` more bytes, and (but for rounding to an allocation class) no more.
    pub fn reserve(&mut self, additional: usize) {
        if additional > 0 {
            self.own(self.len() + additional);
        }
    }

    /// Replaces the bytes of `range` with `bytes`. Takes no spare room beyond the allocation class, and gives
    /// memory back when the buffer became much shorter: the edit for listpacks and the like.
    ///
    /// # Panics
    /// If the range is not within the buffer.
    pub fn splice(&mut self, range: Range<usize>, bytes: &[u8]) {
        let len = self.len();
        assert!(range.start <= range.end && range.end <= len, "splice {range:?} of {len} bytes");
        let new_len = len - range.len() + bytes.len();
        if new_len == 0 {
            return *self = Self::new();
        }
        if !self.is_unique() {
            let mut copy = Self::with_capacity(new_len);
            copy.extend_from_slice(&self[..range.start]);
            copy.extend_from_slice(bytes);
            copy.extend_from_slice(&self[range.end..]);
            return *self = copy;
        }
        self.own(new_len);
        // SAFETY: we own the block and it has room for `max(len, new_len)`. The tail moves within it from
        // `range.end..len` to where it ends at `new_len`; `bytes` is not in it, as in `extend_from_slice`.
        unsafe {
            let hole = self.data().add(range.start);
            hole.add(bytes.len()).copy_from(self.data().add(range.end), len - range.end);
            hole.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.set_len(new_len);
        }
        if new_len < len && self.capacity() - new_len > new_len / 4 + 16 {
            self.shrink_to_fit();
        }
    }

    /// Empties the buffer and lets go of its memory.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Gives spare memory back. A shared block is left as it is.
    pub fn shrink_to_fit(&mut self) {
        if self.is_empty() {
            *self = Self::new();
        } else if self.is_unique() && rounded_capacity(self.len()) < self.capacity() {
            self.reallocate(self.len());
        }
    }

    /// Makes us the only owner of a block with room for `capacity >= len` bytes.
    fn own(&mut self, capacity: usize) {
        if self.is_unique() {
            if capacity > self.capacity() {
                self.reallocate(capacity);
            }
            return;
        }
        let mut copy = Self::with_capacity(capacity);
        // SAFETY: the new block is ours alone and has room for `capacity >= len`; blocks do not overlap.
        unsafe {
            copy.data().copy_from_nonoverlapping(self.data(), self.len());
            if !self.is_empty() {
                copy.set_len(self.len());
            }
        }
        *self = copy;
    }

    /// As `own`, but takes spare room if it must allocate anyway.
    fn own_greedily(&mut self, capacity: usize) {
        let current = self.capacity();
        let greedy = match capacity {
            _ if capacity <= current || current == 0 => capacity,
            0..DOUBLING_MAX => capacity * 2,
            _ => capacity.saturating_add(DOUBLING_MAX).min(LEN_MAX.max(capacity)),
        };
        self.own(greedy);
    }

    fn allocate(capacity: usize) -> Self {
        let cap = rounded_capacity(capacity);
        let layout = block_layout(cap);
        // SAFETY: the layout's size is not zero (it has the header).
        let block = unsafe { alloc(layout) }.cast::<Header>();
        let Some(head) = NonNull::new(block) else { handle_alloc_error(layout) };
        // SAFETY: fresh memory, large enough and aligned for the header.
        unsafe { head.write(Header { refs: AtomicU32::new(1), len: 0, cap: cap as u32 }) };
        Self { head }
    }

    /// Moves the block to a new capacity, at least `len`. Only for the single owner.
    fn reallocate(&mut self, capacity: usize) {
        debug_assert!(self.is_unique() && capacity >= self.len() && capacity > 0);
        let cap = rounded_capacity(capacity);
        let old = block_layout(self.capacity());
        let new = block_layout(cap);
        // SAFETY: `is_unique`, so the block came from `allocate` with layout `old`, and no one else can see it
        // move. The new size is not zero and, by `block_layout`, valid.
        let block = unsafe { realloc(self.head.as_ptr().cast(), old, new.size()) }.cast::<Header>();
        let Some(head) = NonNull::new(block) else { handle_alloc_error(new) };
        self.head = head;
        // SAFETY: the header moved with the block and is ours alone.
        unsafe { (*self.head.as_ptr()).cap = cap as u32 };
    }

    fn header(&self) -> &Header {
        // SAFETY: `head` points to a live header: the static one, or one that our reference keeps alive. Nobody
        // writes its plain fields while we are borrowed: that takes `&mut self` and `refs == 1`.
        unsafe { self.head.as_ref() }
    }

    /// Where the bytes begin. Dangling (one past the header) but valid for zero bytes in the empty buffer.
    fn data(&self) -> *mut u8 {
        // SAFETY: a block is at least as long as its header.
        unsafe { self.head.as_ptr().cast::<u8>().add(HEADER) }
    }

    /// # Safety
    /// We must be the only owner and bytes `0..len` must be initialised.
    unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(self.is_unique() && len <= self.capacity());
        // SAFETY: the caller's promise: nobody else looks at this header.
        unsafe { (*self.head.as_ptr()).len = len as u32 };
    }
}

/// `capacity` and what else its allocation class has room for.
fn rounded_capacity(capacity: usize) -> usize {
    assert!(capacity <= LEN_MAX, "a buffer of {capacity} bytes: the limit is {LEN_MAX}");
    (size_class(HEADER + capacity) - HEADER).min(LEN_MAX)
}

fn block_layout(cap: usize) -> Layout {
    Layout::from_size_align(HEADER + cap, align_of::<Header>())
        .expect("cap is below 2^32, so the size is valid")
}

impl Clone for SharedBuf {
    fn clone(&self) -> Self {
        if self.capacity() != 0 {
            // Relaxed is enough: the new reference is made from one that is alive.
            let refs = self.header().refs.fetch_add(1, Ordering::Relaxed);
            if refs > REFS_MAX {
                // A wrapped counter would free memory in use.
                std::process::abort();
            }
        }
        Self { head: self.head }
    }
}

impl Drop for SharedBuf {
    fn drop(&mut self) {
        if self.capacity() == 0 {
            return;
        }
        // The sole owner need not pay for an atomic read-modify-write: nobody can make it two meanwhile.
        if !self.is_unique() {
            // Release: our reads are over before whoever sees the lower count may write or free.
            if self.header().refs.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            fence(Ordering::Acquire);
        }
        // SAFETY: ours was the last reference, so the block, which came from `allocate` with this layout, is
        // used by nobody.
        unsafe { dealloc(self.head.as_ptr().cast(), block_layout(self.capacity())) };
    }
}

impl Deref for SharedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `0..len` is initialised and, while `self` is borrowed, written by nobody.
        unsafe { std::slice::from_raw_parts(self.data(), self.len()) }
    }
}

impl Default for SharedBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl AsRef<[u8]> for SharedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for SharedBuf {
    fn from(bytes: &[u8]) -> Self {
        Self::from_slice(bytes)
    }
}

/// Without copying: the `Bytes` holds a reference.
impl From<SharedBuf> for Bytes {
    fn from(buf: SharedBuf) -> Self {
        Bytes::from_owner(buf)
    }
}

impl PartialEq for SharedBuf {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other) || **self == **other
    }
}

impl Eq for SharedBuf {}

impl PartialOrd for SharedBuf {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SharedBuf {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for SharedBuf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for SharedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_buffers_allocate_nothing() {
        let mut empty = SharedBuf::from_slice(b"");
        assert_eq!((empty.heap_size(), empty.capacity(), &*empty), (0, 0, &b""[..]));
        assert!(empty.ptr_eq(&SharedBuf::new()) && empty.clone().is_empty());
        assert!(empty.make_mut().is_empty());
        empty.truncate(0);
        empty.splice(0..0, b"");
        assert_eq!(empty.heap_size(), 0);
    }

    #[test]
    fn a_short_value_fills_its_allocation_class() {
        let buf = SharedBuf::from_slice(b"1234");
        assert_eq!((buf.heap_size(), buf.capacity()), (16, 4));
        let buf = SharedBuf::from_slice(b"12345");
        assert_eq!((buf.heap_size(), buf.capacity()), (32, 20));
    }

    #[test]
    fn a_clone_never_changes() {
        let mut buf = SharedBuf::from_slice(b"hello");
        let snapshot = buf.clone();
        assert!(buf.ptr_eq(&snapshot) && !buf.is_unique());
        buf.make_mut()[0] = b'j';
        assert_eq!((&*buf, &*snapshot), (&b"jello"[..], &b"hello"[..]));
        assert!(buf.is_unique() && snapshot.is_unique());
    }

    #[test]
    fn a_sole_owner_writes_in_place() {
        let mut buf = SharedBuf::with_capacity(100);
        let data = buf.data();
        buf.extend_from_slice(b"one two");
        buf.splice(3..4, b", ");
        buf.make_mut()[0] = b'O';
        buf.resize(100, 0);
        buf.truncate(8);
        assert_eq!((&*buf, buf.data()), (&b"One, two"[..], data));
    }

    #[test]
    fn appending_is_amortised_and_splicing_is_frugal() {
        let mut appended = SharedBuf::new();
        let mut moves = 0;
        let mut capacity = 0;
        for _ in 0..100_000 {
            appended.extend_from_slice(&[7; 10]);
            moves += usize::from(appended.capacity() != capacity);
            capacity = appended.capacity();
        }
        assert!(moves < 25, "{moves} reallocations");
        appended.extend_from_slice(&vec![0; 4 << 20]);
        assert!(appended.capacity() - appended.len() <= 2 << 20, "beyond 1 MiB growth is linear");

        let mut spliced = SharedBuf::new();
        for len in 0..10_000 {
            spliced.splice(len..len, b"x");
            assert_eq!(spliced.heap_size(), size_class(HEADER + spliced.len()));
        }
        spliced.splice(10..10_000, b"");
        assert_eq!((spliced.len(), spliced.heap_size()), (10, 32));
    }

    #[test]
    fn bytes_are_shared_with_a_reply() {
        let mut buf = SharedBuf::from_slice(&[b'v'; 1000]);
        let reply = Bytes::from(buf.clone());
        assert_eq!(reply.as_ptr(), buf.data().cast_const());
        buf.make_mut()[0] = b'w';
        assert!(reply.iter().all(|&b| b == b'v'));
    }

    #[test]
    fn threads_may_hold_and_drop_clones() {
        let mut buf = SharedBuf::from_slice(&[1; 64]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let mine = buf.clone();
                scope.spawn(move || {
                    for _ in 0..200 {
                        let mut copy = mine.clone();
                        copy.make_mut()[0] = 2;
                        assert_eq!((mine[0], copy[0]), (1, 2));
                    }
                });
            }
            for i in 0..200 {
                buf.make_mut()[1] = i;
            }
        });
        assert!(buf.is_unique());
    }

    #[test]
    #[should_panic(expected = "splice 2..9 of 3 bytes")]
    fn splice_checks_its_range() {
        SharedBuf::from_slice(b"abc").splice(2..9, b"");
    }

    #[derive(Debug, Clone)]
    enum Op {
        Extend(Vec<u8>),
        Splice(usize, usize, Vec<u8>),
        Resize(usize),
        Truncate(usize),
        Write(usize),
        Reserve(usize),
        Shrink,
        Snapshot,
        Forget,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let op = prop_oneof![
            bytes().prop_map(Op::Extend),
            (0..200usize, 0..200usize, bytes()).prop_map(|(a, b, v)| Op::Splice(a.min(b), a.max(b), v)),
            (0..200usize).prop_map(Op::Resize),
            (0..200usize).prop_map(Op::Truncate),
            (0..200usize).prop_map(Op::Write),
            (0..50usize).prop_map(Op::Reserve),
            Just(Op::Shrink),
            Just(Op::Snapshot),
            Just(Op::Forget),
        ];
        proptest::collection::vec(op, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 512 }, ..ProptestConfig::default() })]
        #[test]
        fn behaves_as_a_vec_and_clones_keep_their_bytes(ops in ops()) {
            let mut buf = SharedBuf::new();
            let mut model: Vec<u8> = Vec::new();
            let mut snapshots: Vec<(SharedBuf, Vec<u8>)> = Vec::new();
            for op in ops {
                match op {
                    Op::Extend(bytes) => {
                        buf.extend_from_slice(&bytes);
                        model.extend_from_slice(&bytes);
                    }
                    Op::Splice(start, end, bytes) => {
                        let range = start.min(model.len())..end.min(model.len());
                        buf.splice(range.clone(), &bytes);
                        model.splice(range, bytes);
                    }
                    Op::Resize(len) => {
                        buf.resize(len, 9);
                        model.resize(len, 9);
                    }
                    Op::Truncate(len) => {
                        buf.truncate(len);
                        model.truncate(len);
                    }
                    Op::Write(at) if at < model.len() => {
                        buf.make_mut()[at] ^= 0xff;
                        model[at] ^= 0xff;
                    }
                    Op::Write(_) => {}
                    Op::Reserve(additional) => {
                        buf.reserve(additional);
                        prop_assert!(buf.capacity() >= model.len() + additional);
                    }
                    Op::Shrink => buf.shrink_to_fit(),
                    Op::Snapshot => snapshots.push((buf.clone(), model.clone())),
                    Op::Forget => drop(snapshots.pop()),
                }
                prop_assert_eq!(&*buf, &model[..]);
                prop_assert!(buf.len() <= buf.capacity());
            }
            for (snapshot, expected) in snapshots {
                prop_assert_eq!(&*snapshot, &expected[..]);
            }
        }
    }
}
