//! The operating system's disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use memmap2::MmapOptions;

use super::{Access, DirLock, Disk, DiskFile};

/// Most chunks that the kernel takes in one `pwritev` (`IOV_MAX` of Linux and the BSDs).
const CHUNKS_PER_WRITE_MAX: usize = 1024;

/// Zeros are written in pieces of this size where blocks cannot be had without writing.
const ZEROS_LEN: usize = 256 * 1024;

/// Name of the file whose lock stands for its directory.
const LOCK_FILE: &str = "cairn.lock";

/// Files of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile(File);

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
        fs::create_dir_all(dir)?;
        // The parent is synced even if the directory was there: whoever made it may have crashed before syncing.
        for parent in dir.ancestors().skip(1).take(missing.max(1)) {
            match self.sync_dir(parent) {
                // A parent that we may not open is not one that we have made.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A name that is not Unicode is none of ours.
            if let (Ok(name), true) = (entry.file_name().into_string(), !entry.file_type()?.is_dir()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir)?.sync_all()
    }

    fn lock(&self, dir: &Path) -> io::Result<DirLock> {
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, mut offset: u64, chunks: &[IoSlice<'_>]) -> io::Result<()> {
        if let [one] = chunks {
            return self.0.write_all_at(one, offset);
        }
        let mut chunks = chunks.to_vec();
        let mut rest = chunks.as_mut_slice();
        while rest.iter().any(|chunk| !chunk.is_empty()) {
            match self.write_some(offset, rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn start_writing_back(&self, offset: u64, len: u64) {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
        // SAFETY: the descriptor is open for as long as `self` is. A failure is no loss: this is only a hint.
        unsafe { libc::sync_file_range(self.0.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        if self.allocate(len)? {
            return Ok(());
        }
        let zeros = vec![0; ZEROS_LEN];
        let mut offset = self.len()?;
        while offset < len {
            let step = (len - offset).min(ZEROS_LEN as u64);
            self.0.write_all_at(&zeros[..step as usize], offset)?;
            offset += step;
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.0.metadata()?.modified()
    }

    fn map(&self, len: u64) -> io::Result<Bytes> {
        let len = len.min(self.len()?);
        if len == 0 {
            return Ok(Bytes::new());
        }
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        // SAFETY: the bytes must not change while they are borrowed. The data directory is locked for this process
        // (`Disk::lock`), and within it nobody writes to a mapped range: the log maps only what lies before
        // the end of its last complete write and never writes there again; snapshots never change
        // once they have their name.
        let map = unsafe { MmapOptions::new().len(len).map(&self.0)? };
        Ok(Bytes::from_owner(map))
    }
}

impl RealFile {
    fn write_some(&self, offset: u64, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = chunks.len().min(CHUNKS_PER_WRITE_MAX);
        let offset = offset_for_kernel(offset)?;
        // SAFETY: `IoSlice` has the layout of `iovec` (documented by std), the first `count` of them are alive for
        // the whole call, and the descriptor belongs to `self.0`.
        let written = unsafe {
            libc::pwritev(self.0.as_raw_fd(), chunks.as_ptr().cast(), count as libc::c_int, offset)
        };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    /// Asks the file system for blocks; `false` if it cannot give any without their being written.
    #[cfg(target_os = "linux")]
    fn allocate(&self, len: u64) -> io::Result<bool> {
        let len = offset_for_kernel(len)?;
        loop {
            // SAFETY: plain system call on a descriptor that `self.0` owns.
            if unsafe { libc::fallocate(self.0.as_raw_fd(), 0, 0, len) } == 0 {
                return Ok(true);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL) => return Ok(false),
                _ => return Err(error),
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _len: u64) -> io::Result<bool> {
        Ok(false)
    }
}

fn offset_for_kernel(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_chunks_than_one_system_call_takes_arrive_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("f")).unwrap();
        let bytes: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
        let chunks: Vec<IoSlice<'_>> = bytes.chunks(2).map(IoSlice::new).collect();
        assert!(chunks.len() > 2 * CHUNKS_PER_WRITE_MAX);
        file.write_at(7, &chunks).unwrap();
        let mut back = vec![1; 5007];
        assert_eq!(file.read_at(0, &mut back).unwrap(), 5007);
        assert_eq!(&back[..7], &[0; 7]);
        assert_eq!(&back[7..], &bytes[..]);
    }

    #[test]
    fn preallocation_keeps_what_is_there_and_adds_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("f")).unwrap();
        file.write_at(0, &[IoSlice::new(b"abc")]).unwrap();
        file.preallocate(10_000).unwrap();
        let bytes = file.map(u64::MAX).unwrap();
        assert_eq!(bytes.len(), 10_000);
        assert_eq!(&bytes[..3], b"abc");
        assert!(bytes[3..].iter().all(|&b| b == 0));
    }

    #[test]
    fn a_second_lock_of_the_same_directory_is_refused_until_the_first_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let first = RealDisk.lock(dir.path()).unwrap();
        assert_eq!(RealDisk.lock(dir.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        let _second = RealDisk.lock(dir.path()).unwrap();
    }
}
