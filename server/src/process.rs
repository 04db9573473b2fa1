//! Figures of this process and machine, from the kernel.

use std::cell::Cell;

use cairn_engine::host::Facts;

thread_local! {
    static INSTEAD_OF_ABORT: Cell<Option<fn() -> !>> = const { Cell::new(None) };
}

/// Ends the process at once, with everything as it is: the next start recovers.
pub fn abort() -> ! {
    match INSTEAD_OF_ABORT.get() {
        Some(instead) => instead(),
        None => std::process::abort(),
    }
}

/// In a simulation several nodes share a process: `instead` ends the one that is running now.
pub fn end_by(instead: fn() -> !) {
    INSTEAD_OF_ABORT.set(Some(instead));
}

/// The machine's name, as others may know it.
pub fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Fills in what the kernel knows: memory and processor time.
pub fn fill(facts: &mut Facts) {
    facts.resident_bytes = resident_bytes().unwrap_or(0);
    facts.system_memory = system_memory().unwrap_or(0);
    let whole = usage(libc::RUSAGE_SELF);
    let thread = usage(libc::RUSAGE_THREAD);
    (facts.cpu_user, facts.cpu_sys) = whole;
    (facts.cpu_user_main_thread, facts.cpu_sys_main_thread) = thread;
}

/// The kernel's name and release, as `INFO server` shows it.
pub fn os_name() -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    format!("{} {} {}", read("ostype").trim(), read("osrelease").trim(), std::env::consts::ARCH)
}

/// Raises the limit on open files to what so many clients need. Returns how many clients the limit allows.
pub fn raise_file_limit(clients: u64) -> u64 {
    /// Files for the log, snapshots, listeners and the runtime.
    const RESERVED: u64 = 64;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the result.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return clients;
    }
    let wanted = clients + RESERVED;
    if limit.rlim_cur < wanted {
        let raised = libc::rlimit { rlim_cur: wanted.min(limit.rlim_max), rlim_max: limit.rlim_max };
        // SAFETY: `raised` is a valid limit; a failure changes nothing.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            limit = raised;
        }
    }
    limit.rlim_cur.saturating_sub(RESERVED).min(clients)
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size())
}

fn system_memory() -> Option<u64> {
    // SAFETY: sysconf has no preconditions.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    u64::try_from(pages).ok().map(|pages| pages * page_size())
}

fn page_size() -> u64 {
    // SAFETY: sysconf has no preconditions.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// User and system seconds.
fn usage(who: libc::c_int) -> (f64, f64) {
    // SAFETY: rusage is plain numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place for the result.
    if unsafe { libc::getrusage(who, &mut usage) } != 0 {
        return (0.0, 0.0);
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}
