//! `cairn-server`: the server.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use cairn_engine::config::{Config, LogLevel};
use cairn_server::config_file::ConfigFileError;
use cairn_server::flags::{self, Invocation};
use cairn_server::memory::CountingAllocator;
use cairn_server::{config_file, start};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What Redis says before the reason: tools look for it.
const FATAL_CONFIG: &str = "*** FATAL CONFIG FILE ERROR ***\n";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody hears an error that could not even be written.
            let fatal = if error.is::<ConfigFileError>() { FATAL_CONFIG } else { "" };
            let _ = writeln!(io::stderr(), "{fatal}cairn-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let sources = match flags::parse(std::env::args_os().skip(1))? {
        Invocation::Help => {
            io::stdout().write_all(flags::help().as_bytes())?;
            return Ok(());
        }
        Invocation::Version => {
            writeln!(io::stdout(), "Cairn server v={} redis_version=7.4.0", env!("CARGO_PKG_VERSION"))?;
            return Ok(());
        }
        Invocation::CheckConfig(sources) => {
            config_file::load(&sources, &mut io::stdin())?;
            writeln!(io::stdout(), "configuration is right")?;
            return Ok(());
        }
        Invocation::Serve(sources) => sources,
    };
    let config = config_file::load(&sources, &mut io::stdin())?;
    let config_path: Option<PathBuf> =
        sources.file.as_ref().map(std::path::absolute).transpose().context("bad path of the config file")?;
    let set_log_level = start_logging(&config)?;
    let pidfile = write_pidfile(&config)?;
    let outcome = start::serve(config, config_path, set_log_level);
    if let Some(path) = pidfile {
        // Gone already, perhaps; the next start writes it anew.
        let _ = std::fs::remove_file(path);
    }
    outcome?;
    tracing::info!("everything acknowledged is on disk; Cairn is now ready to exit, bye bye...");
    Ok(())
}

/// Sends log lines to `logfile`, or to standard output; returns what changes the level.
fn start_logging(config: &Config) -> Result<Box<dyn Fn(LogLevel)>> {
    let (filter, handle) = reload::Layer::<Targets, Registry>::new(shown(config.loglevel));
    let registry = tracing_subscriber::registry().with(filter);
    if config.logfile.is_empty() {
        registry.with(fmt::layer().with_ansi(io::stdout().is_terminal()).with_target(false)).init();
    } else {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&config.logfile)
            .with_context(|| format!("cannot open logfile '{}'", config.logfile))?;
        registry
            .with(fmt::layer().with_ansi(false).with_target(false).with_writer(std::sync::Mutex::new(file)))
            .init();
    }
    Ok(Box::new(move |new| {
        // Fails only once the subscriber is gone, at the very end.
        let _ = handle.reload(shown(new));
    }))
}

/// What is logged. This server tells the story of a cluster itself. openraft repeats its warnings ten times a second while a
/// peer cannot be reached: they, and its account of each step, are for whoever asks for more.
fn shown(level: LogLevel) -> Targets {
    let ours = level_filter(level);
    let openraft = match level {
        LogLevel::Debug => ours,
        LogLevel::Verbose => LevelFilter::WARN,
        _ => ours.min(LevelFilter::ERROR),
    };
    Targets::new().with_default(ours).with_target("openraft", openraft)
}

fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

fn write_pidfile(config: &Config) -> Result<Option<PathBuf>> {
    if config.pidfile.is_empty() {
        return Ok(None);
    }
    let path = PathBuf::from(&config.pidfile);
    std::fs::write(&path, format!("{}\n", std::process::id()))
        .with_context(|| format!("cannot write pidfile '{}'", path.display()))?;
    Ok(Some(path))
}
