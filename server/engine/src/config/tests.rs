//! Expectations marked "Redis" are literal replies of redis-server 7.0.15, except where 7.2 or
//! Cairn differs, which is then said.

use proptest::prelude::*;

use super::*;
use cairn_proto::split_args;

fn set(config: &mut Config, name: &str, value: &str) -> Result<Vec<DirectiveId>, String> {
    config.set(&[(name.as_bytes(), value.as_bytes())], Origin::Remote).map_err(|error| error.to_string())
}

fn get(config: &Config, name: &str) -> String {
    let [(_, value)] = &config.get(name.as_bytes())[..] else { panic!("{name} is not one directive") };
    value.clone()
}

/// After each `set` in turn, the value that CONFIG GET shows.
fn shown_after(name: &str, values: &[(&str, &str)]) {
    let mut config = Config::default();
    for (value, expected) in values {
        set(&mut config, name, value).unwrap_or_else(|error| panic!("{name} {value}: {error}"));
        assert_eq!(get(&config, name), *expected, "{name} {value}");
    }
}

fn refused(name: &str, value: &str, reason: &str) {
    let mut config = Config::default();
    let expected = format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}");
    assert_eq!(set(&mut config, name, value), Err(expected), "{name} {value:?}");
    assert_eq!(config, Config::default(), "a refused value changes nothing");
}

#[test]
fn defaults_are_those_of_redis_except_for_safety() {
    // CONFIG GET * of a redis-server without a config file, where it differs from nothing at all;
    // set-max-listpack-* are those of 7.2.
    for (name, value) in [
        ("acllog-max-len", "128"),
        ("active-defrag-ignore-bytes", "104857600"),
        ("active-expire-effort", "1"),
        ("activerehashing", "yes"),
        ("appenddirname", "appendonlydir"),
        ("auto-aof-rewrite-min-size", "67108864"),
        ("auto-aof-rewrite-percentage", "100"),
        ("bind", "* -::*"),
        ("busy-reply-threshold", "5000"),
        ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
        ("client-query-buffer-limit", "1073741824"),
        ("databases", "16"),
        ("dbfilename", "dump.rdb"),
        ("enable-debug-command", "no"),
        ("enable-protected-configs", "no"),
        ("hash-max-listpack-entries", "512"),
        ("hash-max-ziplist-value", "64"),
        ("hll-sparse-max-bytes", "3000"),
        ("hz", "10"),
        ("latency-monitor-threshold", "0"),
        ("latency-tracking-info-percentiles", "50 99 99.9"),
        ("lazyfree-lazy-user-del", "no"),
        ("lfu-decay-time", "1"),
        ("lfu-log-factor", "10"),
        ("list-compress-depth", "0"),
        ("list-max-ziplist-size", "-2"),
        ("loglevel", "notice"),
        ("lua-time-limit", "5000"),
        ("maxclients", "10000"),
        ("maxmemory", "0"),
        ("maxmemory-clients", "0"),
        ("maxmemory-eviction-tenacity", "10"),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory-samples", "5"),
        ("notify-keyspace-events", ""),
        ("oom-score-adj-values", "0 200 800"),
        ("port", "6379"),
        ("proto-max-bulk-len", "536870912"),
        ("protected-mode", "yes"),
        ("rdbchecksum", "yes"),
        ("rdbcompression", "yes"),
        ("requirepass", ""),
        ("save", "3600 1 300 100 60 10000"),
        ("server_cpulist", ""),
        ("set-max-intset-entries", "512"),
        ("set-max-listpack-entries", "128"),
        ("set-max-listpack-value", "64"),
        ("shutdown-on-sigterm", "default"),
        ("slave-read-only", "yes"),
        ("slowlog-log-slower-than", "10000"),
        ("slowlog-max-len", "128"),
        ("stop-writes-on-bgsave-error", "yes"),
        ("stream-node-max-bytes", "4096"),
        ("stream-node-max-entries", "100"),
        ("tcp-backlog", "511"),
        ("tcp-keepalive", "300"),
        ("timeout", "0"),
        ("tracking-table-max-keys", "1000000"),
        ("unixsocketperm", "0"),
        ("zset-max-listpack-entries", "128"),
        ("zset-max-ziplist-value", "64"),
    ] {
        assert_eq!(get(&Config::default(), name), value, "{name}");
    }
    // Cairn's own choices.
    assert_eq!(get(&Config::default(), "appendonly"), "yes");
    assert_eq!(get(&Config::default(), "appendfsync"), "always");
    assert_eq!(get(&Config::default(), "log-segment-size"), "67108864");
    assert_eq!(get(&Config::default(), "cluster-enabled"), "no");
    assert_eq!(get(&Config::default(), "cluster-node-timeout"), "1000");
    assert_eq!(get(&Config::default(), "cluster-redirect"), "proxy");
}

#[test]
fn every_directive_accepts_the_value_that_it_shows() {
    for directive in DIRECTIVES {
        let mut config = Config::default();
        let value = (directive.format)(&config);
        let words: Vec<&str> = if (directive.many)() { value.split(' ').collect() } else { vec![&value] };
        let differs = directive
            .set(&mut config, &words)
            .unwrap_or_else(|reason| panic!("{} {value}: {reason}", directive.name));
        assert!(!differs, "{} {value} is not its own value", directive.name);
        assert_eq!(config, Config::default());
    }
}

#[test]
fn names_are_unique_and_ids_find_their_directive() {
    let mut names: Vec<_> = DIRECTIVES.iter().flat_map(|directive| directive.names()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    assert_eq!(DirectiveId::maxmemory_policy.name(), "maxmemory-policy");
    for directive in DIRECTIVES {
        assert_eq!(directive.id.name(), directive.name);
        assert!(Directive::find(directive.name.to_ascii_uppercase().as_bytes()).is_some());
        assert!(!directive.doc.is_empty() && directive.doc.ends_with('.'), "{}", directive.name);
        assert!(Group::ALL.contains(&directive.group));
    }
}

#[test]
fn get_matches_patterns_sorted_and_names_in_the_case_asked_for() {
    let config = Config::default();
    let pairs = |pairs: &[(&str, &str)]| -> Vec<_> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    // Redis gives the same pairs, in the order of its hash table.
    assert_eq!(
        config.get(b"HASH-max-z*"),
        pairs(&[("hash-max-ziplist-entries", "512"), ("hash-max-ziplist-value", "64")])
    );
    assert_eq!(config.get_all(&[b"HZ", b"hz", b"h?", b"[h]z"]), pairs(&[("HZ", "10")]));
    assert_eq!(
        config.get_all(&[b"timeout", b"nothing", b"po[r]t"]),
        pairs(&[("port", "6379"), ("timeout", "0")])
    );
    let shown = DIRECTIVES.iter().filter(|directive| directive.group != Group::Testing);
    let names = shown.flat_map(|directive| directive.names()).count();
    assert_eq!(config.get(b"*").len(), names);
    assert_eq!(config.get(b"rdb-key-save*"), []);
    assert_eq!(config.get(b"rdb-key-save-delay"), pairs(&[("rdb-key-save-delay", "0")]));
    assert!(config.get(b"*").is_sorted());
}

#[test]
fn set_gives_the_directives_that_changed() {
    let mut config = Config::default();
    let pairs: &[(&[u8], &[u8])] =
        &[(b"Port", b"7000"), (b"timeout", b"0"), (b"hash-max-ziplist-value", b"9")];
    let changed = config.set(pairs, Origin::Remote);
    assert_eq!(changed, Ok(vec![DirectiveId::port, DirectiveId::hash_max_listpack_value]));
    assert_eq!((config.port, config.hash_max_listpack_value), (7000, 9));
}

#[test]
fn set_is_all_or_nothing() {
    let mut config = Config::default();
    let pairs: &[(&[u8], &[u8])] = &[(b"timeout", b"3"), (b"port", b"70000")];
    let error = config.set(pairs, Origin::Remote).expect_err("a port out of range");
    assert_eq!(
        error.to_string(),
        "CONFIG SET failed (possibly related to argument 'port') - \
         argument must be between 0 and 65535 inclusive"
    );
    assert_eq!(config, Config::default());
}

#[test]
fn unknown_immutable_protected_and_repeated_names_are_refused_as_in_redis() {
    let unknown = |name| Err(format!("Unknown option or number of arguments for CONFIG SET - '{name}'"));
    assert_eq!(set(&mut Config::default(), "foo", "bar"), unknown("foo"));
    assert_eq!(set(&mut Config::default(), "FOO", "bar"), unknown("FOO"));
    refused("databases", "3", "can't set immutable config");
    refused("Databases", "3", "can't set immutable config");
    refused("unixsocketperm", "9", "can't set immutable config");
    refused("dbfilename", "x", "can't set protected config");

    let mut config = Config::default();
    let mut errors = |pairs: &[(&[u8], &[u8])]| config.set(pairs, Origin::Remote).map_err(|e| e.to_string());
    assert_eq!(
        errors(&[(b"timeout", b"3"), (b"Timeout", b"4")]),
        Err("CONFIG SET failed (possibly related to argument 'Timeout') - duplicate parameter".to_owned())
    );
    assert_eq!(errors(&[(b"timeout", b"3"), (b"foo", b"4")]), unknown("foo"));
    assert_eq!(
        errors(&[(b"databases", b"3"), (b"foo", b"4")]),
        Err("CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config"
            .to_owned())
    );
}

#[test]
fn protected_directives_open_to_those_who_are_allowed() {
    for (allowed, local, remote) in [
        (ProtectedAction::No, false, false),
        (ProtectedAction::Yes, true, true),
        (ProtectedAction::Local, true, false),
    ] {
        let mut config = Config { enable_protected_configs: allowed, ..Config::default() };
        let pairs: &[(&[u8], &[u8])] = &[(b"dbfilename", b"x.rdb")];
        assert_eq!(config.clone().set(pairs, Origin::Remote).is_ok(), remote, "{allowed}");
        assert_eq!(config.set(pairs, Origin::Local).is_ok(), local, "{allowed}");
    }
    let mut config = Config { enable_protected_configs: ProtectedAction::Yes, ..Config::default() };
    assert_eq!(
        set(&mut config, "dbfilename", "a/b"),
        Err("CONFIG SET failed (possibly related to argument 'dbfilename') - \
             dbfilename can't be a path, just a filename"
            .to_owned())
    );
}

#[test]
fn byte_counts_are_read_as_in_redis() {
    shown_after(
        "maxmemory",
        &[
            ("2G", "2000000000"),
            ("2gb", "2147483648"),
            ("100k", "100000"),
            ("100KB", "102400"),
            ("3m", "3000000"),
            ("3mB", "3145728"),
            ("5b", "5"),
            ("", "0"),
            ("007", "7"),
            ("18446744073709551615", "18446744073709551615"),
        ],
    );
    for value in ["1.5mb", "-1", "100kk", "0x10", " 1"] {
        refused("maxmemory", value, "argument must be a memory value");
    }
    // Redis takes these, and keeps another number than the one that was given.
    for value in ["99999999999999999999", "18446744073709551615kb"] {
        refused("maxmemory", value, "argument must be a memory value");
    }
    refused("hash-max-ziplist-value", "-1", "argument must be a memory value");
    refused("proto-max-bulk-len", "1", "argument must be between 1048576 and 9223372036854775807 inclusive");
}

#[test]
fn numbers_are_read_as_in_redis() {
    for value in ["abc", " 5", "+5", "05", "", "-0", "5 ", "9223372036854775808"] {
        refused("timeout", value, "argument couldn't be parsed into an integer");
    }
    let bounds = |min: i64, max: u64| format!("argument must be between {min} and {max} inclusive");
    refused("timeout", "-1", &bounds(0, 2_147_483_647));
    refused("tcp-keepalive", "2147483648", &bounds(0, 2_147_483_647));
    refused("maxclients", "0", &bounds(1, 4_294_967_295));
    refused("maxclients", "-1", &bounds(1, 4_294_967_295));
    refused("slowlog-log-slower-than", "-2", &bounds(-1, 9_223_372_036_854_775_807));
    refused("slowlog-max-len", "-2", &bounds(0, 9_223_372_036_854_775_807));
    refused("hash-max-ziplist-entries", "-1", &bounds(0, 9_223_372_036_854_775_807));
    refused("lua-time-limit", "-1", &bounds(0, 9_223_372_036_854_775_807));
    refused("list-max-ziplist-size", "9999999999", &bounds(-2_147_483_648, 2_147_483_647));
    shown_after("slowlog-log-slower-than", &[("-1", "-1"), ("9223372036854775807", "9223372036854775807")]);
    // A hint: brought within its bounds.
    shown_after("hz", &[("0", "1"), ("10000", "500"), ("42", "42")]);
}

#[test]
fn octal_is_read_and_shown_as_octal() {
    let mut loader = Loader::default();
    loader.apply(&["unixsocketperm", "770"]).expect("octal");
    let range = loader.apply(&["unixsocketperm", "1000"]).expect_err("out of range").to_string();
    assert_eq!(range, "directive 'unixsocketperm': argument must be between 0 and 777 inclusive");
    let digits = loader.apply(&["unixsocketperm", "9"]).expect_err("not octal").to_string();
    assert_eq!(digits, "directive 'unixsocketperm': argument couldn't be parsed as an octal number");
    let config = loader.finish().expect("no contradiction");
    assert_eq!(config.unixsocketperm, 0o770);
    assert_eq!(get(&config, "unixsocketperm"), "770");
}

#[test]
fn words_of_a_choice_are_listed_when_another_is_given() {
    let one_of = "argument(s) must be one of the following: ";
    refused(
        "maxmemory-policy",
        "foo",
        &format!(
            "{one_of}volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, \
             allkeys-random, noeviction"
        ),
    );
    refused("appendfsync", "x", &format!("{one_of}everysec, always, no"));
    // `nothing` is new in 7.2.
    refused("loglevel", "foo", &format!("{one_of}debug, verbose, notice, warning, nothing"));
    refused("shutdown-on-sigterm", "foo", &format!("{one_of}default, save, nosave, now, force"));
    refused("slave-read-only", "maybe", "argument must be 'yes' or 'no'");
    shown_after("maxmemory-policy", &[("ALLKEYS-lru", "allkeys-lru"), ("volatile-ttl", "volatile-ttl")]);
    shown_after("appendonly", &[("NO", "no"), ("Yes", "yes")]);
    shown_after("oom-score-adj", &[("yes", "yes"), ("absolute", "absolute")]);
}

#[test]
fn what_cairn_alone_has_can_be_written_back_as_it_was_read() {
    let mut config = Config::default();
    let unchanged = config.set(&[(b"log-segment-size", b"64mb"), (b"cluster-peers", b"")], Origin::Remote);
    assert_eq!(unchanged, Ok(Vec::new()));
    let error = config.set(&[(b"log-segment-size", b"128mb")], Origin::Remote).expect_err("only at start");
    assert_eq!(
        error.to_string(),
        "CONFIG SET failed (possibly related to argument 'log-segment-size') - can't set immutable config"
    );
}

#[test]
fn refusals_with_words_of_their_own() {
    refused(
        "tls-key-file-pass",
        "secret",
        "a key with a passphrase cannot be read: decrypt its file, and let only the server read it",
    );
    refused(
        "shutdown-on-sigterm",
        "save nosave",
        "shutdown options SAVE and NOSAVE can't be used simultaneously",
    );
    refused("oom-score-adj-values", "1 2", "wrong number of arguments");
    refused(
        "activedefrag",
        "yes",
        "Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified Jemalloc \
         like the one shipped by default with the Redis source distribution",
    );
    let mut config = Config::default();
    let error = config.set(&[(b"requirepass", b"\xff")], Origin::Remote).expect_err("not text");
    assert_eq!(
        error.to_string(),
        "CONFIG SET failed (possibly related to argument 'requirepass') - argument must be valid UTF-8"
    );
}

#[test]
fn save_rules_are_pairs() {
    shown_after(
        "save",
        &[("900 1 300 5", "900 1 300 5"), ("", ""), ("60 0", "60 0"), ("900 1 60 10000", "900 1 60 10000")],
    );
    for value in ["900 1 300", "a b", "900 1  300 5", "0 1", "60 -1", "60"] {
        refused("save", value, "Invalid save parameters");
    }
}

#[test]
fn output_buffer_limits_change_for_the_classes_named() {
    let name = "client-output-buffer-limit";
    shown_after(
        name,
        &[
            (
                "normal 1mb 2mb 3 replica 0 0 0",
                "normal 1048576 2097152 3 slave 0 0 0 pubsub 33554432 8388608 60",
            ),
            ("pubsub 1k 2 7", "normal 1048576 2097152 3 slave 0 0 0 pubsub 1000 2 7"),
            ("", "normal 1048576 2097152 3 slave 0 0 0 pubsub 1000 2 7"),
        ],
    );
    refused(name, "normal 1mb 2mb", "Wrong number of arguments in buffer limit configuration.");
    refused(name, "master 0 0 0", "Invalid client class specified in buffer limit configuration.");
    for value in ["normal 0 0 x", "normal x 0 0", "normal 0 0 -1"] {
        refused(name, value, "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    }
}

#[test]
fn notify_letters_are_shown_in_canonical_order() {
    shown_after(
        "notify-keyspace-events",
        &[("KEA", "AKE"), ("nmdtxhsl$geK", "g$lshxetdnKm"), ("Eg$lshzxetd", "AE"), ("An", "A"), ("", "")],
    );
    refused("notify-keyspace-events", "q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    let flags = NotifyFlags::parse("KA").expect("letters");
    assert!(flags.contains(NotifyFlags::KEYSPACE.union(NotifyFlags::ZSET)));
    assert!(!flags.intersects(NotifyFlags::KEYEVENT.union(NotifyFlags::NEW)));
}

#[test]
fn shares_of_memory_and_percentiles() {
    shown_after("maxmemory-clients", &[("5%", "5%"), ("1kb", "1024"), ("0", "0"), ("100%", "100%")]);
    for value in ["101%", "300%"] {
        refused("maxmemory-clients", value, "percentage argument must be less or equal to 100");
    }
    refused("maxmemory-clients", "x", "argument must be a memory or percent value");
    let name = "latency-tracking-info-percentiles";
    shown_after(name, &[("50 99.99 1e1", "50 99.99 10"), ("", ""), ("0 100", "0 100")]);
    refused(name, "101", "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
    refused(name, "x", "Invalid latency-tracking-info-percentiles parameters");
    refused(name, "nan", "Invalid latency-tracking-info-percentiles parameters");
    shown_after(
        "shutdown-on-sigterm",
        &[("save now", "save now"), ("now SAVE", "save now"), ("default", "default")],
    );
}

#[test]
fn addresses_are_a_list_of_at_most_16() {
    shown_after("bind", &[("127.0.0.1 -::1", "127.0.0.1 -::1"), ("", "")]);
    refused("bind", &["::1"; 17].join(" "), "Too many bind addresses specified.");
}

#[test]
fn loader_takes_lists_as_words_or_as_one_word() {
    for words in [&["save", "900", "1"][..], &["save", "900 1"], &["SAVE", "  900   '1' "]] {
        let mut loader = Loader::default();
        loader.apply(words).expect("a rule");
        assert_eq!(loader.finish().expect("no contradiction").save, [SaveRule { seconds: 900, changes: 1 }]);
    }
    let mut loader = Loader::default();
    for words in [&["save", "900", "1"][..], &["save", "60", "9"], &["lua-replicate-commands", "yes"]] {
        loader.apply(words).expect("known");
    }
    assert_eq!(get(&loader.finish().expect("no contradiction"), "save"), "900 1 60 9");
    let mut loader = Loader::default();
    for words in [&["save", "900", "1"][..], &["save", ""], &["save", "1", "2"]] {
        loader.apply(words).expect("known");
    }
    assert_eq!(get(&loader.finish().expect("no contradiction"), "save"), "1 2");
}

#[test]
fn directives_that_must_not_be_ignored_name_what_to_use_instead() {
    for (words, expected) in [
        (&["ReplicaOf", "h", "x"][..], "directive 'replicaof': Invalid master port"),
        (&["slaveof", "h"], "directive 'replicaof': wrong number of arguments"),
        (&["loadmodule", "x.so"], "directive 'loadmodule' is not supported: there are no modules"),
        (&["user"], "directive 'user': wrong number of arguments"),
        (&["user", "a", "what"], "directive 'user': Error in ACL SETUSER modifier 'what': Syntax error"),
        (
            &["tls-ciphers", "x"],
            "directive 'tls-ciphers' is not supported: ciphers are those that rustls holds to be safe",
        ),
        (&["bf.x", "1"], "directive 'bf.x' is not supported: it configures a module"),
        (&["nope", "1"], "unknown directive 'nope'"),
        (&["port"], "directive 'port': wrong number of arguments"),
    ] {
        let error = Loader::default().apply(words).expect_err("refused").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

fn loaded(lines: &[&str]) -> Result<Config, String> {
    let mut loader = Loader::default();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        loader.apply(&words).map_err(|error| error.to_string())?;
    }
    loader.finish().map_err(|error| error.to_string())
}

#[test]
fn a_node_of_a_cluster_is_told_its_peers() {
    let config = loaded(&["cluster-enabled yes", "cluster-peers a:7001,10.0.0.2:7002,[::1]:7003"]).unwrap();
    let node = |host: &str, port| NodeAddress { host: host.to_owned(), port };
    assert_eq!(config.cluster_peers, [node("a", 7001), node("10.0.0.2", 7002), node("::1", 7003)]);
    assert_eq!(get(&config, "cluster-peers"), "a:7001,10.0.0.2:7002,[::1]:7003");
    let expected = "# Generated by CONFIG REWRITE\nsave 3600 1\nsave 300 100\nsave 60 10000\n\
                    cluster-enabled yes\ncluster-peers \"a:7001,10.0.0.2:7002,[::1]:7003\"\n";
    assert_eq!(rewrite("", &config, false), expected);
    assert_eq!(loaded(&["cluster-enabled yes", "cluster-peers "]).unwrap().cluster_peers, []);
    for (peers, reason) in [
        ("a", "'a' is not host:port"),
        ("a:1,", "'' is not host:port"),
        ("a:0", "'a:0' is not host:port"),
        ("a:65536", "'a:65536' is not host:port"),
        ("a:+1", "'a:+1' is not host:port"),
        ("::1:7000", "'::1:7000' is not host:port"),
        (":7000", "':7000' is not host:port"),
        ("a:1,b:2,a:1", "'a:1' is listed twice"),
    ] {
        let error = loaded(&["cluster-enabled yes", &format!("cluster-peers {peers}")]).unwrap_err();
        assert_eq!(error, format!("directive 'cluster-peers': {reason}"));
    }
}

#[test]
fn a_cluster_that_would_not_be_one_is_refused() {
    assert_eq!(
        loaded(&["cluster-enabled yes", "appendonly no"]).unwrap_err(),
        "a cluster is its log: 'cluster-enabled yes' does not go with 'appendonly no'"
    );
    assert_eq!(loaded(&["cluster-peers a:1"]).unwrap_err(), "'cluster-peers' needs 'cluster-enabled yes'");
    let files = ["tls-cert-file c", "tls-key-file k", "tls-ca-cert-file a"];
    for missing in 0..files.len() {
        let mut lines = files.to_vec();
        lines[missing] = "tls-cluster yes";
        let error = loaded(&lines).unwrap_err();
        assert_eq!(error, "'tls-cluster yes' needs 'tls-cert-file', 'tls-key-file' and 'tls-ca-cert-file'");
    }
    assert!(loaded(&[&files[..], &["tls-cluster yes"]].concat()).unwrap().tls_cluster);
    let by_tls = [&files[..], &["tls-cluster yes", "cluster-enabled yes"]].concat();
    assert_eq!(
        loaded(&by_tls).unwrap_err(),
        "'tls-cluster yes' needs a 'tls-port': nodes pass clients' commands on to it"
    );
    assert_eq!(loaded(&[&by_tls[..], &["tls-port 1", "port 0"]].concat()).unwrap().port, 0);
    assert_eq!(
        loaded(&["cluster-enabled yes", "tls-port 1", "port 0"]).unwrap_err(),
        "'cluster-enabled yes' needs a 'port': nodes pass clients' commands on to it (or 'tls-cluster yes')"
    );
    refused("cluster-node-timeout", "99", "argument must be between 100 and 2147483647 inclusive");
    assert_eq!(
        loaded(&["cluster-node-timeout 99"]).unwrap_err(),
        "directive 'cluster-node-timeout': argument must be between 100 and 2147483647 inclusive"
    );
    shown_after("cluster-redirect", &[("MOVED", "moved"), ("proxy", "proxy")]);
    refused("cluster-redirect", "ask", "argument(s) must be one of the following: proxy, moved");
    refused("sentinel-master-name", "", "the group needs a name");
}

#[test]
fn rewrite_keeps_what_people_wrote() {
    let old = "# hi\n\n\nport 17392\nsave 60 1\nsave 70 2\nhash-max-ziplist-entries 5\nhz 10\nhz 10\n\
               maxmemory 1000000\nrequirepass \"a b\"\nbogus 1\ninclude other.conf\n";
    let config = Config {
        port: 17392,
        save: vec![SaveRule { seconds: 80, changes: 8 }],
        hash_max_listpack_entries: 5,
        maxmemory: 1_000_000,
        requirepass: "a b".to_owned(),
        timeout: 5,
        dir: "/var/lib/cairn".to_owned(),
        ..Config::default()
    };
    // What Redis makes of this file, apart from the order of what is appended.
    let expected = "# hi\n\nport 17392\nsave 80 8\n\nhash-max-listpack-entries 5\nhz 10\n\n\
                    maxmemory 1000000\nrequirepass \"a b\"\n# ??? bogus 1\ninclude other.conf\n\n\
                    # Generated by CONFIG REWRITE\ntimeout 5\ndir \"/var/lib/cairn\"\n";
    assert_eq!(rewrite(old, &config, false), expected);
    assert_eq!(rewrite(expected, &config, false), expected);
}

#[test]
fn users_are_declared_once_and_in_one_place() {
    let config = loaded(&["USER a on >p (+get ~x)", "user default off"]).expect("two users");
    assert_eq!(config.users.len(), 2);
    assert_eq!(config.users[0], [&b"a"[..], b"on", b">p", b"(+get", b"~x)"]);
    let twice = loaded(&["user a on", "user a off"]).expect_err("a second time");
    assert!(
        twice.contains("Duplicate user found. A user can only be defined once in config files"),
        "{twice}"
    );
    let both = loaded(&["user a on", "aclfile f"]).expect_err("two places");
    assert!(both.contains("not in both"), "{both}");
    // What `acl-pubsub-default` says further down counts: the pattern comes after all channels then.
    assert!(loaded(&["user a &c", "acl-pubsub-default allchannels"]).is_err());
}

#[test]
fn rewrite_replaces_the_users() {
    let config = Config {
        save: Vec::new(),
        users: vec![
            vec![b"default".to_vec(), b"on".to_vec()],
            vec![b"a\xff".to_vec(), b"(~x +get)".to_vec(), b"~\"".to_vec()],
        ],
        ..Config::default()
    };
    let old = "user b on\nport 6379\nuser c on\nuser d on\nsave \"\"\n";
    let expected = "user default on\nport 6379\nuser \"a\\xff\" (~x +get) \"~\\\"\"\n\nsave \"\"\n";
    assert_eq!(rewrite(old, &config, false), expected);
}

#[test]
fn rewrite_of_the_defaults_adds_only_the_save_rules() {
    let expected = "# Generated by CONFIG REWRITE\nsave 3600 1\nsave 300 100\nsave 60 10000\n";
    assert_eq!(rewrite("", &Config::default(), false), expected);
    let all = rewrite("", &Config::default(), true);
    assert!(
        DIRECTIVES.iter().filter(|directive| all.contains(&format!("\n{} ", directive.name))).count() > 150
    );
}

#[test]
fn rewrite_writes_what_cannot_be_left_out() {
    let config = Config {
        save: Vec::new(),
        bind: Vec::new(),
        logfile: "a\"b\n\u{e9}".to_owned(),
        maxmemory: 3 << 30,
        client_output_buffer_limit: OutputBufferLimits {
            replica: OutputBufferLimit { hard: 1 << 20, soft: 7, soft_seconds: 1 },
            ..OutputBufferLimits::DEFAULT
        },
        ..Config::default()
    };
    let expected = "# Generated by CONFIG REWRITE\nbind \"\"\nlogfile \"a\\\"b\\n\\xc3\\xa9\"\nsave \"\"\n\
                    maxmemory 3gb\nclient-output-buffer-limit normal 0 0 0\n\
                    client-output-buffer-limit replica 1mb 7 1\nclient-output-buffer-limit pubsub 32mb 8mb 60\n";
    assert_eq!(rewrite("", &config, false), expected);
}

fn any_directive() -> impl Strategy<Value = &'static Directive> {
    (0..DIRECTIVES.len()).prop_map(|at| &DIRECTIVES[at])
}

/// What a person or a rewrite may have left in a file, lines that mean nothing included.
fn file_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "# [a-z ]{0,10}",
        "[a-z\"' ]{0,12}",
        Just("include x.conf".to_owned()),
        Just("# Generated by CONFIG REWRITE".to_owned()),
        (any_directive(), any::<bool>()).prop_map(|(directive, alias)| {
            let name = directive.alias.filter(|_| alias).unwrap_or(directive.name);
            format!("  {} {}", name.to_uppercase(), directive.default_written())
        }),
    ]
}

fn any_config() -> impl Strategy<Value = Config> {
    let rules = prop::collection::vec((1..10_000_u64, 0..10_000_u64), 0..4);
    let text = "\\PC{0,8}";
    (any::<(u16, u64, bool, bool)>(), rules, [text, text, text], any::<[Option<u32>; 3]>()).prop_map(
        |((port, maxmemory, appendonly, everysec), rules, [requirepass, logfile, address], limits)| {
            let mut config =
                Config { port, maxmemory, appendonly, requirepass, logfile, ..Config::default() };
            config.save = rules.into_iter().map(|(seconds, changes)| SaveRule { seconds, changes }).collect();
            if everysec {
                config.appendfsync = AppendFsync::Everysec;
            }
            if address.chars().all(char::is_alphanumeric) && !address.is_empty() {
                config.bind = vec![address, "127.0.0.1".to_owned()];
            }
            let classes = &mut config.client_output_buffer_limit;
            for (class, hard) in
                [&mut classes.normal, &mut classes.replica, &mut classes.pubsub].into_iter().zip(limits)
            {
                class.hard = hard.map_or(class.hard, u64::from);
            }
            config
        },
    )
}

proptest! {
    #[test]
    fn a_rewritten_file_loads_as_the_configuration(
        lines in prop::collection::vec(file_line(), 0..12),
        config in any_config(),
    ) {
        let text = rewrite(&lines.join("\n"), &config, false);
        prop_assert_eq!(&rewrite(&text, &config, false), &text, "a second rewrite changes nothing");

        let mut loader = Loader::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words = split_args(line.as_bytes()).expect("a rewrite leaves no unbalanced quotes");
            if words[0] != b"include" {
                loader.apply(&words).expect("a rewrite leaves no mistakes");
            }
        }
        prop_assert_eq!(loader.finish().expect("no contradiction"), config);
    }

    #[test]
    fn a_value_that_was_accepted_is_shown_in_a_form_that_is_accepted(
        directive in any_directive(),
        value in "[a-zA-Z0-9 %.$-]{0,10}",
    ) {
        let mut config = Config::default();
        let mut loader = Loader::default();
        if loader.apply(&[directive.name, &value]).is_ok()
            && let Ok(loaded) = loader.finish()
        {
            config = loaded;
        }
        let shown = (directive.format)(&config);
        let mut again = Loader::default();
        again.apply(&[directive.name, &shown]).expect("what CONFIG GET shows can be loaded");
        if let Ok(again) = again.finish() {
            prop_assert_eq!(again, config);
        }
    }
}

#[test]
fn every_value_can_be_taken_back() {
    let before = Config::default();
    let names: Vec<&str> = DIRECTIVES.iter().map(|directive| directive.name).collect();
    let mut config = before.clone();
    config.take_back(&names, &before);
    assert_eq!(config, before);
    let pairs: [(&[u8], &[u8]); 4] = [
        (b"port", b"7000"),
        (b"bind", b"127.0.0.1 ::1"),
        (b"save", b""),
        (b"notify-keyspace-events", b"KEA"),
    ];
    config.set(&pairs, Origin::Local).unwrap();
    let changed = config.clone();
    config.take_back(&["port", "bind", "save", "notify-keyspace-events"], &before);
    assert_eq!(config, before);
    config.take_back(&names, &changed);
    assert_eq!(config, changed);
}
