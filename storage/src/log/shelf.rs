//! Which segments there are and what is in them: written by the log, read by readers on other threads.

use std::path::PathBuf;

use super::format::{Kind, SEGMENT_HEADER_LEN, SegmentHeader, segment_name};

/// A reader has to skip at most so many bytes to find an entry.
const SIGNPOST_EVERY: u64 = 64 * 1024;

/// All segments, oldest first, and what has been said about their entries since.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub segments: Vec<Segment>,
    /// Oldest first. An entry before one of them in the log, with a greater index, does not count.
    pub truncations: Vec<Truncation>,
    pub purged: u64,
    pub next_index: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub header: SegmentHeader,
    /// Offset of the end of the last record.
    pub end: u64,
    /// Length of the file.
    pub bytes: u64,
    /// No entry that counts has a greater index; 0 if there is none.
    pub last_entry: u64,
    /// Some entries that count, (index, offset), ascending in both.
    signposts: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Truncation {
    pub position: u64,
    pub after: u64,
}

impl Segment {
    pub(crate) fn new(header: SegmentHeader, bytes: u64) -> Segment {
        Segment { header, end: SEGMENT_HEADER_LEN as u64, bytes, last_entry: 0, signposts: Vec::new() }
    }

    pub(crate) fn name(&self) -> String {
        segment_name(self.header.id)
    }

    pub(crate) fn end_position(&self) -> u64 {
        self.header.base + self.end
    }

    pub(crate) fn first_entry(&self) -> Option<u64> {
        self.signposts.first().map(|&(index, _)| index)
    }
}

impl Shelf {
    pub(crate) fn last_index(&self) -> u64 {
        self.next_index - 1
    }

    pub(crate) fn newest(&self) -> &Segment {
        self.segments.last().expect("an open log has a segment")
    }

    /// Takes note of a record at `offset` of the newest segment.
    pub(crate) fn note(&mut self, kind: Kind, index: u64, offset: u64, next: u64) {
        let segment = self.segments.last_mut().expect("an open log has a segment");
        debug_assert_eq!(segment.end, offset, "records are next to each other");
        segment.end = next;
        match kind {
            Kind::Entry => {
                let far = segment.signposts.last().is_none_or(|&(_, at)| offset - at >= SIGNPOST_EVERY);
                if far {
                    segment.signposts.push((index, offset));
                }
                segment.last_entry = index;
                self.next_index = index + 1;
            }
            Kind::Truncate => {
                let position = segment.header.base + offset;
                self.truncations.push(Truncation { position, after: index });
                for segment in &mut self.segments {
                    segment.last_entry = segment.last_entry.min(index);
                    let counting = segment.signposts.partition_point(|&(at, _)| at <= index);
                    segment.signposts.truncate(counting);
                }
                self.next_index = index + 1;
            }
            Kind::Purge => {
                self.purged = self.purged.max(index);
                self.next_index = self.next_index.max(index + 1);
            }
            Kind::Vote | Kind::Committed => {}
        }
    }

    /// Takes the segments off the shelf that hold purged entries only (never the newest), oldest first.
    pub(crate) fn retire(&mut self) -> Vec<Segment> {
        let sealed = self.segments.len() - 1;
        let keep = self.segments[..sealed]
            .iter()
            .position(|segment| segment.last_entry > self.purged)
            .unwrap_or(sealed);
        let retired = self.segments.drain(..keep).collect();
        let oldest = self.segments[0].header.base;
        self.truncations.retain(|truncation| truncation.position >= oldest);
        retired
    }

    /// Where to start reading for entry `from`: number of the segment and offset in it.
    pub(crate) fn find(&self, from: u64) -> (usize, u64) {
        for (nth, segment) in self.segments.iter().enumerate().rev() {
            let before = segment.signposts.partition_point(|&(index, _)| index <= from);
            if let Some(nearest) = before.checked_sub(1) {
                return (nth, segment.signposts[nearest].1);
            }
        }
        (0, SEGMENT_HEADER_LEN as u64)
    }
}

/// A segment as the server sees it, to decide what to purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The file.
    pub file: PathBuf,
    /// The first entry in it that counts, if any does.
    pub first_index: Option<u64>,
    /// The last entry in it that counts; purging up to here retires the segment, unless it is the newest.
    pub last_index: u64,
    /// Room that it takes on disk.
    pub bytes: u64,
    /// Bytes in use.
    pub used: u64,
    /// Whether it is complete and will not be written any more.
    pub sealed: bool,
}
