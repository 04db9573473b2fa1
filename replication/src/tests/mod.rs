//! Several nodes in one process, on simulated disks, with channels for a network and a clock that jumps.

mod group;
mod lone;
mod suite;
mod world;
