//! CONFIG: the directives, and the counters of INFO.

use crate::acl::{Changed, DEFAULT};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::config::{ConfigError, DirectiveId};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::host::{ConfigChange, Request};

pub(super) static CONFIG: Command = Command {
    name: "config",
    arity: -2,
    group: Group::Server,
    since: "2.0.0",
    summary: "Looks at the configuration and changes it.",
    complexity: "Depends on subcommand.",
    subcommands: &[&GET, &HELP, &RESETSTAT, &REWRITE, &SET],
    ..COMMAND
};

const SUBCOMMAND: Command = Command {
    group: Group::Server,
    since: "2.0.0",
    flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    ..COMMAND
};

static HELP: Command = Command {
    name: "help",
    arity: 2,
    since: "5.0.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Describes the subcommands.",
    tips: &[],
    run: crate::commands::help::help,
    ..SUBCOMMAND
};

static GET: Command = Command {
    name: "get",
    arity: -3,
    summary: "Returns the directives that match any of the patterns, with their values.",
    complexity: "O(N) where N is the number of patterns",
    syntax: "parameter [parameter ...]",
    tips: &[],
    run: get,
    ..SUBCOMMAND
};

fn get(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let found = cx.config().get_all(args.from(2));
    cx.reply.map(found.len());
    for (name, value) in found {
        cx.reply.bulk(name.as_bytes());
        cx.reply.bulk(value.as_bytes());
    }
    Ok(())
}

static SET: Command = Command {
    name: "set",
    arity: -4,
    summary: "Changes directives, all of them or none.",
    complexity: "O(N) where N is the number of directives",
    syntax: "parameter value [parameter value ...]",
    run: set,
    ..SUBCOMMAND
};

fn set(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (pairs, []) = args.from(2).as_chunks::<2>() else { return Err(CommandError::Syntax) };
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|&[name, value]| (name, value)).collect();
    let origin = cx.client.origin();
    let refusal = |error: ConfigError| CommandError::from(format!("ERR {error}"));
    let mut next = cx.shared.config.clone();
    let changed = next.set(&pairs, origin).map_err(refusal)?;
    if cx.host.cluster().is_some()
        && let Some(id) = changed.iter().find(|&&id| is_of_the_node(id))
    {
        let reason = "a node of a cluster takes it up when it starts: change the config file and restart it";
        return Err(refusal(ConfigError::Refused { name: id.name().to_owned(), reason: reason.to_owned() }));
    }
    let may_fail = changed.iter().find(|&&id| may_fail(id)).map(|id| id.name());
    let of_users = password_change(cx, &pairs, &changed)?;
    if let Some(name) = may_fail {
        let reason = match () {
            () if !cx.may_block() => "it takes effect only later, which a transaction cannot wait for",
            () if cx.shared.config_unsettled => "another change is being put into effect",
            () => "",
        };
        if !reason.is_empty() {
            return Err(refusal(ConfigError::Refused { name: name.to_owned(), reason: reason.to_owned() }));
        }
    }
    let before = Box::new(std::mem::replace(&mut cx.shared.config, next));
    cx.keys.configure(&cx.shared.config);
    if changed.contains(&DirectiveId::maxmemory_clients) {
        cx.shared.weigh_all();
    }
    if let Some(logged) = of_users {
        cx.shared.requirepass_changed();
        cx.log_users(logged, &[DEFAULT]);
    }
    if !changed.is_empty() {
        let names = changed.into_iter().map(|id| id.name()).collect();
        let client = may_fail.map(|_| cx.client.slot);
        cx.host.request(Request::ConfigChanged(ConfigChange { names, before, client }));
    }
    if may_fail.is_some() {
        // OK would be said too early: the host answers.
        cx.shared.config_unsettled = true;
        cx.block_on_host(None, crate::client::TimeoutReply::Null);
    } else {
        cx.reply.ok();
    }
    Ok(())
}

/// Is it what the other nodes were told of this one, or agreed on with it, when it started? A single server has nobody to tell.
fn is_of_the_node(id: DirectiveId) -> bool {
    matches!(
        id,
        DirectiveId::cluster_announce_ip
            | DirectiveId::cluster_announce_port
            | DirectiveId::cluster_announce_bus_port
            | DirectiveId::cluster_announce_tls_port
            | DirectiveId::cluster_node_timeout
            | DirectiveId::port
            | DirectiveId::tls_cluster
            | DirectiveId::tls_port
    )
}

/// `requirepass` is the default user's password: in a cluster, whose users are part of its state, that of all nodes, whatever
/// this one's configuration said before. How the change is to be written down; `None`: it is none.
fn password_change(
    cx: &mut Context<'_>,
    pairs: &[(&[u8], &[u8])],
    changed: &[DirectiveId],
) -> CommandResult<Option<Changed>> {
    if !cx.shared.config.cluster_enabled {
        return Ok(changed.contains(&DirectiveId::requirepass).then_some(Changed::Nothing));
    }
    let name = DirectiveId::requirepass.name();
    if !pairs.iter().any(|(named, _)| named.eq_ignore_ascii_case(name.as_bytes())) {
        return Ok(None);
    }
    if pairs.len() > 1 {
        let reason = "in a cluster it is set on all nodes, and other directives on one: set it by itself";
        let error = ConfigError::Refused { name: name.to_owned(), reason: reason.to_owned() };
        return Err(format!("ERR {error}").into());
    }
    cx.begin_change_of_users().map(Some)
}

/// May a valid value of this directive turn out to be one that cannot be put into effect?
fn may_fail(id: DirectiveId) -> bool {
    matches!(
        id,
        DirectiveId::port
            | DirectiveId::bind
            | DirectiveId::appendonly
            | DirectiveId::oom_score_adj
            | DirectiveId::oom_score_adj_values
            | DirectiveId::tls_port
            | DirectiveId::tls_cert_file
            | DirectiveId::tls_key_file
            | DirectiveId::tls_ca_cert_file
            | DirectiveId::tls_ca_cert_dir
            | DirectiveId::tls_auth_clients
            | DirectiveId::tls_protocols
    )
}

static RESETSTAT: Command = Command {
    name: "resetstat",
    arity: 2,
    summary: "Sets the counters of INFO to zero.",
    run: resetstat,
    ..SUBCOMMAND
};

fn resetstat(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.shared.stats.reset();
    cx.keys.forget_freed();
    cx.keys.hits.set(0);
    cx.keys.misses.set(0);
    cx.host.request(Request::ResetFigures);
    cx.reply.ok();
    Ok(())
}

static REWRITE: Command = Command {
    name: "rewrite",
    arity: 2,
    since: "2.8.0",
    summary: "Brings the config file up to date.",
    run: rewrite,
    ..SUBCOMMAND
};

fn rewrite(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    rewrite_file(cx, false)
}

/// CONFIG REWRITE; `all`: also of what has its default (DEBUG CONFIG-REWRITE-FORCE-ALL).
pub(super) fn rewrite_file(cx: &mut Context<'_>, all: bool) -> CommandResult {
    if cx.host.facts().config_file.is_empty() {
        return Err("ERR The server is running without a config file".into());
    }
    if !cx.may_block() {
        return Err("ERR CONFIG REWRITE isn't allowed for DENY BLOCKING client".into());
    }
    cx.host.request(Request::ConfigRewrite { client: cx.client.slot, all });
    cx.block_on_host(None, crate::client::TimeoutReply::Null);
    Ok(())
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::config::MaxmemoryPolicy;
    use crate::host::Request;
    use crate::testing::TestEngine;

    #[test]
    fn what_is_set_is_in_effect_and_the_host_hears_of_it() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V3);
        assert_eq!(
            server.run(a, "CONFIG SET maxmemory-policy allkeys-lfu lfu-log-factor 7 lfu-decay-time 3"),
            "+OK\r\n"
        );
        let usage = &server.engine.keys.usage;
        assert!(usage.is_lfu());
        assert_eq!((usage.lfu_log_factor, usage.lfu_decay_minutes), (7, 3));
        assert_eq!(server.engine.shared.config.maxmemory_policy, MaxmemoryPolicy::AllkeysLfu);
        let names = vec!["maxmemory-policy", "lfu-log-factor", "lfu-decay-time"];
        let [Request::ConfigChanged(change)] = &server.host.requests[..] else { panic!("told what changed") };
        assert_eq!((&change.names, change.client), (&names, None));
        assert_eq!(change.before.maxmemory_policy, MaxmemoryPolicy::Noeviction);
        assert_eq!(
            server.run(a, "CONFIG GET lfu-* maxmemory-policy"),
            "%3\r\n$14\r\nlfu-decay-time\r\n$1\r\n3\r\n$14\r\nlfu-log-factor\r\n$1\r\n7\r\n$16\r\nmaxmemory-policy\r\n\
             $11\r\nallkeys-lfu\r\n"
        );
    }

    #[test]
    fn refusals_are_redis_s() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(
            server.run(a, "CONFIG SET nosuch 1"),
            "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'\r\n"
        );
        assert_eq!(server.run(a, "CONFIG SET port 1 hz"), "-ERR syntax error\r\n");
        assert!(
            server
                .run(a, "CONFIG SET hz x")
                .starts_with("-ERR CONFIG SET failed (possibly related to argument 'hz')")
        );
        assert_eq!(server.run(a, "CONFIG GET nosuch"), "*0\r\n");
        assert!(server.host.requests.is_empty());
    }

    #[test]
    fn a_node_of_a_cluster_is_not_moved_by_a_directive() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        let set = "CONFIG SET cluster-announce-ip 10.0.0.1 cluster-announce-port 7000 cluster-announce-bus-port 17000";
        assert_eq!(server.run(a, set), "+OK\r\n", "there is nobody to tell");
        server.host.show(crate::testing::three_nodes(0, Some(0)));
        assert_eq!(server.run(a, set), "+OK\r\n", "it is that already");
        for (also, moves) in [("hz 20 ", "cluster-announce-port"), ("", "port"), ("", "tls-port")] {
            let error = format!(
                "-ERR CONFIG SET failed (possibly related to argument '{moves}') - a node of a \
                 cluster takes it up when it starts: change the config file and restart it\r\n"
            );
            assert_eq!(server.run(a, &format!("CONFIG SET {also}{moves} 7001")), error);
        }
    }

    #[test]
    fn what_may_fail_is_answered_by_the_host_one_at_a_time() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        assert_eq!(server.run(a, "CONFIG SET port 6379"), "+OK\r\n", "it is that already");
        assert_eq!(server.run(a, "CONFIG SET port 7000 bind 127.0.0.1 hz 20"), "");
        assert_eq!(
            server.run(b, "CONFIG SET hz 30 appendonly no"),
            "-ERR CONFIG SET failed (possibly related to argument 'appendonly') - another change is being put into \
             effect\r\n"
        );
        assert_eq!(server.run(b, "CONFIG GET hz"), "*2\r\n$2\r\nhz\r\n$2\r\n20\r\n", "all or none");
        let Some(Request::ConfigChanged(change)) = server.host.requests.pop() else { panic!("told of it") };
        assert_eq!(change.client, Some(a));
        server.engine.shared.config.take_back(&change.names, &change.before);
        assert_eq!(
            server.run(b, "CONFIG GET port bind hz"),
            "*6\r\n$4\r\nbind\r\n$6\r\n* -::*\r\n$2\r\nhz\r\n$2\r\n10\r\n$4\r\nport\r\n$4\r\n6379\r\n"
        );
        server.engine.shared.config_unsettled = false;
        server.run(b, "MULTI");
        server.run(b, "CONFIG SET port 7000");
        let refused = server.run(b, "EXEC");
        assert!(
            refused.starts_with("*1\r\n-ERR CONFIG SET failed (possibly related to argument 'port') - it ")
        );
        assert_eq!(server.engine.shared.config.port, 6379);
    }

    #[test]
    fn counters_go_back_to_zero() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "GET k");
        server.run(a, "NOSUCH");
        assert_eq!(server.run(a, "CONFIG RESETSTAT"), "+OK\r\n");
        assert_eq!(server.host.requests, [Request::ResetFigures]);
        let info = server.run(a, "INFO stats commandstats errorstats");
        assert!(info.contains("keyspace_misses:0\r\n"), "{info}");
        assert!(!info.contains("cmdstat_get"), "{info}");
        assert!(!info.contains("errorstat_ERR"), "{info}");
    }

    #[test]
    fn rewrite_is_the_hosts() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "CONFIG REWRITE"), "-ERR The server is running without a config file\r\n");
        server.host.facts.config_file = "cairn.conf".to_owned();
        assert_eq!(server.run(a, "CONFIG REWRITE"), "");
        assert_eq!(server.host.requests, [Request::ConfigRewrite { client: a, all: false }]);
        server.engine.answer(a, |reply| reply.ok());
        assert_eq!(server.output(a), b"+OK\r\n");
        assert!(server.engine.accepts_commands(a));
    }
}
