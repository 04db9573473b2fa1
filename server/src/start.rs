//! From a configuration to a serving executor: lock, recovery, log-writer, listeners.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use cairn_engine::config::{AppendFsync, Config, LogLevel};
use cairn_engine::{Engine, EngineOptions, Host};
use cairn_replication::handle::Handle;
use cairn_replication::transport::tls::Tls;
use cairn_replication::types::Peer;
use cairn_storage::disk::{Disk, RealDisk};
use cairn_storage::snapshot::SnapshotDir;
use cairn_storage::writer::{LogWriter, Notify, SyncPolicy};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::rustls::ServerConfig;

use crate::affinity::{self, LogThread};
use crate::cluster::boot;
use crate::executor::tls;
use crate::executor::wake::Ready;
use crate::executor::{Executor, Exit, Listener, Parts, Services, StopFlag, now_ms};
use crate::host::ServerHost;
use crate::journal::{Journal, LocalJournal};
use crate::process;
use crate::recovery::{self, Recovered};
use crate::snapshots::{self, Snapshots};

/// Serves until told to stop. `set_log_level` puts a changed `loglevel` into effect.
pub fn serve(
    config: Config,
    config_file: Option<PathBuf>,
    set_log_level: Box<dyn Fn(LogLevel)>,
) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(affinity::spread)
        .build()
        .context("cannot start the event loop")?;
    let _guard = runtime.enter();
    let executor = prepare(config, config_file, set_log_level)?;
    Ok(runtime.block_on(executor.run()))
}

/// Everything up to the first turn. To be called within the runtime that will run the executor.
pub fn prepare(
    mut config: Config,
    config_file: Option<PathBuf>,
    set_log_level: Box<dyn Fn(LogLevel)>,
) -> Result<Executor> {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "cairn is starting");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let dir = std::path::absolute(&config.dir).with_context(|| format!("bad dir '{}'", config.dir))?;
    if !dir.is_dir() {
        bail!("dir '{}' is not a directory: create it, or name another one with --dir", dir.display());
    }
    config.dir = dir.display().to_string();
    let clients_max = process::raise_file_limit(config.maxclients.into());
    if clients_max < u64::from(config.maxclients) {
        tracing::warn!(
            clients_max,
            "maxclients is lowered: the limit on open files (ulimit -n) allows no more"
        );
        config.maxclients = clients_max as u32;
    }

    // Taken before anything is read: two servers on one directory would destroy it.
    let lock = disk.lock(&dir).with_context(|| {
        format!("'{}' is in use by another server: stop it, or name another --dir", dir.display())
    })?;
    let mut host = ServerHost::new();
    let seed = random_seed();
    let mut engine = Engine::new(EngineOptions { config: config.clone(), seed, journal: config.appendonly });
    if !config.aclfile.is_empty() {
        host.acl_file = Some((Arc::clone(&disk), dir.join(&config.aclfile)));
        load_users(&config, &mut engine, &mut host)?;
    }
    let ready = Arc::new(Ready::default());
    let Kept { journal, writer, log_thread, cluster, peer_tls, snapshot_bytes } = if config.cluster_enabled {
        let needs = boot::Needs { disk: &disk, dir: &dir, config: &config, ready: &ready };
        let started = boot::start(&needs, boot::Machine::real(), &mut engine, &mut host)?;
        Kept {
            journal: Some(Box::new(started.journal)),
            writer: None,
            log_thread: None,
            cluster: Some((started.handle, started.me)),
            peer_tls: started.tls,
            snapshot_bytes: started.snapshot_bytes,
        }
    } else {
        boot::refuse_single(&disk, &dir)?;
        single(&disk, &dir, &config, &ready, &mut engine, &mut host)?
    };
    let snapshot_dir = SnapshotDir::attach(Arc::clone(&disk), &dir)?;

    let listeners = listen(&config, &mut Vec::new())?;
    if listeners.is_empty() {
        bail!("configured to not listen anywhere: set port, tls-port or unixsocket");
    }
    fill_facts(&host, &config, config_file.as_deref());
    let snapshots =
        Snapshots::new(snapshot_dir, config.dbfilename.clone(), Arc::clone(&ready), now_ms() / 1000);
    snapshots.pace.set(config.rdb_key_save_delay);
    let (trash, bin) = std::sync::mpsc::channel();
    affinity::spawn("drop", move || bin.into_iter().for_each(drop)).context("cannot start a thread")?;
    let snapshot_file = config.dbfilename.clone();
    let services = Services {
        disk,
        dir,
        snapshot_file,
        _lock: lock,
        trash,
        set_log_level,
        writer,
        log_thread,
        peer_tls,
    };
    let stop = watch_signals(Arc::clone(&ready))?;
    let mut executor = Executor::new(Parts {
        engine,
        host,
        journal,
        snapshots,
        listeners,
        ready,
        config_file,
        log_base_bytes: snapshot_bytes,
        stop,
        services,
        cluster,
    });
    executor.follow_oom_score();
    executor.follow_as_configured();
    announce(&config);
    Ok(executor)
}

/// The users of the ACL file. What is wrong with it is a reason not to start: others would have too many rights or too few.
fn load_users(config: &Config, engine: &mut Engine, host: &mut ServerHost) -> Result<()> {
    let file = &config.aclfile;
    let loaded = host
        .read_acl_file()
        .map_err(|error| format!("Error loading ACLs, opening file '{file}': {error}"))
        .and_then(|content| engine.load_users(&content));
    loaded.map_err(|error| anyhow::anyhow!("Aborting Redis startup because of ACL errors: {error}"))
}

/// What keeps the state.
struct Kept {
    journal: Option<Box<dyn Journal>>,
    writer: Option<Arc<LogWriter>>,
    log_thread: Option<Arc<LogThread>>,
    cluster: Option<(Handle, Peer)>,
    peer_tls: Option<Tls>,
    snapshot_bytes: u64,
}

/// A server of its own: its log is on its own disk.
fn single(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    config: &Config,
    ready: &Arc<Ready>,
    engine: &mut Engine,
    host: &mut ServerHost,
) -> Result<Kept> {
    let Recovered { log, imported, mut snapshot_bytes, replayed_bytes } =
        recovery::recover(disk, dir, config, engine, host)?;
    let snapshot_dir = SnapshotDir::open(Arc::clone(disk), dir)?;
    if imported {
        tracing::info!("'{}' was made by Redis: saving it as a snapshot of this server's", config.dbfilename);
        snapshot_bytes = snapshots::write(
            &snapshot_dir,
            &config.dbfilename,
            engine.snapshot(),
            config.rdbcompression,
            || Ok(Vec::new()),
        )
        .map_err(anyhow::Error::msg)?;
    }

    let log_thread = Arc::new(LogThread::default());
    let (writer_ready, writer_thread) = (Arc::clone(ready), Arc::clone(&log_thread));
    let notify = Notify::Progress(Box::new(move || {
        writer_thread.calls();
        writer_ready.wake();
    }));
    let writer = Arc::new(LogWriter::start(log, sync_policy(config.appendfsync), notify));
    let journal: Option<Box<dyn Journal>> = if config.appendonly {
        let last_seq = engine.shared.effects.newest_seq();
        Some(Box::new(LocalJournal::new(Arc::clone(&writer), last_seq, replayed_bytes)))
    } else {
        tracing::warn!("appendonly is off: what is written after the last snapshot is lost in a crash");
        None
    };
    Ok(Kept {
        journal,
        writer: Some(writer),
        log_thread: Some(log_thread),
        cluster: None,
        peer_tls: None,
        snapshot_bytes,
    })
}

/// The log-writer's name for an `appendfsync`.
pub fn sync_policy(policy: AppendFsync) -> SyncPolicy {
    match policy {
        AppendFsync::Always => SyncPolicy::Always,
        AppendFsync::Everysec => SyncPolicy::EverySecond,
        AppendFsync::No => SyncPolicy::Never,
    }
}

/// Unpredictable to clients: it seeds the hash tables.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Opens every listening socket of the configuration. Those that are among `old` are taken from there; when one of the
/// others cannot be had, `old` stays as it is.
pub fn listen(config: &Config, old: &mut Vec<Listener>) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    let mut kept = Vec::new();
    for (port, acceptor) in ports(config)? {
        for address in &config.bind {
            let (optional, address) = match address.strip_prefix('-') {
                Some(address) => (true, address),
                None => (false, address.as_str()),
            };
            let opened = resolve(address, port).and_then(|address| {
                if old.iter().any(|listener| listener.address() == Some(address)) {
                    kept.push(address);
                    return Ok(());
                }
                let listener = listen_tcp(address, config)?;
                listeners.push(match &acceptor {
                    Some(acceptor) => Listener::Tls(listener, Arc::clone(acceptor)),
                    None => Listener::Tcp(listener),
                });
                Ok(())
            });
            match opened {
                Ok(()) => {}
                Err(error) if optional => tracing::debug!("not listening on {address}: {error:#}"),
                Err(error) => return Err(error),
            }
        }
    }
    let keeps_unix = old.iter().any(|listener| matches!(listener, Listener::Unix(..)));
    if !config.unixsocket.is_empty() && !keeps_unix {
        listeners.push(Listener::Unix(listen_unix(config)?, config.unixsocket.clone()));
    }
    let stays = |listener: &mut Listener| match listener.address() {
        Some(address) => kept.contains(&address),
        // `unixsocket` never changes.
        None => true,
    };
    listeners.extend(old.extract_if(.., stays));
    Ok(listeners)
}

/// The ports to listen on, and what makes TLS of the connections to one of them.
fn ports(config: &Config) -> Result<Vec<(u16, Option<Arc<ServerConfig>>)>> {
    let mut ports = Vec::new();
    if config.port != 0 {
        ports.push((config.port, None));
    }
    if config.tls_port != 0 {
        ports.push((config.tls_port, Some(tls::acceptor(config)?)));
    }
    Ok(ports)
}

/// The port that INFO shows: the plain one if there is one.
pub fn shown_port(config: &Config) -> u16 {
    if config.port == 0 { config.tls_port } else { config.port }
}

/// The address that a word of `bind` means.
fn resolve(address: &str, port: u16) -> Result<SocketAddr> {
    let host = match address {
        "*" => "0.0.0.0",
        "::*" => "::",
        other => other,
    };
    (host, port)
        .to_socket_addrs()
        .with_context(|| format!("cannot listen on {host} port {port}"))?
        .next()
        .with_context(|| format!("'{host}' has no address"))
}

fn listen_tcp(address: SocketAddr, config: &Config) -> Result<TcpListener> {
    let what = || format!("cannot listen on {address}");
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )
    .with_context(what)?;
    if address.is_ipv6() {
        socket.set_only_v6(true).with_context(what)?;
    }
    socket.set_reuse_address(true).with_context(what)?;
    socket.set_nonblocking(true).with_context(what)?;
    socket.bind(&address.into()).with_context(what)?;
    socket.listen(i32::try_from(config.tcp_backlog).unwrap_or(i32::MAX)).with_context(what)?;
    TcpListener::from_std(socket.into()).with_context(what)
}

fn listen_unix(config: &Config) -> Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let path = Path::new(&config.unixsocket);
    // A socket that a former server left behind; the directory's lock says that it is gone.
    if path.exists() {
        std::fs::remove_file(path)
            .with_context(|| format!("cannot remove old socket '{}'", path.display()))?;
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on '{}'", path.display()))?;
    if !config.unixsocketgroup.is_empty() {
        process::group_id(&config.unixsocketgroup)
            .and_then(|group| std::os::unix::fs::chown(path, None, Some(group)))
            .with_context(|| {
                format!("cannot give '{}' to the group '{}'", path.display(), config.unixsocketgroup)
            })?;
    }
    if config.unixsocketperm != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(config.unixsocketperm))
            .with_context(|| format!("cannot set permissions of '{}'", path.display()))?;
    }
    Ok(listener)
}

/// SIGTERM and SIGINT ask the executor to stop in order. They are waited for on a thread of their own: the executor's may
/// be in a script.
fn watch_signals(ready: Arc<Ready>) -> Result<StopFlag> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = StopFlag::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot start the event loop of signals")?;
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let _guard = runtime.enter();
        let mut stream = signal(kind).context("cannot watch signals")?;
        let (stop, ready) = (Arc::clone(&stop), Arc::clone(&ready));
        runtime.spawn(async move {
            while stream.recv().await.is_some() {
                stop.store(kind.as_raw_value(), Ordering::Relaxed);
                ready.wake();
            }
        });
    }
    affinity::spawn("signals", move || runtime.block_on(std::future::pending::<()>()))
        .context("cannot start a thread")?;
    Ok(stop)
}

fn fill_facts(host: &ServerHost, config: &Config, config_file: Option<&Path>) {
    let mut shared = host.shared.borrow_mut();
    let facts = &mut shared.facts;
    facts.process_id = std::process::id();
    facts.run_id = run_id();
    facts.tcp_port = shown_port(config);
    facts.executable = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    facts.config_file = config_file.map(|path| path.display().to_string()).unwrap_or_default();
    facts.os = process::os_name();
    facts.started_at_ms = now_ms();
    facts.last_save_at_s = now_ms() / 1000;
    facts.last_save_ok = true;
    facts.last_save_seconds = -1;
    facts.log_last_write_ok = true;
}

fn run_id() -> String {
    let text: String = (0..3).map(|_| format!("{:016x}", random_seed())).collect();
    text[..40].to_owned()
}

/// The lines that people, scripts and test suites wait for.
fn announce(config: &Config) {
    tracing::info!(port = config.port, tls_port = config.tls_port, dir = config.dir, appendfsync = %config.appendfsync, "Server initialized");
    tracing::info!("Ready to accept connections");
}
