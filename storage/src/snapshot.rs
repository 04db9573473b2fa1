//! Files that are there whole or not at all: snapshots, and small files of metadata.
//!
//! A file is written under a temporary name, synced, renamed, and the directory synced. After a crash at any moment the
//! name stands for the old content or the new, never for a part. Temporary files that a crash has left
//! are removed when the directory is opened. What is in the files is not known here.

use std::io::{self, IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::TEMPORARY_SUFFIX;
use crate::disk::{Access, Disk, DiskFile};
use crate::log::{LogError, remove_temporaries};

/// Bytes collected before they are written.
const BUFFER_LEN: usize = 256 * 1024;

/// A long file is on its way to the disk every so many bytes, without waiting for it: whoever writes holds a snapshot,
/// which costs memory for as long as it lasts.
const WRITE_BACK_EVERY: u64 = 4 * 1024 * 1024;

/// And it is synced every so many bytes. One sync of gigabytes at the end would make the log's own syncs wait behind it.
const SYNC_EVERY: u64 = 128 * 1024 * 1024;

/// A directory of snapshot files.
#[derive(Clone)]
pub struct SnapshotDir {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

/// A complete file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name in the directory.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// A file being written. Without [`commit`](SnapshotWriter::commit) it disappears when this is dropped.
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Arc<dyn DiskFile>,
    temporary: PathBuf,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Bytes in the file, those in the buffer not counted.
    written: u64,
    synced: u64,
    /// On their way to the disk.
    written_back: u64,
    /// Whether a write or sync has failed; then it cannot be committed.
    failed: bool,
    committed: bool,
}

/// Reads a file from its beginning.
pub struct SnapshotReader {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

/// The name of the snapshot of everything up to the entry `index`.
pub fn snapshot_name(index: u64) -> String {
    format!("snapshot-{index:020}.rdb")
}

/// The index in a name made by [`snapshot_name`].
pub fn parse_snapshot_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("snapshot-")?.strip_suffix(".rdb")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

impl SnapshotDir {
    /// Opens the directory, making it if need be, and removes what a crash has left unfinished. Only at start-up: a
    /// file being written looks just the same. Later on, see [`SnapshotDir::attach`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<SnapshotDir, LogError> {
        let opened = SnapshotDir::attach(disk, dir)?;
        remove_temporaries(&*opened.disk, dir)?;
        Ok(opened)
    }

    /// Opens the directory, making it if need be, and leaves alone what others may be writing there.
    pub fn attach(disk: Arc<dyn Disk>, dir: &Path) -> Result<SnapshotDir, LogError> {
        disk.create_dir_all(dir).map_err(LogError::io("create", dir))?;
        Ok(SnapshotDir { disk, dir: dir.to_path_buf() })
    }

    /// Begins a file. Another one of this name stays until [`SnapshotWriter::commit`].
    pub fn create(&self, name: &str) -> io::Result<SnapshotWriter> {
        self.create_as(name, format!("{name}{TEMPORARY_SUFFIX}"))
    }

    /// Begins a file that comes from elsewhere. It is not in the way of one with the same name that is being made here.
    pub fn create_received(&self, name: &str) -> io::Result<SnapshotWriter> {
        self.create_as(name, format!("{name}.received{TEMPORARY_SUFFIX}"))
    }

    /// Begins a file that is not in the way of others with the same name, unless they have the same `tag`.
    pub fn create_apart(&self, name: &str, tag: &str) -> io::Result<SnapshotWriter> {
        self.create_as(name, format!("{name}.{tag}{TEMPORARY_SUFFIX}"))
    }

    fn create_as(&self, name: &str, temporary: String) -> io::Result<SnapshotWriter> {
        let temporary = self.dir.join(temporary);
        Ok(SnapshotWriter {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            file: self.disk.create(&temporary)?,
            temporary,
            path: self.dir.join(name),
            buffer: Vec::with_capacity(BUFFER_LEN),
            written: 0,
            synced: 0,
            written_back: 0,
            failed: false,
            committed: false,
        })
    }

    /// The complete files, sorted by name.
    pub fn list(&self) -> io::Result<Vec<SnapshotFile>> {
        let mut files = Vec::new();
        for name in self.disk.list(&self.dir)? {
            if !name.ends_with(TEMPORARY_SUFFIX) {
                let len = self.disk.open(&self.dir.join(&name), Access::Read)?.len()?;
                files.push(SnapshotFile { name, len });
            }
        }
        Ok(files)
    }

    /// The newest of the files named by [`snapshot_name`], and its index.
    pub fn latest(&self) -> io::Result<Option<(u64, SnapshotFile)>> {
        let files = self.list()?.into_iter();
        Ok(files
            .filter_map(|file| Some((parse_snapshot_name(&file.name)?, file)))
            .max_by_key(|(index, _)| *index))
    }

    /// Opens a file for reading.
    pub fn open_file(&self, name: &str) -> io::Result<SnapshotReader> {
        Ok(SnapshotReader { file: self.disk.open(&self.dir.join(name), Access::Read)?, offset: 0 })
    }

    /// Maps a file into memory.
    pub fn map(&self, name: &str) -> io::Result<Bytes> {
        self.disk.open(&self.dir.join(name), Access::Read)?.map(u64::MAX)
    }

    /// Removes a file for good.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(&self.dir.join(name))?;
        self.disk.sync_dir(&self.dir)
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl SnapshotWriter {
    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Whether nothing has been written so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has been written so far, for reading. Nothing may be written after this.
    pub fn map(&mut self) -> io::Result<Bytes> {
        self.write_out()?;
        self.sound()?.map(self.written)
    }

    /// Makes the file last under its name; returns its length.
    pub fn commit(mut self) -> io::Result<u64> {
        self.sync()?;
        self.disk.rename(&self.temporary, &self.path)?;
        self.committed = true;
        // Sync the directory, or a crash brings the old file back, when the log before the new one may be gone.
        self.disk.sync_dir(&self.dir)?;
        Ok(self.written)
    }

    /// Makes what has been written so far last, but not under its name.
    pub fn sync(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.sync_written()
    }

    fn write_out(&mut self) -> io::Result<()> {
        let offset = self.written;
        let written = self.sound()?.write_at(offset, &[IoSlice::new(&self.buffer)]);
        self.failed |= written.is_err();
        written?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written - self.written_back >= WRITE_BACK_EVERY {
            self.file.start_writing_back(self.written_back, self.written - self.written_back);
            self.written_back = self.written;
        }
        if self.written - self.synced >= SYNC_EVERY { self.sync_written() } else { Ok(()) }
    }

    fn sync_written(&mut self) -> io::Result<()> {
        let synced = self.sound()?.sync_data();
        // After a failed sync, another one that succeeds proves nothing.
        self.failed |= synced.is_err();
        synced?;
        self.synced = self.written;
        Ok(())
    }

    fn sound(&self) -> io::Result<&dyn DiskFile> {
        if self.failed {
            Err(io::Error::other("an earlier write or sync of this file failed"))
        } else {
            Ok(&*self.file)
        }
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == BUFFER_LEN {
            self.write_out()?;
        }
        let taken = bytes.len().min(BUFFER_LEN - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Hands the buffer to the operating system. Only [`commit`](SnapshotWriter::commit) makes anything last.
    fn flush(&mut self) -> io::Result<()> {
        self.write_out()
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.committed {
            // If it fails, the next start removes the file.
            let _ = self.disk.remove(&self.temporary);
        }
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.offset, buffer)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Replaces a small file: after a crash there is the old content or the new.
pub fn write_file_atomically(disk: &Arc<dyn Disk>, path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let dir = SnapshotDir { disk: Arc::clone(disk), dir: dir.to_path_buf() };
    let mut writer = dir.create(name)?;
    writer.write_all(content)?;
    writer.commit()?;
    Ok(())
}

/// Reads a small file; `None` if there is none.
pub fn read_file(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut content = vec![0; usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let read = file.read_at(0, &mut content)?;
    content.truncate(read);
    Ok(Some(content))
}
