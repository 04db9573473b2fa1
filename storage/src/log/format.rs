//! The bytes of a segment. All integers are little-endian.
//!
//! ```text
//! segment := header(64) preamble record* zero*
//!
//! header    0        8        12       16       24       32       40       48       56       60      64
//!           ┌────────┬────────┬────────┬────────┬────────┬────────┬────────┬────────┬────────┬───────┐
//!           │ magic  │version │ crc32  │ segment│ next   │ base   │ synced │ salt   │ first  │ zeros │
//!           │CAIRNLOG│  u32   │  u32   │ id u64 │ index  │position│ before │  u64   │ record │       │
//!           └────────┴────────┴────────┴────────┴────────┴────────┴────────┴────────┴────────┴───────┘
//!
//! record    0        4        8        12   13   14      16       24       32       40        length
//!           ┌────────┬────────┬────────┬────┬────┬───────┬────────┬────────┬────────┬─────────┬──────┐
//!           │ length │ header │ payload│kind│zero│ group │ index  │ term   │ synced │ payload │ pad  │
//!           │  u32   │ crc32  │ crc32  │ u8 │ u8 │  u16  │  u64   │  u64   │ before │         │ to 8 │
//!           └────────┴────────┴────────┴────┴────┴───────┴────────┴────────┴────────┴─────────┴──────┘
//! ```
//!
//! - `length` counts header and payload, not the padding. It is never 0 in a record, so the zeros of a preallocated
//!   segment mean "here ends the log".
//! - The header CRC covers the segment id, the salt, the record's own offset and the whole header but itself (the
//!   payload CRC included). A record is therefore valid in one place of one segment only: neither
//!   remains of an older file nor a copy inside somebody's payload are taken for one.
//! - `synced before` is a *position*: bytes counted from the start of the first segment ever, through all segments
//!   (`base position` is the position of the segment's first byte). See the [log module](super) for its use.
//! - The preamble repeats the newest vote, committed and purge records, so that a segment needs none of its
//!   predecessors but for their entries. It is synced before the file gets its name.

use std::fmt;
use std::ops::Range;

use crc32fast::Hasher;

/// Version of the format in this file; goes up with every change (CONTRIBUTING.md says what else to do).
pub const FORMAT_VERSION: u32 = 1;

/// Longest payload of a record, in bytes: just under 4 GiB.
pub const PAYLOAD_LEN_MAX: u64 = u32::MAX as u64 - RECORD_HEADER_LEN as u64;

/// Longest vote, in bytes. It is repeated in every segment, so it has to be small.
pub const VOTE_LEN_MAX: u64 = 1024;

pub(crate) const SEGMENT_HEADER_LEN: usize = 64;
pub(crate) const RECORD_HEADER_LEN: usize = 40;
pub(crate) const ALIGNMENT: usize = 8;

const MAGIC: &[u8; 8] = b"CAIRNLOG";

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An entry; its index follows the one before.
    Entry = 1,
    /// The newest vote replaces the one before.
    Vote = 2,
    /// Entries after `index` do not count any more.
    Truncate = 3,
    /// Entries up to `index` are committed.
    Committed = 4,
    /// Entries up to `index` are not needed any more.
    Purge = 5,
}

/// A record to be written; the payload stays where it is.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What it says.
    pub kind: Kind,
    /// The Raft group that it belongs to: 0, until one process serves several.
    pub group: u16,
    /// Index of the entry, or the index that the record is about.
    pub index: u64,
    /// Term of the entry; 0 in other kinds.
    pub term: u64,
    /// The payload, in any number of pieces.
    pub payload: &'a [&'a [u8]],
}

impl<'a> Record<'a> {
    /// An entry. Its index must be the last one plus 1, its term at least the last entry's.
    pub fn entry(index: u64, term: u64, payload: &'a [&'a [u8]]) -> Record<'a> {
        Record { kind: Kind::Entry, group: 0, index, term, payload }
    }

    /// The newest vote: bytes of no meaning to the log, at most [`VOTE_LEN_MAX`].
    pub fn vote(payload: &'a [&'a [u8]]) -> Record<'a> {
        Record { kind: Kind::Vote, group: 0, index: 0, term: 0, payload }
    }

    /// From now on the entry `index` is the last one.
    pub fn truncate_after(index: u64) -> Record<'a> {
        Record { kind: Kind::Truncate, group: 0, index, term: 0, payload: &[] }
    }

    /// Entries up to `index` are committed.
    pub fn committed(index: u64) -> Record<'a> {
        Record { kind: Kind::Committed, group: 0, index, term: 0, payload: &[] }
    }

    /// Entries up to `index` are not needed any more.
    pub fn purge(index: u64) -> Record<'a> {
        Record { kind: Kind::Purge, group: 0, index, term: 0, payload: &[] }
    }

    pub(crate) fn payload_len(&self) -> u64 {
        self.payload.iter().map(|chunk| chunk.len() as u64).sum()
    }

    /// Bytes that the record takes in a segment.
    pub(crate) fn stored_len(&self) -> u64 {
        stored_len(RECORD_HEADER_LEN as u64 + self.payload_len())
    }

    /// The header for this place.
    pub(crate) fn header(&self, place: &Place, synced_before: u64) -> [u8; RECORD_HEADER_LEN] {
        let mut crc = Hasher::new();
        self.payload.iter().for_each(|chunk| crc.update(chunk));
        let length = u32::try_from(RECORD_HEADER_LEN as u64 + self.payload_len())
            .expect("the length is checked against PAYLOAD_LEN_MAX before a record is placed");
        let header = RecordHeader {
            length,
            payload_crc: crc.finalize(),
            kind: self.kind,
            group: self.group,
            index: self.index,
            term: self.term,
            synced_before,
        };
        header.encode(place)
    }
}

/// Length with padding.
pub(crate) fn stored_len(length: u64) -> u64 {
    length.next_multiple_of(ALIGNMENT as u64)
}

/// Where a record is; mixed into its CRC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub segment: u64,
    pub salt: u64,
    pub offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub length: u32,
    pub payload_crc: u32,
    pub kind: Kind,
    pub group: u16,
    pub index: u64,
    pub term: u64,
    pub synced_before: u64,
}

/// What is wrong at a place where a record should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The length is 0: the log ends here, or the record was lost.
    Empty,
    /// Something else than what was written.
    Damaged { expected: String, found: String },
    /// Well-formed, but of a kind or group that this version does not know.
    Unsupported(String),
}

/// A whole, valid record in a segment's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub header: RecordHeader,
    pub payload: Range<usize>,
    /// Offset of whatever follows.
    pub next: u64,
}

impl RecordHeader {
    fn encode(&self, place: &Place) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        bytes[0..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[12] = self.kind as u8;
        bytes[14..16].copy_from_slice(&self.group.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.index.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.term.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.synced_before.to_le_bytes());
        let crc = header_crc(&bytes, place);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at `place`, which says nothing yet about the payload.
    pub(crate) fn read(segment: &[u8], place: &Place) -> Result<RecordHeader, Flaw> {
        let bytes = header_bytes(segment, place.offset).ok_or_else(|| Flaw::Damaged {
            expected: format!("{RECORD_HEADER_LEN} bytes of a record's header"),
            found: "the end of the file".into(),
        })?;
        let length = u32_at(bytes, 0);
        if length == 0 {
            return Err(Flaw::Empty);
        }
        let (expected, found) = (header_crc(bytes, place), u32_at(bytes, 4));
        if expected != found {
            return Err(Flaw::Damaged {
                expected: format!("header CRC {expected:08x}"),
                found: format!("{found:08x}"),
            });
        }
        // From here on the bytes are what somebody has written on purpose.
        let kind = match bytes[12] {
            1 => Kind::Entry,
            2 => Kind::Vote,
            3 => Kind::Truncate,
            4 => Kind::Committed,
            5 => Kind::Purge,
            other => return Err(Flaw::Unsupported(format!("record of kind {other}"))),
        };
        let group = u16::from_le_bytes([bytes[14], bytes[15]]);
        if group != 0 || bytes[13] != 0 {
            return Err(Flaw::Unsupported(format!("record of group {group}, flags {}", bytes[13])));
        }
        if (length as usize) < RECORD_HEADER_LEN {
            return Err(Flaw::Unsupported(format!("record of {length} bytes")));
        }
        Ok(RecordHeader {
            length,
            payload_crc: u32_at(bytes, 8),
            kind,
            group,
            index: u64_at(bytes, 16),
            term: u64_at(bytes, 24),
            synced_before: u64_at(bytes, 32),
        })
    }

    /// Quick look whether a header could be at `offset`; rules out nearly everything without a CRC.
    pub(crate) fn possible(segment: &[u8], offset: u64) -> bool {
        header_bytes(segment, offset).is_some_and(|bytes| {
            u32_at(bytes, 0) as usize >= RECORD_HEADER_LEN && matches!(bytes[12], 1..=5) && bytes[13] == 0
        })
    }
}

/// Reads and verifies the record at `place`.
pub(crate) fn read_record(segment: &[u8], place: &Place) -> Result<Found, Flaw> {
    let header = RecordHeader::read(segment, place)?;
    let start = place.offset as usize + RECORD_HEADER_LEN;
    let end = place.offset + u64::from(header.length);
    let payload = start..usize::try_from(end).unwrap_or(usize::MAX);
    let next = place.offset + stored_len(u64::from(header.length));
    let bytes = segment.get(payload.clone()).filter(|_| next <= segment.len() as u64);
    let bytes = bytes.ok_or_else(|| Flaw::Damaged {
        expected: format!("{} bytes of payload", header.length as usize - RECORD_HEADER_LEN),
        found: "the end of the file".into(),
    })?;
    let found = crc32fast::hash(bytes);
    if found != header.payload_crc {
        return Err(Flaw::Damaged {
            expected: format!("payload CRC {:08x}", header.payload_crc),
            found: format!("{found:08x}"),
        });
    }
    if let Some(&odd) = segment[payload.end..next as usize].iter().find(|&&byte| byte != 0) {
        return Err(Flaw::Damaged { expected: "padding of zeros".into(), found: format!("{odd:#04x}") });
    }
    Ok(Found { header, payload, next })
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub id: u64,
    /// Index of the next entry at the moment when the segment was begun.
    pub next_index: u64,
    /// Position of the segment's first byte.
    pub base: u64,
    pub synced_before: u64,
    pub salt: u64,
    /// Offset of the first record after the preamble.
    pub first_record: u32,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.next_index.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.base.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.synced_before.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.salt.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.first_record.to_le_bytes());
        let crc = segment_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(segment: &[u8]) -> Result<SegmentHeader, Flaw> {
        let bytes: &[u8; SEGMENT_HEADER_LEN] = segment.first_chunk().ok_or_else(|| Flaw::Damaged {
            expected: format!("a segment header of {SEGMENT_HEADER_LEN} bytes"),
            found: format!("a file of {} bytes", segment.len()),
        })?;
        if &bytes[0..8] != MAGIC {
            return Err(Flaw::Damaged {
                expected: format!("\"{}\"", MAGIC.escape_ascii()),
                found: format!("\"{}\"", bytes[0..8].escape_ascii()),
            });
        }
        let (expected, found) = (segment_crc(bytes), u32_at(bytes, 12));
        if expected != found {
            return Err(Flaw::Damaged {
                expected: format!("header CRC {expected:08x}"),
                found: format!("{found:08x}"),
            });
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(Flaw::Unsupported(format!(
                "log format {version}, this version reads {FORMAT_VERSION}"
            )));
        }
        Ok(SegmentHeader {
            id: u64_at(bytes, 16),
            next_index: u64_at(bytes, 24),
            base: u64_at(bytes, 32),
            synced_before: u64_at(bytes, 40),
            salt: u64_at(bytes, 48),
            first_record: u32_at(bytes, 56),
        })
    }

    pub(crate) fn place(&self, offset: u64) -> Place {
        Place { segment: self.id, salt: self.salt, offset }
    }
}

/// `<id, 20 digits>.seg`: sorted by name is sorted by age.
pub(crate) fn segment_name(id: u64) -> String {
    format!("{id:020}.seg")
}

pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn header_bytes(segment: &[u8], offset: u64) -> Option<&[u8; RECORD_HEADER_LEN]> {
    segment.get(usize::try_from(offset).ok()?..)?.first_chunk()
}

fn header_crc(bytes: &[u8; RECORD_HEADER_LEN], place: &Place) -> u32 {
    let mut covered = [0; 24 + RECORD_HEADER_LEN - 4];
    covered[0..8].copy_from_slice(&place.segment.to_le_bytes());
    covered[8..16].copy_from_slice(&place.salt.to_le_bytes());
    covered[16..24].copy_from_slice(&place.offset.to_le_bytes());
    covered[24..28].copy_from_slice(&bytes[0..4]);
    covered[28..].copy_from_slice(&bytes[8..]);
    crc32fast::hash(&covered)
}

fn segment_crc(bytes: &[u8; SEGMENT_HEADER_LEN]) -> u32 {
    let mut crc = Hasher::new();
    crc.update(&bytes[..12]);
    crc.update(&bytes[16..]);
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Empty => f.write_str("zeros where a record should be"),
            Flaw::Damaged { expected, found } => write!(f, "expected {expected}, found {found}"),
            Flaw::Unsupported(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { segment: 3, salt: 9, offset: 64 };

    fn segment_with_one_record() -> Vec<u8> {
        let record = Record::entry(7, 2, &[b"hello ", b"world"]);
        let mut bytes = vec![0; 64];
        bytes.extend_from_slice(&record.header(&PLACE, 55));
        bytes.extend_from_slice(b"hello world");
        bytes.resize(64 + record.stored_len() as usize, 0);
        bytes
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let bytes = segment_with_one_record();
        let found = read_record(&bytes, &PLACE).unwrap();
        assert_eq!(&bytes[found.payload.clone()], b"hello world");
        assert_eq!((found.header.index, found.header.term, found.header.synced_before), (7, 2, 55));
        assert_eq!(found.next as usize, bytes.len());
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_noticed() {
        let sound = segment_with_one_record();
        for at in 64..sound.len() {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                assert!(read_record(&bytes, &PLACE).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_is_valid_in_its_own_place_only() {
        let bytes = segment_with_one_record();
        assert!(read_record(&bytes, &Place { segment: 4, ..PLACE }).is_err());
        assert!(read_record(&bytes, &Place { salt: 8, ..PLACE }).is_err());
        let mut moved = vec![0; 8];
        moved.extend_from_slice(&bytes);
        assert!(read_record(&moved, &Place { offset: 72, ..PLACE }).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_segment_header_is_noticed() {
        let header =
            SegmentHeader { id: 1, next_index: 2, base: 3, synced_before: 4, salt: 5, first_record: 64 };
        let sound = header.encode();
        assert_eq!(SegmentHeader::decode(&sound).unwrap(), header);
        for at in 0..sound.len() {
            let mut bytes = sound;
            bytes[at] ^= 1;
            assert!(SegmentHeader::decode(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn segment_names_sort_by_age_and_parse_back() {
        assert_eq!(segment_name(7), "00000000000000000007.seg");
        assert_eq!(parse_segment_name(&segment_name(u64::MAX)), Some(u64::MAX));
        for other in
            ["7.seg", "0000000000000000000x.seg", "00000000000000000007.tmp", "+0000000000000000007.seg"]
        {
            assert_eq!(parse_segment_name(other), None, "{other}");
        }
    }
}
