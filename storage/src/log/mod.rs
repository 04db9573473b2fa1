//! The log: records in preallocated segment files, synced in groups, recovered after any crash.
//!
//! ```text
//! log/00000000000000000001.seg   ── sealed, read through memory maps
//! log/00000000000000041207.seg   ── the newest, preallocated; zeros after the last record
//! log/spare-3.cairn-tmp          ── perhaps: room for the next one
//! ```
//!
//! The bytes are drawn in the `format` module. A segment is named after the entry that comes first in it. (After a
//! truncation that index may be taken; then it is the next free number, so that names always rise with age.)
//!
//! # What a crash may take, and how recovery knows
//!
//! A group of records is written with one `pwritev` and acknowledged after one `fdatasync`. If the power fails
//! between the two, *any* sectors of the group may be on the disk: the third record may be there while the
//! first is not. Such a tail with holes must not stop the start, for nobody was promised any of it. But the same
//! picture, a bad record with good ones behind it, is also what a flipped bit in old, acknowledged records looks
//! like, and then going on would silently drop promises.
//!
//! The two are told apart by a mark. Every record says, in its header, up to which **position** (bytes since the
//! beginning of the log) everything had been synced when it was written: `synced before`.
//!
//! ```text
//!        group 1 (synced)        group 2 (synced)      group 3 (power fails in its fdatasync)
//!     ┌────────┬────────┐     ┌────────┬────────┐     ┌────────┬────────┬────────┐
//!     │ r1  ≥0 │ r2  ≥0 │     │ r3  ≥A │ r4  ≥A │     │ r5  ≥B │ ░░░░░░ │ r7  ≥B │
//!     └────────┴────────┘     └────────┴────────┘     └────────┴────────┴────────┘
//!     0                 A                       B              ▲ p
//! ```
//!
//! Recovery reads records until the first one, at position *p*, that is missing or broken. If **any** header found
//! anywhere behind *p* bears a mark greater than *p*, the bytes at *p* were once safely on disk: that is damage,
//! and the log refuses to open ([`LogError::Corrupt`]). If none does, *p* lies in the part that was never known to be
//! synced, so nothing from *p* on was acknowledged, and it is dropped. Above, r7's mark is B ≤ p: drop r6 and
//! r7, keep r5. Had r2 been broken, r3's mark A > r2's position would refuse.
//!
//! Points that this rests on:
//! - Behind *p* lengths cannot be trusted, so recovery tries every aligned place. A header has a CRC of its own
//!   that covers its segment, its offset and a random salt, so it proves itself even if its payload is torn,
//!   and no payload can contain one by chance or by malice.
//! - The dropped bytes are overwritten with zeros and synced before the first append. Otherwise a new record could end
//!   just where an old one begins, and a later recovery would take the old one for its successor.
//! - Before the first append everything recovered behind the last mark is written again and synced: after `kill -9`, or
//!   after a sync that failed, it may be in the page cache only, and the next record will claim that it is safe.
//! - A segment file gets its name after its header and preamble have been synced, and is used after the
//!   directory has been synced. So a named segment with a broken beginning is damage, never a trace of a crash.
//! - What it cannot tell: damage in the *last* group, after which nothing has been written. It looks exactly like
//!   a torn write and is dropped, and reported in [`Recovered::torn`]. [`Log::mark`] closes that window
//!   (the writer calls it on a clean shutdown).
//!
//! # When the disk fails
//!
//! A failed write or sync **poisons** the log: every later change fails with [`LogError::Poisoned`]. Nobody knows then
//! what is on the disk, and a second `fdatasync` that succeeds would prove nothing. Only lack of room
//! ([`LogError::Full`]) leaves the log as it was, because room is reserved before the first byte is written.

mod error;
mod format;
mod reader;
mod recovery;
mod shelf;
mod state;
mod tail;

pub use error::LogError;
pub use format::{FORMAT_VERSION, Kind, PAYLOAD_LEN_MAX, Record, VOTE_LEN_MAX};
pub use reader::{Entries, Entry, LogReader};
pub use recovery::TornTail;
pub(crate) use recovery::remove_temporaries;
pub use shelf::SegmentInfo;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use self::recovery::{repair, scan};
use self::shelf::{Segment, Shelf};
use self::state::LogState;
use self::tail::{Home, Spare, Tail};
use crate::disk::{Disk, DiskFile};

/// Room of an ordinary segment, in bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// The smallest segment, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 16 * 1024;

/// Room at the end of a segment that entries leave free, so that a purge can be written down when the disk is full:
/// it is what makes room again.
const CONTROL_RESERVE: u64 = 4096;

/// How a log is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Room of a new segment, in bytes. A longer record gets a segment of its own, sized for it.
    pub segment_bytes: u64,
    /// Mixed into the CRCs of the segments that are begun from now on; nobody who can write entries should know it.
    pub salt: u64,
}

impl Default for LogOptions {
    /// 64 MiB, and a random salt.
    fn default() -> LogOptions {
        LogOptions { segment_bytes: SEGMENT_BYTES_DEFAULT, salt: RandomState::new().build_hasher().finish() }
    }
}

/// The writing end of a log. One thread has it; others read through a [`LogReader`].
pub struct Log {
    home: Home,
    health: Health,
}

/// A log that has failed has no tail, so nothing can be written to it.
enum Health {
    Sound(Box<Tail>),
    Poisoned { cause: String },
}

/// What the log said when it was opened. The entries themselves are read with [`Log::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The newest vote.
    pub vote: Option<Bytes>,
    /// Up to where entries were said to be committed; 0 if never.
    pub committed: u64,
    /// Up to where entries were purged; 0 if never.
    pub purged: u64,
    /// The first entry kept, if there is one.
    pub first_index: u64,
    /// The last entry; one less than `first_index` if there is none.
    pub last_index: u64,
    /// What a crash had left at the end, and was dropped.
    pub torn: Option<TornTail>,
    /// How much there was to read, in bytes.
    pub bytes_read: u64,
}

impl Log {
    /// Opens the log in `dir`, or begins one. The caller holds the lock of the data directory.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] and [`LogError::Unsupported`] leave the files as they are. [`LogError::Full`] means that
    /// there is no room for the newest segment.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        mut options: LogOptions,
    ) -> Result<(Log, Recovered), LogError> {
        options.segment_bytes = options.segment_bytes.max(SEGMENT_BYTES_MIN);
        disk.create_dir_all(dir).map_err(LogError::io("create", dir))?;
        remove_temporaries(&*disk, dir)?;
        let Some(mut scan) = scan(&*disk, dir)? else { return Log::begin(disk, dir, options) };
        let file = repair(&*disk, dir, &mut scan, options.segment_bytes)?;
        if let Some(torn) = &scan.torn {
            tracing::warn!(
                file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes, reason = torn.reason,
                "dropped a write that the last crash interrupted; it was never acknowledged"
            );
        }
        let recovered = Recovered::new(&scan.state, scan.torn.take(), scan.bytes_read());
        let newest = scan.shelf.newest();
        let tail = Tail {
            file,
            path: dir.join(newest.name()),
            header: newest.header,
            end: newest.end,
            bytes: newest.bytes,
            soiled_until: 0,
            dirty: Vec::new(),
            synced: scan.synced,
            synced_index: scan.state.last_index(),
            history: 0,
            state: scan.state,
            spares: Vec::new(),
            spares_made: 0,
            spare_asked_in: 0,
        };
        let log = Log::new(disk, dir, options, scan.shelf, tail);
        // A crash may have come between the note that says "purged" and the removal.
        log.take_off_the_shelf().remove()?;
        Ok((log, recovered))
    }

    fn begin(disk: Arc<dyn Disk>, dir: &Path, options: LogOptions) -> Result<(Log, Recovered), LogError> {
        let state = LogState::starting_at(1);
        let shelf = Shelf { next_index: 1, ..Shelf::default() };
        let spare = Spare::make(&*disk, dir, 0, options.segment_bytes)?;
        let home = Home { disk, dir: dir.to_path_buf(), options, shelf: Arc::new(Mutex::new(shelf)) };
        let segment = Segment::begin(&home, &spare, 1, 0, 0, &state)?;
        let recovered = Recovered::new(&state, None, 0);
        let tail = Tail {
            file: spare.file,
            path: dir.join(segment.name()),
            header: segment.header,
            end: segment.end,
            bytes: segment.bytes,
            soiled_until: 0,
            dirty: Vec::new(),
            synced: segment.end_position(),
            synced_index: 0,
            history: 0,
            state,
            spares: Vec::new(),
            spares_made: 0,
            spare_asked_in: 0,
        };
        let shelf = Shelf { segments: vec![segment], next_index: 1, ..Shelf::default() };
        Ok((Log::new(home.disk, dir, home.options, shelf, tail), recovered))
    }

    fn new(disk: Arc<dyn Disk>, dir: &Path, options: LogOptions, shelf: Shelf, tail: Tail) -> Log {
        let home = Home { disk, dir: dir.to_path_buf(), options, shelf: Arc::new(Mutex::new(shelf)) };
        Log { home, health: Health::Sound(Box::new(tail)) }
    }

    /// Verifies the log in `dir` without changing anything, and gives what can be read of it; `None` if there is none.
    /// What [`Log::open`] would refuse, this refuses with the same error.
    pub fn inspect(disk: Arc<dyn Disk>, dir: &Path) -> Result<Option<(LogReader, Recovered)>, LogError> {
        let Some(mut scan) = scan(&*disk, dir)? else { return Ok(None) };
        let recovered = Recovered::new(&scan.state, scan.torn.take(), scan.bytes_read());
        let reader = LogReader::new(disk, dir.to_path_buf(), Arc::new(Mutex::new(scan.shelf)));
        Ok(Some((reader, recovered)))
    }

    /// Writes records, in order and with as few system calls as possible. They can be read at once, and survive a
    /// crash after the next [`sync`](Log::sync).
    ///
    /// # Errors
    /// [`LogError::Full`] and [`LogError::RecordTooLarge`] leave the log exactly as before; everything else poisons it.
    ///
    /// # Panics
    /// If the records are not ones that can come next (an index left out, a falling term, …).
    pub fn append(&mut self, records: &[Record<'_>]) -> Result<(), LogError> {
        let Log { home, health } = self;
        let appended = health.tail()?.append(home, records);
        appended.map_err(|error| self.poison_unless_intact(error))
    }

    /// Makes everything that has been appended survive a crash.
    pub fn sync(&mut self) -> Result<(), LogError> {
        match self.begin_sync()? {
            Some(sync) => self.end_sync(sync.run()),
            None => Ok(()),
        }
    }

    /// What has to be done to sync everything appended so far, to be done on any thread while appending goes on; `None`
    /// if nothing has. The outcome belongs into [`end_sync`](Log::end_sync).
    pub fn begin_sync(&mut self) -> Result<Option<PendingSync>, LogError> {
        let tail = self.health.tail()?;
        if tail.dirty.is_empty() {
            return Ok(None);
        }
        let files = tail.dirty.iter().map(|(file, path, _)| (Arc::clone(file), path.clone())).collect();
        let (index, history) = (tail.state.last_index(), tail.history);
        Ok(Some(PendingSync { files, position: tail.written(), index, history }))
    }

    /// Takes note of a sync that has ended.
    pub fn end_sync(&mut self, outcome: SyncOutcome) -> Result<(), LogError> {
        let tail = self.health.tail()?;
        match outcome.result {
            Ok(()) => {
                tail.dirty.retain(|&(_, _, written)| written > outcome.position);
                tail.synced = tail.synced.max(outcome.position);
                // An index that has been truncated in the meantime may stand for another entry by now.
                if tail.history == outcome.history {
                    tail.synced_index = tail.synced_index.max(outcome.index);
                }
                Ok(())
            }
            Err(error) => Err(self.poison_unless_intact(error)),
        }
    }

    /// Appends the newest vote. Synced with the next [`sync`](Log::sync).
    pub fn save_vote(&mut self, vote: &[u8]) -> Result<(), LogError> {
        self.append(&[Record::vote(&[vote])])
    }

    /// Appends that `index` is the last entry; those after it do not count any more.
    pub fn truncate_after(&mut self, index: u64) -> Result<(), LogError> {
        self.append(&[Record::truncate_after(index)])
    }

    /// Appends that entries up to `index` are committed.
    pub fn committed(&mut self, index: u64) -> Result<(), LogError> {
        self.append(&[Record::committed(index)])
    }

    /// Writes down, synced, that everything so far has been synced, so that no damage to it can pass for a torn write.
    pub fn mark(&mut self) -> Result<(), LogError> {
        self.sync()?;
        let committed = self.health.tail()?.state.committed;
        self.append(&[Record::committed(committed)])?;
        self.sync()
    }

    /// Gives up the entries up to `upto`, and removes the segments that hold no others. `upto` may lie beyond the end:
    /// then the log is empty, and the next entry is `upto + 1`.
    pub fn purge(&mut self, upto: u64) -> Result<(), LogError> {
        self.retire(upto)?.remove()
    }

    /// The part of [`purge`](Log::purge) that changes the log. What remains, the removal of files, may take long
    /// and may happen on any thread; after a crash the next [`open`](Log::open) does it.
    pub fn retire(&mut self, upto: u64) -> Result<Retired, LogError> {
        self.append(&[Record::purge(upto)])?;
        // Synced before any file goes, or recovery would miss entries that nobody has said to be purged.
        self.sync()?;
        Ok(self.take_off_the_shelf())
    }

    fn take_off_the_shelf(&self) -> Retired {
        let mut shelf = self.home.shelf.lock().expect("nothing panics while it has the shelf");
        let files = shelf.retire().iter().map(|segment| self.home.dir.join(segment.name())).collect();
        Retired { disk: Arc::clone(&self.home.disk), dir: self.home.dir.clone(), files }
    }

    /// The file for the next segment, to be made on any thread, if it is time: the newest segment is half full and
    /// there is none yet. It keeps the work of preallocating out of the way of the appends.
    pub fn wants_spare(&mut self) -> Option<SpareJob> {
        let Log { home, health } = self;
        let tail = health.tail().ok().filter(|tail| tail.needs_spare())?;
        tail.spares_made += 1;
        tail.spare_asked_in = tail.header.id;
        let Home { disk, dir, options, .. } = home;
        let (disk, dir) = (Arc::clone(disk), dir.clone());
        Some(SpareJob { disk, dir, serial: tail.spares_made, bytes: options.segment_bytes })
    }

    /// Whether [`wants_spare`](Log::wants_spare) would ask for one.
    pub fn needs_spare(&self) -> bool {
        matches!(&self.health, Health::Sound(tail) if tail.needs_spare())
    }

    /// Keeps a file for the next segment.
    pub fn keep_spare(&mut self, made: SpareFile) {
        if let Ok(tail) = self.health.tail() {
            tail.spares.push(made.0);
        }
    }

    /// A handle for reading, on any thread.
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.home.disk), self.home.dir.clone(), Arc::clone(&self.home.shelf))
    }

    /// The entries from `from` on; see [`LogReader::read`].
    pub fn read(&self, from: u64) -> Result<Entries, LogError> {
        self.reader().read(from)
    }

    /// Index of the first entry that is kept, whether or not there is one yet.
    pub fn first_index(&self) -> u64 {
        self.reader().first_index()
    }

    /// Index of the last entry; one less than [`first_index`](Log::first_index) if there is none.
    pub fn last_index(&self) -> u64 {
        self.reader().last_index()
    }

    /// Index of the last entry that survives a crash for certain; 0 on a log that has failed.
    pub fn synced_index(&self) -> u64 {
        match &self.health {
            Health::Sound(tail) => tail.synced_index,
            Health::Poisoned { .. } => 0,
        }
    }

    /// Whether something has been appended since the last sync.
    pub fn is_dirty(&self) -> bool {
        matches!(&self.health, Health::Sound(tail) if !tail.dirty.is_empty())
    }

    /// Whether a sealed segment has something that is not synced.
    pub fn is_dirty_behind(&self) -> bool {
        matches!(&self.health, Health::Sound(tail) if tail.dirty.len() > 1)
    }

    /// Whether an entry with so many bytes of payload fits into the newest segment, so that appending it is one write
    /// and neither makes nor syncs a file.
    pub fn has_room(&self, payload_len: u64) -> bool {
        matches!(&self.health, Health::Sound(tail) if tail.has_room(payload_len))
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.reader().segments()
    }

    /// Bytes that the segments take on disk.
    pub fn size_on_disk(&self) -> u64 {
        self.reader().size_on_disk()
    }

    fn poison_unless_intact(&mut self, error: LogError) -> LogError {
        if !error.leaves_log_intact() {
            tracing::error!(%error, "the log has failed and takes no more writes");
            self.health = Health::Poisoned { cause: error.to_string() };
        }
        error
    }
}

impl Health {
    /// The only way to write: whoever has it knows that the log is sound.
    fn tail(&mut self) -> Result<&mut Tail, LogError> {
        match self {
            Health::Sound(tail) => Ok(tail),
            Health::Poisoned { cause } => Err(LogError::Poisoned { cause: cause.clone() }),
        }
    }
}

impl Recovered {
    fn new(state: &LogState, torn: Option<TornTail>, bytes_read: u64) -> Recovered {
        Recovered {
            vote: state.vote.clone(),
            committed: state.committed,
            purged: state.purged,
            first_index: state.purged + 1,
            last_index: state.last_index(),
            torn,
            bytes_read,
        }
    }
}

/// Files to be synced; see [`Log::begin_sync`].
#[must_use = "nothing is synced until this is run and its outcome handed back"]
pub struct PendingSync {
    files: Vec<(Arc<dyn DiskFile>, PathBuf)>,
    position: u64,
    index: u64,
    history: u64,
}

/// How a sync has ended.
#[must_use = "the log has to know"]
pub struct SyncOutcome {
    result: Result<(), LogError>,
    position: u64,
    index: u64,
    history: u64,
}

impl PendingSync {
    /// Syncs the files, oldest first.
    pub fn run(self) -> SyncOutcome {
        let sync = |(file, path): &(Arc<dyn DiskFile>, PathBuf)| {
            file.sync_data().map_err(LogError::io("sync", path))
        };
        let result = self.files.iter().try_for_each(sync);
        SyncOutcome { result, position: self.position, index: self.index, history: self.history }
    }
}

/// Segments that are not part of the log any more, and whose files are to be removed.
#[must_use = "the files stay until remove() is called"]
pub struct Retired {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    files: Vec<PathBuf>,
}

impl Retired {
    /// Removes the files, oldest first.
    pub fn remove(self) -> Result<(), LogError> {
        for file in &self.files {
            self.disk.remove(file).map_err(LogError::io("remove", file))?;
            // One by one: if a later removal survived a crash and an earlier one did not, there would be a gap.
            self.disk.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))?;
        }
        Ok(())
    }

    /// The files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// A file to be made; see [`Log::wants_spare`].
pub struct SpareJob {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    serial: u64,
    bytes: u64,
}

/// A file for the next segment.
pub struct SpareFile(Spare);

impl SpareJob {
    /// Makes the file.
    ///
    /// # Errors
    /// [`LogError::Full`] if there is no room. Nothing has happened then: the log asks again, and fails only if it
    /// cannot make the file itself when it needs it.
    pub fn run(&self) -> Result<SpareFile, LogError> {
        let spare = Spare::make(&*self.disk, &self.dir, self.serial, self.bytes)?;
        // The blocks go to the disk now rather than with the first record.
        spare.file.sync_data().map_err(LogError::full_or_io("sync", &spare.path, spare.bytes))?;
        Ok(SpareFile(spare))
    }
}
