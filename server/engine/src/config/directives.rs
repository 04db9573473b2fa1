//! Every directive, declared once. Names, defaults, bounds and the moment when a directive may
//! change are those of Redis 7.2's `config.c`; where Cairn chooses a safer default, the doc says so.

use super::directive::{Changes, Directive, Effect, Group, dashed, directives, is_many, replace};
use super::kinds::{
    Addresses, BufferLimits, Checked, Clamped, Kind, Master, MemoryOrPercent, NodeAddresses, NotifyLetters,
    OPTIONAL, OomScores, Percentiles, SaveRules, ShutdownWords, TEXT, Word, YesNo, int, memory, octal,
    one_of,
};
use super::values::{
    AppendFsync, ClusterRedirect, LogLevel, MaxmemoryPolicy, MemoryShare, NodeAddress, NotifyFlags,
    OutputBufferLimits, ProtectedAction, SaveRule, ShutdownFlags,
};

const INT: i128 = i32::MAX as i128;
const UINT: i128 = u32::MAX as i128;
const LONG: i128 = i64::MAX as i128;
const ULONG: i128 = u64::MAX as i128;
const MIB: i128 = 1 << 20;

directives! {
    Network {
        /// Addresses to listen on; `-` before one: do without it if it is not there.
        bind: Vec<String> = vec!["*".to_owned(), "-::*".to_owned()], Addresses, Live;
        /// TCP port; 0 = do not listen on TCP.
        port: u16 = 6379, int(0, 65535), Live;
        /// Connections that the kernel may queue before they are accepted.
        tcp_backlog: u32 = 511, int(0, INT), AtStart;
        /// Seconds between TCP keep-alive probes; 0 = none.
        tcp_keepalive: u32 = 300, int(0, INT), Live;
        /// Unix socket to listen on as well.
        unixsocket: String = String::new(), OPTIONAL, AtStart;
        /// Permissions of the Unix socket, octal; 0 = those of the umask.
        unixsocketperm: u32 = 0, octal(0, 0o777), AtStart;
        /// Group of the Unix socket; empty = the server's.
        unixsocketgroup: String = String::new(), OPTIONAL, AtStart;
        /// Seconds of silence after which a client is disconnected; 0 = never.
        timeout: u32 = 0, int(0, INT), Live;
        /// Clients connected at the same time.
        maxclients: u32 = 10_000, int(1, UINT), Live;
        /// Refuse other machines while there is neither a password nor an address in `bind`.
        protected_mode: bool = true, YesNo, Live;
        /// Source address of outgoing connections.
        bind_source_addr: String = String::new(), OPTIONAL, Live;
        /// Mark of the listening sockets.
        socket_mark_id: u32 = 0, int(0, UINT), AtStart, NoEffect;
        /// Connections accepted in one turn of the event loop.
        max_new_connections_per_cycle: u32 = 10, int(1, 1000), Live, NoEffect;
        /// Connections with TLS accepted in one turn of the event loop.
        max_new_tls_connections_per_cycle: u32 = 1, int(1, 1000), Live, NoEffect;
        /// I/O threads.
        io_threads: u32 = 1, int(1, 128), AtStart, NoEffect;
        /// Whether I/O threads also read.
        io_threads_do_reads: bool = false, YesNo, Fixed, NoEffect;
    }

    Tls {
        /// TCP port for TLS to listen on; 0 = none.
        tls_port: u16 = 0, int(0, 65535), Live;
        /// File with this server's certificate, and those between it and the authority's; PEM.
        tls_cert_file: String = String::new(), OPTIONAL, Reread;
        /// File with the certificate's key, PEM, without a passphrase.
        tls_key_file: String = String::new(), OPTIONAL, Reread;
        /// Passphrase of that key; only empty, keys are read as they are.
        tls_key_file_pass: String = String::new(), Checked(OPTIONAL, no_passphrase), Live;
        /// Passphrase of the key to show as a client; only empty.
        tls_client_key_file_pass: String = String::new(), Checked(OPTIONAL, no_passphrase), Live;
        /// File with the certificates that those of clients (`tls-auth-clients`) and other nodes (`tls-cluster`) must be signed by.
        tls_ca_cert_file: String = String::new(), OPTIONAL, Reread;
        /// Directory of such files, for clients.
        tls_ca_cert_dir: String = String::new(), OPTIONAL, Reread;
        /// Whether clients must show a certificate: yes, no, or optional (a wrong one is refused).
        tls_auth_clients: &'static str = "yes", Word(&["no", "yes", "optional"]), Live;
        /// Versions to speak, of TLSv1.2 and TLSv1.3; empty = both.
        tls_protocols: String = String::new(), OPTIONAL, Live;
        /// Let clients resume sessions, which makes their next handshake cheaper.
        tls_session_caching: bool = true, YesNo, Live;
        /// Sessions to remember; 0 = 20480.
        tls_session_cache_size: u32 = 20_480, int(0, INT), Live;
        /// Seconds to remember a session for; those over `tls-session-cache-size` go, whatever their age.
        tls_session_cache_timeout: u32 = 300, int(0, INT), Live, NoEffect;
        /// Prefer this server's order of ciphers to the client's, which is what it does.
        tls_prefer_server_ciphers: bool = false, YesNo, Live, NoEffect;
    }

    Security {
        /// Password that clients give to AUTH; empty = none.
        requirepass: String = String::new(), OPTIONAL, Live;
        /// Whether CONFIG SET may change `dir` and `dbfilename`: no, yes or local (connections).
        enable_protected_configs: ProtectedAction = ProtectedAction::No, one_of(), AtStart;
        /// Whether clients may use DEBUG: no, yes or local (connections).
        enable_debug_command: ProtectedAction = ProtectedAction::No, one_of(), AtStart;
        /// Whether clients may load modules; there are none.
        enable_module_command: ProtectedAction = ProtectedAction::No, one_of(), AtStart, NoEffect;
        /// Channels that a new user may use.
        acl_pubsub_default: &'static str = "resetchannels", Word(&["allchannels", "resetchannels"]), Live;
        /// Entries of the log of refused commands.
        acllog_max_len: u64 = 128, int(0, LONG), Live;
        /// File with users and what they may do, relative to `dir`; empty = none.
        aclfile: String = String::new(), TEXT, AtStart;
    }

    General {
        /// Number of databases.
        databases: u32 = 16, int(1, INT), AtStart;
        /// Least severe message that is logged: debug, verbose, notice, warning or nothing.
        loglevel: LogLevel = LogLevel::Notice, one_of(), Live;
        /// File to log to; empty = standard output.
        logfile: String = String::new(), TEXT, AtStart;
        /// File that holds the process id while the server runs.
        pidfile: String = String::new(), OPTIONAL, AtStart;
        /// Turns of background work in a second, 1 to 500.
        hz: u32 = 10, Clamped { number: int(0, INT), min: 1, max: 500 }, Live;
        /// Do background work more often with many clients.
        dynamic_hz: bool = true, YesNo, Live;
        /// Seconds that a shutdown waits for replicas to catch up.
        shutdown_timeout: u32 = 10, int(0, INT), Live;
        /// What SIGINT asks SHUTDOWN for: default, or any of save, nosave, now, force.
        shutdown_on_sigint: ShutdownFlags = ShutdownFlags::default(), ShutdownWords, Live;
        /// What SIGTERM asks SHUTDOWN for: default, or any of save, nosave, now, force.
        shutdown_on_sigterm: ShutdownFlags = ShutdownFlags::default(), ShutdownWords, Live;
        /// Go into the background; use systemd or a container instead, `yes` does not start.
        daemonize: bool = false, YesNo, AtStart;
        /// Report to a supervisor.
        supervised: &'static str = "no", Word(&["upstart", "systemd", "auto", "no"]), AtStart, NoEffect;
        /// Log to syslog.
        syslog_enabled: bool = false, YesNo, AtStart, NoEffect;
        /// Name in syslog.
        syslog_ident: String = "redis".to_owned(), TEXT, AtStart, NoEffect;
        /// Facility in syslog.
        syslog_facility: &'static str = "local0", Word(SYSLOG_FACILITIES), AtStart, NoEffect;
        /// Logo in the log at start.
        always_show_logo: bool = false, YesNo, AtStart, NoEffect;
        /// Put the port into the process title.
        set_proc_title: bool = true, YesNo, AtStart, NoEffect;
        /// Process title.
        proc_title_template: String = "{title} {listen-addr} {server-mode}".to_owned(), TEXT, Live, NoEffect;
        /// Collation of strings in SORT and scripts.
        locale_collate: String = String::new(), TEXT, Live, NoEffect;
        /// Log a report when the server crashes.
        crash_log_enabled: bool = true, YesNo, Live, NoEffect;
        /// Test the memory when the server crashes.
        crash_memcheck_enabled: bool = true, YesNo, Live, NoEffect;
        /// Checks of the system that need not pass.
        ignore_warnings: String = String::new(), TEXT, Live, NoEffect;
        /// Keep user data out of the log.
        hide_user_data_from_log: bool = false, YesNo, Live, NoEffect;
        /// CPUs of the server's threads.
        server_cpulist: String = String::new(), OPTIONAL, AtStart, NoEffect (alias "server_cpulist");
        /// CPUs of background I/O.
        bio_cpulist: String = String::new(), OPTIONAL, AtStart, NoEffect (alias "bio_cpulist");
        /// CPUs of rewriting the append-only file.
        aof_rewrite_cpulist: String = String::new(), OPTIONAL, AtStart, NoEffect (alias "aof_rewrite_cpulist");
        /// CPUs of snapshots.
        bgsave_cpulist: String = String::new(), OPTIONAL, AtStart, NoEffect (alias "bgsave_cpulist");
    }

    Persistence {
        /// Directory of the log and the snapshots.
        dir: String = ".".to_owned(), Checked(TEXT, not_empty), Protected;
        /// Keep a write-ahead log (Redis: no). With `no` only snapshots survive the process.
        appendonly: bool = true, YesNo, Live;
        /// When a write is acknowledged: always (synced; Redis: everysec), everysec or no.
        appendfsync: AppendFsync = AppendFsync::Always, one_of(), Live;
        /// Snapshot after so many seconds with so many changes; pairs, or "" for never.
        save: Vec<SaveRule> = SAVE_RULES.to_vec(), SaveRules, Live;
        /// File name of the snapshot that is loaded from and written to `dir`.
        dbfilename: String = "dump.rdb".to_owned(), Checked(TEXT, file_name), Protected;
        /// Compress strings in snapshots.
        rdbcompression: bool = true, YesNo, Live;
        /// End snapshots with a checksum, and check it.
        rdbchecksum: bool = true, YesNo, AtStart;
        /// Refuse writes while the last snapshot failed and `save` has rules.
        stop_writes_on_bgsave_error: bool = true, YesNo, Live;
        /// Snapshot once the log has grown by this percentage over its size at the last; 0 = never.
        auto_aof_rewrite_percentage: u32 = 100, int(0, INT), Live;
        /// Size of the log below which `auto-aof-rewrite-percentage` does not count.
        auto_aof_rewrite_min_size: u64 = 64 << 20, memory(0, LONG), Live;
        /// Size of a log segment, a file that is allocated as a whole.
        log_segment_size: u64 = 64 << 20, memory(MIB, 1 << 40), Fixed;
        /// Log older than the snapshot that is kept for catching up and restoring to a moment; 0 = none.
        log_retention_size: u64 = 256 << 20, memory(0, LONG), Live;
        /// Seconds after which log older than the snapshot goes, even within the size; 0 = never.
        log_retention_time: u64 = 0, int(0, LONG), Live;
        /// Name of the append-only file.
        appendfilename: String = "appendonly.aof".to_owned(), Checked(TEXT, aof_file_name), AtStart, NoEffect;
        /// Directory of the append-only file.
        appenddirname: String = "appendonlydir".to_owned(), Checked(TEXT, aof_dir_name), AtStart, NoEffect;
        /// Do not sync while a child process writes.
        no_appendfsync_on_rewrite: bool = false, YesNo, Live, NoEffect;
        /// Start with a torn append-only file; Cairn drops a torn last record, and nothing else.
        aof_load_truncated: bool = true, YesNo, Live, NoEffect;
        /// Begin the append-only file with a snapshot.
        aof_use_rdb_preamble: bool = true, YesNo, Live, NoEffect;
        /// Write the time into the append-only file.
        aof_timestamp_enabled: bool = false, YesNo, Live, NoEffect;
        /// Sync the append-only file in steps while it is rewritten.
        aof_rewrite_incremental_fsync: bool = true, YesNo, Live, NoEffect;
        /// Sync a snapshot in steps while it is written.
        rdb_save_incremental_fsync: bool = true, YesNo, Live, NoEffect;
        /// Delete snapshots that served replication only.
        rdb_del_sync_files: bool = false, YesNo, Live, NoEffect;
        /// Check RESTORE's payloads and snapshots in depth; Cairn always does.
        sanitize_dump_payload: &'static str = "no", Word(&["no", "yes", "clients"]), Live, NoEffect;
    }

    Memory {
        /// Bytes of data from which `maxmemory-policy` acts; 0 = no limit.
        maxmemory: u64 = 0, memory(0, ULONG), Live;
        /// What is evicted: (volatile|allkeys)-(lru|lfu|random), volatile-ttl or noeviction.
        maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::Noeviction, one_of(), Live;
        /// Keys looked at to find one to evict.
        maxmemory_samples: u32 = 5, int(1, INT), Live;
        /// How long one round of eviction may take, 0 (short) to 100 (until it fits).
        maxmemory_eviction_tenacity: u32 = 10, int(0, 100), Live;
        /// Bytes, or percentage of `maxmemory`, that all clients' buffers may take; 0 = no limit.
        maxmemory_clients: MemoryShare = MemoryShare::Bytes(0), MemoryOrPercent, Live;
        /// Bytes that Lua may allocate for scripts, and as many for functions: beyond, a script fails; 0 = no limit.
        lua_memory_limit: u64 = 1 << 30, memory(0, LONG), Live;
        /// How slowly the access counter of the lfu policies grows.
        lfu_log_factor: u32 = 10, int(0, INT), Live;
        /// Minutes after which the access counter of the lfu policies is lowered; 0 = at each look.
        lfu_decay_time: u32 = 1, int(0, INT), Live;
        /// Effort of looking for expired keys, 1 to 10.
        active_expire_effort: u32 = 1, int(1, 10), Live;
        /// Free evicted values in the background.
        lazyfree_lazy_eviction: bool = false, YesNo, Live;
        /// Free expired values in the background.
        lazyfree_lazy_expire: bool = false, YesNo, Live;
        /// Free values that a command overwrote in the background.
        lazyfree_lazy_server_del: bool = false, YesNo, Live;
        /// Let DEL free in the background, like UNLINK.
        lazyfree_lazy_user_del: bool = false, YesNo, Live;
        /// Let FLUSHALL, FLUSHDB and SCRIPT FLUSH free in the background unless told SYNC.
        lazyfree_lazy_user_flush: bool = false, YesNo, Live;
        /// Keys that the server remembers for client-side caching.
        tracking_table_max_keys: u64 = 1_000_000, int(0, LONG), Live;
        /// Move tables to their new size in the background.
        activerehashing: bool = true, YesNo, Live, NoEffect;
        /// Defragment memory while serving.
        activedefrag: bool = false, Checked(YesNo, no_defrag), Live, NoEffect;
        /// Least effort of defragmentation, percent of a CPU.
        active_defrag_cycle_min: u32 = 1, int(1, 99), Live, NoEffect;
        /// Most effort of defragmentation, percent of a CPU.
        active_defrag_cycle_max: u32 = 25, int(1, 99), Live, NoEffect;
        /// Fragmentation below which nothing is done, percent.
        active_defrag_threshold_lower: u32 = 10, int(0, 1000), Live, NoEffect;
        /// Fragmentation from which the most effort is made, percent.
        active_defrag_threshold_upper: u32 = 100, int(0, 1000), Live, NoEffect;
        /// Wasted bytes below which nothing is defragmented.
        active_defrag_ignore_bytes: u64 = 100 << 20, memory(1, LONG), Live, NoEffect;
        /// Size from which a collection is defragmented in steps.
        active_defrag_max_scan_fields: u64 = 1000, int(1, LONG), Live, NoEffect;
        /// Let jemalloc return memory from a thread.
        jemalloc_bg_thread: bool = true, YesNo, Live, NoEffect;
        /// Turn transparent huge pages off.
        disable_thp: bool = true, YesNo, AtStart, NoEffect;
        /// How readily the kernel ends the server when memory is out: no, relative (to what it was; also yes) or absolute.
        oom_score_adj: &'static str = "no", Word(&["no", "yes", "relative", "absolute"]), Live;
        /// That score of a server or leader, of a node that follows, and of a child process, which there is none of.
        oom_score_adj_values: [i32; 3] = [0, 200, 800], OomScores, Live;
    }

    Encodings {
        /// Fields of a hash that is stored compactly.
        hash_max_listpack_entries: usize = 512, int(0, LONG), Live (alias "hash-max-ziplist-entries");
        /// Bytes of a field or value in a hash that is stored compactly.
        hash_max_listpack_value: usize = 64, memory(0, LONG), Live (alias "hash-max-ziplist-value");
        /// Entries of a compact list node; -1 to -5: its size, 4 kB to 64 kB.
        list_max_listpack_size: i32 = -2, int(i32::MIN as i128, INT), Live (alias "list-max-ziplist-size");
        /// Compress list nodes that are further than this from both ends; 0 = none.
        list_compress_depth: u32 = 0, int(0, INT), Live, NoEffect;
        /// Members of a set of integers that is stored compactly.
        set_max_intset_entries: usize = 512, int(0, LONG), Live;
        /// Members of a set that is stored compactly.
        set_max_listpack_entries: usize = 128, int(0, LONG), Live;
        /// Bytes of a member in a set that is stored compactly.
        set_max_listpack_value: usize = 64, int(0, LONG), Live;
        /// Members of a sorted set that is stored compactly.
        zset_max_listpack_entries: usize = 128, int(0, LONG), Live (alias "zset-max-ziplist-entries");
        /// Bytes of a member in a sorted set that is stored compactly.
        zset_max_listpack_value: usize = 64, memory(0, LONG), Live (alias "zset-max-ziplist-value");
        /// Bytes of a HyperLogLog that is stored sparsely.
        hll_sparse_max_bytes: usize = 3000, memory(0, LONG), Live;
        /// Bytes of a node of a stream; 0 = no limit.
        stream_node_max_bytes: usize = 4096, memory(0, LONG), Live;
        /// Entries of a node of a stream; 0 = no limit.
        stream_node_max_entries: u64 = 100, int(0, LONG), Live;
    }

    Clients {
        /// `<normal|replica|pubsub> <hard> <soft> <seconds>`: unread replies that disconnect a client; 0 = no limit.
        client_output_buffer_limit: OutputBufferLimits = OutputBufferLimits::DEFAULT, BufferLimits, Live;
        /// Bytes of a client's unfinished commands.
        client_query_buffer_limit: usize = 1 << 30, memory(MIB, LONG), Live;
        /// Bytes of one argument of a command.
        proto_max_bulk_len: usize = 512 << 20, memory(MIB, LONG), Live;
        /// Milliseconds after which others are told BUSY while a script runs; 0 = never.
        busy_reply_threshold: u64 = 5000, int(0, LONG), Live (alias "lua-time-limit");
    }

    Observation {
        /// Keyspace events to publish: letters of KEg$lshzxetdmnA; empty = none.
        notify_keyspace_events: NotifyFlags = NotifyFlags::NONE, NotifyLetters, Live;
        /// Microseconds from which a command is in the slow log; 0 = all, -1 = none.
        slowlog_log_slower_than: i64 = 10_000, int(-1, LONG), Live;
        /// Entries of the slow log.
        slowlog_max_len: u64 = 128, int(0, LONG), Live;
        /// Milliseconds from which an event is in LATENCY's history; 0 = none.
        latency_monitor_threshold: u64 = 0, int(0, LONG), Live;
        /// Keep a histogram of latencies for each command.
        latency_tracking: bool = true, YesNo, Live;
        /// Percentiles that INFO latencystats shows; "" for none.
        latency_tracking_info_percentiles: Vec<f64> = vec![50.0, 99.0, 99.9], Percentiles, Live;
    }

    Cluster {
        /// Be a node of a group of nodes that keep the same data.
        cluster_enabled: bool = false, YesNo, AtStart;
        /// `host:port,host:port,…`: the nodes of a new group, by their clients' ports; empty = wait for CLUSTER MEET.
        cluster_peers: Vec<NodeAddress> = Vec::new(), NodeAddresses, Fixed;
        /// Port for the other nodes; 0 = `port` + 10000.
        cluster_port: u16 = 0, int(0, 65535), AtStart;
        /// Milliseconds of silence after which a node counts as gone (Redis: 15000).
        cluster_node_timeout: u64 = 1000, int(100, INT), Live;
        /// What a node that does not lead does with commands for the leader: proxy (pass them on) or moved (-MOVED).
        cluster_redirect: ClusterRedirect = ClusterRedirect::Proxy, one_of(), Live;
        /// What the nodes prove to each other that they know; empty = nothing.
        cluster_secret: String = String::new(), OPTIONAL, Fixed;
        /// Address under which this node is listed; empty = the one that it listens on.
        cluster_announce_ip: String = String::new(), OPTIONAL, Live;
        /// Port under which this node is listed; 0 = `port`.
        cluster_announce_port: u16 = 0, int(0, 65535), Live;
        /// Port for the other nodes under which this node is listed; 0 = `cluster-port`.
        cluster_announce_bus_port: u16 = 0, int(0, 65535), Live;
        /// The name of the group for SENTINEL.
        sentinel_master_name: String = "mymaster".to_owned(), Checked(TEXT, master_name), Live;
        /// Encrypt what the nodes send to each other, and check their certificates.
        tls_cluster: bool = false, YesNo, Live;
        /// File of the group's members; Cairn keeps them in its log.
        cluster_config_file: String = "nodes.conf".to_owned(), TEXT, AtStart, NoEffect;
        /// Refuse everything while some slots are nobody's; all slots are one leader's.
        cluster_require_full_coverage: bool = true, YesNo, Live, NoEffect;
        /// Answer reads while the group is down; clients ask for that with READONLY.
        cluster_allow_reads_when_down: bool = false, YesNo, Live, NoEffect;
        /// Serve sharded channels while the group is down.
        cluster_allow_pubsubshard_when_down: bool = true, YesNo, Live, NoEffect;
        /// Let replicas move to another master; there is one.
        cluster_allow_replica_migration: bool = true, YesNo, Live, NoEffect;
        /// Replicas that a master keeps when others move away.
        cluster_migration_barrier: u32 = 1, int(0, INT), Live, NoEffect;
        /// Age of data, in time-outs, from which a replica does not take over; here it must have everything.
        cluster_replica_validity_factor: u32 = 10, int(0, INT), Live, NoEffect (alias "cluster-slave-validity-factor");
        /// Never let this node take over.
        cluster_replica_no_failover: bool = false, YesNo, Live, NoEffect (alias "cluster-slave-no-failover");
        /// Bytes that may wait to be sent to another node.
        cluster_link_sendbuf_limit: u64 = 0, memory(0, LONG), Live, NoEffect;
        /// Host name under which this node is listed.
        cluster_announce_hostname: String = String::new(), OPTIONAL, Live, NoEffect;
        /// Name of this node for people.
        cluster_announce_human_nodename: String = String::new(), OPTIONAL, Live, NoEffect;
        /// TLS port under which this node is listed; 0 = `tls-port`.
        cluster_announce_tls_port: u16 = 0, int(0, 65535), Live;
        /// Which of a node's names clients are sent to.
        cluster_preferred_endpoint_type: &'static str = "ip", Word(&["ip", "hostname", "unknown-endpoint"]), Live, NoEffect;
    }

    Replication {
        /// Refuse writes while fewer replicas (in a cluster: other nodes) are in reach; 0 = never.
        min_replicas_to_write: u32 = 0, int(0, INT), Live (alias "min-slaves-to-write");
        /// The server to follow, `host port`; not in a cluster, whose nodes find their leader by themselves.
        replicaof: String = String::new(), Master, AtStart (alias "slaveof");
        /// Password for the server that is followed.
        masterauth: String = String::new(), OPTIONAL, Live (alias "primaryauth");
        /// User to log in as there; empty = the default user.
        masteruser: String = String::new(), OPTIONAL, Live (alias "primaryuser");
        /// Speak TLS with the server that is followed; its certificate must be signed as `tls-ca-cert-file` or `-dir` say.
        tls_replication: bool = false, YesNo, Live;
        /// Seconds of silence after which a replica does not count for `min-replicas-to-write`; 0 = refuse no writes.
        min_replicas_max_lag: u32 = 10, int(0, INT), Live (alias "min-slaves-max-lag");
        /// Answer reads while the master cannot be reached.
        replica_serve_stale_data: bool = true, YesNo, Live (alias "slave-serve-stale-data");
        /// Refuse clients' writes on a replica.
        replica_read_only: bool = true, YesNo, Live (alias "slave-read-only");
        /// Do not evict on a replica; Cairn never does, it follows.
        replica_ignore_maxmemory: bool = true, YesNo, Live, NoEffect (alias "slave-ignore-maxmemory");
        /// Free a replica's old data in the background, which is always done.
        replica_lazy_flush: bool = false, YesNo, Live, NoEffect (alias "slave-lazy-flush");
        /// Preference for becoming the master.
        replica_priority: u32 = 100, int(0, INT), Live (alias "slave-priority");
        /// List this node as a replica.
        replica_announced: bool = true, YesNo, Live;
        /// Address under which this node is listed.
        replica_announce_ip: String = String::new(), OPTIONAL, Live (alias "slave-announce-ip");
        /// Port under which this node is listed.
        replica_announce_port: u16 = 0, int(0, 65535), Live (alias "slave-announce-port");
        /// Go on when a replica cannot write to its disk; here the stream waits until it can.
        replica_ignore_disk_write_errors: bool = false, YesNo, Live, NoEffect;
        /// Send a snapshot without writing it to the disk.
        repl_diskless_sync: bool = true, YesNo, Live, NoEffect;
        /// Seconds to wait for more replicas before sending one.
        repl_diskless_sync_delay: u32 = 5, int(0, INT), Live, NoEffect;
        /// Replicas that end that wait.
        repl_diskless_sync_max_replicas: u32 = 0, int(0, INT), Live, NoEffect;
        /// Load a snapshot without writing it to the disk; here it always is, and the old data is served until it is loaded.
        repl_diskless_load: &'static str = "disabled", Word(&["disabled", "on-empty-db", "swapdb"]), Live, NoEffect;
        /// Delay small packets to replicas.
        repl_disable_tcp_nodelay: bool = false, YesNo, Live, NoEffect;
        /// Seconds after which a replication link is given up.
        repl_timeout: u32 = 60, int(1, INT), Live;
        /// Receive the snapshot and the stream at the same time.
        dual_channel_replication_enabled: bool = false, YesNo, Live, NoEffect;
        /// Seconds between pings to replicas.
        repl_ping_replica_period: u32 = 10, int(1, INT), Live (alias "repl-ping-slave-period");
        /// Bytes kept for replicas that come back.
        repl_backlog_size: u64 = 1 << 20, memory(1, LONG), Live, NoEffect;
        /// Seconds after which they are freed.
        repl_backlog_ttl: u64 = 3600, int(0, LONG), Live, NoEffect;
        /// What an error in a replicated command does.
        propagation_error_behavior: &'static str = "ignore", Word(&["ignore", "panic", "panic-on-replicas"]), Live;
    }

    Testing {
        /// Microseconds to wait at each key that a snapshot writes, also the one being written; -n: a microsecond at every n-th.
        rdb_key_save_delay: i32 = 0, int(i32::MIN as i128, INT), Live;
        /// Microseconds to wait at each key, or entry of the log, that is loaded; -n: a microsecond at every n-th.
        key_load_delay: i32 = 0, int(i32::MIN as i128, INT), Live;
        /// Bytes between two looks at clients while loading; Cairn listens when it has loaded.
        loading_process_events_interval_bytes: u64 = 2 << 20, memory(1024, INT), Live, NoEffect;
        /// Keep files of the append-only file that are not needed any more.
        aof_disable_auto_gc: bool = false, YesNo, Live, NoEffect;
        /// Milliseconds between two pings of a node.
        cluster_ping_interval: u64 = 1000, int(0, LONG), Live, NoEffect;
        /// Milliseconds after which a command's stack is logged.
        watchdog_period: u64 = 0, int(0, INT), Live, NoEffect;
        /// Make checks that are too expensive in production.
        enable_debug_assert: bool = false, YesNo, AtStart, NoEffect;
        /// Exit instead of aborting after a panic.
        use_exit_on_panic: bool = false, YesNo, Live, NoEffect;
    }
}

const SYSLOG_FACILITIES: &[&str] =
    &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];

const SAVE_RULES: [SaveRule; 3] = [
    SaveRule { seconds: 3600, changes: 1 },
    SaveRule { seconds: 300, changes: 100 },
    SaveRule { seconds: 60, changes: 10_000 },
];

fn is_path(name: &str) -> bool {
    name.contains(['/', '\\'])
}

#[allow(clippy::ptr_arg, reason = "the signature of Checked")]
fn not_empty(dir: &String) -> Result<(), &'static str> {
    // What chdir(2) says, which is what Redis shows.
    if dir.is_empty() { Err("No such file or directory") } else { Ok(()) }
}

#[allow(clippy::ptr_arg, reason = "the signature of Checked")]
fn file_name(name: &String) -> Result<(), &'static str> {
    if is_path(name) { Err("dbfilename can't be a path, just a filename") } else { Ok(()) }
}

#[allow(clippy::ptr_arg, reason = "the signature of Checked")]
fn aof_file_name(name: &String) -> Result<(), &'static str> {
    match name.as_str() {
        "" => Err("appendfilename can't be empty"),
        name if is_path(name) => Err("appendfilename can't be a path, just a filename"),
        _ => Ok(()),
    }
}

#[allow(clippy::ptr_arg, reason = "the signature of Checked")]
fn aof_dir_name(name: &String) -> Result<(), &'static str> {
    match name.as_str() {
        "" => Err("appenddirname can't be empty"),
        name if is_path(name) => Err("appenddirname can't be a path, just a dirname"),
        _ => Ok(()),
    }
}

fn no_defrag(wanted: &bool) -> Result<(), &'static str> {
    const REFUSAL: &str = "Active defragmentation cannot be enabled: it requires a Redis server compiled \
                           with a modified Jemalloc like the one shipped by default with the Redis source \
                           distribution";
    if *wanted { Err(REFUSAL) } else { Ok(()) }
}

#[allow(clippy::ptr_arg, reason = "the signature of Checked")]
fn no_passphrase(passphrase: &String) -> Result<(), &'static str> {
    let refusal = "a key with a passphrase cannot be read: decrypt its file, and let only the server read it";
    if passphrase.is_empty() { Ok(()) } else { Err(refusal) }
}

#[allow(clippy::ptr_arg, reason = "the signature of Checked")]
fn master_name(name: &String) -> Result<(), &'static str> {
    if name.is_empty() { Err("the group needs a name") } else { Ok(()) }
}
