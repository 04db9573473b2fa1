//! COMMAND: what the commands are, all of it derived from their declarations.

use cairn_proto::ReplyWriter;

use super::syntax::{self, Argument, Kind};
use crate::acl::category;
use crate::args::Args;
use crate::command::{Begin, COMMAND, Category, Command, Entry, Find, Flag, Group, KeyAccess, Keys, table};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::glob;

pub(super) static COMMAND_COMMAND: Command = Command {
    name: "command",
    arity: -1,
    flags: FLAGS,
    group: Group::Server,
    since: "2.8.13",
    categories: &[Category::Connection],
    summary: "Describes all commands.",
    complexity: "O(N) where N is the number of commands",
    tips: &["nondeterministic_output_order"],
    subcommands: &[&COUNT, &DOCS, &GETKEYS, &GETKEYSANDFLAGS, &HELP, &INFO, &LIST],
    run: all,
    ..COMMAND
};

const FLAGS: &[Flag] = &[Flag::Loading, Flag::Stale];
const SUBCOMMAND: Command = Command {
    group: Group::Server,
    since: "2.8.13",
    flags: FLAGS,
    categories: &[Category::Connection],
    ..COMMAND
};

fn all(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let commands = top_level(cx);
    cx.reply.array(commands.len());
    for entry in commands {
        describe(cx.reply, entry);
    }
    Ok(())
}

fn top_level(cx: &Context<'_>) -> Vec<&'static Entry> {
    table().entries().iter().filter(|entry| entry.parent.is_none() && !cx.hides(entry)).collect()
}

/// A command by its name, `config|get` for a subcommand.
fn by_name(cx: &Context<'_>, name: &[u8]) -> Option<&'static Entry> {
    table().find_full(name).filter(|entry| !cx.hides(entry))
}

fn subcommands(entry: &'static Entry) -> impl ExactSizeIterator<Item = &'static Entry> {
    let find = |sub: &&'static Command| {
        table().find_sub(entry, sub.name.as_bytes()).expect("declared with its parent")
    };
    entry.spec.subcommands.iter().map(find)
}

static HELP: Command = Command {
    name: "help",
    arity: 2,
    since: "5.0.0",
    summary: "Describes the subcommands.",
    run: crate::commands::help::help,
    ..SUBCOMMAND
};

static COUNT: Command =
    Command { name: "count", arity: 2, summary: "Returns the number of commands.", run: count, ..SUBCOMMAND };

fn count(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let count = top_level(cx).len();
    cx.reply.int(count as i64);
    Ok(())
}

static INFO: Command = Command {
    name: "info",
    arity: -2,
    summary: "Describes some commands, or all: arity, flags, keys, categories.",
    complexity: "O(N) where N is the number of commands to look up",
    syntax: "[command-name [command-name ...]]",
    tips: &["nondeterministic_output_order"],
    run: info,
    ..SUBCOMMAND
};

fn info(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() == 2 {
        return all(cx, args);
    }
    cx.reply.array(args.len() - 2);
    for name in args.from(2) {
        match by_name(cx, name) {
            Some(entry) => describe(cx.reply, entry),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn describe(reply: &mut ReplyWriter, entry: &'static Entry) {
    let (first, last, step) = key_range(entry.spec.keys);
    reply.array(10);
    reply.bulk(entry.full_name.as_bytes());
    reply.int(i64::from(entry.spec.arity));
    statuses(reply, &flag_names(entry));
    reply.int(first);
    reply.int(last);
    reply.int(step);
    let categories: Vec<String> = category::of(entry).into_iter().map(|name| format!("@{name}")).collect();
    statuses(reply, &categories);
    reply.set(entry.spec.tips.len());
    for tip in entry.spec.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(entry.spec.keys.len());
    for keys in entry.spec.keys {
        describe_keys(reply, keys);
    }
    let subcommands = subcommands(entry);
    if subcommands.len() == 0 {
        reply.set(0);
        return;
    }
    reply.array(subcommands.len());
    for sub in subcommands {
        describe(reply, sub);
    }
}

fn statuses<S: AsRef<str>>(reply: &mut ReplyWriter, names: &[S]) {
    reply.set(names.len());
    for name in names {
        reply.simple(name.as_ref());
    }
}

/// The flags that COMMAND shows, in Redis's order. Others are nobody's business.
const SHOWN_FLAGS: [(Flag, &str); 19] = [
    (Flag::Write, "write"),
    (Flag::ReadOnly, "readonly"),
    (Flag::DenyOom, "denyoom"),
    (Flag::Admin, "admin"),
    (Flag::PubSub, "pubsub"),
    (Flag::NoScript, "noscript"),
    (Flag::Blocking, "blocking"),
    (Flag::Loading, "loading"),
    (Flag::Stale, "stale"),
    (Flag::SkipMonitor, "skip_monitor"),
    (Flag::SkipSlowlog, "skip_slowlog"),
    (Flag::Asking, "asking"),
    (Flag::Fast, "fast"),
    (Flag::NoAuth, "no_auth"),
    (Flag::NoMandatoryKeys, "no_mandatory_keys"),
    (Flag::NoAsyncLoading, "no_async_loading"),
    (Flag::NoMulti, "no_multi"),
    (Flag::MovableKeys, "movablekeys"),
    (Flag::AllowBusy, "allow_busy"),
];

fn flag_names(entry: &Entry) -> Vec<&'static str> {
    SHOWN_FLAGS.iter().filter(|(flag, _)| entry.flags.has(*flag)).map(|(_, name)| *name).collect()
}

/// First key, last key and step, as clients from before key specifications know them: of plain ranges that follow
/// each other. All 0 when there is none.
fn key_range(specs: &[Keys]) -> (i64, i64, i64) {
    if let [Keys { begin: Begin::Index(first), find: Find::Range { last, step, .. }, .. }] = specs {
        return (*first as i64, absolute(*first, *last), *step as i64);
    }
    let mut range: Option<(i64, i64)> = None;
    for keys in specs {
        let Keys { begin: Begin::Index(first), find: Find::Range { last, step: 1, .. }, .. } = keys else {
            continue;
        };
        let last = absolute(*first, *last);
        range = match range {
            None => Some((*first as i64, last)),
            Some((start, end)) if end + 1 == *first as i64 => {
                Some((start, if last < 0 { last } else { last.max(end) }))
            }
            Some(plain) => Some(plain),
        };
    }
    range.map_or((0, 0, 0), |(first, last)| (first, last, 1))
}

fn absolute(first: usize, last: i32) -> i64 {
    if last >= 0 { first as i64 + i64::from(last) } else { i64::from(last) }
}

fn access_names(access: &KeyAccess) -> Vec<String> {
    let mode = (!access.mode.is_empty()).then(|| access.mode.to_owned());
    mode.into_iter().chain(access.flags.iter().map(|flag| flag.to_ascii_lowercase())).collect()
}

fn describe_keys(reply: &mut ReplyWriter, keys: &Keys) {
    reply.map(3);
    reply.bulk(b"flags");
    statuses(reply, &access_names(&keys.access));
    reply.bulk(b"begin_search");
    match keys.begin {
        Begin::Index(index) => typed(reply, "index", &[("index", Value::Int(index as i64))]),
        Begin::Keyword { word, from } => typed(
            reply,
            "keyword",
            &[("keyword", Value::Text(word)), ("startfrom", Value::Int(i64::from(from)))],
        ),
        Begin::Unknown => typed(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match keys.find {
        Find::Range { last, step, limit } => typed(
            reply,
            "range",
            &[
                ("lastkey", Value::Int(i64::from(last))),
                ("keystep", Value::Int(step as i64)),
                ("limit", Value::Int(limit as i64)),
            ],
        ),
        Find::Number { first, step } => typed(
            reply,
            "keynum",
            &[
                ("keynumidx", Value::Int(0)),
                ("firstkey", Value::Int(first as i64)),
                ("keystep", Value::Int(step as i64)),
            ],
        ),
        Find::Unknown => typed(reply, "unknown", &[]),
    }
}

enum Value {
    Int(i64),
    Text(&'static str),
}

fn typed(reply: &mut ReplyWriter, type_name: &str, spec: &[(&str, Value)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(type_name.as_bytes());
    reply.bulk(b"spec");
    reply.map(spec.len());
    for (name, value) in spec {
        reply.bulk(name.as_bytes());
        match value {
            Value::Int(value) => reply.int(*value),
            Value::Text(value) => reply.bulk(value.as_bytes()),
        }
    }
}

static DOCS: Command = Command {
    name: "docs",
    arity: -2,
    since: "7.0.0",
    summary: "Explains some commands, or all: what they do, since when, with which arguments.",
    complexity: "O(N) where N is the number of commands to look up",
    syntax: "[command-name [command-name ...]]",
    tips: &["nondeterministic_output_order"],
    run: docs,
    ..SUBCOMMAND
};

fn docs(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let wanted: Vec<&Entry> = match args.from(2) {
        [] => top_level(cx),
        names => names.iter().filter_map(|name| by_name(cx, name)).collect(),
    };
    cx.reply.map(wanted.len());
    for entry in wanted {
        cx.reply.bulk(entry.full_name.as_bytes());
        explain(cx.reply, entry);
    }
    Ok(())
}

fn explain(reply: &mut ReplyWriter, entry: &'static Entry) {
    let spec = entry.spec;
    // A test makes sure that every declaration can be read.
    let arguments = syntax::parse(spec.syntax).unwrap_or_default();
    let subcommands = subcommands(entry);
    reply.map(4 + usize::from(!arguments.is_empty()) + usize::from(subcommands.len() > 0));
    for (field, text) in [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ] {
        reply.bulk(field.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        let mut next_keys = 0;
        explain_arguments(reply, &arguments, spec.keys.len(), &mut next_keys);
    }
    if subcommands.len() > 0 {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        for sub in subcommands {
            reply.bulk(sub.full_name.as_bytes());
            explain(reply, sub);
        }
    }
}

/// `next_keys` is the key specification that the next key argument belongs to, of `specs` there are.
fn explain_arguments(reply: &mut ReplyWriter, arguments: &[Argument], specs: usize, next_keys: &mut usize) {
    reply.array(arguments.len());
    for argument in arguments {
        let is_leaf = argument.children.is_empty();
        let keys = (argument.kind == Kind::Key && specs > 0).then(|| {
            let index = (*next_keys).min(specs - 1);
            *next_keys += 1;
            index
        });
        let flags: Vec<&str> = [
            (argument.optional, "optional"),
            (argument.multiple, "multiple"),
            (argument.multiple_token, "multiple_token"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
        .collect();
        let optional_fields = [keys.is_some(), argument.token.is_some(), !flags.is_empty()];
        reply.map(3 + optional_fields.into_iter().filter(|&set| set).count());
        reply.bulk(b"name");
        reply.bulk(argument.name.as_bytes());
        reply.bulk(b"type");
        reply.bulk(argument.kind.name().as_bytes());
        if is_leaf {
            reply.bulk(b"display_text");
            reply.bulk(argument.name.as_bytes());
        }
        if let Some(index) = keys {
            reply.bulk(b"key_spec_index");
            reply.int(index as i64);
        }
        if let Some(token) = &argument.token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            statuses(reply, &flags);
        }
        if !is_leaf {
            reply.bulk(b"arguments");
            explain_arguments(reply, &argument.children, specs, next_keys);
        }
    }
}

static LIST: Command = Command {
    name: "list",
    arity: -2,
    since: "7.0.0",
    summary: "Lists the names of all commands, or of those that fit a filter.",
    complexity: "O(N) where N is the number of commands",
    syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
    tips: &["nondeterministic_output_order"],
    run: list,
    ..SUBCOMMAND
};

fn list(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let is = |word: &[u8], keyword: &str| word.eq_ignore_ascii_case(keyword.as_bytes());
    let fits: Box<dyn Fn(&Entry) -> bool> = match *args.from(2) {
        [] => Box::new(|_| true),
        [word, by, _] if is(word, "filterby") && is(by, "module") => Box::new(|_| false),
        [word, by, category] if is(word, "filterby") && is(by, "aclcat") => {
            Box::new(move |entry| category::of(entry).iter().any(|known| is(category, known)))
        }
        [word, by, pattern] if is(word, "filterby") && is(by, "pattern") => {
            Box::new(move |entry| glob::matches(pattern, entry.full_name.as_bytes(), true))
        }
        _ => return Err(CommandError::Syntax),
    };
    let found: Vec<&Entry> =
        table().entries().iter().filter(|entry| fits(entry) && !cx.hides(entry)).collect();
    cx.reply.array(found.len());
    for entry in found {
        cx.reply.bulk(entry.full_name.as_bytes());
    }
    Ok(())
}

static GETKEYS: Command = Command {
    name: "getkeys",
    arity: -3,
    summary: "Returns the keys among the arguments of a command.",
    complexity: "O(N) where N is the number of arguments",
    syntax: "command [arg [arg ...]]",
    run: |cx, args| getkeys(cx, args, false),
    ..SUBCOMMAND
};

static GETKEYSANDFLAGS: Command = Command {
    name: "getkeysandflags",
    arity: -3,
    since: "7.0.0",
    summary: "Returns the keys among the arguments of a command, and what it does to them.",
    complexity: "O(N) where N is the number of arguments",
    syntax: "command [arg [arg ...]]",
    run: |cx, args| getkeys(cx, args, true),
    ..SUBCOMMAND
};

fn getkeys(cx: &mut Context<'_>, args: Args<'_>, with_flags: bool) -> CommandResult {
    let inner = Args::new(args.from(2));
    let entry = table().resolve(inner).ok_or(CommandError::new("ERR Invalid command specified"))?;
    if !entry.spec.keys.iter().any(Keys::are_keys) {
        return Err("ERR The command has no key arguments".into());
    }
    if !entry.arity_fits(inner.len()) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    let found = entry.keys_with_access(inner).unwrap_or_default();
    if found.is_empty() && !entry.flags.has(Flag::NoMandatoryKeys) {
        return Err("ERR Invalid arguments specified for command".into());
    }
    cx.reply.array(found.len());
    for (at, access) in found {
        if with_flags {
            cx.reply.array(2);
            cx.reply.bulk(inner[at]);
            statuses(cx.reply, &access_names(&access));
        } else {
            cx.reply.bulk(inner[at]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use super::*;
    use crate::command::{READ, UPDATE};
    use crate::testing::TestEngine;

    #[test]
    fn a_command_is_described_as_redis_does() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(
            server.run(a, "COMMAND INFO get nosuch"),
            "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n\
             +@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n\
             $5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n\
             $4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n$-1\r\n"
        );
        let config = server.run(a, "COMMAND INFO config|get");
        assert!(
            config.starts_with("*1\r\n*10\r\n$10\r\nconfig|get\r\n:-3\r\n*4\r\n+admin\r\n+noscript\r\n"),
            "{config}"
        );
        let count = server.run(a, "COMMAND COUNT");
        assert_eq!(server.run(a, "COMMAND").lines().next().unwrap()[1..], count.trim_end()[1..]);
    }

    #[test]
    fn categories_follow_from_flags_groups_and_declarations() {
        for (name, expected) in [
            ("wait", "slow connection"),
            ("config", "slow"),
            ("config|get", "admin slow dangerous"),
            ("client|list", "admin slow dangerous connection"),
            ("command", "slow connection"),
            ("publish", "pubsub fast"),
            ("pubsub|help", "slow"),
            ("flushall", "keyspace write slow dangerous"),
            ("role", "admin fast dangerous"),
            ("multi", "fast transaction"),
        ] {
            let entry = table().find_full(name.as_bytes()).unwrap();
            assert_eq!(category::of(entry).join(" "), expected, "{name}");
        }
    }

    #[test]
    fn ranges_of_keys_for_old_clients() {
        assert_eq!(key_range(&[]), (0, 0, 0));
        assert_eq!(key_range(&[Keys::range(1, -1, 2, UPDATE)]), (1, -1, 2));
        assert_eq!(key_range(&[Keys::at(1, UPDATE), Keys::at(2, READ)]), (1, 2, 1));
        assert_eq!(key_range(&[Keys::at(1, UPDATE), Keys::range(2, -1, 1, READ)]), (1, -1, 1));
        assert_eq!(key_range(&[Keys::at(1, UPDATE), Keys::number(2, READ)]), (1, 1, 1));
        assert_eq!(key_range(&[Keys::number(1, READ)]), (0, 0, 0));
    }

    #[test]
    fn keys_of_a_command_line() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "COMMAND GETKEYS SET k v"), "*1\r\n$1\r\nk\r\n");
        assert_eq!(
            server.run(a, "COMMAND GETKEYSANDFLAGS SET k v"),
            "*1\r\n*2\r\n$1\r\nk\r\n*2\r\n+OW\r\n+update\r\n"
        );
        assert_eq!(
            server.run(a, "COMMAND GETKEYSANDFLAGS SET k v EX 1 get"),
            "*1\r\n*2\r\n$1\r\nk\r\n*3\r\n+RW\r\n+access\r\n+update\r\n"
        );
        assert_eq!(
            server.run(a, "COMMAND GETKEYSANDFLAGS BITFIELD k GET u8 0"),
            "*1\r\n*2\r\n$1\r\nk\r\n*2\r\n+RO\r\n+access\r\n"
        );
        assert_eq!(
            server.run(a, "COMMAND GETKEYSANDFLAGS WATCH a b"),
            "*2\r\n*2\r\n$1\r\na\r\n*1\r\n+RO\r\n*2\r\n$1\r\nb\r\n*1\r\n+RO\r\n"
        );
        assert_eq!(server.run(a, "COMMAND GETKEYS PING"), "-ERR The command has no key arguments\r\n");
        assert_eq!(
            server.run(a, "COMMAND GETKEYS SSUBSCRIBE c"),
            "-ERR The command has no key arguments\r\n"
        );
        assert_eq!(server.run(a, "COMMAND GETKEYS NOSUCH x"), "-ERR Invalid command specified\r\n");
        assert_eq!(
            server.run(a, "COMMAND GETKEYS GET"),
            "-ERR Invalid number of arguments specified for command\r\n"
        );
    }

    #[test]
    fn lists_are_filtered() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "COMMAND LIST FILTERBY PATTERN xyz*"), "*0\r\n");
        assert!(server.run(a, "COMMAND LIST FILTERBY PATTERN Config*").contains("config|rewrite"));
        assert!(server.run(a, "COMMAND LIST FILTERBY ACLCAT transaction").starts_with("*5\r\n"));
        assert_eq!(server.run(a, "COMMAND LIST FILTERBY MODULE m"), "*0\r\n");
        assert_eq!(server.run(a, "COMMAND LIST FILTERBY NAME m"), "-ERR syntax error\r\n");
    }

    #[test]
    fn docs_have_the_tree_of_arguments() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V3);
        let docs = server.run(a, "COMMAND DOCS wait nosuch");
        assert!(docs.starts_with("%1\r\n$4\r\nwait\r\n%5\r\n$7\r\nsummary\r\n"), "{docs}");
        assert!(
            docs.contains(
                "$9\r\narguments\r\n*2\r\n%3\r\n$4\r\nname\r\n$11\r\nnumreplicas\r\n$4\r\ntype\r\n$7\r\ninteger\r\n\
                 $12\r\ndisplay_text\r\n$11\r\nnumreplicas\r\n"
            ),
            "{docs}"
        );
        let docs = server.run(a, "COMMAND DOCS config");
        assert!(docs.contains("$11\r\nsubcommands\r\n%5\r\n$10\r\nconfig|get\r\n"), "{docs}");
    }

    #[test]
    fn every_command_is_declared_in_full() {
        for entry in table().entries() {
            let Command { name, arity, summary, since, complexity, .. } = *entry.spec;
            assert!(!name.is_empty() && arity != 0, "{name}: arity");
            assert!(!summary.is_empty() && !since.is_empty() && !complexity.is_empty(), "{name}: texts");
            assert_eq!(name, name.to_ascii_lowercase(), "{name}: case");
            assert!(
                !(entry.flags.has(Flag::Write) && entry.flags.has(Flag::ReadOnly)),
                "{name}: writes and reads"
            );
        }
    }
}
