//! Reading entries back, on any thread, while the log is being written.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;

use super::error::LogError;
use super::format::{Kind, read_record};
use super::shelf::{Segment, SegmentInfo, Shelf, Truncation};
use crate::disk::{Access, Disk};

/// A handle to read a log with; cheap to clone, good on any thread.
#[derive(Clone)]
pub struct LogReader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    shelf: Arc<Mutex<Shelf>>,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// The term that it was made in.
    pub term: u64,
    /// Its payload: a slice of the mapped segment, which stays mapped for as long as this lives.
    pub payload: Bytes,
}

impl LogReader {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf, shelf: Arc<Mutex<Shelf>>) -> LogReader {
        LogReader { disk, dir, shelf }
    }

    /// The entries from `from` on, up to the one that is the last now. They are in the log, but not necessarily on
    /// disk yet.
    ///
    /// # Errors
    /// [`LogError::Purged`] if the entry is not kept any more. `from` one past the end gives an empty iterator.
    pub fn read(&self, from: u64) -> Result<Entries, LogError> {
        let shelf = self.shelf.lock().expect("nothing panics while it has the shelf");
        if from <= shelf.purged {
            return Err(LogError::Purged { from, first: shelf.purged + 1 });
        }
        let (nth, offset) = shelf.find(from);
        let last = shelf.last_index();
        let segments = if from <= last { shelf.segments[nth..].to_vec() } else { Vec::new() };
        Ok(Entries {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            segments: segments.into(),
            truncations: shelf.truncations.clone(),
            open: None,
            offset,
            next: from,
            last,
        })
    }

    /// Index of the first entry that is kept, whether or not there is one yet.
    pub fn first_index(&self) -> u64 {
        self.shelf.lock().expect("nothing panics while it has the shelf").purged + 1
    }

    /// Index of the last entry; one less than [`first_index`](LogReader::first_index) if there is none.
    pub fn last_index(&self) -> u64 {
        self.shelf.lock().expect("nothing panics while it has the shelf").last_index()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let shelf = self.shelf.lock().expect("nothing panics while it has the shelf");
        let newest = shelf.segments.len() - 1;
        let info = |(nth, segment): (usize, &Segment)| SegmentInfo {
            file: self.dir.join(segment.name()),
            first_index: segment.first_entry(),
            last_index: segment.last_entry,
            bytes: segment.bytes,
            used: segment.end,
            sealed: nth < newest,
        };
        shelf.segments.iter().enumerate().map(info).collect()
    }

    /// When a segment was last written: for a sealed one, about the time of its last entry.
    pub fn modified(&self, segment: &SegmentInfo) -> Result<SystemTime, LogError> {
        let open = self.disk.open(&segment.file, Access::Read);
        open.and_then(|file| file.modified()).map_err(LogError::io("look at", &segment.file))
    }

    /// Bytes that the segments take on disk.
    pub fn size_on_disk(&self) -> u64 {
        let shelf = self.shelf.lock().expect("nothing panics while it has the shelf");
        shelf.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// Entries in order; see [`LogReader::read`]. After an error it ends.
pub struct Entries {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segments: VecDeque<Segment>,
    truncations: Vec<Truncation>,
    open: Option<(Segment, Bytes)>,
    offset: u64,
    next: u64,
    last: u64,
}

impl Iterator for Entries {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.last {
            return None;
        }
        let entry = self.find_next();
        match &entry {
            Ok(_) => self.next += 1,
            Err(_) => self.last = 0,
        }
        Some(entry)
    }
}

impl Entries {
    fn find_next(&mut self) -> Result<Entry, LogError> {
        loop {
            let (segment, bytes) = match &self.open {
                Some(open) if self.offset < open.0.end => open,
                _ => {
                    if self.open.take().is_some() {
                        self.offset = super::format::SEGMENT_HEADER_LEN as u64;
                    }
                    self.open_next()?;
                    continue;
                }
            };
            let file = || self.dir.join(segment.name());
            let found = read_record(bytes, &segment.header.place(self.offset)).map_err(|flaw| {
                super::recovery::flawed(file(), self.offset, flaw, "The log was sound when it was opened")
            })?;
            let position = segment.header.base + self.offset;
            let (at, header) = (self.offset, found.header);
            self.offset = found.next;
            let dead = self.truncations.iter().any(|cut| cut.position > position && cut.after < header.index);
            if header.kind != Kind::Entry || header.index < self.next || dead {
                continue;
            }
            if header.index != self.next {
                return Err(LogError::Corrupt {
                    file: file(),
                    offset: at,
                    expected: format!("entry {}", self.next),
                    found: format!("entry {}", header.index),
                    evidence: "The log was sound when it was opened".into(),
                });
            }
            return Ok(Entry { index: header.index, term: header.term, payload: bytes.slice(found.payload) });
        }
    }

    fn open_next(&mut self) -> Result<(), LogError> {
        let next = self.next;
        let segment = self.segments.pop_front().ok_or_else(|| LogError::Io {
            doing: "find the next entry in",
            file: self.dir.clone(),
            source: io::Error::other(format!("entry {next} is in no segment")),
        })?;
        let file = self.dir.join(segment.name());
        let bytes = self.disk.open(&file, Access::Read).and_then(|open| open.map(segment.end));
        let bytes = bytes.map_err(|error| match error.kind() {
            // Purged since this iterator was made.
            io::ErrorKind::NotFound => LogError::Purged { from: next, first: segment.last_entry + 1 },
            _ => LogError::io("read", &file)(error),
        })?;
        self.open = Some((segment, bytes));
        Ok(())
    }
}
