//! `cairn-admin`: looks at a data directory while no server has it open, and asks a running one on behalf of supervisors.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cairn_engine::config::Config;
use cairn_engine::ds::HashSeed;
use cairn_engine::{effects, rdb};
use cairn_server::admin::{self, Address};
use cairn_server::config_file::{self, Sources};
use cairn_server::recovery::LOG_DIR;
use cairn_storage::disk::{Disk, RealDisk};
use cairn_storage::log::{Log, LogReader, Recovered};
use clap::{Args, Parser, Subcommand};

/// Looks at the data of a Cairn server, which it never changes, and asks a running one.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reads the snapshot and every record of the log, and says whether a server would start from them.
    Check {
        /// The data directory (`dir`).
        dir: PathBuf,
        /// The snapshot's name (`dbfilename`).
        #[arg(long, default_value = "dump.rdb")]
        snapshot: String,
    },
    /// Prints the log, one effect a line: position, time in Unix milliseconds, database, command.
    Log {
        /// The data directory (`dir`).
        dir: PathBuf,
        /// The first position to print.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// At most so many positions.
        #[arg(long)]
        count: Option<u64>,
    },
    /// Exits with 0 when a server answers; for health checks.
    Ping {
        #[command(flatten)]
        server: Server,
        /// Only when it can serve: it has loaded its data, and its cluster, if it has one, has a leader.
        #[arg(long)]
        ready: bool,
    },
    /// Lets another node lead, if this one does, and waits until it does; before a node is stopped or serviced.
    HandOver {
        #[command(flatten)]
        server: Server,
        /// Seconds after which it is given up.
        #[arg(long, default_value_t = 10)]
        timeout: u32,
        /// Seconds to wait afterwards, so that whoever sends clients to this node can notice that it goes.
        #[arg(long, default_value_t = 0)]
        linger: u32,
    },
}

/// A running server.
#[derive(Args)]
struct Server {
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// [default: the config file's, or 6379]
    #[arg(long)]
    port: Option<u16>,
    /// The server's own config file, for its port and password.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl Server {
    fn address(self) -> Result<Address> {
        let sources = Sources { file: self.config, stdin: false, flags: Vec::new() };
        let config = config_file::load(&sources, &mut io::empty())?;
        let port = self.port.unwrap_or(config.port);
        Ok(Address { host: self.host, port, password: config.requirepass })
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Check { dir, snapshot } => check(&dir, &snapshot),
        Command::Log { dir, from, count } => print_log(&dir, from, count),
        Command::Ping { server, ready: false } => server.address().and_then(|address| admin::ping(&address)),
        Command::Ping { server, ready: true } => server.address().and_then(|address| admin::ready(&address)),
        Command::HandOver { server, timeout, linger } => hand_over(server, timeout, linger),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // `cairn-admin log | head` is no error.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cairn-admin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn hand_over(server: Server, timeout_s: u32, linger_s: u32) -> Result<()> {
    let led = admin::hand_over(&server.address()?, Duration::from_secs(timeout_s.into()))?;
    writeln!(io::stdout(), "{}", if led { "another node leads" } else { "this node does not lead" })?;
    std::thread::sleep(Duration::from_secs(linger_s.into()));
    Ok(())
}

fn open(dir: &Path) -> Result<Option<(LogReader, Recovered)>> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    if !dir.is_dir() {
        bail!("'{}' is not a directory", dir.display());
    }
    if !dir.join(LOG_DIR).is_dir() {
        return Ok(None);
    }
    Ok(Log::inspect(disk, &dir.join(LOG_DIR))?)
}

fn check(dir: &Path, snapshot: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let snapshot_seq = check_snapshot(dir, snapshot, &mut out)?;
    let Some((reader, found)) = open(dir)? else {
        writeln!(out, "log: none")?;
        return Ok(());
    };
    let mut effect_count = 0u64;
    if found.first_index <= found.last_index {
        for entry in reader.read(found.first_index)? {
            let entry = entry?;
            let mut iter =
                effects::effects(&entry.payload).with_context(|| format!("entry {}", entry.index))?;
            let mut argv = Vec::new();
            while iter.next(&mut argv)?.is_some() {
                effect_count += 1;
            }
        }
    }
    writeln!(
        out,
        "log: entries {}..={}, {effect_count} effects, {} bytes read",
        found.first_index, found.last_index, found.bytes_read
    )?;
    if let Some(torn) = found.torn {
        writeln!(
            out,
            "log: {} ends in an unfinished write at offset {} ({}); it was never acknowledged and the next start \
             drops it",
            torn.file.display(),
            torn.offset,
            torn.reason
        )?;
    }
    if found.last_index >= found.first_index && found.first_index > snapshot_seq + 1 {
        bail!(
            "the log begins at entry {} but the snapshot ends at {snapshot_seq}: the entries between are missing",
            found.first_index
        );
    }
    writeln!(out, "a server would start from this")?;
    Ok(())
}

/// Returns the snapshot's position, 0 without one.
fn check_snapshot(dir: &Path, name: &str, out: &mut impl Write) -> Result<u64> {
    let path = dir.join(name);
    if !path.exists() {
        writeln!(out, "snapshot: none")?;
        return Ok(0);
    }
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
    let config = Config::default();
    let options = rdb::LoadOptions {
        databases: config.databases as usize,
        seed: HashSeed::new([0; 4]),
        config: &config,
    };
    let loaded = rdb::load(&bytes, &options, &mut |_, _| {})
        .with_context(|| format!("snapshot '{}' is damaged", path.display()))?;
    let keys: usize = loaded.dbs.iter().map(|db| db.len()).sum();
    match loaded.aux.seq {
        Some(seq) => writeln!(out, "snapshot: {keys} keys, the state after entry {seq}")?,
        None => writeln!(out, "snapshot: {keys} keys, made by Redis")?,
    }
    Ok(loaded.aux.seq.unwrap_or(0))
}

fn print_log(dir: &Path, from: u64, count: Option<u64>) -> Result<()> {
    let Some((reader, found)) = open(dir)? else { bail!("'{}' has no log", dir.display()) };
    if found.first_index > found.last_index {
        return Ok(());
    }
    let from = from.max(found.first_index);
    let mut out = io::BufWriter::new(io::stdout().lock());
    for entry in reader.read(from)?.take(usize::try_from(count.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)) {
        let entry = entry?;
        let header = effects::header(&entry.payload)?;
        let mut iter = effects::effects(&entry.payload)?;
        let mut argv = Vec::new();
        while let Some(db) = iter.next(&mut argv)? {
            write!(out, "{} {} {db}", header.seq, header.time_ms)?;
            for arg in &argv {
                write!(out, " \"{}\"", arg.escape_ascii())?;
            }
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(())
}
