//! The server as the engine sees it: clocks, memory, figures, and things to be done after a command.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use cairn_engine::cluster::ClusterView;
use cairn_engine::error::CommandError;
use cairn_engine::host::{Facts, Host, LogLevel, Request};

use crate::memory;

/// What the executor and the engine's host share; all of it on the executor's thread.
#[derive(Default)]
pub struct Shared {
    /// Refreshed by the executor before commands that may want them (each turn's cron), exact enough for INFO.
    pub facts: Facts,
    pub save_running: bool,
    /// The newest picture of the cluster, on one of its nodes.
    pub cluster: Option<Arc<ClusterView>>,
}

/// The host of the server's engine.
pub struct ServerHost {
    started: Instant,
    /// Asked for by the commands of this turn, in order.
    pub requests: Vec<Request>,
    /// BGSAVE was asked for in this turn.
    pub background_save: bool,
    pub shared: Rc<RefCell<Shared>>,
    /// When a long script is to be interrupted next for the sake of other clients.
    pub attend_at_us: u64,
    /// The signal that asked the process to stop while a script ran, until its end; 0: none.
    pub stop_signal: i32,
}

impl ServerHost {
    /// A host whose monotonic clock starts now.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            requests: Vec::new(),
            background_save: false,
            shared: Rc::default(),
            attend_at_us: 0,
            stop_signal: 0,
        }
    }
}

impl Default for ServerHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Host for ServerHost {
    fn monotonic_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn used_memory(&self) -> usize {
        memory::used()
    }

    fn log(&self, level: LogLevel, text: &str) {
        match level {
            LogLevel::Debug => tracing::debug!(target: "script", "{text}"),
            LogLevel::Verbose | LogLevel::Notice => tracing::info!(target: "script", "{text}"),
            LogLevel::Warning => tracing::warn!(target: "script", "{text}"),
        }
    }

    fn background_save(&mut self, schedule: bool) -> Result<bool, CommandError> {
        let running = self.shared.borrow().save_running || self.background_save;
        if running && !schedule {
            return Err("ERR Background save already in progress".into());
        }
        self.background_save = true;
        Ok(running)
    }

    fn request(&mut self, request: Request) {
        self.requests.push(request);
    }

    fn cluster(&self) -> Option<Arc<ClusterView>> {
        self.shared.borrow().cluster.clone()
    }

    fn facts(&self) -> Facts {
        let mut facts = self.shared.borrow().facts.clone();
        facts.peak_memory = memory::peak() as u64;
        crate::process::fill(&mut facts);
        facts
    }
}
