//! The server as the engine sees it: clocks, memory, figures, and things to be done after a command.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use cairn_engine::cluster::ClusterView;
use cairn_engine::error::CommandError;
use cairn_engine::host::{Facts, Host, LogLevel, Request};

use cairn_storage::disk::Disk;
use cairn_storage::snapshot::write_file_atomically;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::memory;

/// The engine asks for no file that `aclfile` does not name.
const NO_ACL_FILE: &str = "no file is named";

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
    /// Where the ACL file is, and by which disk it is written.
    pub acl_file: Option<(Arc<dyn Disk>, PathBuf)>,
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
            acl_file: None,
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

    fn allocator_report(&self) -> Option<String> {
        Some(memory::report())
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

    fn fill_with_secrets(&mut self, secret: &mut [u8]) {
        SysRng.try_fill_bytes(secret).expect("the system has random bytes");
    }

    fn read_acl_file(&mut self) -> Result<Vec<u8>, String> {
        let (_, path) = self.acl_file.as_ref().ok_or(NO_ACL_FILE)?;
        std::fs::read(path).map_err(|error| error.to_string())
    }

    fn replace_acl_file(&mut self, content: &[u8]) -> Result<(), String> {
        let (disk, path) = self.acl_file.as_ref().ok_or(NO_ACL_FILE)?;
        write_file_atomically(disk, path, content).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn facts(&self) -> Facts {
        let mut facts = self.shared.borrow().facts.clone();
        facts.peak_memory = memory::peak() as u64;
        crate::process::fill(&mut facts);
        facts
    }
}
