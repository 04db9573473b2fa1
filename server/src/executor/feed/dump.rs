//! A snapshot on its way to a replica: a thread serialises it, the executor takes what the socket has room for.
//!
//! A replica that takes a mark gets it as it is made. To others the length has to be told first, so that the whole has to be
//! kept until it is known: in memory when it is small, otherwise in a file without a name, which goes with the thread.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use cairn_engine::keyspace::Snapshot;
use cairn_engine::rdb;
use cairn_storage::TEMPORARY_SUFFIX;

use crate::affinity;
use crate::executor::wake::Ready;

/// Bytes of one part.
const PART_BYTES: usize = 64 * 1024;
/// Parts that are made and not yet taken.
const PARTS_MAX: usize = 16;
/// A snapshot up to so many bytes is kept in memory until its length is known.
const SPOOL_MEMORY_MAX: usize = 1 << 20;

/// How a snapshot is to be sent.
pub struct Form {
    /// The mark that tells its end, of forty letters; `None`: its length is told before it.
    pub mark: Option<String>,
    /// Of an RDB file, the newest that the replica reads.
    pub version: u16,
    pub compress: bool,
}

/// What the thread has made.
pub enum Part {
    Bytes(Bytes),
    /// That was the last one.
    End,
    Failed(String),
}

/// The thread's parts, for as long as somebody wants them.
pub struct Parts {
    parts: Receiver<Part>,
    /// What the thread looks at while it has nothing to hand over.
    _wanted: Arc<()>,
}

impl Parts {
    pub fn try_recv(&self) -> Result<Part, TryRecvError> {
        self.parts.try_recv()
    }
}

/// Starts the thread. It ends when nobody takes its parts any more.
pub fn start(snapshot: Snapshot, form: Form, dir: &Path, ready: Arc<Ready>) -> Result<Parts, String> {
    let (parts, taken) = sync_channel(PARTS_MAX);
    let wanted = Arc::new(());
    let still_wanted = Arc::downgrade(&wanted);
    let dir = dir.to_owned();
    let run = move || {
        let mut sink = Sink { parts, ready, wanted: still_wanted };
        let outcome = send(snapshot, &form, &dir, &mut sink);
        sink.put(outcome.map_or_else(|error| Part::Failed(error.to_string()), |()| Part::End));
    };
    let thread = affinity::spawn("feed", run);
    thread
        .map(|()| Parts { parts: taken, _wanted: wanted })
        .map_err(|error| format!("cannot start a thread: {error}"))
}

fn send(snapshot: Snapshot, form: &Form, dir: &Path, sink: &mut Sink) -> io::Result<()> {
    if let Some(mark) = &form.mark {
        sink.write_all(format!("$EOF:{mark}\r\n").as_bytes())?;
        rdb::save_for_replica(snapshot, form.version, form.compress, sink)?;
        return sink.write_all(mark.as_bytes());
    }
    let wanted = sink.wanted.clone();
    let mut spool = Spool { dir, wanted, memory: Vec::new(), file: None, len: 0 };
    rdb::save_for_replica(snapshot, form.version, form.compress, &mut spool)?;
    sink.write_all(format!("${}\r\n", spool.len).as_bytes())?;
    spool.pour(sink)
}

/// To the executor, a part at a time; waits until there is room.
struct Sink {
    parts: SyncSender<Part>,
    ready: Arc<Ready>,
    wanted: Weak<()>,
}

impl Sink {
    fn put(&mut self, part: Part) -> bool {
        let sent = self.parts.send(part).is_ok();
        self.ready.wake();
        sent
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(PART_BYTES);
        if !self.put(Part::Bytes(Bytes::copy_from_slice(&bytes[..len]))) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps a snapshot until its length is known.
struct Spool<'a> {
    dir: &'a Path,
    wanted: Weak<()>,
    memory: Vec<u8>,
    file: Option<File>,
    len: u64,
}

impl Spool<'_> {
    fn pour(self, sink: &mut Sink) -> io::Result<()> {
        let Some(mut file) = self.file else { return sink.write_all(&self.memory) };
        file.rewind()?;
        let mut part = vec![0; PART_BYTES];
        loop {
            match file.read(&mut part)? {
                0 => return Ok(()),
                count => sink.write_all(&part[..count])?,
            }
        }
    }
}

impl Write for Spool<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.wanted.strong_count() == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.file.is_none() && self.memory.len() + bytes.len() > SPOOL_MEMORY_MAX {
            let mut file = nameless(self.dir)?;
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes)?,
            None => self.memory.extend_from_slice(bytes),
        }
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is gone when it is closed. A start removes one that a crash has left its name.
fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("feed-{:?}{TEMPORARY_SUFFIX}", std::thread::current().id()));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool<'a>(dir: &'a Path, wanted: &Arc<()>) -> Spool<'a> {
        Spool { dir, wanted: Arc::downgrade(wanted), memory: Vec::new(), file: None, len: 0 }
    }

    fn sink(parts: SyncSender<Part>) -> Sink {
        Sink { parts, ready: Arc::default(), wanted: Weak::new() }
    }

    fn poured(len: usize, dir: &Path) -> (bool, Vec<u8>) {
        let wanted = Arc::new(());
        let mut spool = spool(dir, &wanted);
        let content: Vec<u8> = (0..len).map(|i| i as u8).collect();
        for piece in content.chunks(10_000) {
            spool.write_all(piece).expect("there is room");
        }
        assert_eq!(spool.len, len as u64);
        let on_disk = spool.file.is_some();
        let (parts, taken) = sync_channel(len / PART_BYTES + 2);
        spool.pour(&mut sink(parts)).expect("somebody takes it");
        let mut got = Vec::new();
        while let Ok(Part::Bytes(bytes)) = taken.try_recv() {
            assert!(bytes.len() <= PART_BYTES);
            got.extend_from_slice(&bytes);
        }
        assert!(got == content, "what comes out is what went in");
        (on_disk, got)
    }

    #[test]
    fn a_large_snapshot_is_kept_in_a_file_that_nobody_finds() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(!poured(100_000, dir.path()).0);
        assert!(poured(3 * SPOOL_MEMORY_MAX + 1, dir.path()).0);
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
    }

    #[test]
    fn the_thread_ends_when_nobody_listens() {
        let (parts, taken) = sync_channel(1);
        drop(taken);
        let mut sink = sink(parts);
        assert_eq!(sink.write(b"x").expect_err("nobody").kind(), io::ErrorKind::BrokenPipe);
        // Also while it only collects.
        let (dir, wanted) = (Path::new("/none"), Arc::new(()));
        let mut spool = spool(dir, &wanted);
        assert_eq!(spool.write(b"x").expect("wanted"), 1);
        drop(wanted);
        assert_eq!(spool.write(b"x").expect_err("nobody").kind(), io::ErrorKind::BrokenPipe);
    }
}
