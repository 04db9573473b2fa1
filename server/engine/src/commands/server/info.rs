//! INFO: the server's figures, in sections.

use std::collections::HashSet;
use std::fmt::{Display, Write};

use super::replication;
use crate::acl::log::Reason;
use crate::args::Args;
use crate::client::{BlockKind, BlockedOn};
use crate::command::{COMMAND, Category, Command, Flag, Group, table};
use crate::config::AppendFsync;
use crate::context::Context;
use crate::error::CommandResult;
use crate::host::Facts;
use crate::scripting::LibraryCounts;
use crate::{CAIRN_VERSION, REDIS_VERSION};

pub(super) static INFO: Command = Command {
    name: "info",
    arity: -1,
    group: Group::Server,
    flags: &[Flag::Loading, Flag::Stale],
    categories: &[Category::Dangerous],
    summary: "Returns the server's figures, all or some sections of them.",
    complexity: "O(C) where C is the number of clients",
    syntax: "[section [section ...]]",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: info,
    ..COMMAND
};

struct Section {
    name: &'static str,
    /// Shown when nothing is asked for.
    by_default: bool,
    title: &'static str,
    write: fn(&mut Text, &Context<'_>, &Facts),
}

/// Every section, in the order in which they are shown.
const SECTIONS: &[Section] = &[
    Section { name: "server", by_default: true, title: "Server", write: server },
    Section { name: "clients", by_default: true, title: "Clients", write: clients },
    Section { name: "memory", by_default: true, title: "Memory", write: memory },
    Section { name: "persistence", by_default: true, title: "Persistence", write: persistence },
    Section { name: "stats", by_default: true, title: "Stats", write: stats },
    Section { name: "replication", by_default: true, title: "Replication", write: replication::replication },
    Section { name: "raft", by_default: true, title: "Raft", write: replication::raft },
    Section { name: "cpu", by_default: true, title: "CPU", write: cpu },
    Section { name: "modules", by_default: true, title: "Modules", write: |_, _, _| {} },
    Section { name: "commandstats", by_default: false, title: "Commandstats", write: commandstats },
    Section { name: "errorstats", by_default: true, title: "Errorstats", write: errorstats },
    Section { name: "latencystats", by_default: false, title: "Latencystats", write: latencystats },
    Section { name: "cluster", by_default: true, title: "Cluster", write: replication::cluster },
    Section { name: "keyspace", by_default: true, title: "Keyspace", write: keyspace },
];

/// Shown only by its name: figures for those who look into the event loop.
const DEBUG: Section = Section { name: "debug", by_default: false, title: "Debug", write: event_loop };

fn info(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let asked = args.from(1);
    let named = |name: &str| asked.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let all = named("all") || named("everything");
    let default = asked.is_empty() || named("default");
    let facts = cx.host.facts();
    let in_cluster = cx.host.cluster().is_some();
    let mut text = Text(String::with_capacity(8 * 1024));
    for section in SECTIONS.iter().filter(|section| in_cluster || section.name != "raft") {
        if all || (default && section.by_default) || named(section.name) {
            if !text.0.is_empty() {
                text.0.push_str("\r\n");
            }
            text.line(format_args!("# {}", section.title));
            (section.write)(&mut text, cx, &facts);
        }
    }
    if named(DEBUG.name) {
        text.line(format_args!("# {}", DEBUG.title));
        (DEBUG.write)(&mut text, cx, &facts);
    }
    cx.reply.verbatim(b"txt", text.0.as_bytes());
    Ok(())
}

/// The reply as it grows.
pub(super) struct Text(String);

impl Text {
    pub(super) fn line(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{line}\r\n");
    }

    pub(super) fn field(&mut self, name: impl Display, value: impl Display) {
        self.line(format_args!("{name}:{value}"));
    }

    pub(super) fn flag(&mut self, name: &str, value: bool) {
        self.field(name, u8::from(value));
    }

    fn ratio(&mut self, name: &str, value: f64) {
        self.field(name, format_args!("{value:.2}"));
    }

    /// A number of bytes, and the same for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(format_args!("{name}_human"), human(bytes));
    }

    /// Fields that steer or count something that is not here: always the same value.
    fn constants(&mut self, names: &[&str], value: impl Display) {
        for name in names {
            self.field(name, &value);
        }
    }
}

/// `1.50M`, as Redis writes it.
fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    for unit in ['K', 'M', 'G', 'T'] {
        if value < 1024.0 {
            return format!("{value:.2}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.2}P")
}

fn server(text: &mut Text, cx: &Context<'_>, facts: &Facts) {
    let config = cx.config();
    let now_us = cx.shared.now_us();
    let uptime_s = (cx.now_ms() - facts.started_at_ms).max(0) / 1000;
    text.field("redis_version", REDIS_VERSION);
    text.field("cairn_version", CAIRN_VERSION);
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", "0");
    text.field("redis_mode", replication::mode(cx.host));
    text.field("os", &facts.os);
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", "POSIX clock_gettime");
    text.field("multiplexing_api", "epoll");
    text.field("atomicvar_api", "c11-builtin");
    text.field("gcc_version", &facts.gcc_version);
    text.field("process_id", facts.process_id);
    text.field("process_supervised", "no");
    text.field("run_id", &facts.run_id);
    text.field("tcp_port", facts.tcp_port);
    text.field("server_time_usec", now_us);
    text.field("uptime_in_seconds", uptime_s);
    text.field("uptime_in_days", uptime_s / 86_400);
    text.field("hz", config.hz);
    text.field("configured_hz", config.hz);
    text.field("lru_clock", (cx.now_ms() / 1000) as u32 & crate::keyspace::evict::LRU_CLOCK_MAX);
    text.field("executable", &facts.executable);
    text.field("config_file", &facts.config_file);
    text.field("io_threads_active", 0);
    let binds: String = config.bind.iter().map(|address| format!("bind={address},")).collect();
    text.field("listener0", format_args!("name=tcp,{binds}port={}", facts.tcp_port));
    if !config.unixsocket.is_empty() {
        text.field("listener1", format_args!("name=unix,bind={}", config.unixsocket));
    }
}

fn clients(text: &mut Text, cx: &Context<'_>, _facts: &Facts) {
    let others = || cx.shared.clients.iter().filter_map(|(_, client)| client.as_deref());
    let blocking = &cx.shared.blocking;
    let pubsub = others().filter(|client| client.state.subscriptions.any()).count()
        + usize::from(cx.client.subscriptions.any());
    let watching = others().filter(|client| !client.state.watched.is_empty()).count()
        + usize::from(!cx.client.watched.is_empty());
    let input = others().map(|client| client.state.query_buffer).chain([cx.client.query_buffer]).max();
    let output = others().map(|client| client.reply.out.len()).chain([cx.reply.out.len()]).max();
    text.field("connected_clients", cx.shared.clients.len() - cx.shared.replicas.len());
    text.field("cluster_connections", 0);
    text.field("maxclients", cx.config().maxclients);
    text.field("client_recent_max_input_buffer", input.unwrap_or(0));
    text.field("client_recent_max_output_buffer", output.unwrap_or(0));
    text.field("blocked_clients", blocking.clients);
    text.field("tracking_clients", cx.shared.tracking.clients());
    text.field("pubsub_clients", pubsub);
    text.field("watching_clients", watching);
    text.field("clients_in_timeout_table", blocking.deadlines.len());
    text.field("total_watched_keys", cx.shared.watchers.len());
    text.field("total_blocking_keys", blocking.by_key.len());
    text.field("total_blocking_keys_on_nokey", awaited_streams(cx));
}

/// Keys whose going away would wake somebody: those of consumer groups.
fn awaited_streams(cx: &Context<'_>) -> usize {
    let clients = cx.shared.clients.iter().filter_map(|(_, client)| client.as_deref());
    let mut awaited = HashSet::new();
    for blocked in clients.filter_map(|client| client.state.blocked.as_deref()) {
        if let BlockedOn::Keys { db, keys, kind: BlockKind::StreamGroup } = &blocked.on {
            awaited.extend(keys.iter().map(|key| (*db, key)));
        }
    }
    awaited.len()
}

fn memory(text: &mut Text, cx: &Context<'_>, facts: &Facts) {
    let config = cx.config();
    // Without this very text, which is no part of what the limit was compared with.
    let used = cx.host.used_memory().saturating_sub(text.0.capacity()) as u64;
    let peak = facts.peak_memory.max(used);
    let resident = facts.resident_bytes;
    let of_clients = cx.shared.clients_memory();
    let fed = cx.shared.fed_bytes;
    let keys: usize = cx.keys.dbs().iter().map(|db| db.len()).sum();
    // What the tables take beside the values: an entry for each key.
    let tables = (keys * size_of::<crate::keyspace::KeyEntry>()) as u64;
    let overhead = ((of_clients + fed) as u64 + tables + facts.log_queued_bytes).min(used);
    let dataset = used - overhead;
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
    let beyond = resident as i64 - used as i64;
    text.bytes("used_memory", used);
    text.bytes("used_memory_rss", resident);
    text.bytes("used_memory_peak", peak);
    text.field("used_memory_peak_perc", format_args!("{:.2}%", share(used, peak)));
    text.field("used_memory_overhead", overhead);
    text.field("used_memory_startup", 0);
    text.field("used_memory_dataset", dataset);
    text.field("used_memory_dataset_perc", format_args!("{:.2}%", share(dataset, used)));
    text.field("allocator_allocated", used);
    text.field("allocator_active", resident);
    text.field("allocator_resident", resident);
    text.bytes("total_system_memory", facts.system_memory);
    scripts(text, cx);
    text.bytes("maxmemory", config.maxmemory);
    text.field("maxmemory_policy", config.maxmemory_policy);
    text.ratio("allocator_frag_ratio", ratio(resident, used));
    text.field("allocator_frag_bytes", beyond);
    text.ratio("allocator_rss_ratio", 1.0);
    text.field("allocator_rss_bytes", 0);
    text.ratio("rss_overhead_ratio", 1.0);
    text.field("rss_overhead_bytes", 0);
    text.ratio("mem_fragmentation_ratio", ratio(resident, used));
    text.field("mem_fragmentation_bytes", beyond);
    // Eviction leaves out what goes away by itself.
    text.field("mem_not_counted_for_evict", fed);
    text.field("mem_replication_backlog", 0);
    text.field("mem_total_replication_buffers", fed);
    text.field("mem_clients_slaves", fed);
    text.field("mem_clients_normal", of_clients);
    text.field("mem_cluster_links", 0);
    text.field("mem_aof_buffer", facts.log_queued_bytes);
    text.field("mem_allocator", "jemalloc");
    text.field("active_defrag_running", 0);
    let (pending, freed) = cx.keys.trash_objects();
    text.field("lazyfree_pending_objects", pending);
    text.field("lazyfreed_objects", freed);
}

fn scripts(text: &mut Text, cx: &Context<'_>) {
    // There are no figures while a script is what asks.
    let (of_eval, sources, count) = cx.scripts.as_ref().map_or((0, 0, 0), |scripts| {
        let cache = scripts.eval.cache();
        (scripts.eval.used_memory() as u64, cache.source_bytes() as u64, cache.len())
    });
    let (of_functions, codes, counts) =
        cx.scripts.as_ref().map_or((0, 0, LibraryCounts::default()), |scripts| {
            let functions = &scripts.functions;
            (functions.used_memory() as u64, functions.code_bytes() as u64, functions.counts())
        });
    text.bytes("used_memory_lua", of_eval);
    text.field("lua_memory_limit", cx.config().lua_memory_limit);
    text.field("used_memory_vm_eval", of_eval);
    text.field("used_memory_scripts_eval", sources);
    text.field("number_of_cached_scripts", count);
    text.field("number_of_functions", counts.functions);
    text.field("number_of_libraries", counts.libraries);
    text.field("used_memory_vm_functions", of_functions);
    text.bytes("used_memory_vm_total", of_eval + of_functions);
    text.field("used_memory_functions", codes);
    text.bytes("used_memory_scripts", sources + codes);
}

fn persistence(text: &mut Text, cx: &Context<'_>, facts: &Facts) {
    let outcome = |ok: bool| if ok { "ok" } else { "err" };
    let saving_s = if facts.save_in_progress { cx.now_ms() / 1000 - facts.save_started_at_s } else { -1 };
    text.flag("loading", facts.loading);
    text.constants(&["async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"], 0);
    text.ratio("current_fork_perc", 0.0);
    text.constants(&["current_save_keys_processed", "current_save_keys_total"], 0);
    text.field("rdb_changes_since_last_save", cx.shared.effects.dirty());
    text.flag("rdb_bgsave_in_progress", facts.save_in_progress);
    text.field("rdb_last_save_time", facts.last_save_at_s);
    text.field("rdb_last_bgsave_status", outcome(facts.last_save_ok));
    text.field("rdb_last_bgsave_time_sec", facts.last_save_seconds);
    text.field("rdb_current_bgsave_time_sec", saving_s);
    text.field("rdb_saves", facts.saves);
    text.constants(&["rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"], 0);
    text.flag("aof_enabled", facts.log_enabled);
    text.flag("aof_rewrite_in_progress", facts.rewrite_in_progress);
    text.flag("aof_rewrite_scheduled", facts.rewrite_scheduled);
    text.constants(&["aof_last_rewrite_time_sec", "aof_current_rewrite_time_sec"], -1);
    text.field("aof_last_bgrewrite_status", "ok");
    text.constants(&["aof_rewrites", "aof_rewrites_consecutive_failures"], 0);
    text.field("aof_last_write_status", outcome(facts.log_last_write_ok));
    text.constants(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"], 0);
    if !facts.log_enabled {
        return;
    }
    text.field("aof_current_size", facts.log_bytes);
    text.field("aof_base_size", facts.log_base_bytes);
    text.field("aof_pending_rewrite", 0);
    text.field("aof_buffer_length", facts.log_queued_bytes);
    text.constants(&["aof_pending_bio_fsync", "aof_delayed_fsync"], 0);
    // Cairn's own: how far the log has come, and what an acknowledgement means.
    let promise = match cx.config().appendfsync {
        AppendFsync::Always => "always",
        AppendFsync::Everysec => "everysec",
        AppendFsync::No => "no",
    };
    text.field("log_acknowledged_after", promise);
    text.field("log_appended", facts.log_appended);
    text.field("log_released", facts.log_released);
    text.field("log_synced", facts.log_synced);
    text.field("log_bytes_since_snapshot", facts.log_grown_bytes);
    text.field("log_syncs", facts.log_syncs);
    text.field("log_last_sync_usec", facts.log_last_sync_us);
}

fn stats(text: &mut Text, cx: &Context<'_>, facts: &Facts) {
    let stats = &cx.shared.stats;
    text.field("total_connections_received", stats.connections);
    text.field("total_commands_processed", stats.commands);
    text.field("instantaneous_ops_per_sec", stats.instantaneous_ops);
    text.field("total_net_input_bytes", facts.net_input_bytes);
    text.field("total_net_output_bytes", facts.net_output_bytes);
    text.constants(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"], 0);
    text.ratio("instantaneous_input_kbps", facts.instantaneous_input_kbps);
    text.ratio("instantaneous_output_kbps", facts.instantaneous_output_kbps);
    text.ratio("instantaneous_input_repl_kbps", 0.0);
    text.ratio("instantaneous_output_repl_kbps", 0.0);
    text.field("rejected_connections", facts.rejected_connections);
    text.field("sync_full", stats.full_syncs);
    text.constants(&["sync_partial_ok"], 0);
    text.field("sync_partial_err", stats.refused_partial_syncs);
    text.field("expired_subkeys", stats.expired_fields);
    text.field("expired_keys", stats.expired_keys);
    text.ratio("expired_stale_perc", 0.0);
    text.field("expired_time_cap_reached_count", stats.expired_time_cap_reached);
    text.field("expire_cycle_cpu_milliseconds", stats.expire_cycle_cpu_ms);
    text.field("evicted_keys", stats.evicted_keys);
    text.field("evicted_clients", stats.evicted_clients);
    text.constants(&["total_eviction_exceeded_time", "current_eviction_exceeded_time"], 0);
    text.field("keyspace_hits", cx.keys.hits.get());
    text.field("keyspace_misses", cx.keys.misses.get());
    text.field("pubsub_channels", cx.shared.pubsub.channels.len());
    text.field("pubsub_patterns", cx.shared.pubsub.patterns.len());
    text.field("pubsubshard_channels", cx.shared.pubsub.shard_channels.len());
    text.constants(
        &[
            "latest_fork_usec",
            "total_forks",
            "migrate_cached_sockets",
            "slave_expires_tracked_keys",
            "active_defrag_hits",
            "active_defrag_misses",
            "active_defrag_key_hits",
            "active_defrag_key_misses",
            "total_active_defrag_time",
            "current_active_defrag_time",
        ],
        0,
    );
    text.field("tracking_total_keys", cx.shared.tracking.keys());
    text.field("tracking_total_items", cx.shared.tracking.items());
    text.field("tracking_total_prefixes", cx.shared.tracking.prefixes());
    text.field("unexpected_error_replies", stats.unexpected_error_replies);
    text.field("total_error_replies", stats.total_error_replies);
    text.constants(
        &[
            "dump_payload_sanitizations",
            "total_reads_processed",
            "total_writes_processed",
            "io_threaded_reads_processed",
            "io_threaded_writes_processed",
        ],
        0,
    );
    text.field("client_query_buffer_limit_disconnections", stats.query_limit_disconnections);
    text.field("client_output_buffer_limit_disconnections", stats.output_limit_disconnections);
    text.constants(&["reply_buffer_shrinks", "reply_buffer_expands"], 0);
    text.field("eventloop_cycles", facts.turns);
    text.field("eventloop_duration_sum", facts.turns_us);
    text.field("eventloop_duration_cmd_sum", stats.command_us);
    text.field("instantaneous_eventloop_cycles_per_sec", facts.instantaneous_turns);
    text.field("instantaneous_eventloop_duration_usec", facts.instantaneous_turn_us);
    for (what, reason) in
        [("auth", Reason::Auth), ("cmd", Reason::Command), ("key", Reason::Key), ("channel", Reason::Channel)]
    {
        text.field(format!("acl_access_denied_{what}"), cx.shared.acl.refused(reason));
    }
}

fn event_loop(text: &mut Text, _cx: &Context<'_>, facts: &Facts) {
    text.field("eventloop_duration_aof_sum", facts.journal_us);
    text.field("eventloop_duration_cron_sum", facts.cron_us);
    text.field("eventloop_duration_max", facts.turn_us_max);
    text.field("eventloop_cmd_per_cycle_max", facts.turn_commands_max);
}

fn cpu(text: &mut Text, _cx: &Context<'_>, facts: &Facts) {
    for (name, seconds) in [
        ("used_cpu_sys", facts.cpu_sys),
        ("used_cpu_user", facts.cpu_user),
        ("used_cpu_sys_children", 0.0),
        ("used_cpu_user_children", 0.0),
        ("used_cpu_sys_main_thread", facts.cpu_sys_main_thread),
        ("used_cpu_user_main_thread", facts.cpu_user_main_thread),
    ] {
        text.field(name, format_args!("{seconds:.6}"));
    }
}

fn commandstats(text: &mut Text, cx: &Context<'_>, _facts: &Facts) {
    for (entry, stats) in table().entries().iter().zip(&cx.shared.stats.by_command) {
        if stats.calls + stats.rejected + stats.failed == 0 {
            continue;
        }
        let mean = if stats.calls == 0 { 0.0 } else { stats.microseconds as f64 / stats.calls as f64 };
        text.field(
            format_args!("cmdstat_{}", entry.full_name),
            format_args!(
                "calls={},usec={},usec_per_call={mean:.2},rejected_calls={},failed_calls={}",
                stats.calls, stats.microseconds, stats.rejected, stats.failed
            ),
        );
    }
}

fn errorstats(text: &mut Text, cx: &Context<'_>, _facts: &Facts) {
    let mut errors: Vec<(&String, &u64)> = cx.shared.stats.errors.iter().collect();
    errors.sort_unstable();
    for (code, count) in errors {
        // A script can invent a code; it must not break the line.
        let code: String =
            code.chars().map(|c| if matches!(c, '#' | ':' | '\n' | '\r') { '_' } else { c }).collect();
        text.field(format_args!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn latencystats(text: &mut Text, cx: &Context<'_>, _facts: &Facts) {
    let percentiles = &cx.config().latency_tracking_info_percentiles;
    for (entry, stats) in table().entries().iter().zip(&cx.shared.stats.by_command) {
        if stats.latency.is_empty() {
            continue;
        }
        let figures: Vec<String> = percentiles
            .iter()
            .map(|&percentile| format!("p{percentile}={:.3}", stats.latency.percentile_us(percentile)))
            .collect();
        text.field(format_args!("latency_percentiles_usec_{}", entry.full_name), figures.join(","));
    }
}

fn keyspace(text: &mut Text, cx: &Context<'_>, _facts: &Facts) {
    for (number, db) in cx.keys.dbs().iter().enumerate() {
        if !db.is_empty() {
            text.field(
                format_args!("db{number}"),
                format_args!(
                    "keys={},expires={},avg_ttl={},subexpiry={}",
                    db.len(),
                    db.expires.len(),
                    db.average_ttl_ms,
                    db.field_expiries.len()
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use super::human;
    use crate::testing::TestEngine;

    fn titles(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("# ")).collect()
    }

    #[test]
    fn sections_come_in_redis_s_order_however_they_are_asked_for() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        let default = [
            "Server",
            "Clients",
            "Memory",
            "Persistence",
            "Stats",
            "Replication",
            "CPU",
            "Modules",
            "Errorstats",
            "Cluster",
            "Keyspace",
        ];
        assert_eq!(titles(&server.run(a, "INFO")), default);
        assert_eq!(titles(&server.run(a, "INFO default")), default);
        assert_eq!(titles(&server.run(a, "INFO everything")).len(), 13);
        assert_eq!(titles(&server.run(a, "INFO ALL")).len(), 13);
        assert_eq!(titles(&server.run(a, "INFO keyspace SERVER nosuch")), ["Server", "Keyspace"]);
        assert_eq!(server.run(a, "INFO nosuch"), "$0\r\n\r\n");
        let b = server.connect(Resp::V3);
        assert!(server.run(b, "INFO cluster").ends_with("\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n"));
    }

    #[test]
    fn what_happened_is_counted() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "SET k v");
        server.run(a, "GET k");
        server.run(a, "GET none");
        server.run(a, "GET");
        server.run(a, "SELECT x");
        server.run(a, "NOSUCH");
        let info = server.run(a, "INFO everything");
        for field in [
            "redis_version:7.4.0",
            "redis_mode:standalone",
            "connected_clients:1",
            "keyspace_hits:1",
            "keyspace_misses:1",
            "rdb_changes_since_last_save:1",
            "errorstat_ERR:count=3",
            "total_error_replies:3",
            "db0:keys=1,expires=0,avg_ttl=0,subexpiry=0",
            "cmdstat_get:calls=2,usec=2,usec_per_call=1.00,rejected_calls=1,failed_calls=0",
            "cmdstat_select:calls=1,usec=1,usec_per_call=1.00,rejected_calls=0,failed_calls=1",
            "latency_percentiles_usec_get:p50=1.003,p99=1.003,p99.9=1.003",
        ] {
            assert!(info.lines().any(|line| line == field), "{field} in\n{info}");
        }
        assert!(!info.contains("cmdstat_bit"), "an unknown command counts for no other:\n{info}");
    }

    #[test]
    fn codes_that_scripts_invent_are_counted_together_when_they_are_many() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        let mut fail = |code: &str| {
            let script = b"return redis.error_reply(ARGV[1])";
            server.send(a, &[b"EVAL", script, b"0", code.as_bytes()])
        };
        for n in 1..=1100 {
            assert_eq!(fail(&format!("{n}x told")), format!("-{n}x told\r\n").as_bytes());
        }
        fail("1x told");
        server.run(a, "SET a b c");
        let info = server.run(a, "INFO errorstats");
        for field in
            ["errorstat_1x:count=2", "errorstat_ERR:count=1", "errorstat_ERRORSTATS_OVERFLOW:count=972"]
        {
            assert!(info.lines().any(|line| line == field), "{field} in\n{info}");
        }
    }

    #[test]
    fn a_wait_that_is_ended_with_an_error_counts_as_one() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(b, "BLPOP list 0");
        server.run(a, "CLIENT UNBLOCK 2 ERROR");
        let info = server.run(a, "INFO all");
        for field in ["errorstat_UNBLOCKED:count=1", "total_error_replies:1"] {
            assert!(info.lines().any(|line| line == field), "{field} in\n{info}");
        }
        let blpop = info.lines().find(|line| line.starts_with("cmdstat_blpop:calls=1,"));
        assert!(blpop.is_some_and(|line| line.ends_with("rejected_calls=0,failed_calls=1")), "{info}");
    }

    #[test]
    fn the_event_loop_is_shown_to_who_asks_for_it() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert!(!server.run(a, "INFO everything").contains("eventloop_duration_cron_sum"));
        assert!(server.run(a, "INFO debug").contains("# Debug\r\neventloop_duration_aof_sum:0\r\n"));
        assert!(server.run(a, "INFO stats").contains("\r\neventloop_cycles:0\r\n"));
    }

    #[test]
    fn bytes_for_people() {
        for (bytes, expected) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1536 * 1024, "1.50M"),
            (5 << 30, "5.00G"),
            (1 << 50, "1.00P"),
        ] {
            assert_eq!(human(bytes), expected);
        }
    }
}
