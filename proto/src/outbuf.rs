//! What a connection still has to send.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// A connection's output: bytes appended at the end, sent (by the caller) and consumed at the start.
///
/// Every byte has an absolute offset in the connection's stream: [`start`](Self::start) is that of the first
/// byte not yet consumed, [`end`](Self::end) that of the next byte to be written. Marks taken as offsets stay
/// right while bytes before them are sent, which is how replies are held back and how errors undo what was
/// written.
///
/// The bytes lie in a list of finished chunks and a growing tail. The tail moves to the list, without a copy,
/// when it is full, so no large buffer is ever reallocated; large values are shared with whoever else holds
/// them. In the common case of few replies per turn there is only the tail.
#[derive(Debug, Default)]
pub struct OutBuf {
    chunks: VecDeque<Chunk>,
    tail: Vec<u8>,
    /// Bytes at the front of the first chunk, or of the tail if there is none, that are consumed.
    head: usize,
    /// The sum of the chunks' lengths.
    chunks_len: usize,
    /// The sum of the chunks' allocations, and the part of it that others may hold, too.
    chunks_memory: usize,
    shared_memory: usize,
    /// Stream offset of the first byte not yet consumed.
    start: u64,
    /// What `start` was when the buffer was last empty.
    empty_at: u64,
}

#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    Shared(Bytes),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn memory(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.capacity(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    fn shared_memory(&self) -> usize {
        match self {
            Self::Own(_) => 0,
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

impl OutBuf {
    /// A tail of this length in bytes moves to the list of chunks.
    const CHUNK_LEN: usize = 64 * 1024;
    /// The first allocation of a tail, in bytes.
    const TAIL_LEN_MIN: usize = 512;
    /// The room in bytes that an empty buffer keeps unless bursts beyond it go on.
    const TAIL_KEPT: usize = 16 * 1024;

    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes written and not yet consumed.
    #[inline]
    pub fn len(&self) -> usize {
        self.chunks_len + self.tail.len() - self.head
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stream offset of the first byte not yet consumed.
    #[inline]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The stream offset after the last byte: where the next one will be.
    #[inline]
    pub fn end(&self) -> u64 {
        self.start + self.len() as u64
    }

    /// Bytes of memory held, shared values included.
    pub fn memory(&self) -> usize {
        self.chunks_memory + self.tail.capacity() + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// The part of it that others may hold, too.
    pub fn shared_memory(&self) -> usize {
        self.shared_memory
    }

    /// The same as [`OutBuf::memory`] without the room that is left: what `client-output-buffer-limit` counts.
    pub fn occupied(&self) -> usize {
        self.memory() - (self.tail.capacity() - self.tail.len())
    }

    /// Appends bytes that are already in the protocol's form.
    #[inline]
    pub fn append(&mut self, raw: &[u8]) {
        self.tail_with_room(raw.len()).extend_from_slice(raw);
    }

    /// Appends bytes without copying them.
    pub fn push_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail();
        self.push_chunk(Chunk::Shared(bytes));
    }

    /// The tail with room for at least `room` further bytes.
    #[inline]
    pub(crate) fn tail_with_room(&mut self, room: usize) -> &mut Vec<u8> {
        if self.tail.capacity() - self.tail.len() < room {
            self.make_room(room);
        }
        &mut self.tail
    }

    /// Writes `header` at the stream offset `at`, moving what lies behind it. For lengths that are known only
    /// when the elements have been written; `at` must not be consumed yet.
    pub fn insert_at(&mut self, at: u64, header: &[u8]) {
        assert!(
            at >= self.start && at <= self.end(),
            "offset {at} is not in {}..={}",
            self.start,
            self.end()
        );
        let offset = self.head + (at - self.start) as usize;
        if offset >= self.chunks_len {
            insert_slice(&mut self.tail, offset - self.chunks_len, header);
        } else {
            self.insert_in_chunks(offset, header);
        }
    }

    /// Takes back everything from the stream offset `end` on, which must not be consumed yet.
    pub fn truncate(&mut self, end: u64) {
        assert!(
            end >= self.start && end <= self.end(),
            "offset {end} is not in {}..={}",
            self.start,
            self.end()
        );
        let len = self.head + (end - self.start) as usize;
        if len >= self.chunks_len {
            self.tail.truncate(len - self.chunks_len);
        } else {
            self.tail.clear();
            while self.chunks_len > len {
                let mut last = self.pop_last_chunk();
                let kept = len.saturating_sub(self.chunks_len);
                if kept > 0 {
                    match &mut last {
                        Chunk::Own(bytes) => bytes.truncate(kept),
                        Chunk::Shared(bytes) => bytes.truncate(kept),
                    }
                    self.push_chunk(last);
                }
            }
        }
        if self.is_empty() {
            self.drained();
        }
    }

    /// Takes back everything not yet consumed.
    pub fn clear(&mut self) {
        self.truncate(self.start);
    }

    /// Moves everything not yet consumed out, as if it had never been written here.
    pub fn take(&mut self) -> OutBuf {
        let emptied = OutBuf { start: self.start, empty_at: self.start, ..OutBuf::default() };
        std::mem::replace(self, emptied)
    }

    /// Moves everything not yet consumed to the end of another buffer, as if it had never been written here. What is in the
    /// tail is copied, so that many small moves do not make many chunks.
    pub fn move_to(&mut self, to: &mut OutBuf) {
        let mut head = self.head;
        if !self.chunks.is_empty() {
            to.seal_tail();
            for mut chunk in self.chunks.drain(..) {
                match &mut chunk {
                    Chunk::Own(bytes) => drop(bytes.drain(..head)),
                    Chunk::Shared(bytes) => bytes.advance(head),
                }
                head = 0;
                to.push_chunk(chunk);
            }
        }
        to.append(&self.tail[head..]);
        self.drained();
    }

    /// Everything not yet consumed, as one slice; copies what lies in several chunks. For replies that are
    /// read back in the process rather than sent.
    pub fn contiguous(&mut self) -> &[u8] {
        if !self.chunks.is_empty() {
            let mut tail = Vec::with_capacity(self.chunks_len + self.tail.len());
            self.parts().for_each(|part| tail.extend_from_slice(part));
            tail.drain(..self.head);
            *self = OutBuf { tail, start: self.start, empty_at: self.empty_at, ..OutBuf::default() };
        }
        &self.tail[self.head..]
    }

    /// Fills `slices`, for a vectored write, with the bytes from the start up to the stream offset `upto` (or
    /// the end, if that comes first); how many it filled.
    pub fn io_slices<'a>(&'a self, upto: u64, slices: &mut [IoSlice<'a>]) -> usize {
        let mut left = usize::try_from(upto.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.len());
        let mut skip = self.head;
        let mut filled = 0;
        for part in self.parts() {
            if left == 0 || filled == slices.len() {
                break;
            }
            let part = &part[skip..];
            skip = 0;
            let part = &part[..part.len().min(left)];
            if !part.is_empty() {
                slices[filled] = IoSlice::new(part);
                filled += 1;
                left -= part.len();
            }
        }
        filled
    }

    /// Drops the first `count` bytes, which have been sent.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "{count} bytes of {} cannot have been sent", self.len());
        self.start += count as u64;
        self.head += count;
        while let Some(first) = self.chunks.front() {
            let len = first.len();
            if self.head < len {
                return;
            }
            self.head -= len;
            self.chunks_len -= len;
            self.chunks_memory -= first.memory();
            self.shared_memory -= first.shared_memory();
            self.chunks.pop_front();
        }
        if self.head == self.tail.len() {
            self.drained();
        }
    }

    /// Gives back all memory if the buffer is empty. For connections that have been idle for a while.
    pub fn release_idle(&mut self) {
        if self.is_empty() {
            self.tail = Vec::new();
            self.chunks = VecDeque::new();
        }
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(Chunk::as_slice).chain([self.tail.as_slice()])
    }

    /// All is consumed or taken back: start over at the tail's beginning, and let go of what a burst needed.
    fn drained(&mut self) {
        // Of a chunk that was sent in part and whose rest was taken back, the part is still there.
        self.chunks.clear();
        self.chunks_len = 0;
        self.chunks_memory = 0;
        self.shared_memory = 0;
        self.tail.clear();
        self.head = 0;
        let burst = self.start - self.empty_at;
        self.empty_at = self.start;
        // Only after a smaller burst, or a connection with large replies would allocate anew for each.
        if self.tail.capacity() > Self::TAIL_KEPT && burst <= Self::TAIL_KEPT as u64 {
            self.tail.shrink_to(Self::TAIL_KEPT);
        }
        if self.chunks.capacity() * size_of::<Chunk>() > Self::TAIL_KEPT {
            self.chunks = VecDeque::new();
        }
    }

    #[cold]
    fn make_room(&mut self, room: usize) {
        if self.chunks.is_empty() && self.head > 0 && self.head >= self.tail.len() / 2 {
            // Consumed bytes in front: move the few others there rather than grow. Otherwise a connection
            // that always has something held back would grow its tail for ever.
            self.tail.drain(..self.head);
            self.head = 0;
            if self.tail.capacity() - self.tail.len() >= room {
                return;
            }
        }
        if self.tail.len() + room > Self::CHUNK_LEN && !self.tail.is_empty() {
            self.seal_tail();
            self.tail.reserve_exact(room.max(Self::CHUNK_LEN));
        } else {
            let doubled = (self.tail.capacity() * 2).clamp(Self::TAIL_LEN_MIN, Self::CHUNK_LEN);
            let wanted = doubled.max(self.tail.len() + room);
            self.tail.reserve_exact(wanted - self.tail.len());
        }
    }

    /// Makes the tail the last chunk.
    fn seal_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let sealed = if self.tail.len() < self.tail.capacity() / 2 {
            // Mostly room: keep it for what comes next.
            let copy = self.tail.as_slice().to_vec();
            self.tail.clear();
            copy
        } else {
            std::mem::take(&mut self.tail)
        };
        self.push_chunk(Chunk::Own(sealed));
    }

    fn push_chunk(&mut self, chunk: Chunk) {
        self.chunks_len += chunk.len();
        self.chunks_memory += chunk.memory();
        self.shared_memory += chunk.shared_memory();
        self.chunks.push_back(chunk);
    }

    fn pop_last_chunk(&mut self) -> Chunk {
        let last = self.chunks.pop_back().expect("chunks_len counts the bytes of chunks");
        self.chunks_len -= last.len();
        self.chunks_memory -= last.memory();
        self.shared_memory -= last.shared_memory();
        last
    }

    /// Inserts at `offset`, counted from the first chunk's first byte and before the tail.
    fn insert_in_chunks(&mut self, offset: usize, header: &[u8]) {
        let mut index = 0;
        let mut at = offset;
        while at >= self.chunks[index].len() {
            at -= self.chunks[index].len();
            index += 1;
        }
        self.chunks_len += header.len();
        if let Chunk::Own(bytes) = &mut self.chunks[index] {
            self.chunks_memory -= bytes.capacity();
            insert_slice(bytes, at, header);
            self.chunks_memory += bytes.capacity();
            return;
        }
        // Nothing can be added to a shared chunk: put the header before or, if it must be, within it.
        if at > 0
            && let Chunk::Shared(bytes) = &mut self.chunks[index]
        {
            let before = bytes.split_to(at);
            self.chunks.insert(index, Chunk::Shared(before));
            index += 1;
        }
        self.chunks_memory += header.len();
        self.chunks.insert(index, Chunk::Own(header.to_vec()));
    }
}

fn insert_slice(bytes: &mut Vec<u8>, at: usize, inserted: &[u8]) {
    bytes.extend_from_slice(inserted);
    bytes[at..].rotate_right(inserted.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything up to the end, as the vectored write would send it, two slices at a time.
    fn drain(out: &mut OutBuf) -> Vec<u8> {
        let mut sent = Vec::new();
        while !out.is_empty() {
            let before = sent.len();
            let mut slices = [IoSlice::new(&[]); 2];
            let filled = out.io_slices(u64::MAX, &mut slices);
            slices[..filled].iter().for_each(|slice| sent.extend_from_slice(slice));
            assert!(sent.len() > before);
            out.consume(sent.len() - before);
        }
        sent
    }

    #[test]
    fn offsets_go_on_while_bytes_are_consumed() {
        let mut out = OutBuf::new();
        out.append(b"hello");
        out.consume(2);
        out.append(b" world");
        assert_eq!((out.start(), out.end(), out.len()), (2, 11, 9));
        assert_eq!(out.contiguous(), b"llo world");
        out.consume(9);
        assert_eq!((out.start(), out.end(), out.is_empty()), (11, 11, true));
    }

    #[test]
    fn bytes_beyond_a_mark_are_held_back() {
        let mut out = OutBuf::new();
        out.append(b"one");
        out.push_shared(Bytes::from_static(b"two"));
        let mark = out.end() - 1;
        out.append(b"three");
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(out.io_slices(mark, &mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"one"[..], &b"tw"[..]));
        out.consume(5);
        assert_eq!(out.io_slices(mark, &mut [IoSlice::new(&[]); 8]), 0);
        assert_eq!(out.io_slices(0, &mut [IoSlice::new(&[]); 8]), 0);
        assert_eq!(drain(&mut out), b"othree");
    }

    #[test]
    fn shared_bytes_are_not_copied() {
        let value = Bytes::from(vec![b'v'; 100_000]);
        let mut out = OutBuf::new();
        out.append(b"$100000\r\n");
        out.push_shared(value.clone());
        out.append(b"\r\n");
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(out.io_slices(u64::MAX, &mut slices), 3);
        assert_eq!(slices[1].as_ptr(), value.as_ptr());
    }

    #[test]
    fn a_header_before_shared_bytes_does_not_take_the_tails_memory_along() {
        let mut out = OutBuf::new();
        out.append(&[0; 8192]);
        out.consume(8192);
        let before = out.memory();
        for _ in 0..100 {
            out.append(b"$1\r\n");
            out.push_shared(Bytes::from_static(b"x"));
        }
        assert!(out.memory() < before + 100 * 100, "{}", out.memory());
    }

    #[test]
    fn taking_back_may_cross_chunks() {
        let mut out = OutBuf::new();
        out.append(b"abc");
        out.push_shared(Bytes::from_static(b"def"));
        out.append(b"ghi");
        out.consume(1);
        out.truncate(8);
        assert_eq!(out.end(), 8);
        out.truncate(5);
        out.append(b"!");
        out.truncate(5);
        out.truncate(2);
        out.append(b"X");
        assert_eq!(drain(&mut out), b"bX");
        out.append(b"abc");
        out.clear();
        assert!(out.is_empty());
        assert_eq!(out.end(), 3);
    }

    #[test]
    #[should_panic(expected = "offset 1 is not in 2..=3")]
    fn what_was_sent_cannot_be_taken_back() {
        let mut out = OutBuf::new();
        out.append(b"abc");
        out.consume(2);
        out.truncate(1);
    }

    #[test]
    fn taking_leaves_the_stream_where_it_was() {
        let mut out = OutBuf::new();
        out.append(b"abc");
        out.consume(1);
        let mut taken = out.take();
        assert_eq!(taken.contiguous(), b"bc");
        assert_eq!((out.start(), out.end()), (1, 1));
    }

    #[test]
    fn a_buffer_never_quite_empty_does_not_grow() {
        let mut out = OutBuf::new();
        out.append(&[b'x'; 100]);
        for _ in 0..100_000 {
            out.append(&[b'x'; 100]);
            out.consume(100);
        }
        assert!(out.memory() <= OutBuf::TAIL_LEN_MIN, "{}", out.memory());
    }

    #[test]
    fn memory_goes_back_after_a_burst() {
        let mut out = OutBuf::new();
        for _ in 0..10_000 {
            out.append(&[b'x'; 1000]);
        }
        assert!(out.memory() >= 10_000_000);
        assert!(out.memory() < 11_000_000);
        out.consume(out.len());
        assert!(out.memory() <= 2 * OutBuf::CHUNK_LEN, "{}", out.memory());
        out.append(b"x");
        out.consume(1);
        assert!(out.memory() <= 2 * OutBuf::TAIL_KEPT, "{}", out.memory());
        out.release_idle();
        assert_eq!(out.memory(), 0);
    }

    #[test]
    fn a_connection_with_large_replies_keeps_its_room() {
        let mut out = OutBuf::new();
        out.append(&[b'x'; 40_000]);
        out.consume(40_000);
        let memory = out.memory();
        out.append(&[b'x'; 40_000]);
        assert_eq!(out.memory(), memory);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize),
        Share(usize),
        Consume(usize),
        Truncate(usize),
        Insert(usize),
        Contiguous,
        Move,
    }

    fn step() -> impl Strategy<Value = Step> {
        let len = prop_oneof![0..20_usize, 0..200_000_usize];
        prop_oneof![
            4 => len.clone().prop_map(Step::Append),
            2 => len.prop_map(Step::Share),
            3 => any::<usize>().prop_map(Step::Consume),
            1 => any::<usize>().prop_map(Step::Truncate),
            3 => any::<usize>().prop_map(Step::Insert),
            1 => Just(Step::Contiguous),
            1 => Just(Step::Move),
        ]
    }

    proptest! {
        #[test]
        fn any_sequence_of_steps_matches_a_plain_vector(steps in prop::collection::vec(step(), 1..40)) {
            let mut out = OutBuf::new();
            let mut model: Vec<u8> = Vec::new();
            let mut start = 0_u64;
            let mut next = 0_u8;
            for step in steps {
                match step {
                    Step::Append(len) | Step::Share(len) => {
                        let bytes: Vec<u8> = std::iter::repeat_with(|| { next = next.wrapping_add(1); next }).take(len).collect();
                        model.extend_from_slice(&bytes);
                        if matches!(step, Step::Share(_)) { out.push_shared(bytes.into()) } else { out.append(&bytes) }
                    }
                    Step::Consume(draw) => {
                        let count = draw % (model.len() + 1);
                        model.drain(..count);
                        start += count as u64;
                        out.consume(count);
                    }
                    Step::Truncate(draw) => {
                        let len = draw % (model.len() + 1);
                        model.truncate(len);
                        out.truncate(start + len as u64);
                    }
                    Step::Insert(draw) => {
                        let at = draw % (model.len() + 1);
                        model.splice(at..at, *b"*12\r\n");
                        out.insert_at(start + at as u64, b"*12\r\n");
                    }
                    Step::Contiguous => prop_assert!(out.contiguous() == model),
                    Step::Move => {
                        let mut to = OutBuf::new();
                        to.append(b"before");
                        out.move_to(&mut to);
                        prop_assert!(drain(&mut to) == [b"before", &model[..]].concat());
                        model.clear();
                    }
                }
                prop_assert_eq!((out.start(), out.end()), (start, start + model.len() as u64));
                let all = out.parts().collect::<Vec<_>>().concat();
                prop_assert!(all[out.head..] == model);
                prop_assert_eq!(out.chunks_memory, out.chunks.iter().map(Chunk::memory).sum::<usize>());
                prop_assert_eq!(out.shared_memory, out.chunks.iter().map(Chunk::shared_memory).sum::<usize>());
                prop_assert_eq!(out.chunks_len, out.chunks.iter().map(Chunk::len).sum::<usize>());
            }
            prop_assert!(drain(&mut out) == model);
        }
    }
}
