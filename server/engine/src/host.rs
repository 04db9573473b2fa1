//! What the engine asks of the world around it.

use std::sync::Arc;

use crate::busy::Busy;
use crate::client::Slot;
use crate::cluster::{ClusterRequest, ClusterView};
use crate::config::Config;
use crate::error::CommandError;

/// The outside of the engine: the server in production, a small fake in tests.
pub trait Host {
    /// Microseconds of a clock that never goes back; used to measure, never to decide.
    fn monotonic_us(&self) -> u64;
    /// Bytes allocated by the process, as `INFO`'s `used_memory` and `maxmemory` mean it.
    fn used_memory(&self) -> usize;
    /// What the allocator has to say about itself, for MEMORY MALLOC-STATS; `None`: nothing.
    fn allocator_report(&self) -> Option<String> {
        None
    }
    /// A line for the server's log.
    fn log(&self, level: LogLevel, text: &str);
    /// BGSAVE: a snapshot is to be started once this turn is over; an error when one is being written and `schedule`
    /// is not asked for. True when it only starts after the one that is being written.
    fn background_save(&mut self, schedule: bool) -> Result<bool, CommandError>;
    /// Something to do once the running command is over.
    fn request(&mut self, request: Request);
    /// A script has been running for too long: a chance to look after other clients. Called again and again until it
    /// ends. Without this they hear nothing until then.
    fn serve_while_busy(&mut self, _busy: &mut Busy<'_>) {}
    /// Fills `secret` with bytes that nobody can guess.
    fn fill_with_secrets(&mut self, secret: &mut [u8]);
    /// The content of the ACL file; the error is the system's.
    fn read_acl_file(&mut self) -> Result<Vec<u8>, String>;
    /// Replaces the ACL file as a whole and makes that durable.
    fn replace_acl_file(&mut self, content: &[u8]) -> Result<(), String>;
    /// Figures that only the host has, for INFO, ROLE, LASTSAVE.
    fn facts(&self) -> Facts;
    /// The cluster that this process is a node of; `None` for a single server.
    fn cluster(&self) -> Option<Arc<ClusterView>> {
        None
    }
}

/// The level of a log line; the names are redis.conf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// What a command asks the host to do after it.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// These directives changed; the values are in the engine's configuration, those from before are here.
    ConfigChanged(ConfigChange),
    /// CONFIG RESETSTAT: counters that only the host keeps go back to zero.
    ResetFigures,
    /// SAVE; the client waits for an answer, which comes when the snapshot is durable.
    Save { client: Slot },
    /// CONFIG REWRITE; the client waits for [`crate::Engine::answer`].
    ConfigRewrite { client: Slot, all: bool },
    /// Stop the process; the client gets a reply only when that fails.
    Shutdown { client: Slot, save: Option<bool>, now: bool, force: bool },
    /// SHUTDOWN ABORT; the client waits for an answer.
    ShutdownAbort { client: Slot },
    /// DEBUG LOADAOF: rebuild the state from snapshot and log; the client waits for an answer.
    Rebuild { client: Slot },
    /// DEBUG RELOAD: save a snapshot and load it again; the client waits for an answer.
    Reload { client: Slot, save: bool },
    /// BGREWRITEAOF: snapshot now so that the log can be cut.
    CompactLog,
    /// WAITAOF, or anything else that waits for the local disk: [`crate::Engine::answer_synced`] when `position`
    /// is synced. It may have given up by then.
    WaitSynced { client: Slot, position: u64 },
    /// Something for the cluster to do; the client waits for [`crate::Engine::answer`].
    Cluster { client: Slot, request: ClusterRequest },
    /// SYNC, PSYNC: the client is to be fed as a replica of Redis's kind; see [`crate::client::Replica`].
    Feed { client: Slot },
    /// REPLICAOF: whom to follow has changed, see [`crate::shared::Shared::following`].
    Follow,
    /// DEBUG SLEEP: stop everything for so long.
    Sleep { microseconds: u64 },
    /// Stop the process at once, as a crash would (DEBUG SEGFAULT, PANIC …).
    Crash,
}

/// What a CONFIG SET has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigChange {
    pub names: Vec<&'static str>,
    /// The configuration that it was made in: what cannot be put into effect is taken back to it.
    pub before: Box<Config>,
    /// Who waits for an answer, because the host may fail to put the change into effect; then
    /// [`crate::shared::Shared::config_unsettled`] is to be cleared with the answer. `None`: the client was told OK.
    pub client: Option<Slot>,
}

/// Figures of the host.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub process_id: u32,
    pub run_id: String,
    pub tcp_port: u16,
    pub executable: String,
    pub config_file: String,
    pub os: String,
    pub gcc_version: String,
    pub started_at_ms: i64,
    pub resident_bytes: u64,
    pub peak_memory: u64,
    pub system_memory: u64,
    pub cpu_sys: f64,
    pub cpu_user: f64,
    pub cpu_sys_main_thread: f64,
    pub cpu_user_main_thread: f64,
    pub total_connections: u64,
    pub rejected_connections: u64,
    pub net_input_bytes: u64,
    pub net_output_bytes: u64,
    /// Turns of the event loop: how many, how long all of them took, those of background work, handing over to the journal, the
    /// longest, and the most commands in one.
    pub turns: u64,
    pub turns_us: u64,
    pub cron_us: u64,
    pub journal_us: u64,
    pub turn_us_max: u64,
    pub turn_commands_max: u64,
    pub instantaneous_turns: u64,
    pub instantaneous_turn_us: u64,
    pub instantaneous_input_kbps: f64,
    pub instantaneous_output_kbps: f64,
    pub last_save_at_s: i64,
    pub last_save_ok: bool,
    pub save_in_progress: bool,
    /// The snapshot being written, or the next one, is to make the log shorter.
    pub rewrite_in_progress: bool,
    pub rewrite_scheduled: bool,
    pub save_started_at_s: i64,
    pub last_save_seconds: i64,
    pub changes_since_save: u64,
    pub saves: u64,
    pub log_enabled: bool,
    pub log_bytes: u64,
    pub log_base_bytes: u64,
    pub log_queued_bytes: u64,
    /// Bytes appended since the last snapshot was taken.
    pub log_grown_bytes: u64,
    pub log_last_write_ok: bool,
    pub log_appended: u64,
    pub log_released: u64,
    pub log_synced: u64,
    pub log_syncs: u64,
    pub log_last_sync_us: u64,
    pub loading: bool,
}
