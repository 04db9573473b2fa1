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

/// `oom-score-adj`: how readily the kernel ends this process when memory is out.
#[derive(Debug, Default)]
pub struct OomScore {
    /// What it was before it was adjusted.
    base: Option<i32>,
}

impl OomScore {
    const FILE: &str = "/proc/self/oom_score_adj";
    /// What the kernel takes.
    const MAX: i32 = 1000;

    /// Puts `mode`, a value of the directive, into effect: `value` counts from what the score was before, or absolutely; `no`
    /// brings that back.
    pub fn adjust(&mut self, mode: &str, value: i32) -> std::io::Result<()> {
        if mode == "no" {
            return self.base.take().map_or(Ok(()), Self::write);
        }
        let base = match self.base {
            Some(base) => base,
            None => std::fs::read_to_string(Self::FILE)?.trim().parse().map_err(std::io::Error::other)?,
        };
        Self::write(if mode == "absolute" { value } else { base + value })?;
        self.base = Some(base);
        Ok(())
    }

    fn write(score: i32) -> std::io::Result<()> {
        std::fs::write(Self::FILE, score.clamp(-Self::MAX, Self::MAX).to_string())
    }
}

/// The number of a group of users.
pub fn group_id(name: &str) -> std::io::Result<u32> {
    let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such group");
    let name = std::ffi::CString::new(name).map_err(|_| missing())?;
    // SAFETY: the name ends in NUL; the answer is read before anything else could ask, for this is done before there are clients,
    // and by this thread alone.
    let group = unsafe { libc::getgrnam(name.as_ptr()).as_ref() };
    group.map(|group| group.gr_gid).ok_or_else(missing)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oom_score_counts_from_what_it_was_and_comes_back() {
        let now = || std::fs::read_to_string(OomScore::FILE).expect("Linux has it").trim().parse::<i32>();
        let before = now().expect("a number");
        let mut score = OomScore::default();
        score.adjust("no", 5).expect("nothing to do");
        for (mode, value, expected) in [
            ("yes", 1, before + 1),
            ("relative", 2, before + 2),
            ("absolute", before + 3, before + 3),
            ("no", 4, before),
        ] {
            score.adjust(mode, value).expect("a process may raise its score, and take that back");
            assert_eq!(now(), Ok(expected), "{mode} {value}");
        }
    }

    #[test]
    fn groups_are_found_by_name() {
        assert_eq!(group_id("root").expect("everybody has it"), 0);
        assert!(group_id("no such group").is_err());
    }
}
