//! Finding out what a log says, and whether what is missing at its end was ever promised.
//!
//! [`scan`] only reads; [`repair`] makes the files fit what was found. See the [log module](super) for the
//! reasoning.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::error::LogError;
use super::format::{
    ALIGNMENT, Flaw, RecordHeader, SEGMENT_HEADER_LEN, SegmentHeader, parse_segment_name, read_record,
    segment_name,
};
use super::shelf::{Segment, Shelf};
use super::state::LogState;
use crate::TEMPORARY_SUFFIX;
use crate::disk::{Access, Disk, DiskFile};

/// The end of the log that was dropped: a write that the crash interrupted and that nobody had been promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment in which it began.
    pub file: PathBuf,
    /// Where in that file.
    pub offset: u64,
    /// How many bytes there were that were not zero, from the first to the last, later segments included.
    pub bytes: u64,
    /// What was wrong with the first record of it.
    pub reason: String,
}

/// What the files say.
pub(super) struct Scan {
    pub shelf: Shelf,
    pub state: LogState,
    pub torn: Option<TornTail>,
    /// Everything before this position was synced when something was written that we have read.
    pub synced: u64,
    /// Segments after the torn record, oldest first; they go.
    doomed: Vec<PathBuf>,
    /// Offset of the last byte of the newest segment that is not zero, plus 1.
    written_until: u64,
    bytes_read: u64,
}

impl Scan {
    /// How much there was to read, in bytes.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }
}

/// A segment's file as it was found.
struct Sheet {
    file: PathBuf,
    header: SegmentHeader,
    bytes: Bytes,
}

/// Where the chain of records ends before it should.
struct Break {
    nth: usize,
    offset: u64,
    flaw: Flaw,
}

/// Reads all segments; `None` if there is none.
pub(super) fn scan(disk: &dyn Disk, dir: &Path) -> Result<Option<Scan>, LogError> {
    let sheets = load(disk, dir)?;
    let Some(first) = sheets.first() else { return Ok(None) };
    let mut scan = Scan {
        shelf: Shelf { next_index: first.header.next_index, ..Shelf::default() },
        state: LogState::starting_at(first.header.next_index),
        torn: None,
        synced: 0,
        doomed: Vec::new(),
        written_until: 0,
        bytes_read: sheets.iter().map(|sheet| sheet.bytes.len() as u64).sum(),
    };
    let mut torn = None;
    for nth in 0..sheets.len() {
        torn = scan.walk(&sheets, nth)?;
        if torn.is_some() {
            break;
        }
    }
    if let Some(torn) = torn {
        scan.judge(&sheets, torn)?;
    }
    let newest = &sheets[scan.shelf.segments.len() - 1];
    scan.written_until = last_not_zero(&newest.bytes, scan.shelf.newest().end);

    let state = &scan.state;
    if state.available_from > state.purged + 1 {
        return Err(LogError::Corrupt {
            file: sheets[0].file.clone(),
            offset: 0,
            expected: format!("entry {}", state.purged + 1),
            found: format!("entry {} as the first one", state.available_from),
            evidence: "Entries are purged before their segment is removed, so a segment is missing".into(),
        });
    }
    Ok(Some(scan))
}

fn load(disk: &dyn Disk, dir: &Path) -> Result<Vec<Sheet>, LogError> {
    let names = disk.list(dir).map_err(LogError::io("list", dir))?;
    let mut sheets: Vec<Sheet> = Vec::new();
    for name in names {
        let Some(id) = parse_segment_name(&name) else { continue };
        let file = dir.join(name);
        let bytes = disk.open(&file, Access::Read).and_then(|open| open.map(u64::MAX));
        let bytes = bytes.map_err(LogError::io("read", &file))?;
        let evidence = "A segment gets its name after its beginning has been synced";
        let header = SegmentHeader::decode(&bytes).map_err(|flaw| flawed(file.clone(), 0, flaw, evidence))?;
        let corrupt = |offset: u64, expected: String, found: String| {
            flawed(file.clone(), offset, Flaw::Damaged { expected, found }, evidence)
        };
        if header.id != id {
            return Err(corrupt(16, format!("segment {id}"), format!("segment {}", header.id)));
        }
        if header.next_index == 0 {
            return Err(corrupt(24, "an index from 1 on".into(), "0".into()));
        }
        if header.synced_before > header.base {
            let expected = format!("a mark up to {}", header.base);
            return Err(corrupt(40, expected, header.synced_before.to_string()));
        }
        if let Some(previous) = sheets.last().map(|sheet| sheet.header)
            && header.base < previous.base.saturating_add(SEGMENT_HEADER_LEN as u64)
        {
            let expected = format!("a base position beyond {}", previous.base);
            return Err(corrupt(32, expected, header.base.to_string()));
        }
        if header.base.checked_add(bytes.len() as u64).is_none() {
            return Err(corrupt(32, "a base position that leaves room".into(), header.base.to_string()));
        }
        sheets.push(Sheet { file, header, bytes });
    }
    Ok(sheets)
}

impl Scan {
    /// Follows the records of one segment, to its end or to a break.
    fn walk(&mut self, sheets: &[Sheet], nth: usize) -> Result<Option<Break>, LogError> {
        let Sheet { file, header, bytes } = &sheets[nth];
        let place_in_chain = self.shelf.segments.last().map(Segment::end_position);
        assert!(
            place_in_chain.is_none_or(|end| end == header.base),
            "walk() ends where the next segment begins"
        );
        if nth > 0 && header.next_index != self.state.next_index {
            return Err(LogError::Corrupt {
                file: file.clone(),
                offset: 24,
                expected: format!("next entry {}", self.state.next_index),
                found: header.next_index.to_string(),
                evidence: "All records of the segment before are sound".into(),
            });
        }
        self.shelf.segments.push(Segment::new(*header, bytes.len() as u64));
        self.synced = self.synced.max(header.synced_before);
        // Where the next segment says that this one ends; what comes then does not matter.
        let end = sheets.get(nth + 1).map(|next| next.header.base - header.base);
        let mut offset = SEGMENT_HEADER_LEN as u64;
        while Some(offset) != end {
            let found = match read_record(bytes, &header.place(offset)) {
                Ok(found) => found,
                Err(Flaw::Empty | Flaw::Damaged { .. })
                    if end.is_none() && last_not_zero(bytes, offset) == offset =>
                {
                    break;
                }
                Err(flaw @ Flaw::Unsupported(_)) => return Err(flawed(file.clone(), offset, flaw, "")),
                Err(flaw) => return Ok(Some(Break { nth, offset, flaw })),
            };
            if end.is_some_and(|end| found.next > end) {
                return Err(LogError::Corrupt {
                    file: file.clone(),
                    offset,
                    expected: format!("the segment to end at offset {}", end.unwrap_or_default()),
                    found: format!("a record up to {}", found.next),
                    evidence: "The next segment follows".into(),
                });
            }
            let RecordHeader { kind, index, term, synced_before, .. } = found.header;
            let payload = || Bytes::copy_from_slice(&bytes[found.payload.clone()]);
            self.state.apply(kind, index, term, payload).map_err(|illegal| LogError::Corrupt {
                file: file.clone(),
                offset,
                expected: illegal.expected,
                found: illegal.found,
                evidence: "The record itself is sound".into(),
            })?;
            // Nothing was synced before it was written; to believe it would be to leave out the sync in repair().
            if synced_before > header.base + offset {
                return Err(LogError::Corrupt {
                    file: file.clone(),
                    offset,
                    expected: format!("a mark up to {}", header.base + offset),
                    found: synced_before.to_string(),
                    evidence: "The record itself is sound".into(),
                });
            }
            self.synced = self.synced.max(synced_before);
            self.shelf.note(kind, index, offset, found.next);
            offset = found.next;
        }
        if offset < u64::from(header.first_record) {
            return Ok(Some(Break { nth, offset, flaw: Flaw::Empty }));
        }
        Ok(None)
    }

    /// Decides whether a break is the trace of a crash; if it is, everything from there on is given up.
    fn judge(&mut self, sheets: &[Sheet], torn: Break) -> Result<(), LogError> {
        let Break { nth, offset, flaw } = torn;
        let Sheet { file, header, bytes } = &sheets[nth];
        let position = header.base + offset;
        if offset < u64::from(header.first_record) {
            let evidence = "A segment gets its name after its beginning has been synced";
            return Err(flawed(file.clone(), offset, flaw, evidence));
        }
        if self.synced > position {
            let evidence =
                format!("Records before it were written after everything up to {} was synced", self.synced);
            return Err(flawed(file.clone(), offset, flaw, &evidence));
        }
        if let Some(witness) = witness(&sheets[nth..], offset, position) {
            return Err(flawed(file.clone(), offset, flaw, &witness));
        }
        let later = &sheets[nth + 1..];
        let here = last_not_zero(bytes, offset) - offset;
        self.torn = Some(TornTail {
            file: file.clone(),
            offset,
            bytes: here + later.iter().map(|sheet| last_not_zero(&sheet.bytes, 0)).sum::<u64>(),
            reason: flaw.to_string(),
        });
        self.doomed = later.iter().map(|sheet| sheet.file.clone()).collect();
        Ok(())
    }
}

/// Looks, after a break, for a record that was written when the broken place had already been synced.
///
/// Lengths cannot be trusted any more, so every aligned place is tried. The header's own CRC is enough: what a
/// header says is true even if its payload was torn.
fn witness(sheets: &[Sheet], offset: u64, position: u64) -> Option<String> {
    for (nth, Sheet { file, header, bytes }) in sheets.iter().enumerate() {
        if header.synced_before > position {
            let file = file.display();
            return Some(format!(
                "Segment {file} was begun after everything before {} had been synced",
                header.synced_before
            ));
        }
        let start = if nth == 0 { offset + ALIGNMENT as u64 } else { SEGMENT_HEADER_LEN as u64 };
        for at in (start..bytes.len() as u64).step_by(ALIGNMENT) {
            if !RecordHeader::possible(bytes, at) {
                continue;
            }
            if let Ok(RecordHeader { synced_before, .. }) = RecordHeader::read(bytes, &header.place(at))
                && synced_before > position
            {
                let file = file.display();
                return Some(format!(
                    "The record at offset {at} of {file} was written after this place had been synced"
                ));
            }
        }
    }
    None
}

/// Makes the files fit the scan, and what they say last. A crash in the middle leaves a log that scans alike.
pub(super) fn repair(
    disk: &dyn Disk,
    dir: &Path,
    scan: &mut Scan,
    segment_bytes: u64,
) -> Result<Arc<dyn DiskFile>, LogError> {
    // In any order, and the directory is synced below: if a crash brings some of them back, their marks say once more
    // that they go.
    for file in &scan.doomed {
        disk.remove(file).map_err(LogError::io("remove", file))?;
    }
    let newest = scan.shelf.segments.last_mut().expect("a scan has a segment");
    let path = dir.join(segment_name(newest.header.id));
    let file = disk.open(&path, Access::ReadWrite).map_err(LogError::io("open", &path))?;
    if newest.bytes < segment_bytes {
        file.preallocate(segment_bytes).map_err(LogError::full_or_io("extend", &path, segment_bytes))?;
        newest.bytes = segment_bytes;
    }
    // What is left of a torn write must be gone before anything is written there: a record that happens to end where
    // an old one begins would bring the old one back to life.
    overwrite_with_zeros(&*file, newest.end, scan.written_until).map_err(LogError::io("clean", &path))?;
    // After kill -9 the records may be in the page cache alone. What is written from now on says that they were
    // synced, so they have to be. And if the process ended because a sync failed, the kernel may take the pages for clean
    // although they never reached the disk, and a sync would do nothing: so they are written again.
    for segment in scan.shelf.segments.iter().filter(|segment| segment.end_position() > scan.synced) {
        let path = dir.join(segment.name());
        let file = disk.open(&path, Access::ReadWrite).map_err(LogError::io("open", &path))?;
        let from = scan.synced.saturating_sub(segment.header.base).max(SEGMENT_HEADER_LEN as u64);
        write_again(&*file, from, segment.end).map_err(LogError::io("write", &path))?;
        file.sync_data().map_err(LogError::io("sync", &path))?;
    }
    file.sync_data().map_err(LogError::io("sync", &path))?;
    // Likewise a name: made, but perhaps not synced, by the process that crashed.
    disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    scan.synced = scan.shelf.newest().end_position();
    Ok(file)
}

/// Removes what a crash has left of files that were being made.
pub(crate) fn remove_temporaries(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    for name in disk.list(dir).map_err(LogError::io("list", dir))? {
        if name.ends_with(TEMPORARY_SUFFIX) {
            let file = dir.join(name);
            disk.remove(&file).map_err(LogError::io("remove", &file))?;
        }
    }
    Ok(())
}

pub(super) fn overwrite_with_zeros(file: &dyn DiskFile, from: u64, until: u64) -> std::io::Result<()> {
    const STEP: usize = 64 * 1024;
    let zeros = [0; STEP];
    let mut offset = from;
    while offset < until {
        let step = (until - offset).min(STEP as u64);
        file.write_at(offset, &[std::io::IoSlice::new(&zeros[..step as usize])])?;
        offset += step;
    }
    Ok(())
}

/// Writes what can be read.
fn write_again(file: &dyn DiskFile, from: u64, until: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; (until - from).min(1 << 20) as usize];
    let mut offset = from;
    while offset < until {
        let step = (until - offset).min(buffer.len() as u64);
        let read = file.read_at(offset, &mut buffer[..step as usize])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(offset, &[std::io::IoSlice::new(&buffer[..read])])?;
        offset += read as u64;
    }
    Ok(())
}

/// Offset after the last byte from `from` on that is not zero; `from` if there is none.
fn last_not_zero(bytes: &[u8], from: u64) -> u64 {
    // In pages, because comparing memory is many times faster than looking at bytes.
    static ZEROS: [u8; 4096] = [0; 4096];
    let from = (from as usize).min(bytes.len());
    let mut end = bytes.len();
    for page in bytes[from..].rchunks(ZEROS.len()) {
        if page != &ZEROS[..page.len()] {
            let last = page.iter().rposition(|&byte| byte != 0).expect("the page is not all zeros");
            return (end - page.len() + last + 1) as u64;
        }
        end -= page.len();
    }
    from as u64
}

pub(super) fn flawed(file: PathBuf, offset: u64, flaw: Flaw, evidence: &str) -> LogError {
    let (expected, found) = match flaw {
        Flaw::Unsupported(what) => return LogError::Unsupported { file, offset, what },
        Flaw::Empty => ("a record".into(), "zeros".into()),
        Flaw::Damaged { expected, found } => (expected, found),
    };
    LogError::Corrupt { file, offset, expected, found, evidence: evidence.into() }
}
