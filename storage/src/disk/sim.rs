//! A disk in memory that is as unkind as the assumptions of the [parent module](super) allow.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Access, DirLock, Disk, DiskFile};

/// What persists in one piece; writes are torn at these borders (or, sometimes, at any byte).
const SECTOR_LEN: usize = 512;

/// A failure that a test orders for one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`. A write may have been done in part; after a failed sync the unsynced bytes can still be read
    /// but are lost to every later sync, as on Linux.
    Io,
    /// `ENOSPC`. A write may have been done in part.
    Full,
}

/// A deterministic disk: the same seed and the same calls give the same disk.
///
/// Operations that change something are counted from 1. A test runs its workload once to learn the
/// count, and then again for every `n` with [`cut_at`](SimDisk::cut_at), followed by
/// [`crash`](SimDisk::crash): what is then on the disk is one of the states that a power failure could have left.
///
/// Clones are handles of the same disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<Sim>>,
}

struct Sim {
    random: Random,
    operations: u64,
    syncs: u64,
    cut_at: Option<u64>,
    faults: BTreeMap<u64, Fault>,
    delays: BTreeMap<u64, Duration>,
    capacity: u64,
    /// Goes up with every crash, so that handles from before it are dead.
    boot: u64,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending_names: Vec<NameChange>,
    locked: BTreeSet<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Default)]
struct Inode {
    /// What a reader sees.
    current: Vec<u8>,
    /// What is certain to survive.
    durable: Vec<u8>,
    /// What was done since, and may survive.
    pending: Vec<Change>,
    modified: u64,
}

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// One atomic change of a directory.
struct NameChange {
    dir: PathBuf,
    unlink: Option<PathBuf>,
    link: Option<(PathBuf, Node)>,
}

/// How an operation is to go on.
enum Verdict {
    Go,
    /// The power fails during this very operation.
    Cut,
    Fail(Fault),
}

impl SimDisk {
    /// An empty disk without a limit.
    pub fn new(seed: u64) -> SimDisk {
        let roots = BTreeMap::from([(PathBuf::new(), Node::Dir), (PathBuf::from("/"), Node::Dir)]);
        let sim = Sim {
            random: Random(seed),
            operations: 0,
            syncs: 0,
            cut_at: None,
            faults: BTreeMap::new(),
            delays: BTreeMap::new(),
            capacity: u64::MAX,
            boot: 0,
            inodes: Vec::new(),
            names: roots.clone(),
            durable_names: roots,
            pending_names: Vec::new(),
            locked: BTreeSet::new(),
        };
        SimDisk { shared: Arc::new(Mutex::new(sim)) }
    }

    /// How many operations that change something there have been.
    pub fn operations(&self) -> u64 {
        self.sim().operations
    }

    /// How many syncs (of files and directories) there have been.
    pub fn syncs(&self) -> u64 {
        self.sim().syncs
    }

    /// The power fails during operation `n`: it may happen wholly, partly or not at all, it reports an error, and
    /// so does everything after it until [`crash`](SimDisk::crash).
    pub fn cut_at(&self, n: u64) {
        self.sim().cut_at = Some(n);
    }

    /// Operation `n` fails, once.
    pub fn fail(&self, n: u64, fault: Fault) {
        self.sim().faults.insert(n, fault);
    }

    /// Operation `n` takes so long.
    pub fn delay(&self, n: u64, time: Duration) {
        self.sim().delays.insert(n, time);
    }

    /// Sets how many bytes all files together may have.
    pub fn set_capacity(&self, bytes: u64) {
        self.sim().capacity = bytes;
    }

    /// Bytes that all files have now.
    pub fn used(&self) -> u64 {
        self.sim().used()
    }

    /// Power off and on: what was not synced is lost, kept or torn, at the seed's whim; open handles and locks are
    /// void, orders for failures are cancelled.
    pub fn crash(&self) {
        self.sim().crash();
    }

    /// Reads a whole file as a test sees it.
    pub fn read_file(&self, path: &Path) -> Option<Vec<u8>> {
        let sim = self.sim();
        match sim.names.get(path) {
            Some(&Node::File(inode)) => Some(sim.inodes[inode].current.clone()),
            _ => None,
        }
    }

    /// Puts a file in place, bytes and name durable at once, in a directory that springs into being.
    pub fn write_file(&self, path: &Path, bytes: &[u8]) {
        let mut sim = self.sim();
        for dir in path.ancestors().skip(1) {
            sim.names.insert(dir.to_path_buf(), Node::Dir);
            sim.durable_names.insert(dir.to_path_buf(), Node::Dir);
        }
        let inode = sim.new_inode();
        sim.inodes[inode].current = bytes.to_vec();
        sim.inodes[inode].durable = bytes.to_vec();
        sim.names.insert(path.to_path_buf(), Node::File(inode));
        sim.durable_names.insert(path.to_path_buf(), Node::File(inode));
    }

    /// Names of all files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        let sim = self.sim();
        sim.names.iter().filter(|(_, node)| **node != Node::Dir).map(|(path, _)| path.clone()).collect()
    }

    fn sim(&self) -> MutexGuard<'_, Sim> {
        self.shared.lock().expect("no operation of the simulated disk panics")
    }

    fn handle(&self, inode: usize, boot: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), inode, boot })
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        let missing: Vec<PathBuf> =
            dir.ancestors().filter(|dir| !sim.names.contains_key(*dir)).map(Path::to_path_buf).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let verdict = sim.change()?;
        if matches!(verdict, Verdict::Go) || sim.random.chance(2) {
            for dir in missing {
                sim.names.insert(dir.clone(), Node::Dir);
                sim.durable_names.insert(dir, Node::Dir);
            }
        }
        verdict.finish()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut sim = self.sim();
        let verdict = sim.change()?;
        sim.dir_of(path)?;
        let inode = sim.new_inode();
        // An old file of this name is not emptied but replaced. The one difference from O_TRUNC, that the old
        // content may survive a crash under this name, is among the things that O_TRUNC may do too.
        sim.rename_now(None, Some((path.to_path_buf(), Node::File(inode))));
        verdict.finish()?;
        Ok(self.handle(inode, sim.boot))
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let sim = self.sim();
        sim.alive()?;
        match sim.names.get(path) {
            Some(&Node::File(inode)) => Ok(self.handle(inode, sim.boot)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let sim = self.sim();
        sim.alive()?;
        if sim.names.get(dir) != Some(&Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let here = sim.names.iter().filter(|(path, node)| path.parent() == Some(dir) && **node != Node::Dir);
        Ok(here.filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        let verdict = sim.change()?;
        assert_eq!(from.parent(), to.parent(), "a rename stays in its directory");
        let node = *sim.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        sim.rename_now(Some(from.to_path_buf()), Some((to.to_path_buf(), node)));
        verdict.finish()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        let verdict = sim.change()?;
        sim.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        sim.rename_now(Some(path.to_path_buf()), None);
        verdict.finish()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.syncs += 1;
        let verdict = sim.change()?;
        let happens = matches!(verdict, Verdict::Go) || sim.random.chance(2);
        if happens {
            let (here, elsewhere) =
                std::mem::take(&mut sim.pending_names).into_iter().partition(|change| change.dir == dir);
            sim.pending_names = elsewhere;
            let here: Vec<NameChange> = here;
            here.into_iter().for_each(|change| change.apply(&mut sim.durable_names));
        }
        verdict.finish()
    }

    fn lock(&self, dir: &Path) -> io::Result<DirLock> {
        let mut sim = self.sim();
        sim.alive()?;
        if !sim.locked.insert(dir.to_path_buf()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(DirLock::new(SimLock { disk: self.clone(), dir: dir.to_path_buf(), boot: sim.boot }))
    }
}

struct SimLock {
    disk: SimDisk,
    dir: PathBuf,
    boot: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut sim = self.disk.sim();
        if sim.boot == self.boot {
            sim.locked.remove(&self.dir);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
    boot: u64,
}

impl SimFile {
    fn sim(&self) -> io::Result<MutexGuard<'_, Sim>> {
        let sim = self.disk.sim();
        sim.alive()?;
        if sim.boot != self.boot { Err(io::Error::other("handle from before the crash")) } else { Ok(sim) }
    }

    fn grow(&self, sim: &mut Sim, len: usize) -> io::Result<()> {
        let now = sim.inodes[self.inode].current.len();
        if len > now && sim.used() + (len - now) as u64 > sim.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, chunks: &[IoSlice<'_>]) -> io::Result<()> {
        let mut sim = self.sim()?;
        let verdict = sim.change()?;
        let mut bytes = Vec::with_capacity(chunks.iter().map(|chunk| chunk.len()).sum());
        chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        let offset = offset as usize;
        self.grow(&mut sim, offset + bytes.len())?;
        if let Verdict::Fail(_) = verdict {
            let done = sim.random.below(bytes.len() + 1);
            bytes.truncate(done);
        }
        let now = sim.operations;
        sim.inodes[self.inode].change(Change::Write { offset, bytes }, now);
        verdict.finish()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let sim = self.sim()?;
        let bytes = &sim.inodes[self.inode].current;
        let from = bytes.len().min(offset as usize);
        let len = buffer.len().min(bytes.len() - from);
        buffer[..len].copy_from_slice(&bytes[from..from + len]);
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut sim = self.sim()?;
        sim.syncs += 1;
        let verdict = sim.change()?;
        match verdict {
            Verdict::Go => sim.inodes[self.inode].sync(),
            // In flight: whatever of it happens, happens in `crash`.
            Verdict::Cut => {}
            // The pages count as clean now although they never reached the disk.
            Verdict::Fail(_) => sim.inodes[self.inode].pending.clear(),
        }
        verdict.finish()
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let mut sim = self.sim()?;
        let verdict = sim.change()?;
        self.grow(&mut sim, len as usize)?;
        if !matches!(verdict, Verdict::Fail(_)) && len as usize > sim.inodes[self.inode].current.len() {
            let now = sim.operations;
            sim.inodes[self.inode].change(Change::Length(len as usize), now);
        }
        verdict.finish()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut sim = self.sim()?;
        let verdict = sim.change()?;
        self.grow(&mut sim, len as usize)?;
        if !matches!(verdict, Verdict::Fail(_)) {
            let now = sim.operations;
            sim.inodes[self.inode].change(Change::Length(len as usize), now);
        }
        verdict.finish()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.sim()?.inodes[self.inode].current.len() as u64)
    }

    fn modified(&self) -> io::Result<SystemTime> {
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(self.sim()?.inodes[self.inode].modified))
    }

    fn map(&self, len: u64) -> io::Result<Bytes> {
        let sim = self.sim()?;
        let bytes = &sim.inodes[self.inode].current;
        Ok(Bytes::copy_from_slice(&bytes[..bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX))]))
    }
}

impl Sim {
    /// Whether the power is still on.
    fn alive(&self) -> io::Result<()> {
        match self.cut_at {
            Some(cut) if self.operations >= cut => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    /// Counts an operation and says how it goes.
    fn change(&mut self) -> io::Result<Verdict> {
        self.alive()?;
        self.operations += 1;
        if self.cut_at == Some(self.operations) {
            return Ok(Verdict::Cut);
        }
        if let Some(time) = self.delays.remove(&self.operations) {
            std::thread::sleep(time);
        }
        Ok(self.faults.remove(&self.operations).map_or(Verdict::Go, Verdict::Fail))
    }

    fn used(&self) -> u64 {
        let files = self.names.values().filter_map(|node| match node {
            Node::File(inode) => Some(self.inodes[*inode].current.len() as u64),
            Node::Dir => None,
        });
        files.sum()
    }

    fn new_inode(&mut self) -> usize {
        self.inodes.push(Inode::default());
        self.inodes.len() - 1
    }

    fn dir_of(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|dir| self.names.get(dir)) {
            Some(Node::Dir) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename_now(&mut self, unlink: Option<PathBuf>, link: Option<(PathBuf, Node)>) {
        let name = link.as_ref().map(|(path, _)| path).or(unlink.as_ref());
        let dir = name.and_then(|path| path.parent()).unwrap_or(Path::new("")).to_path_buf();
        let change = NameChange { dir, unlink, link };
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn crash(&mut self) {
        // Names: all the changes survive, none, those up to some moment, or any of them.
        let changes = std::mem::take(&mut self.pending_names);
        let mode = self.random.below(4);
        let upto = self.random.below(changes.len() + 1);
        for (nth, change) in changes.into_iter().enumerate() {
            let survives = match mode {
                0 => false,
                1 => true,
                2 => nth < upto,
                _ => self.random.chance(2),
            };
            if survives {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();

        let Sim { random, inodes, .. } = self;
        inodes.iter_mut().for_each(|inode| inode.crash(random));

        self.boot += 1;
        self.cut_at = None;
        self.faults.clear();
        self.delays.clear();
        self.locked.clear();
    }
}

impl Inode {
    fn change(&mut self, change: Change, now: u64) {
        change.apply(&mut self.current, |_| true);
        self.pending.push(change);
        self.modified = now;
    }

    fn sync(&mut self) {
        // Replayed rather than copied from `current`: what a failed sync has lost stays lost.
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable, |_| true);
        }
    }

    fn crash(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let mode = random.below(5);
        let upto = random.below(pending.len() + 1);
        let odds = 1 + random.below(8);
        for (nth, mut change) in pending.into_iter().enumerate() {
            match mode {
                // Nothing survives.
                0 => break,
                // Everything does.
                1 => change.apply(&mut self.durable, |_| true),
                // Everything up to a moment in the middle of a write, at any byte.
                2 if nth > upto => break,
                2 => {
                    if let (true, Change::Write { bytes, .. }) = (nth == upto, &mut change) {
                        bytes.truncate(random.below(bytes.len() + 1));
                    }
                    change.apply(&mut self.durable, |_| true);
                }
                // Any sectors of any writes: most of them, or few.
                3 => change.apply(&mut self.durable, |_| !random.chance(odds + 1)),
                _ => change.apply(&mut self.durable, |_| random.chance(odds + 1)),
            }
        }
        self.current = self.durable.clone();
    }
}

impl Change {
    /// Does the change, sector by sector, where `survives` says so.
    fn apply(&self, bytes: &mut Vec<u8>, mut survives: impl FnMut(usize) -> bool) {
        match self {
            Change::Length(len) => {
                if survives(0) {
                    bytes.resize(*len, 0);
                }
            }
            Change::Write { offset, bytes: new } => {
                let mut done = 0;
                while done < new.len() {
                    let at = offset + done;
                    let step = (SECTOR_LEN - at % SECTOR_LEN).min(new.len() - done);
                    if survives(at / SECTOR_LEN) {
                        if bytes.len() < at + step {
                            bytes.resize(at + step, 0);
                        }
                        bytes[at..at + step].copy_from_slice(&new[done..done + step]);
                    }
                    done += step;
                }
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        if let Some(path) = &self.unlink {
            names.remove(path);
        }
        if let Some((path, node)) = &self.link {
            names.insert(path.clone(), *node);
        }
    }
}

impl Verdict {
    fn finish(self) -> io::Result<()> {
        match self {
            Verdict::Go => Ok(()),
            Verdict::Cut => Err(io::Error::other("the power failed")),
            Verdict::Fail(Fault::Io) => Err(io::Error::other("input/output error (ordered by the test)")),
            Verdict::Fail(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): tiny, and good enough to choose sectors.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// True once in `n` times.
    fn chance(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with_file(seed: u64) -> (SimDisk, Arc<dyn DiskFile>) {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("d")).unwrap();
        let file = disk.create(Path::new("d/f")).unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        (disk, file)
    }

    #[test]
    fn synced_bytes_survive_every_crash() {
        for seed in 0..200 {
            let (disk, file) = disk_with_file(seed);
            file.write_at(0, &[IoSlice::new(&[7; 2000])]).unwrap();
            file.sync_data().unwrap();
            file.write_at(1000, &[IoSlice::new(&[9; 3000])]).unwrap();
            disk.crash();
            let bytes = disk.read_file(Path::new("d/f")).unwrap();
            assert!(bytes.len() >= 2000);
            assert!(bytes[..1000].iter().all(|&b| b == 7));
            assert!(bytes[1000..2000].iter().all(|&b| b == 7 || b == 9));
        }
    }

    #[test]
    fn unsynced_bytes_are_lost_kept_and_torn() {
        let (mut lost, mut kept, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let (disk, file) = disk_with_file(seed);
            file.write_at(0, &[IoSlice::new(&[7; 2000])]).unwrap();
            disk.crash();
            let bytes = disk.read_file(Path::new("d/f")).unwrap();
            match bytes.iter().filter(|&&b| b == 7).count() {
                0 => lost += 1,
                2000 => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(lost > 10 && kept > 10 && torn > 10, "{lost} {kept} {torn}");
    }

    #[test]
    fn unsynced_names_may_be_lost_and_synced_ones_are_not() {
        let mut lost = 0;
        for seed in 0..100 {
            let (disk, _) = disk_with_file(seed);
            disk.create(Path::new("d/g")).unwrap();
            disk.crash();
            assert!(disk.read_file(Path::new("d/f")).is_some());
            lost += usize::from(disk.read_file(Path::new("d/g")).is_none());
        }
        assert!(lost > 10 && lost < 90, "{lost}");
    }

    #[test]
    fn a_failed_sync_loses_the_bytes_even_if_the_next_one_succeeds() {
        let (disk, file) = disk_with_file(1);
        file.write_at(0, &[IoSlice::new(b"gone")]).unwrap();
        disk.fail(disk.operations() + 1, Fault::Io);
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(disk.read_file(Path::new("d/f")).unwrap(), b"gone");
        disk.crash();
        assert_eq!(disk.read_file(Path::new("d/f")).unwrap(), b"");
    }

    #[test]
    fn after_the_cut_everything_fails_until_the_crash() {
        let (disk, file) = disk_with_file(1);
        disk.cut_at(disk.operations() + 1);
        assert!(file.write_at(0, &[IoSlice::new(b"x")]).is_err());
        assert!(file.sync_data().is_err());
        assert!(file.len().is_err());
        assert!(disk.list(Path::new("d")).is_err());
        disk.crash();
        assert!(file.len().is_err(), "a handle from before the crash is dead");
        assert_eq!(disk.list(Path::new("d")).unwrap(), ["f"]);
    }

    #[test]
    fn a_full_disk_refuses_growth_and_takes_it_again_with_more_room() {
        let (disk, file) = disk_with_file(1);
        disk.set_capacity(1000);
        file.preallocate(900).unwrap();
        assert_eq!(file.preallocate(1001).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.write_at(0, &[IoSlice::new(&[1; 900])]).unwrap();
        disk.set_capacity(2000);
        file.preallocate(1001).unwrap();
    }
}
