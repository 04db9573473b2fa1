//! On a machine with two CPUs the executor and the log's thread share one while replies wait for the log.
//!
//! The log's thread wakes the executor and sleeps at once, and the other way round. To the kernel the waker's CPU is busy in
//! this moment and the other one idle, so it moves the one that wakes there: to the CPU of a client, which makes way in
//! its turn. Every sync then costs them their caches, and interrupts between CPUs, which are slow on virtual machines.
//! With more CPUs there is one for each, and the kernel knows best; so it does when many replies wait for a sync, for then there
//! is work for both CPUs, and little of it goes into waking.
//!
//! So before the executor sleeps with a few replies that wait for the log, it binds both threads to the CPU from which the log's thread
//! has called it last, which mostly is the one that the disk interrupts; and every [`BOUND_US`] it gives the kernel one sleep in
//! which to place them anew. Threads inherit the binding of who starts them: the executor's go through [`spawn`], and the
//! runtime's call [`spread`].

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use self::kernel::{Cpu, CpuSet, Thread};

/// How long they stay on one CPU: longer than many syncs, and not long beside what is felt as a pause.
const BOUND_US: u64 = 10_000;
/// Connections whose replies wait: with more of them the threads are left where they are.
const HELD_MAX: usize = 128;
/// The number of CPUs that makes it worth while.
const CPUS: usize = 2;

/// What the executor might use, as it was before it bound itself. `None` if it never has.
static ALLOWED: Mutex<Option<CpuSet>> = Mutex::new(None);

/// Where the log's thread was when it called last.
#[derive(Debug, Default)]
pub struct LogThread(Mutex<Option<(Thread, Cpu)>>);

impl LogThread {
    /// To be called by the log's thread when it wakes the executor.
    pub fn calls(&self) {
        *self.lock() = Some((Thread::current(), kernel::cpu()));
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Thread, Cpu)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The binding of the executor and the log's thread to a CPU.
#[derive(Debug, Default)]
pub struct Affinity {
    bound: Option<(u64, [Bound; 2])>,
    /// It is of no use here, or not permitted.
    given_up: bool,
}

/// A thread that is bound to a CPU.
#[derive(Debug)]
struct Bound {
    thread: Thread,
    to: CpuSet,
    /// What was allowed before.
    allowed: CpuSet,
}

impl Affinity {
    /// To be called when the executor, always on the same thread, is about to sleep; `log` will wake it, if there is one and
    /// replies of `held` connections wait for it.
    pub fn before_sleep(&mut self, log: Option<&LogThread>, held: usize, now_us: u64) {
        match (&self.bound, log) {
            (None, Some(log)) if (1..=HELD_MAX).contains(&held) && !self.given_up => {
                // Before it has called for the first time there is nothing to be known.
                let Some((thread, cpu)) = *log.lock() else { return };
                self.bound = bind(thread, cpu).map(|bound| (now_us, bound));
                self.given_up = self.bound.is_none();
            }
            (Some((since_us, _)), _) if now_us.saturating_sub(*since_us) >= BOUND_US => self.bound = None,
            _ => {}
        }
    }
}

impl Bound {
    fn new(thread: Thread, cpu: Cpu) -> Option<Self> {
        let allowed = thread.allowed().filter(|allowed| kernel::count(allowed) == CPUS)?;
        let to = kernel::only(cpu);
        thread.allow(&to).then_some(Self { thread, to, allowed })
    }
}

impl Drop for Bound {
    /// Gives back what was allowed, unless somebody else has decided otherwise meanwhile.
    fn drop(&mut self) {
        if self.thread.allowed().is_some_and(|now| now == self.to) {
            self.thread.allow(&self.allowed);
        }
    }
}

fn bind(log: Thread, cpu: Cpu) -> Option<[Bound; 2]> {
    let log = Bound::new(log, cpu)?;
    let executor = Bound::new(Thread::current(), cpu)?;
    *ALLOWED.lock().unwrap_or_else(PoisonError::into_inner) = Some(executor.allowed);
    Some([log, executor])
}

/// Lets this thread run wherever the process may, whoever has started it.
pub fn spread() {
    let allowed = *ALLOWED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(allowed) = allowed {
        Thread::current().allow(&allowed);
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
    use rustix::thread::{Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    pub use rustix::thread::CpuSet;

    pub type Cpu = usize;

    /// A thread of this process that lives as long as its executor.
    #[derive(Clone, Copy, Debug)]
    pub struct Thread(Pid);

    impl Thread {
        pub fn current() -> Self {
            Self(gettid())
        }

        /// Where it may run. `None` if the kernel does not say, as with more CPUs than the set has room for.
        pub fn allowed(self) -> Option<CpuSet> {
            sched_getaffinity(Some(self.0)).ok()
        }

        /// Has it run there and nowhere else. Returns whether the kernel agrees.
        pub fn allow(self, cpus: &CpuSet) -> bool {
            sched_setaffinity(Some(self.0), cpus).is_ok()
        }
    }

    /// The CPU that this thread is on.
    pub fn cpu() -> Cpu {
        sched_getcpu()
    }

    pub fn only(cpu: Cpu) -> CpuSet {
        let mut set = CpuSet::new();
        if cpu < CpuSet::MAX_CPU {
            set.set(cpu);
        }
        set
    }

    pub fn count(cpus: &CpuSet) -> usize {
        cpus.count() as usize
    }
}

/// Elsewhere the kernel is left to itself.
#[cfg(not(target_os = "linux"))]
mod kernel {
    pub type Cpu = usize;

    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct CpuSet;

    #[derive(Clone, Copy, Debug)]
    pub struct Thread;

    impl Thread {
        pub fn current() -> Self {
            Self
        }

        pub fn allowed(self) -> Option<CpuSet> {
            None
        }

        pub fn allow(self, _: &CpuSet) -> bool {
            false
        }
    }

    pub fn cpu() -> Cpu {
        0
    }

    pub fn only(_: Cpu) -> CpuSet {
        CpuSet
    }

    pub fn count(_: &CpuSet) -> usize {
        0
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    fn allowed() -> CpuSet {
        Thread::current().allowed().expect("the kernel says where a thread may run")
    }

    /// A thread that stands for the log's: it has called, and tells where it may run whenever it is asked.
    struct Log {
        thread: Arc<LogThread>,
        ask: Sender<()>,
        told: Receiver<CpuSet>,
    }

    impl Log {
        #[expect(clippy::disallowed_methods, reason = "no executor has started it")]
        fn new() -> Self {
            let thread = Arc::new(LogThread::default());
            let ((ask, asked), (tell, told)) = (channel(), channel());
            let known = Arc::clone(&thread);
            std::thread::spawn(move || {
                known.calls();
                asked.into_iter().for_each(|()| tell.send(allowed()).expect("the test waits for it"));
            });
            let log = Self { thread, ask, told };
            log.allowed();
            log
        }

        fn allowed(&self) -> CpuSet {
            self.ask.send(()).expect("the thread is there");
            self.told.recv().expect("the thread answers")
        }
    }

    #[expect(clippy::disallowed_methods, reason = "no executor has started it")]
    fn on_a_thread_of_its_own(body: impl FnOnce() + Send + 'static) {
        std::thread::spawn(body).join().expect("the assertions of the thread hold");
    }

    /// Where a thread may run that is started here.
    fn spawned() -> CpuSet {
        let (say, said) = channel();
        spawn("test", move || say.send(allowed()).expect("the test waits for it"))
            .expect("a thread can be started");
        said.recv().expect("the thread answers")
    }

    #[test]
    fn with_two_cpus_both_are_bound_to_one_and_let_go_in_time() {
        on_a_thread_of_its_own(|| {
            let before = allowed();
            let two = kernel::count(&before) == CPUS;
            let log = Log::new();
            let cpu = log.thread.lock().expect("it has called").1;
            let bound = if two { kernel::only(cpu) } else { before };
            let mut affinity = Affinity::default();
            affinity.before_sleep(None, 1, 0);
            affinity.before_sleep(Some(&LogThread::default()), 1, 0);
            assert_eq!(allowed(), before, "there is no log, or it has never called");
            affinity.before_sleep(Some(&log.thread), 0, 0);
            affinity.before_sleep(Some(&log.thread), HELD_MAX + 1, 0);
            assert_eq!(allowed(), before, "nobody waits for the log, or many do");
            affinity.before_sleep(Some(&log.thread), 1, 1_000);
            assert_eq!((allowed(), log.allowed()), (bound, bound));
            assert_eq!(affinity.given_up, !two);
            assert_eq!(spawned(), before, "what it starts is free");
            affinity.before_sleep(Some(&log.thread), 1, 1_000 + BOUND_US - 1);
            assert_eq!((allowed(), log.allowed()), (bound, bound));
            affinity.before_sleep(Some(&log.thread), 1, 1_000 + BOUND_US);
            assert_eq!((allowed(), log.allowed()), (before, before), "one sleep without");
            affinity.before_sleep(Some(&log.thread), 1, 1_001 + BOUND_US);
            assert_eq!((allowed(), log.allowed()), (bound, bound));
            drop(affinity);
            assert_eq!((allowed(), log.allowed()), (before, before));
        });
    }

    #[test]
    fn what_somebody_else_has_set_stays() {
        on_a_thread_of_its_own(|| {
            let before = allowed();
            let log = Log::new();
            let mut affinity = Affinity::default();
            affinity.before_sleep(Some(&log.thread), 1, 0);
            // As `taskset` does: here back to what it was, or, with another number of CPUs, to one.
            let other = if kernel::count(&before) == CPUS { before } else { kernel::only(kernel::cpu()) };
            assert!(Thread::current().allow(&other));
            affinity.before_sleep(Some(&log.thread), 1, BOUND_US);
            assert_eq!((allowed(), log.allowed()), (other, before));
        });
    }
}
