//! The writing end of a log: the newest segment, what is not synced yet, and the next segments.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::error::LogError;
use super::format::{
    ALIGNMENT, Kind, PAYLOAD_LEN_MAX, RECORD_HEADER_LEN, Record, SEGMENT_HEADER_LEN, SegmentHeader,
    VOTE_LEN_MAX, segment_name, stored_len,
};
use super::recovery::overwrite_with_zeros;
use super::shelf::{Segment, Shelf};
use super::state::LogState;
use super::{CONTROL_RESERVE, LogOptions};
use crate::TEMPORARY_SUFFIX;
use crate::disk::{Disk, DiskFile};

/// Where a log lives.
pub(super) struct Home {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub options: LogOptions,
    pub shelf: Arc<Mutex<Shelf>>,
}

pub(super) struct Tail {
    pub file: Arc<dyn DiskFile>,
    pub path: PathBuf,
    pub header: SegmentHeader,
    /// Offset of the end of the last record.
    pub end: u64,
    /// Room in the segment, all of it preallocated.
    pub bytes: u64,
    /// Bytes before this offset may be remains of a write that ran out of room.
    pub soiled_until: u64,
    /// Files with bytes that are not synced, oldest first, with the position up to which they were written.
    pub dirty: Vec<(Arc<dyn DiskFile>, PathBuf, u64)>,
    /// Everything before this position is synced.
    pub synced: u64,
    pub synced_index: u64,
    /// Goes up when entries are truncated, so that an index may mean another entry than before.
    pub history: u64,
    pub state: LogState,
    pub spares: Vec<Spare>,
    pub spares_made: u64,
    /// Id of the segment during which a spare was asked for last; once is enough.
    pub spare_asked_in: u64,
}

/// An empty, preallocated file that has no segment's name yet.
pub(super) struct Spare {
    pub file: Arc<dyn DiskFile>,
    pub path: PathBuf,
    pub bytes: u64,
}

impl Spare {
    pub(super) fn make(disk: &dyn Disk, dir: &Path, serial: u64, bytes: u64) -> Result<Spare, LogError> {
        let path = dir.join(format!("spare-{serial}{TEMPORARY_SUFFIX}"));
        let made = disk.create(&path).and_then(|file| {
            file.preallocate(bytes)?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Spare { file, path, bytes }),
            Err(error) => {
                // The blocks that it did get are wanted back; if that fails too, the next start does it.
                let _ = disk.remove(&path);
                Err(LogError::full_or_io("preallocate", path, bytes)(error))
            }
        }
    }
}

/// Some of the records of an append, all in one segment.
struct Part {
    records: Range<usize>,
    /// Room of the new segment that they begin; `None` for the one that there is.
    new_segment: Option<u64>,
}

impl Tail {
    /// Position of the end of the log.
    pub(super) fn written(&self) -> u64 {
        self.header.base + self.end
    }

    pub(super) fn needs_spare(&self) -> bool {
        self.spares.is_empty() && self.end >= self.bytes / 2 && self.spare_asked_in != self.header.id
    }

    /// Whether an entry with so many bytes of payload goes where the last one went, with nothing to be cleaned up.
    pub(super) fn has_room(&self, payload_len: u64) -> bool {
        let size = stored_len(RECORD_HEADER_LEN as u64 + payload_len);
        self.soiled_until == 0 && self.end + size + CONTROL_RESERVE <= self.bytes
    }

    pub(super) fn append(&mut self, home: &Home, records: &[Record<'_>]) -> Result<(), LogError> {
        let parts = self.plan(records, home.options.segment_bytes)?;
        // All room is reserved before the first byte is written, so that a full disk leaves everything as it was.
        let mut segments = self.reserve(home, &parts)?;
        let mut begun = false;
        let mut done = self.clean();
        for part in parts {
            if done.is_err() {
                break;
            }
            if part.new_segment.is_some() {
                let spare = segments.pop_front().expect("reserve() has made one for each");
                done = self.begin_segment(home, spare);
            }
            if done.is_ok() {
                done = self.write(home, &records[part.records.clone()]);
            }
            if let (true, Err(LogError::Full { file, source, .. })) = (begun, &mut done) {
                // A file system that copies on write can run out of room in preallocated blocks too. With a part of
                // the records in it, though, the log is not as before any more.
                let (file, source) = (std::mem::take(file), std::mem::replace(source, source.kind().into()));
                done = Err(LogError::Io { doing: "write", file, source });
            }
            begun |= !part.records.is_empty();
        }
        self.give_back(home, segments);
        done
    }

    /// Divides records among segments. Panics if they are not the ones that can come next: that is a bug of the
    /// caller, and writing them down would make it last.
    fn plan(&self, records: &[Record<'_>], segment_bytes: u64) -> Result<Vec<Part>, LogError> {
        let mut state = self.state.clone();
        let mut parts = Vec::new();
        let mut part = Part { records: 0..0, new_segment: None };
        let (mut end, mut bytes) = (self.end, self.bytes);
        for (nth, record) in records.iter().enumerate() {
            let max = if record.kind == Kind::Vote { VOTE_LEN_MAX } else { PAYLOAD_LEN_MAX };
            if record.payload_len() > max {
                return Err(LogError::RecordTooLarge { bytes: record.payload_len(), max });
            }
            let size = record.stored_len();
            let reserve = if record.kind == Kind::Entry { CONTROL_RESERVE } else { 0 };
            if end + size + reserve > bytes {
                parts.push(std::mem::replace(&mut part, Part { records: nth..nth, new_segment: None }));
                end = preamble(&state).iter().fold(SEGMENT_HEADER_LEN as u64, |end, (_, len)| end + len);
                bytes = segment_bytes.max(end + size + CONTROL_RESERVE);
                part.new_segment = Some(bytes);
            }
            end += size;
            part.records.end = nth + 1;
            note_in_state(&mut state, record);
        }
        parts.push(part);
        Ok(parts)
    }

    fn reserve(&mut self, home: &Home, parts: &[Part]) -> Result<VecDeque<Spare>, LogError> {
        let mut reserved = VecDeque::new();
        for bytes in parts.iter().filter_map(|part| part.new_segment) {
            let spare = match self.spares.iter().position(|spare| spare.bytes >= bytes) {
                Some(nth) => Ok(self.spares.remove(nth)),
                None => {
                    self.spares_made += 1;
                    Spare::make(&*home.disk, &home.dir, self.spares_made, bytes)
                }
            };
            match spare {
                Ok(spare) => reserved.push_back(spare),
                Err(error) => {
                    self.give_back(home, reserved);
                    return Err(error);
                }
            }
        }
        Ok(reserved)
    }

    /// Keeps one ordinary spare and frees the room of the others.
    fn give_back(&mut self, home: &Home, reserved: impl IntoIterator<Item = Spare>) {
        for spare in reserved {
            if self.spares.is_empty() && spare.bytes == home.options.segment_bytes {
                self.spares.push(spare);
            } else {
                // If it fails, the next start removes the file.
                let _ = home.disk.remove(&spare.path);
            }
        }
    }

    /// Removes what a write has left that ran out of room, for the reason given at `repair`.
    fn clean(&mut self) -> Result<(), LogError> {
        if self.soiled_until > self.end {
            let bytes = self.soiled_until - self.end;
            overwrite_with_zeros(&*self.file, self.end, self.soiled_until)
                .and_then(|()| self.file.sync_data())
                .map_err(LogError::full_or_io("clean", &self.path, bytes))?;
            self.soiled_until = 0;
        }
        Ok(())
    }

    /// Makes a spare file the newest segment.
    fn begin_segment(&mut self, home: &Home, spare: Spare) -> Result<(), LogError> {
        // Ids only rise, although the next index may have fallen, or not moved, since the last segment began.
        let id = self.state.next_index.max(self.header.id + 1);
        let segment = match Segment::begin(home, &spare, id, self.written(), self.synced, &self.state) {
            Ok(segment) => segment,
            Err(error) => {
                // Its content may be anything, so it is of no use any more; the next start removes it in any case.
                let _ = home.disk.remove(&spare.path);
                return Err(error);
            }
        };
        self.path = home.dir.join(segment.name());
        self.header = segment.header;
        self.end = segment.end;
        self.bytes = spare.bytes;
        self.file = spare.file;
        if self.dirty.is_empty() {
            self.synced = self.written();
        }
        home.shelf.lock().expect("nothing panics while it has the shelf").segments.push(segment);
        Ok(())
    }

    /// Writes records that are known to fit, in one go.
    fn write(&mut self, home: &Home, records: &[Record<'_>]) -> Result<(), LogError> {
        static PADDING: [u8; ALIGNMENT] = [0; ALIGNMENT];
        if records.is_empty() {
            return Ok(());
        }
        let mut headers = Vec::with_capacity(records.len());
        let mut end = self.end;
        for record in records {
            headers.push(record.header(&self.header.place(end), self.synced));
            end += record.stored_len();
        }
        let mut chunks = Vec::with_capacity(3 * records.len());
        for (header, record) in headers.iter().zip(records) {
            chunks.push(IoSlice::new(header));
            chunks.extend(
                record.payload.iter().filter(|chunk| !chunk.is_empty()).map(|chunk| IoSlice::new(chunk)),
            );
            let padding = record.stored_len() - RECORD_HEADER_LEN as u64 - record.payload_len();
            if padding > 0 {
                chunks.push(IoSlice::new(&PADDING[..padding as usize]));
            }
        }
        assert!(end <= self.bytes, "plan() leaves room for {end} bytes in a segment of {}", self.bytes);
        self.soiled_until = end;
        let written = self.file.write_at(self.end, &chunks);
        written.map_err(LogError::full_or_io("write", &self.path, end - self.end))?;
        self.soiled_until = 0;

        let mut shelf = home.shelf.lock().expect("nothing panics while it has the shelf");
        for record in records {
            note_in_state(&mut self.state, record);
            let next = self.end + record.stored_len();
            shelf.note(record.kind, record.index, self.end, next);
            if record.kind == Kind::Truncate {
                self.history += 1;
                self.synced_index = self.synced_index.min(record.index);
            }
            self.end = next;
        }
        assert_eq!(self.end, end, "the records take the room that was written");
        let written = self.written();
        match self.dirty.last_mut() {
            Some((file, _, upto)) if Arc::ptr_eq(file, &self.file) => *upto = written,
            _ => self.dirty.push((Arc::clone(&self.file), self.path.clone(), written)),
        }
        Ok(())
    }
}

fn note_in_state(state: &mut LogState, record: &Record<'_>) {
    let payload = || record.payload.concat().into();
    if let Err(illegal) = state.apply(record.kind, record.index, record.term, payload) {
        panic!("a record that cannot be appended: {illegal}");
    }
}

/// The records that a new segment begins with, and their stored lengths.
fn preamble(state: &LogState) -> Vec<(Record<'static>, u64)> {
    let mut records = Vec::with_capacity(3);
    if state.purged > 0 {
        records.push(Record::purge(state.purged));
    }
    if state.committed > 0 {
        records.push(Record::committed(state.committed));
    }
    let mut records: Vec<_> = records.into_iter().map(|record| (record, record.stored_len())).collect();
    if let Some(vote) = &state.vote {
        records.push((Record::vote(&[]), stored_len((RECORD_HEADER_LEN + vote.len()) as u64)));
    }
    records
}

impl Segment {
    /// Writes header and preamble into a spare file and gives it its name, so that it survives from then on.
    pub(super) fn begin(
        home: &Home,
        spare: &Spare,
        id: u64,
        base: u64,
        synced_before: u64,
        state: &LogState,
    ) -> Result<Segment, LogError> {
        let preamble = preamble(state);
        let end = preamble.iter().fold(SEGMENT_HEADER_LEN as u64, |end, (_, len)| end + len);
        let header = SegmentHeader {
            id,
            next_index: state.next_index,
            base,
            synced_before,
            salt: home.options.salt,
            first_record: u32::try_from(end).expect("a preamble has three small records"),
        };
        let mut segment = Segment::new(header, spare.bytes);
        let mut bytes = header.encode().to_vec();
        let vote = [state.vote.as_deref().unwrap_or_default()];
        for (record, len) in preamble {
            let mut record: Record<'_> = record;
            if record.kind == Kind::Vote {
                record.payload = &vote;
            }
            let offset = bytes.len() as u64;
            bytes.extend_from_slice(&record.header(&header.place(offset), synced_before));
            record.payload.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
            bytes.resize((offset + len) as usize, 0);
        }
        assert_eq!(bytes.len() as u64, end, "the preamble is as long as it was planned");
        segment.end = end;

        let path = home.dir.join(segment_name(id));
        let full_or_io = |doing| LogError::full_or_io(doing, &spare.path, spare.bytes);
        spare.file.write_at(0, &[IoSlice::new(&bytes)]).map_err(full_or_io("write"))?;
        // Only now may it have its name: recovery takes a named segment's beginning for certain.
        spare.file.sync_data().map_err(full_or_io("sync"))?;
        home.disk.rename(&spare.path, &path).map_err(LogError::io("rename", &spare.path))?;
        // Sync the directory, or a crash forgets this segment and what will be acknowledged in it.
        home.disk.sync_dir(&home.dir).map_err(LogError::io("sync", &home.dir))?;
        Ok(segment)
    }
}
