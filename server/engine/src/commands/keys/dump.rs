//! DUMP and RESTORE: a value as bytes, and back.

use crate::args::Args;
use crate::command::{COMMAND, Category, Command, Flag, Group, Keys, OVERWRITE, READ};
use crate::context::Context;
use crate::effects::removal;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::rdb::{self, LoadOptions};

pub(super) static DUMP: Command = Command {
    name: "dump",
    arity: 2,
    since: "2.6.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the value at a key as bytes that RESTORE understands, Redis's included.",
    complexity: "O(N) with N the size of the value",
    syntax: "key",
    tips: &["nondeterministic_output"],
    run: dump,
    ..COMMAND
};

fn dump(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    match cx.keys.find(key) {
        Some(entry) => cx.reply.bulk_shared(rdb::dump_value(&entry.value).into()),
        None => cx.reply.null(),
    }
    Ok(())
}

pub(super) static RESTORE: Command = Command {
    name: "restore",
    arity: -4,
    since: "2.6.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, OVERWRITE)],
    categories: &[Category::Dangerous],
    summary: "Makes a key of what DUMP returned, here or by a Redis.",
    complexity: "O(N) with N the size of the value, O(N*log(N)) for a sorted set",
    syntax: "key ttl:integer serialized-value:string [REPLACE] [ABSTTL] [IDLETIME seconds:integer] \
             [FREQ frequency:integer]",
    run: restore,
    ..COMMAND
};

/// What MIGRATE of a Redis sends to a node of a cluster; here every node has every slot, so that there is nothing to ask.
pub(super) static RESTORE_ASKING: Command = Command {
    name: "restore-asking",
    group: Group::Server,
    since: "3.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Asking],
    categories: &[Category::Keyspace, Category::Dangerous],
    summary: "The same as RESTORE, for the nodes of a Redis cluster.",
    ..RESTORE
};

/// The options of RESTORE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(args: Args<'_>) -> CommandResult<Self> {
        let mut options = Self::default();
        let mut i = 4;
        while i < args.len() {
            let has_value = i + 1 < args.len();
            if args.is(i, "REPLACE") {
                options.replace = true;
            } else if args.is(i, "ABSTTL") {
                options.absolute = true;
            } else if args.is(i, "IDLETIME") && has_value && options.frequency.is_none() {
                let idle_s = u64::try_from(args.int(i + 1)?);
                options.idle_s =
                    Some(idle_s.map_err(|_| CommandError::new("ERR Invalid IDLETIME value, must be >= 0"))?);
                i += 1;
            } else if args.is(i, "FREQ") && has_value && options.idle_s.is_none() {
                let frequency = u8::try_from(args.int(i + 1)?);
                options.frequency = Some(
                    frequency
                        .map_err(|_| CommandError::new("ERR Invalid FREQ value, must be >= 0 and <= 255"))?,
                );
                i += 1;
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        Ok(options)
    }
}

fn restore(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, payload) = (args.at(1), args.at(3));
    let options = Options::parse(args)?;
    if !options.replace && cx.keys.find_to_change(key) {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl = args.int(2)?;
    if ttl < 0 {
        return Err("ERR Invalid TTL value, must be >= 0".into());
    }
    let value = rdb::load_value(
        payload,
        &LoadOptions { databases: cx.keys.dbs().len(), seed: cx.keys.seed(), config: cx.config() },
    )?;
    let expire_at_ms = match ttl {
        0 => None,
        _ if options.absolute => Some(ttl),
        // What overflows is over, as it is in Redis.
        _ => Some(ttl.wrapping_add(cx.now_ms())),
    };
    cx.reply.ok();
    if expire_at_ms.is_some_and(|at_ms| at_ms <= cx.now_ms()) && !cx.obeys() {
        // Its time is up before it has begun: all that can be seen is that the old value has gone.
        cx.keys.discard(value);
        let word = removal(cx.config().lazyfree_lazy_server_del);
        cx.delete_key_as(word, key, Class::Generic, "del");
        return Ok(());
    }
    cx.keys.delete(key);
    cx.keys.set(key, value);
    if let Some(at_ms) = expire_at_ms {
        cx.keys.set_expire(key, at_ms);
    }
    set_usage(cx, key, options);
    cx.changed(key, Class::Generic, "restore");
    let mut numbers = [itoa::Buffer::new(), itoa::Buffer::new()];
    let [time, usage] = &mut numbers;
    let time = time.format(expire_at_ms.unwrap_or(0)).as_bytes();
    let mut effect: Vec<&[u8]> = vec![b"RESTORE", key, time, payload, b"ABSTTL", b"REPLACE"];
    if let Some(idle_s) = options.idle_s {
        effect.extend([b"IDLETIME".as_slice(), usage.format(idle_s).as_bytes()]);
    } else if let Some(frequency) = options.frequency {
        effect.extend([b"FREQ".as_slice(), usage.format(frequency).as_bytes()]);
    }
    cx.keep(&effect);
    if cx.shared.effects.is_fed() {
        // In the client's words, but with an absolute time, and a payload that Redis 7.0 takes as well.
        let value = cx.keys.peek(key).expect("restored above");
        let portable = rdb::dump_portable(value);
        let mut told = args.as_slice().to_vec();
        (told[2], told[3]) = (time, &portable);
        if ttl != 0 && !options.absolute {
            told.push(b"ABSTTL");
        }
        cx.tell_replicas(&told);
    }
    Ok(())
}

/// IDLETIME and FREQ count only under a policy that asks for them.
fn set_usage(cx: &mut Context<'_>, key: &[u8], options: Options) {
    let policy = &cx.keys.usage;
    let usage = match (policy.is_lfu(), options) {
        (true, Options { frequency: Some(frequency), .. }) => policy.from_frequency(frequency),
        (false, Options { idle_s: Some(idle_s), .. }) => policy.from_idle_seconds(idle_s),
        _ => return,
    };
    cx.keys.peek_entry(key).expect("just set").set_usage(usage);
}
