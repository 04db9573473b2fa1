//! Whole nodes in one thread, with a clock, a network and disks that a seed decides on.
//!
//! Nothing of a node is imitated: its executor, journal, Raft, log and peer transport are those of the server, as tasks on
//! turmoil's runtimes. Simulated are what is around them: [`net`] TCP by turmoil, [`cairn_storage::disk::SimDisk`], and in
//! [`machine`] the operating system's clock and random numbers. So a run depends on its seed alone, and the same seed gives the
//! same run.
//!
//! - [`node`]: one machine: a disk, and a server on it that can be started, crashed and wiped.
//! - [`clients`]: what works with the nodes, records what it saw, and looks at everything once more in the end.
//! - [`faults`]: what is done to machines and network, and when.
//! - [`trace`]: everything that happened, as lines and as a hash.
//! - [`run`]: puts it together.
//!
//! # One run, one process
//!
//! tokio seeds each runtime from a counter of the process, and std's hash tables from random numbers of the thread. So each
//! seed runs in a process of its own, `src/bin/sim.rs`, which has the two functions of libc that [`machine`] stands in for.
//!
//! # What it does not show
//!
//! Clocks of different speeds (turmoil moves all hosts on together), a node that stands still while others go on, the
//! operating system's own sockets, threads that run at the same time, and forwarding: clients follow `-MOVED`. The tests
//! with real processes ([`crate::cluster`]) are there for these.

pub mod clients;
pub mod faults;
pub mod machine;
pub mod net;
pub mod node;
pub mod run;
pub mod trace;
