//! `cairn-admin`: looks at a data directory while no server has it open.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cairn_engine::config::Config;
use cairn_engine::ds::HashSeed;
use cairn_engine::{effects, rdb};
use cairn_server::recovery::LOG_DIR;
use cairn_storage::disk::{Disk, RealDisk};
use cairn_storage::log::{Log, LogReader, Recovered};
use clap::{Parser, Subcommand};

/// Looks at the data of a Cairn server. Never changes anything.
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
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Check { dir, snapshot } => check(&dir, &snapshot),
        Command::Log { dir, from, count } => print_log(&dir, from, count),
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
