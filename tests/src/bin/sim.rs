//! The simulation: `cargo xtask sim --seeds N`, or one seed again with `--seed S --trace`.
//!
//! Each seed runs in a process of its own, whose clocks and random numbers are the simulation's; see
//! [`cairn_tests::sim::machine`].

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context;
use cairn_tests::sim::machine;
use cairn_tests::sim::run::{Options, run};
use cairn_tests::sim::trace::Detail;
use clap::Parser;

/// Simulates groups of nodes with failing machines, disks and networks.
#[derive(Parser)]
struct Arguments {
    /// The one to run in this process; with --seeds, the first one
    #[arg(long)]
    seed: Option<u64>,
    /// How many to run, each in a process of its own
    #[arg(long)]
    seeds: Option<u64>,
    /// How many at the same time; otherwise one for each processor
    #[arg(long)]
    jobs: Option<usize>,
    /// Print everything that happens
    #[arg(long)]
    trace: bool,
    /// Trace what openraft notes and every message too
    #[arg(long)]
    deep: bool,
    /// Seconds of the processor's time after which a run counts as one that hangs
    #[arg(long, default_value = "60")]
    limit: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ok = match (arguments.seed, arguments.seeds) {
        (Some(seed), None) => one(seed, &arguments),
        (first, count) => many(first.unwrap_or(1), count.unwrap_or(200), &arguments),
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, arguments: &Arguments) -> bool {
    let limit = Duration::from_secs(arguments.limit);
    // Something that goes round and round while no simulated time passes can be ended from outside only.
    std::thread::spawn(move || {
        while processor_time() < limit {
            std::thread::sleep(Duration::from_secs(1));
        }
        println!(
            "seed {seed} FAILED: it hangs, {:.3} s after the beginning",
            machine::elapsed().as_secs_f64()
        );
        std::process::exit(1);
    });
    let outcome = run(Options { seed, detail: Detail { print: arguments.trace, deep: arguments.deep } });
    let figures: Vec<String> =
        outcome.figures.iter().map(|(name, count)| format!("{name}={count}")).collect();
    println!(
        "seed {seed}: {:.1} s, {} lines, trace {:016x}; {}",
        outcome.simulated.as_secs_f64(),
        outcome.lines,
        outcome.hash,
        figures.join(", ")
    );
    if let Err(error) = &outcome.verdict {
        println!("seed {seed} FAILED: {error}");
    }
    outcome.verdict.is_ok()
}

fn many(first: u64, count: u64, arguments: &Arguments) -> bool {
    let started = Instant::now();
    let next = AtomicU64::new(first);
    let jobs = arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let totals: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let failed: Mutex<Vec<u64>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let said = child(seed, arguments);
                    let mut totals = totals.lock().expect("nobody panics with it");
                    match said {
                        Ok(figures) => {
                            for (name, count) in figures {
                                *totals.entry(name).or_default() += count;
                            }
                        }
                        Err(error) => {
                            println!("{error:#}");
                            failed.lock().expect("nobody panics with it").push(seed);
                        }
                    }
                }
            });
        }
    });
    let figures: Vec<String> =
        totals.into_inner().expect("nobody panicked").iter().map(|(n, c)| format!("{n}={c}")).collect();
    println!("{count} seeds in {:.1} s: {}", started.elapsed().as_secs_f64(), figures.join(", "));
    let mut failed = failed.into_inner().expect("nobody panicked");
    failed.sort_unstable();
    for seed in &failed {
        println!("again with: cargo xtask sim --seed {seed} --trace");
    }
    failed.is_empty()
}

/// Runs a seed in a process of its own; returns its figures.
fn child(seed: u64, arguments: &Arguments) -> anyhow::Result<Vec<(String, u64)>> {
    let mut command = Command::new(std::env::current_exe().context("who am I?")?);
    command.arg("--seed").arg(seed.to_string()).stdin(Stdio::null());
    command.arg("--limit").arg(arguments.limit.to_string());
    if arguments.deep {
        command.arg("--deep");
    }
    let output = command.output().with_context(|| format!("seed {seed} does not start"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        anyhow::bail!("seed {seed} ({}):\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let figures = said.trim().rsplit("; ").next().unwrap_or_default().split(", ");
    Ok(figures
        .filter_map(|figure| figure.split_once('=').and_then(|(n, c)| Some((n.to_owned(), c.parse().ok()?))))
        .collect())
}

/// What this process has used of the processor.
fn processor_time() -> Duration {
    // SAFETY: all zeros is a valid value of this plain structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place for the result.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) } != 0;
    assert!(!failed, "a process can ask for its own figures");
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// libc's, for this process alone: the simulation's clocks, or the kernel's when this process is no simulation.
///
/// # Safety
/// As that of libc: `time` is a valid place for the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let wall = matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE);
    match machine::clock(wall) {
        Some(now) => {
            let now =
                libc::timespec { tv_sec: now.as_secs() as libc::time_t, tv_nsec: now.subsec_nanos().into() };
            // SAFETY: the caller promises that the place is valid.
            unsafe { time.write(now) };
            0
        }
        // SAFETY: the same call with the same arguments.
        None => unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as libc::c_int },
    }
}

/// libc's, for this process alone: what follows from the seed, or the kernel's when this process is no simulation.
///
/// # Safety
/// As that of libc: `buffer` is a valid place for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(
    buffer: *mut libc::c_void,
    len: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    // Of a mere question whether there is any, the buffer may be null.
    if len > 0 && !buffer.is_null() {
        // SAFETY: the caller promises that the place is valid; what was there is not read.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
        if machine::fill_random(bytes) {
            return len as libc::ssize_t;
        }
    }
    // SAFETY: the same call with the same arguments.
    unsafe { libc::syscall(libc::SYS_getrandom, buffer, len, flags) as libc::ssize_t }
}
