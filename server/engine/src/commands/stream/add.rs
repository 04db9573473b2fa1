//! XADD and XTRIM.

use super::{log_with_tail, new_stream, parse_id, reply_id};
use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group, Keys, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::types::stream::{AppendError, Entries, IdText, NodeLimits, StreamId, Trim};

/// Nodes that an approximate trim may remove in one call when LIMIT does not say.
const TRIM_NODES_DEFAULT: u64 = 100;
/// Bounds of what follows from that when `stream-node-max-entries` is 0 or huge.
const TRIM_LIMIT_UNKNOWN: u64 = 10_000;
const TRIM_LIMIT_MAX: u64 = 1_000_000;

pub(super) static XADD: Command = Command {
    name: "xadd",
    arity: -5,
    group: Group::Stream,
    since: "5.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Appends an entry to a stream; makes the stream if need be.",
    complexity: "O(1) to append, O(N) to trim N entries away",
    syntax: "key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold:string [LIMIT count:integer]] \
             * | id:string field:string value:string [field:string value:string ...]",
    tips: &["nondeterministic_output"],
    run: xadd,
    ..COMMAND
};

pub(super) static XTRIM: Command = Command {
    name: "xtrim",
    arity: -4,
    group: Group::Stream,
    since: "5.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes the oldest entries of a stream, down to a length or up to an id.",
    complexity: "O(N) with N entries removed, many of them at once",
    syntax: "key MAXLEN | MINID [= | ~] threshold:string [LIMIT count:integer]",
    tips: &["nondeterministic_output"],
    run: xtrim,
    ..COMMAND
};

/// Which id the new entry gets.
#[derive(Clone, Copy)]
enum NewId {
    /// `*`: by the clock.
    Auto,
    /// `ms-*`: the next of this millisecond.
    AutoSeq(u64),
    Given(StreamId),
}

struct Options {
    trim: Option<Trim>,
    approximate: bool,
    /// 0: none.
    limit: u64,
    no_mkstream: bool,
    id: NewId,
    /// Where the id stands: after all options.
    id_at: usize,
}

fn parse_options(cx: &Context<'_>, args: Args<'_>, adding: bool) -> CommandResult<Options> {
    let mut options =
        Options { trim: None, approximate: false, limit: 0, no_mkstream: false, id: NewId::Auto, id_at: 0 };
    let mut limit_given = false;
    let mut at = 2;
    while at < args.len() {
        let more = args.len() - 1 - at;
        if adding && args[at] == b"*" {
            break;
        } else if more > 0 && (args.is(at, "maxlen") || args.is(at, "minid")) {
            if options.trim.is_some() {
                return Err(
                    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible".into()
                );
            }
            let by_length = args.is(at, "maxlen");
            if more >= 2 && matches!(args[at + 1], b"~" | b"=") {
                options.approximate = args[at + 1] == b"~";
                at += 1;
            }
            options.trim = Some(if by_length {
                let max = u64::try_from(args.int(at + 1)?)
                    .map_err(|_| CommandError::new("ERR The MAXLEN argument must be >= 0."))?;
                Trim::MaxLen(max)
            } else {
                Trim::MinId(parse_id(args[at + 1])?)
            });
            at += 1;
        } else if more > 0 && args.is(at, "limit") {
            options.limit = u64::try_from(args.int(at + 1)?)
                .map_err(|_| CommandError::new("ERR The LIMIT argument must be >= 0."))?;
            limit_given = true;
            at += 1;
        } else if adding && args.is(at, "nomkstream") {
            options.no_mkstream = true;
        } else if adding {
            options.id = parse_new_id(args[at])?;
            break;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    options.id_at = at;
    if options.limit > 0 && options.trim.is_none() {
        return Err("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy".into());
    }
    if !adding && options.trim.is_none() {
        return Err("ERR syntax error, XTRIM must be called with a trimming strategy".into());
    }
    if limit_given && !options.approximate {
        return Err("ERR syntax error, LIMIT cannot be used without the special ~ option".into());
    }
    if !limit_given && options.approximate {
        options.limit = match cx.config().stream_node_max_entries.saturating_mul(TRIM_NODES_DEFAULT) {
            0 => TRIM_LIMIT_UNKNOWN,
            limit => limit.min(TRIM_LIMIT_MAX),
        };
    }
    Ok(options)
}

fn parse_new_id(arg: &[u8]) -> CommandResult<NewId> {
    if let Some(ms) = arg.strip_suffix(b"-*")
        && !ms.contains(&b'-')
    {
        return parse_id(ms).map(|id| NewId::AutoSeq(id.ms));
    }
    parse_id(arg).map(NewId::Given)
}

impl NewId {
    fn resolve(self, entries: &Entries, now_ms: i64) -> CommandResult<StreamId> {
        let last = entries.last_id();
        let exhausted =
            CommandError::new("ERR The stream has exhausted the last possible ID, unable to add more items");
        if last == StreamId::MAX {
            return Err(exhausted);
        }
        match self {
            Self::Given(id) => Ok(id),
            Self::AutoSeq(ms) if ms == last.ms => {
                last.seq.checked_add(1).map(|seq| StreamId::new(ms, seq)).ok_or(ID_TOO_SMALL)
            }
            Self::AutoSeq(ms) => Ok(StreamId::new(ms, 0)),
            Self::Auto => match u64::try_from(now_ms) {
                Ok(ms) if ms > last.ms => Ok(StreamId::new(ms, 0)),
                _ => last.next().ok_or(exhausted),
            },
        }
    }
}

const ID_TOO_SMALL: CommandError =
    CommandError::new("ERR The ID specified in XADD is equal or smaller than the target stream top item");

fn xadd(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let options = parse_options(cx, args, true)?;
    let pairs = args.get(options.id_at + 1..).unwrap_or_default();
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(CommandError::Arity("xadd".to_owned()));
    }
    if matches!(options.id, NewId::Given(StreamId::MIN)) {
        return Err("ERR The ID specified in XADD must be greater than 0-0".into());
    }
    let now_ms = cx.now_ms();
    let limits = NodeLimits {
        max_bytes: cx.config().stream_node_max_bytes,
        max_entries: cx.config().stream_node_max_entries,
    };
    let (value, made) = if options.no_mkstream {
        let Some(value) = cx.keys.get_mut(key) else {
            cx.reply.null();
            return Ok(());
        };
        (value, false)
    } else {
        cx.keys.get_or_insert_with(key, new_stream)
    };
    let entries = &mut value.as_stream_mut()?.entries;
    let added = options.id.resolve(entries, now_ms).and_then(|id| {
        entries.append(id, pairs, limits).map_err(|error| match error {
            AppendError::IdTooSmall => ID_TOO_SMALL,
            AppendError::TooLarge => "ERR Elements are too large to be stored".into(),
        })?;
        Ok(id)
    });
    let (id, cut) = match added {
        Ok(id) => (id, options.trim.and_then(|trim| Cut::make(entries, trim, &options))),
        Err(error) => {
            if made {
                cx.keys.delete(key);
            }
            return Err(error);
        }
    };
    reply_id(cx.reply, id);
    if made {
        cx.notify(Class::New, "new", key);
    }
    cx.changed(key, Class::Stream, "xadd");
    if cut.is_some() {
        cx.notify(Class::Stream, "xtrim", key);
    }
    match cut {
        None if options.id_at == 2 && matches!(options.id, NewId::Given(_)) => cx.log_self(),
        None => log_with_tail(cx, &[b"XADD", key, &id.text()], pairs),
        Some(cut) => {
            let (word, threshold) = cut.words();
            log_with_tail(cx, &[b"XADD", key, word, b"=", &threshold, &id.text()], pairs);
        }
    }
    Ok(())
}

fn xtrim(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let options = parse_options(cx, args, false)?;
    let cut = match cx.keys.get_mut(key) {
        Some(value) => {
            let entries = &mut value.as_stream_mut()?.entries;
            options.trim.and_then(|trim| Cut::make(entries, trim, &options))
        }
        None => None,
    };
    let Some(cut) = cut else {
        cx.reply.int(0);
        return Ok(());
    };
    cx.reply.int(cut.removed as i64);
    cx.changed(key, Class::Stream, "xtrim");
    cx.shared.effects.add_dirty(cut.removed - 1);
    let (word, threshold) = cut.words();
    cx.log(&[b"XTRIM", key, word, b"=", &threshold]);
    Ok(())
}

/// What a trim did, as an exact trim that does the same.
struct Cut {
    removed: u64,
    exact: Trim,
}

impl Cut {
    /// Trims; `None` when nothing went.
    fn make(entries: &mut Entries, trim: Trim, options: &Options) -> Option<Self> {
        let removed = entries.trim(trim, options.approximate, options.limit);
        if removed == 0 {
            return None;
        }
        let exact = match trim {
            Trim::MaxLen(_) => Trim::MaxLen(entries.len()),
            Trim::MinId(_) if entries.is_empty() => Trim::MinId(StreamId::MAX),
            Trim::MinId(_) => Trim::MinId(entries.first_id()),
        };
        Some(Self { removed, exact })
    }

    /// Keyword and threshold.
    fn words(&self) -> (&'static [u8], IdText) {
        match self.exact {
            Trim::MaxLen(len) => (b"MAXLEN", IdText::number(len)),
            Trim::MinId(id) => (b"MINID", id.text()),
        }
    }
}
