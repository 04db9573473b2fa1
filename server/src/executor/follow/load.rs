//! A primary's data on its way into this server: a thread keeps what arrives in a file, builds databases of it, and writes
//! them as a snapshot of our own.
//!
//! ```text
//! executor                                  thread
//! Bytes … End                ────►          a file, loaded as a whole when it is complete
//!                            ◄────  Loaded  databases; their snapshot is written, but for its position
//! commit: the position       ────►          the position, a sync, the rename
//!                            ◄────  done    from here on a start finds the new state
//! ```
//!
//! Until the rename nothing of it counts: whatever fails, and whenever the process ends, the old state is what there is. A
//! thread whose executor has lost interest finds its channel closed, and removes its files.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::Waker;

use bytes::Bytes;
use cairn_engine::config::Config;
use cairn_engine::ds::HashSeed;
use cairn_engine::keyspace::evict::UsagePolicy;
use cairn_engine::keyspace::{Db, Snapshot};
use cairn_engine::rdb::{self, Aux, LoadOptions};
use cairn_storage::snapshot::{SnapshotDir, SnapshotWriter};
use tokio::sync::{mpsc, oneshot};

use crate::affinity;
use crate::journal::AuxFields;
use crate::pace::Pace;

/// Parts that have been received and are not in the file yet.
const PARTS_MAX: usize = 16;
/// The AUX field in which a primary that is itself a replica says which database its stream has selected.
const AUX_STREAM_DB: &str = "repl-stream-db";

const GIVEN_UP: &str = "it was given up";

type Tell = oneshot::Sender<Result<Loaded, String>>;

/// What is received.
pub enum Part {
    Bytes(Bytes),
    /// That was all of it.
    End,
}

/// What loading goes by.
pub struct Plan {
    pub home: SnapshotDir,
    /// The snapshot that a start loads.
    pub file: String,
    /// Tells this attempt's files from those of one that has been given up and may still be at work.
    pub attempt: u64,
    /// Kept until the thread ends.
    pub at_work: Arc<()>,
    pub config: Config,
    pub seed: HashSeed,
    pub usage: UsagePolicy,
}

/// The executor's ends of the channels.
pub struct Loading {
    pub parts: mpsc::Sender<Part>,
    pub loaded: oneshot::Receiver<Result<Loaded, String>>,
}

/// A primary's data.
pub struct Dataset {
    pub dbs: Vec<Db>,
    /// The texts of its libraries of functions: Lua stays on its thread.
    pub libraries: Vec<Arc<[u8]>>,
    pub keys: usize,
    /// The database that the stream has selected where it begins.
    pub stream_db: usize,
}

/// A primary's data, with a snapshot of it that waits for its name.
pub struct Loaded {
    pub data: Dataset,
    /// Dropped, it gives the snapshot up.
    pub commit: oneshot::Sender<AuxFields>,
    /// The length of the snapshot, once it has replaced the old one.
    pub done: Receiver<Result<u64, NotNamed>>,
}

/// The snapshot was not made to last.
pub struct NotNamed {
    pub error: String,
    /// It may have its name all the same.
    pub uncertain: bool,
}

/// Starts the thread; `waker` is called when it has something to say.
pub fn start(plan: Plan, waker: Waker) -> Result<Loading, String> {
    let (parts, received) = mpsc::channel(PARTS_MAX);
    let (tell, loaded) = oneshot::channel();
    let run = move || {
        load(&plan, received, tell, &waker);
        drop(plan.at_work);
        waker.wake();
    };
    let thread = affinity::spawn("follow", run);
    thread.map(|()| Loading { parts, loaded }).map_err(|error| format!("cannot start a thread: {error}"))
}

/// Keeps what is received, until there is no more.
fn receive(plan: &Plan, mut parts: mpsc::Receiver<Part>) -> Result<SnapshotWriter, String> {
    let name = format!("primary-{}", plan.attempt);
    let fail = |error: io::Error| format!("{}: {error}", plan.home.path().join(&name).display());
    let mut spool = plan.home.create_received(&name).map_err(fail)?;
    loop {
        match parts.blocking_recv() {
            Some(Part::Bytes(bytes)) => spool.write_all(&bytes).map_err(fail)?,
            Some(Part::End) => return Ok(spool),
            None => return Err(GIVEN_UP.to_owned()),
        }
    }
}

fn read(plan: &Plan, mut spool: SnapshotWriter) -> Result<Dataset, String> {
    let bytes = spool.map().map_err(|error| format!("cannot read what the primary has sent: {error}"))?;
    let pace = Pace::new(plan.config.key_load_delay);
    let databases = plan.config.databases as usize;
    let options = LoadOptions { databases, seed: plan.seed, config: &plan.config };
    let file = rdb::load(&bytes, &options, &mut |_, keys| pace.key_done(keys)).map_err(|error| {
        format!("the file of {} bytes that the primary has sent is refused {error}", bytes.len())
    })?;
    let stream_db = file.aux.other.iter().find(|(name, _)| name == AUX_STREAM_DB);
    let stream_db = stream_db.and_then(|(_, db)| db.parse().ok()).filter(|&db| db < databases).unwrap_or(0);
    let keys = file.dbs.iter().map(Db::len).sum();
    Ok(Dataset { dbs: file.dbs, libraries: file.functions.codes(), keys, stream_db })
}

fn load(plan: &Plan, parts: mpsc::Receiver<Part>, tell: Tell, waker: &Waker) {
    let data = match receive(plan, parts).and_then(|spool| read(plan, spool)) {
        Ok(data) => data,
        Err(error) => return drop(tell.send(Err(error))),
    };
    if tell.is_closed() {
        return;
    }
    let mut tell = Some(tell);
    let (finish, done) = channel();
    let (commit, position) = oneshot::channel();
    let libraries = data.libraries.clone();
    let snapshot = Snapshot { libraries, usage: plan.usage, ..Snapshot::of(data.dbs.clone()) };
    let offer = || {
        let loaded = Loaded { data, commit, done };
        let tell = tell.take().expect("the position is asked for once");
        // If nobody takes it, `commit` goes with it, and nobody will tell the position.
        drop(tell.send(Ok(loaded)));
        waker.wake_by_ref();
        position.blocking_recv().map_err(|_| io::Error::other(GIVEN_UP))
    };
    let written = write(plan, snapshot, offer);
    if let (Some(tell), Err(error)) = (tell, &written) {
        drop(tell.send(Err(error.error.clone())));
    }
    drop(finish.send(written));
}

fn write(
    plan: &Plan,
    snapshot: Snapshot,
    position: impl FnOnce() -> io::Result<AuxFields>,
) -> Result<u64, NotNamed> {
    let Plan { home, file, attempt, config, .. } = plan;
    let failed = |error: io::Error, uncertain| NotNamed {
        error: format!("{}: {error}", home.path().join(file).display()),
        uncertain,
    };
    let fail = |error| failed(error, false);
    let mut out = home.create_apart(file, &format!("follow-{attempt}")).map_err(fail)?;
    let aux = Aux::default();
    rdb::save_with(snapshot, &aux, config.rdbcompression, &mut out, &mut |_| {}, position).map_err(fail)?;
    out.sync().map_err(fail)?;
    out.commit().map_err(|error| failed(error, true))
}
