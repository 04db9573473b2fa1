//! On a machine with two CPUs the executor stays where it is while it waits for the log.
//!
//! The log's thread wakes the executor and sleeps at once, mostly on the CPU from which the executor has called it. To the
//! kernel that CPU is busy in this moment and the other one idle, so it moves the executor there: to the CPU of a client
//! or of the network's interrupts, which makes way in its turn. Every sync then costs both of them their caches, and
//! interrupts between CPUs, which are slow on virtual machines. With more CPUs there is one for each, and the kernel knows best.
//!
//! So the executor binds itself before it sleeps with replies that wait for the log, and every [`BOUND_US`] gives the kernel
//! one sleep in which to place it anew. Threads inherit the binding of who starts them: the executor's go through
//! [`spawn`], and the runtime's call [`spread`].

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use self::kernel::{CpuSet, allow, allowed, count, current};

/// How long the executor stays on one CPU: longer than many syncs, and not long beside what is felt as a pause.
const BOUND_US: u64 = 10_000;
/// The number of CPUs that makes it worth while.
const CPUS: usize = 2;

/// What this process may use, as it was before the executor bound itself. `None` if it never has.
static ALLOWED: Mutex<Option<CpuSet>> = Mutex::new(None);

/// The binding of one thread to its CPU.
#[derive(Debug, Default)]
pub struct Affinity {
    bound: Option<Bound>,
    /// It is of no use here, or not permitted.
    given_up: bool,
}

#[derive(Debug)]
struct Bound {
    since_us: u64,
    to: CpuSet,
    /// What was allowed before.
    allowed: CpuSet,
}

impl Affinity {
    /// To be called when the thread, always the same, is about to sleep; `waits` says that the log's thread will wake it.
    pub fn before_sleep(&mut self, waits: bool, now_us: u64) {
        match &self.bound {
            None if waits && !self.given_up => {
                self.bound = bind(now_us);
                self.given_up = self.bound.is_none();
            }
            Some(bound) if now_us.saturating_sub(bound.since_us) >= BOUND_US => {
                bound.release();
                self.bound = None;
            }
            _ => {}
        }
    }
}

impl Bound {
    /// Gives back what was allowed, unless somebody else has decided otherwise meanwhile.
    fn release(&self) {
        if allowed().is_some_and(|now| now == self.to) {
            allow(&self.allowed);
        }
    }
}

impl Drop for Affinity {
    fn drop(&mut self) {
        if let Some(bound) = &self.bound {
            bound.release();
        }
    }
}

fn bind(now_us: u64) -> Option<Bound> {
    let allowed = allowed().filter(|allowed| count(allowed) == CPUS)?;
    let to = current()?;
    *ALLOWED.lock().unwrap_or_else(PoisonError::into_inner) = Some(allowed);
    allow(&to).then_some(Bound { since_us: now_us, to, allowed })
}

/// Lets this thread run wherever the process may, whoever has started it.
pub fn spread() {
    let allowed = *ALLOWED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(allowed) = allowed {
        allow(&allowed);
    }
}

/// Starts a thread that runs wherever the process may.
#[expect(clippy::disallowed_methods, reason = "this is what is to be used instead")]
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = || {
        spread();
        body();
    };
    Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

#[cfg(target_os = "linux")]
mod kernel {
    use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity};

    pub use rustix::thread::CpuSet;

    /// Where this thread may run. `None` if the kernel does not say, as with more CPUs than the set has room for.
    pub fn allowed() -> Option<CpuSet> {
        sched_getaffinity(None).ok()
    }

    /// The CPU that this thread is on.
    pub fn current() -> Option<CpuSet> {
        let cpu = sched_getcpu();
        let mut set = CpuSet::new();
        (cpu < CpuSet::MAX_CPU).then(|| set.set(cpu))?;
        Some(set)
    }

    /// Has this thread run there and nowhere else. Returns whether the kernel agrees.
    pub fn allow(cpus: &CpuSet) -> bool {
        sched_setaffinity(None, cpus).is_ok()
    }

    pub fn count(cpus: &CpuSet) -> usize {
        cpus.count() as usize
    }
}

/// Elsewhere the kernel is left to itself.
#[cfg(not(target_os = "linux"))]
mod kernel {
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct CpuSet;

    pub fn allowed() -> Option<CpuSet> {
        None
    }

    pub fn current() -> Option<CpuSet> {
        None
    }

    pub fn allow(_: &CpuSet) -> bool {
        false
    }

    pub fn count(_: &CpuSet) -> usize {
        0
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "no executor has started it")]
    fn on_a_thread_of_its_own(body: impl FnOnce() + Send + 'static) {
        std::thread::spawn(body).join().expect("the assertions of the thread hold");
    }

    /// The number of CPUs for a thread that is started here.
    fn spawned_count() -> usize {
        let (say, said) = channel();
        spawn("test", move || say.send(count(&allowed().unwrap())).unwrap()).unwrap();
        said.recv().unwrap()
    }

    #[test]
    fn it_binds_with_two_cpus_and_lets_go_in_time() {
        on_a_thread_of_its_own(|| {
            let before = allowed().unwrap();
            let two = count(&before) == CPUS;
            let bound_count = if two { 1 } else { count(&before) };
            let mut affinity = Affinity::default();
            affinity.before_sleep(false, 0);
            assert_eq!(allowed(), Some(before), "it does not wait for the log");
            affinity.before_sleep(true, 1_000);
            assert_eq!(count(&allowed().unwrap()), bound_count);
            assert_eq!(affinity.given_up, !two);
            assert_eq!(spawned_count(), count(&before), "what it starts is free");
            affinity.before_sleep(true, 1_000 + BOUND_US - 1);
            assert_eq!(count(&allowed().unwrap()), bound_count);
            affinity.before_sleep(true, 1_000 + BOUND_US);
            assert_eq!(allowed(), Some(before), "one sleep without");
            affinity.before_sleep(true, 1_001 + BOUND_US);
            assert_eq!(count(&allowed().unwrap()), bound_count);
            drop(affinity);
            assert_eq!(allowed(), Some(before));
        });
    }

    #[test]
    fn what_somebody_else_has_set_stays() {
        on_a_thread_of_its_own(|| {
            let before = allowed().unwrap();
            let mut affinity = Affinity::default();
            affinity.before_sleep(true, 0);
            // As `taskset` does: here back to what it was, or, with another number of CPUs, to one.
            let other = if count(&before) == CPUS { before } else { current().unwrap() };
            assert!(allow(&other));
            affinity.before_sleep(true, BOUND_US);
            assert_eq!(allowed(), Some(other));
        });
    }
}
