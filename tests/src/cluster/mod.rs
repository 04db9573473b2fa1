//! Clusters of real processes: started, killed, paused, cut off, and what their clients saw checked.
pub mod check;
pub mod history;
