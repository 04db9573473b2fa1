//! What goes over the wire between nodes: messages, cut into frames. No I/O here.
//!
//! ```text
//!  0        1        2          4            8              16             24           28
//!  ├────────┼────────┼──────────┼────────────┼──────────────┼──────────────┼────────────┼──────────────┤
//!  │version │ kind   │ 0        │ len: u32   │ number: u64  │ total: u64   │ crc: u32   │ payload: len │
//! ```
//!
//! All numbers are little-endian. `crc` is the CRC-32 of the header before it and of the payload. `total` is the length of
//! the whole message; one longer than [`FRAME_LEN_MAX`] comes in several frames, one after the other, alike in kind, number
//! and total. So a receiver knows from the start whether it will take a message, and never makes room for more than a
//! multiple of what has really arrived.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Version of the frames and of everything in them.
pub const VERSION: u8 = 1;
/// Bytes before the payload.
pub const HEADER_LEN: usize = 28;
/// Longest payload of one frame.
pub const FRAME_LEN_MAX: usize = 1 << 20;

/// Room for the whole of a long message is made once one of so many parts of it has arrived.
const RESERVE_PART: u64 = 16;
/// Bytes that are cut into frames ahead of being written. The rest waits uncut, so that no long message is
/// checksummed in one go.
const WIRE_AHEAD: usize = 2 * FRAME_LEN_MAX;
/// Payload pieces shorter than this are copied together: a system call for each would cost more.
const COPY_LEN_MAX: usize = 4096;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An encoded [`Control`](super::message::Control).
    Control = 1,
    /// Entries of the log.
    Append = 2,
    /// A piece of a snapshot.
    Chunk = 3,
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    /// Which request it is, or answers.
    pub number: u64,
    pub payload: Bytes,
}

/// How long messages may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub control: u64,
    pub append: u64,
    pub chunk: u64,
}

impl Limits {
    /// For who has not proved anything yet.
    pub const STRANGER: Limits = Limits { control: 4096, append: 0, chunk: 0 };
    /// For a peer.
    pub const PEER: Limits =
        Limits { control: FRAME_LEN_MAX as u64, append: APPEND_LEN_MAX, chunk: FRAME_LEN_MAX as u64 };

    fn of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Control => self.control,
            Kind::Append => self.append,
            Kind::Chunk => self.chunk,
        }
    }
}

/// Longest message with entries: one entry as long as the log takes, and room for its companions.
const APPEND_LEN_MAX: u64 = cairn_storage::log::PAYLOAD_LEN_MAX + (64 << 20);

/// What is wrong with what has arrived. Nothing after it can be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of version {0} where {VERSION} is spoken")]
    Version(u8),
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    #[error("a frame's reserved field is {0}")]
    Reserved(u16),
    #[error("a frame of {len} bytes within a message of {total}, of which {arrived} have arrived")]
    Len { len: u32, total: u64, arrived: u64 },
    #[error("a message of {total} bytes ({kind:?}) where {max} are allowed")]
    TooLong { kind: Kind, total: u64, max: u64 },
    #[error("a frame of another message within message {number}")]
    Interrupted { number: u64 },
    #[error("a frame's checksum is {found:08x}, not {expected:08x}")]
    Checksum { expected: u32, found: u32 },
}

/// What [`Decoder::decode`] has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    Message(Message),
    /// At least so many bytes are missing.
    More(usize),
}

/// Makes messages of frames.
pub struct Decoder {
    limits: Limits,
    assembly: Option<Assembly>,
}

/// A message of several frames, as far as it has arrived.
struct Assembly {
    kind: Kind,
    number: u64,
    total: u64,
    bytes: Vec<u8>,
}

struct Header {
    kind: Kind,
    len: u32,
    number: u64,
    total: u64,
    crc: u32,
}

impl Decoder {
    pub fn new(limits: Limits) -> Decoder {
        Decoder { limits, assembly: None }
    }

    /// From here on other limits count.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes the next message off the front of `inbox`. A message of one frame is a slice of it, not a copy.
    pub fn decode(&mut self, inbox: &mut BytesMut) -> Result<Decoded, FrameError> {
        loop {
            let header = match self.header(inbox)? {
                Ok(header) => header,
                Err(missing) => return Ok(Decoded::More(missing)),
            };
            let len = header.len as usize;
            if let Some(missing) = (HEADER_LEN + len).checked_sub(inbox.len()).filter(|missing| *missing > 0)
            {
                return Ok(Decoded::More(missing));
            }
            let found = checksum(&inbox[..HEADER_LEN - 4], [&inbox[HEADER_LEN..HEADER_LEN + len]]);
            if found != header.crc {
                return Err(FrameError::Checksum { expected: header.crc, found });
            }
            inbox.advance(HEADER_LEN);
            let payload = inbox.split_to(len);
            if let Some(message) = self.take(&header, payload) {
                return Ok(Decoded::Message(message));
            }
        }
    }

    /// The header at the front, if it is one that may come now; or how many bytes of it are missing.
    fn header(&self, inbox: &[u8]) -> Result<Result<Header, usize>, FrameError> {
        // Told apart at the first byte: whoever speaks something else must not be waited for.
        if let Some(&version) = inbox.first().filter(|version| **version != VERSION) {
            return Err(FrameError::Version(version));
        }
        let Some((mut header, _)) = inbox.split_at_checked(HEADER_LEN) else {
            return Ok(Err(HEADER_LEN - inbox.len()));
        };
        header.advance(1);
        let kind = match header.get_u8() {
            1 => Kind::Control,
            2 => Kind::Append,
            3 => Kind::Chunk,
            other => return Err(FrameError::Kind(other)),
        };
        let reserved = header.get_u16_le();
        if reserved != 0 {
            return Err(FrameError::Reserved(reserved));
        }
        let (len, number) = (header.get_u32_le(), header.get_u64_le());
        let (total, crc) = (header.get_u64_le(), header.get_u32_le());
        let max = self.limits.of(kind);
        if total > max {
            return Err(FrameError::TooLong { kind, total, max });
        }
        let arrived = self.assembly.as_ref().map_or(0, |assembly| assembly.bytes.len() as u64);
        if let Some(assembly) = &self.assembly
            && (kind, number, total) != (assembly.kind, assembly.number, assembly.total)
        {
            return Err(FrameError::Interrupted { number: assembly.number });
        }
        let fits = u64::from(len) <= total - arrived && len as usize <= FRAME_LEN_MAX;
        // An empty frame brings a message no further: an endless row of them would keep us busy for nothing.
        if !fits || (len == 0 && total > 0) {
            return Err(FrameError::Len { len, total, arrived });
        }
        Ok(Ok(Header { kind, len, number, total, crc }))
    }

    fn take(&mut self, header: &Header, payload: BytesMut) -> Option<Message> {
        let (kind, number, total) = (header.kind, header.number, header.total);
        if self.assembly.is_none() && payload.len() as u64 == total {
            return Some(Message { kind, number, payload: payload.freeze() });
        }
        let assembly =
            self.assembly.get_or_insert_with(|| Assembly { kind, number, total, bytes: Vec::new() });
        assembly.make_room(payload.len());
        assembly.bytes.extend_from_slice(&payload);
        if assembly.bytes.len() as u64 == total {
            let bytes = self.assembly.take().map(|assembly| Bytes::from(assembly.bytes))?;
            return Some(Message { kind, number, payload: bytes });
        }
        None
    }
}

impl Assembly {
    /// Room grows with what has arrived. The last step, to the full length, is made early, when little has to be moved:
    /// moving hundreds of megabytes would make the heartbeats of the same thread late.
    fn make_room(&mut self, more: usize) {
        let arrived = self.bytes.len() + more;
        if self.bytes.capacity() >= arrived {
            return;
        }
        let early = arrived as u64 * RESERVE_PART >= self.total;
        let room = if early { self.total } else { self.total.min(arrived as u64 * 2) };
        self.bytes.reserve_exact(room as usize - self.bytes.len());
    }
}

/// Messages on their way out.
#[derive(Default)]
pub struct Outbox {
    waiting: VecDeque<Outgoing>,
    /// Headers and payloads of frames, in order.
    wire: VecDeque<Bytes>,
    wire_len: usize,
    /// Payload bytes of `waiting` that are not on `wire` yet.
    uncut: u64,
}

struct Outgoing {
    kind: Kind,
    number: u64,
    total: u64,
    parts: VecDeque<Bytes>,
}

impl Outbox {
    /// Adds a message that consists of these parts, one after the other.
    pub fn push(&mut self, kind: Kind, number: u64, parts: impl IntoIterator<Item = Bytes>) {
        let parts: VecDeque<Bytes> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let total = parts.iter().map(|part| part.len() as u64).sum();
        self.uncut += total;
        self.waiting.push_back(Outgoing { kind, number, total, parts });
    }

    /// Whether everything has been written.
    pub fn is_empty(&self) -> bool {
        self.wire.is_empty() && self.waiting.is_empty()
    }

    /// Bytes that wait to be written, headers of uncut messages not counted.
    pub fn len(&self) -> u64 {
        self.wire_len as u64 + self.uncut
    }

    /// Fills `slices` with what is to be written next; returns how many it has filled.
    pub fn slices<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        while self.wire_len < WIRE_AHEAD && self.cut() {}
        let filled = slices.iter_mut().zip(&self.wire).map(|(slice, bytes)| *slice = IoSlice::new(bytes));
        filled.count()
    }

    /// So many bytes have been written.
    pub fn advance(&mut self, mut written: usize) {
        self.wire_len -= written;
        while written > 0 {
            let front = self.wire.front_mut().expect("no more can be written than there is");
            let taken = written.min(front.len());
            front.advance(taken);
            written -= taken;
            if front.is_empty() {
                self.wire.pop_front();
            }
        }
    }

    /// Cuts one frame off the first message; false when there is none.
    fn cut(&mut self) -> bool {
        let Some(message) = self.waiting.front_mut() else { return false };
        let mut payload: Vec<Bytes> = Vec::new();
        let mut len = 0;
        while len < FRAME_LEN_MAX
            && let Some(part) = message.parts.front_mut()
        {
            let piece = part.split_to(part.len().min(FRAME_LEN_MAX - len));
            len += piece.len();
            payload.push(piece);
            if part.is_empty() {
                message.parts.pop_front();
            }
        }
        let mut head = BytesMut::with_capacity(HEADER_LEN);
        head.put_u8(VERSION);
        head.put_u8(message.kind as u8);
        head.put_u16_le(0);
        head.put_u32_le(len as u32);
        head.put_u64_le(message.number);
        head.put_u64_le(message.total);
        head.put_u32_le(checksum(&head, payload.iter().map(|piece| &piece[..])));
        if message.parts.is_empty() {
            self.waiting.pop_front();
        }
        self.uncut -= len as u64;
        self.wire_len += HEADER_LEN + len;
        self.wire.push_back(head.freeze());
        self.wire.extend(payload);
        true
    }
}

fn checksum<'a>(header: &[u8], payload: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    for piece in payload {
        crc.update(piece);
    }
    crc.finalize()
}

/// Collects the parts of a message: short pieces in one buffer, long ones as they are.
#[derive(Default)]
pub struct Parts {
    done: Vec<Bytes>,
    open: BytesMut,
}

impl Parts {
    /// Bytes that are to be copied.
    pub fn copy(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    /// Bytes that are shared, unless they are few.
    pub fn share(&mut self, bytes: &Bytes) {
        if bytes.len() <= COPY_LEN_MAX {
            return self.copy(bytes);
        }
        if !self.open.is_empty() {
            self.done.push(self.open.split().freeze());
        }
        self.done.push(bytes.clone());
    }

    pub fn finish(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.done.push(self.open.freeze());
        }
        self.done
    }
}

#[cfg(test)]
pub mod testing {
    //! What tests of other parts need of frames.

    use super::*;

    /// All frames of the messages, as they would be written.
    pub fn wire(messages: impl IntoIterator<Item = (Kind, u64, Vec<Bytes>)>) -> Vec<u8> {
        let mut outbox = Outbox::default();
        for (kind, number, parts) in messages {
            outbox.push(kind, number, parts);
        }
        let mut wire = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = outbox.slices(&mut slices);
            let before = wire.len();
            slices[..filled].iter().for_each(|slice| wire.extend_from_slice(slice));
            outbox.advance(wire.len() - before);
        }
        wire
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Control), Just(Kind::Append), Just(Kind::Chunk)]
    }

    fn decode_all(wire: &[u8], cuts: &[usize]) -> Result<Vec<Message>, FrameError> {
        let mut decoder = Decoder::new(Limits::PEER);
        let (mut inbox, mut messages, mut rest) = (BytesMut::new(), Vec::new(), wire);
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let cut = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
            inbox.extend_from_slice(&rest[..cut]);
            rest = &rest[cut..];
            while let Decoded::Message(message) = decoder.decode(&mut inbox)? {
                messages.push(message);
            }
        }
        assert!(inbox.is_empty() && decoder.assembly.is_none(), "something is left over");
        Ok(messages)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn messages_survive_any_split(
            messages in prop::collection::vec(
                (kind(), any::<u64>(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6000), 0..4)), 1..5),
            cuts in prop::collection::vec(1_usize..20_000, 1..8),
        ) {
            let messages = messages.into_iter().map(|(kind, number, parts)| {
                (kind, number, parts.into_iter().map(Bytes::from).collect::<Vec<_>>())
            });
            let messages: Vec<_> = messages.collect();
            let decoded = decode_all(&testing::wire(messages.clone()), &cuts).expect("sound frames");
            prop_assert_eq!(decoded.len(), messages.len());
            for (found, (kind, number, parts)) in decoded.iter().zip(&messages) {
                prop_assert_eq!((found.kind, found.number), (*kind, *number));
                prop_assert_eq!(&found.payload[..], &parts.concat()[..]);
            }
        }

        #[test]
        fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0..8, len in 0_usize..300) {
            let mut wire = testing::wire([(Kind::Append, 7, vec![Bytes::from(vec![42; len])])]);
            wire[at.index(HEADER_LEN + len)] ^= 1_u8 << bit;
            let mut inbox = BytesMut::from(&wire[..]);
            // A longer length makes it wait for bytes that do not come: no message either.
            let decoded = Decoder::new(Limits::PEER).decode(&mut inbox);
            prop_assert!(!matches!(decoded, Ok(Decoded::Message(_))), "{:?}", decoded);
        }
    }

    #[test]
    fn a_long_message_comes_in_frames_and_whole_again() {
        let long = Bytes::from((0..5 * FRAME_LEN_MAX + 12345).map(|n| (n % 251) as u8).collect::<Vec<_>>());
        let parts = vec![Bytes::from_static(b"head"), long.clone(), Bytes::from_static(b"tail")];
        let wire = testing::wire([(Kind::Append, 1, parts.clone()), (Kind::Control, 2, vec![])]);
        assert_eq!(wire.len(), long.len() + 8 + 7 * HEADER_LEN);
        let messages = decode_all(&wire, &[100_000, 7, FRAME_LEN_MAX]).expect("sound frames");
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].payload, parts.concat());
        assert!(messages[1].payload.is_empty());
    }

    #[test]
    fn an_announced_length_is_not_an_allocation() {
        let mut decoder = Decoder::new(Limits::PEER);
        let frames = testing::wire([(Kind::Append, 1, vec![Bytes::from(vec![0; 3 * FRAME_LEN_MAX])])]);
        // The same first frame, but as one of four gigabytes.
        let mut first = frames[..HEADER_LEN + FRAME_LEN_MAX].to_vec();
        first[16..24].copy_from_slice(&(u64::from(u32::MAX) - 100).to_le_bytes());
        let crc = checksum(&first[..24], [&first[HEADER_LEN..]]);
        first[24..28].copy_from_slice(&crc.to_le_bytes());
        let decoded = decoder.decode(&mut BytesMut::from(&first[..]));
        assert_eq!(decoded, Ok(Decoded::More(HEADER_LEN)));
        let room = decoder.assembly.expect("a message is under way").bytes.capacity();
        assert!(room <= RESERVE_PART as usize * FRAME_LEN_MAX, "{room} bytes");
    }

    #[test]
    fn a_stranger_is_cut_short_at_the_header() {
        let wire = testing::wire([(Kind::Control, 1, vec![Bytes::from(vec![0; 5000])])]);
        let mut inbox = BytesMut::from(&wire[..HEADER_LEN]);
        let error = Decoder::new(Limits::STRANGER).decode(&mut inbox);
        assert_eq!(error, Err(FrameError::TooLong { kind: Kind::Control, total: 5000, max: 4096 }));
        let error = Decoder::new(Limits::STRANGER).decode(&mut BytesMut::from(&b"G"[..]));
        assert_eq!(error, Err(FrameError::Version(b'G')));
    }

    #[test]
    fn frames_of_two_messages_do_not_mix() {
        let long = |number| (Kind::Append, number, vec![Bytes::from(vec![0; FRAME_LEN_MAX + 1])]);
        let (first, second) = (testing::wire([long(1)]), testing::wire([long(2)]));
        let mixed = [&first[..HEADER_LEN + FRAME_LEN_MAX], &second[..]].concat();
        assert_eq!(decode_all(&mixed, &[]), Err(FrameError::Interrupted { number: 1 }));
    }
}
