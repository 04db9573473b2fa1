//! The log on the simulated disk: crashes at every operation, torn tails, damage, full disks.

mod crash;
mod damage;
mod failing_disk;
mod model;
mod properties;
mod reading;
