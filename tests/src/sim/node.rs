//! One machine: a disk, a clock, and a server on them that can be started, stopped, crashed and wiped.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use cairn_engine::config::{ClusterRedirect, Config, NodeAddress, ProtectedAction};
use cairn_engine::rng::Rng;
use cairn_engine::{Engine, EngineOptions};
use cairn_server::cluster::boot;
use cairn_server::executor::wake::Ready;
use cairn_server::executor::{Executor, Listener, Parts, Services, StopFlag, now_ms};
use cairn_server::host::ServerHost;
use cairn_server::snapshots::Snapshots;
use cairn_storage::disk::{Disk, SimDisk};
use cairn_storage::snapshot::SnapshotDir;
use futures_util::FutureExt;

use super::machine;
use super::net::{ClientListener, SimNet};

/// Clients' port on every node.
pub const PORT: u16 = 6379;
/// The data directory on every disk.
const DIR: &str = "/data";
const SIGTERM: i32 = 15;

/// A machine.
pub struct Site {
    pub name: String,
    settings: Settings,
    seed: u64,
    disk: RefCell<SimDisk>,
    boots: Cell<u64>,
    pub state: RefCell<State>,
    /// The longest that the disk takes for a group of the log's records, in microseconds.
    pub disk_us_max: Arc<AtomicU64>,
    /// How far its wall clock is ahead.
    pub skew_ms: Cell<i64>,
    stop: RefCell<(StopFlag, Arc<Ready>)>,
    asked_to_stop: Cell<bool>,
}

/// What all nodes of a group have in common.
#[derive(Clone)]
pub struct Settings {
    pub names: Vec<String>,
    pub node_timeout: Duration,
}

/// What has become of a machine's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Off,
    Runs,
    /// It ended in order.
    Stopped,
    /// It ended at once, as it does when its disk fails.
    Aborted,
}

/// What a node panics with that would abort its process.
pub struct Abort;

impl Site {
    pub fn new(number: usize, settings: &Settings, seed: u64) -> Rc<Site> {
        let seed = seed.wrapping_mul(31).wrapping_add(number as u64);
        Rc::new(Site {
            name: settings.names[number].clone(),
            settings: settings.clone(),
            seed,
            disk: RefCell::new(SimDisk::new(seed)),
            boots: Cell::new(0),
            state: RefCell::new(State::Off),
            disk_us_max: Arc::new(AtomicU64::new(0)),
            skew_ms: Cell::new(0),
            stop: RefCell::default(),
            asked_to_stop: Cell::new(false),
        })
    }

    /// The power has failed: what was not synced is lost, or torn.
    pub fn lose_power(&self) {
        self.disk.borrow().crash();
        *self.state.borrow_mut() = State::Off;
    }

    /// The disk is replaced by an empty one.
    pub fn wipe(&self) {
        *self.disk.borrow_mut() = SimDisk::new(self.seed ^ (self.boots.get() + 1));
    }

    /// The disk fails at its `n`th operation from now, in the midst of it.
    pub fn fail_disk_after(&self, n: u64) {
        let disk = self.disk.borrow();
        disk.cut_at(disk.operations() + n);
    }

    /// As SIGTERM does. The second one ends the process at once, and this process is the simulation; so there is none.
    pub fn terminate(&self) {
        if self.asked_to_stop.replace(true) {
            return;
        }
        let (stop, ready) = &*self.stop.borrow();
        stop.store(SIGTERM, Relaxed);
        ready.wake();
    }

    fn config(&self) -> Config {
        let peer = |name: &String| NodeAddress { host: name.clone(), port: PORT };
        Config {
            port: PORT,
            bind: vec!["0.0.0.0".to_owned()],
            dir: DIR.to_owned(),
            enable_debug_command: ProtectedAction::Yes,
            save: Vec::new(),
            auto_aof_rewrite_percentage: 0,
            // Small enough for snapshots to let segments go within a short run.
            log_segment_size: 8 << 10,
            log_retention_size: 0,
            cluster_enabled: true,
            cluster_peers: self.settings.names.iter().map(peer).collect(),
            cluster_node_timeout: self.settings.node_timeout.as_millis() as u64,
            cluster_announce_ip: self.name.clone(),
            cluster_redirect: ClusterRedirect::Moved,
            cluster_secret: "simulated".to_owned(),
            ..Config::default()
        }
    }

    /// From the disk to a server that only has to be run; see `start::prepare` of the server.
    async fn start(&self) -> anyhow::Result<Executor> {
        let config = self.config();
        let boot = self.boots.get();
        self.boots.set(boot + 1);
        let seed = self.seed.wrapping_add(boot << 32);
        let simulated: Arc<dyn Disk> = Arc::new(self.disk.borrow().clone());
        let disk = &simulated;
        let dir = Path::new(DIR);
        disk.create_dir_all(dir)?;
        let lock = disk.lock(dir).context("the directory is in use")?;

        let ready = Arc::new(Ready::default());
        let stop = StopFlag::default();
        *self.stop.borrow_mut() = (Arc::clone(&stop), Arc::clone(&ready));
        self.asked_to_stop.set(false);
        let (slowness, chance) = (Arc::clone(&self.disk_us_max), Rng::new(seed));
        let disk_delay = move || {
            let longest = slowness.load(Relaxed);
            Duration::from_micros(longest / 8 + chance.below(longest + 1) * 7 / 8)
        };
        let machine = boot::Machine { net: Arc::new(SimNet), disk_delay: Some(Box::new(disk_delay)) };
        let mut host = ServerHost::new();
        let mut engine = Engine::new(EngineOptions { config: config.clone(), seed, journal: true });
        let needs = boot::Needs { disk, dir, config: &config, ready: &ready };
        let started = boot::start(&needs, machine, &mut engine, &mut host)?;

        let snapshot_dir = SnapshotDir::attach(Arc::clone(disk), dir)?;
        let file = config.dbfilename.clone();
        let mut snapshots = Snapshots::new(snapshot_dir, file.clone(), Arc::clone(&ready), now_ms() / 1000);
        snapshots.keep_in_step();
        let listener = ClientListener::bind(PORT).await?;
        // Nobody takes the trash: it is dropped on the spot.
        let (trash, _) = std::sync::mpsc::channel();
        let services = Services {
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            snapshot_file: file,
            _lock: lock,
            trash,
            set_log_level: Box::new(|_| {}),
            writer: None,
            log_thread: None,
            peer_tls: None,
        };
        Ok(Executor::new(Parts {
            engine,
            host,
            journal: Some(Box::new(started.journal)),
            snapshots,
            listeners: vec![Listener::Simulated(Box::new(listener))],
            ready,
            config_file: None,
            log_base_bytes: started.snapshot_bytes,
            stop,
            services,
            cluster: Some((started.handle, started.me)),
        }))
    }
}

/// The machine's software: a server, until it ends or the machine does.
pub async fn software(site: Rc<Site>) -> turmoil::Result {
    cairn_server::process::end_by(|| std::panic::panic_any(Abort));
    let served = async {
        let executor = site.start().await?;
        *site.state.borrow_mut() = State::Runs;
        executor.run().await;
        anyhow::Ok(())
    };
    let timed = OnClock { site: &site, future: Box::pin(served) };
    let ended = match AssertUnwindSafe(timed).catch_unwind().await {
        Ok(Ok(())) => State::Stopped,
        Ok(Err(error)) => return Err(format!("{} does not start: {error:#}", site.name).into()),
        Err(panic) if panic.is::<Abort>() => State::Aborted,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    *site.state.borrow_mut() = ended;
    // A process that has ended has no threads any more; here its tasks go on until the machine is switched off, which is
    // at once.
    pending().await
}

/// Sets the operating system's clock to the machine's whenever its server goes on.
struct OnClock<'a, T> {
    site: &'a Site,
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
}

impl<T> Future for OnClock<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let elapsed = turmoil::sim_elapsed().expect("a server runs in a simulation");
        machine::set_now(elapsed, self.site.skew_ms.get());
        let polled = self.future.as_mut().poll(cx);
        machine::set_now(elapsed, 0);
        polled
    }
}
