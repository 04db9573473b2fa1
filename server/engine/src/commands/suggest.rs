//! Suggestions: completions of what is being typed, as RediSearch has them.
//!
//! A dictionary of suggestions is a key of its own and has to do with no index.

use cairn_search::suggest::{Options, Suggestions};

use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group, Keys, METADATA, READ, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult, printed};
use crate::value::Value;

/// Every command of the family.
pub(super) const COMMANDS: &[&Command] = &[&FT_SUGADD, &FT_SUGDEL, &FT_SUGGET, &FT_SUGLEN];

const NO_ARGUMENT: &str = "Expected an argument, but none provided";
/// Bytes of what is to be completed; its letters are counted by [`Suggestions::complete`].
const QUERY_LEN_MAX: usize = 200;

static FT_SUGADD: Command = Command {
    name: "ft.sugadd",
    arity: -4,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Adds a suggestion, or changes its score and its payload.",
    complexity: "O(L) for a suggestion of L letters",
    syntax: "key string score:double [INCR] [PAYLOAD payload]",
    run: sugadd,
    ..COMMAND
};

fn sugadd(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 7 {
        return Err(CommandError::Arity("ft.sugadd".to_owned()));
    }
    let (mut increment, mut payload) = (false, None);
    let mut at = 4;
    while at < args.len() {
        if args.is(at, "INCR") {
            increment = true;
        } else if args.is(at, "PAYLOAD") {
            at += 1;
            let given =
                args.get(at).ok_or_else(|| CommandError::from(format!("Invalid payload: {NO_ARGUMENT}")))?;
            payload = Some(*given);
        } else {
            return Err(with_argument("Unknown argument `", args.at(at), "`"));
        }
        at += 1;
    }
    let (key, text) = (args.at(1), args.at(2));
    cx.keys.peek(key).map(Value::as_suggestions).transpose()?;
    let score = args.double(3).map_err(|_| CommandError::new("ERR invalid score"))?;
    let (kept, len) = match cx.keys.get_mut(key) {
        Some(value) => {
            let suggestions = value.as_suggestions_mut()?;
            (suggestions.add(text, score, increment, payload), suggestions.len())
        }
        None => {
            let mut suggestions = Suggestions::default();
            let kept = suggestions.add(text, score, increment, payload);
            let len = suggestions.len();
            // Redis would make a dictionary without suggestions.
            if kept {
                cx.keys.set(key, Value::Suggestions(suggestions));
            }
            (kept, len)
        }
    };
    cx.reply.int(len as i64);
    if kept {
        change(cx, key);
        cx.log_self();
    }
    Ok(())
}

/// The key has changed. There is no event: Redis has none for it.
fn change(cx: &mut Context<'_>, key: &[u8]) {
    cx.touch_key(key);
    cx.shared.effects.add_dirty(1);
}

fn with_argument(before: &str, arg: &[u8], after: &str) -> CommandError {
    CommandError::Bytes([before.as_bytes(), printed(arg), after.as_bytes()].concat())
}

static FT_SUGDEL: Command = Command {
    name: "ft.sugdel",
    arity: 3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes a suggestion.",
    complexity: "O(L) for a suggestion of L letters",
    syntax: "key string",
    run: sugdel,
    ..COMMAND
};

fn sugdel(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let Some(value) = cx.keys.get_mut(key) else {
        cx.reply.int(0);
        return Ok(());
    };
    let suggestions = value.as_suggestions_mut()?;
    let removed = suggestions.remove(args.at(2));
    let empty = suggestions.is_empty();
    cx.reply.int(i64::from(removed));
    if removed {
        if empty {
            cx.keys.delete(key);
        }
        change(cx, key);
        cx.log_self();
    }
    Ok(())
}

static FT_SUGGET: Command = Command {
    name: "ft.sugget",
    arity: -3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the best completions of a text.",
    complexity: "O(N) at worst, N being the letters of the suggestions that may be meant",
    syntax: "key prefix [FUZZY] [WITHSCORES] [WITHPAYLOADS] [MAX max:integer]",
    run: sugget,
    ..COMMAND
};

/// What FT.SUGGET is told beside the key and the text.
#[derive(Default)]
struct Wanted {
    options: Options,
    scores: bool,
    payloads: bool,
}

impl Wanted {
    fn parse(args: Args<'_>) -> CommandResult<Self> {
        let mut wanted = Self::default();
        let mut at = 3;
        while at < args.len() {
            if args.is(at, "FUZZY") {
                wanted.options.fuzzy = true;
            } else if args.is(at, "WITHSCORES") {
                wanted.scores = true;
            } else if args.is(at, "WITHPAYLOADS") {
                wanted.payloads = true;
            } else if args.is(at, "TRIM") {
                wanted.options.trim = true;
            } else if args.is(at, "OPTIMIZE") {
                // Of old: there is nothing left that it changes.
            } else if args.is(at, "MAX") {
                at += 1;
                wanted.options.max = parse_max(args.get(at).copied())?;
            } else {
                return Err(with_argument("Unrecognized argument: ", args.at(at), ""));
            }
            at += 1;
        }
        Ok(wanted)
    }
}

/// A number of one and more; a fraction is cut off.
fn parse_max(arg: Option<&[u8]>) -> CommandResult<usize> {
    let wrong = |why: &str| CommandError::from(format!("MAX: {why}"));
    let arg = arg.ok_or_else(|| wrong(NO_ARGUMENT))?;
    let number = match crate::args::parse_i64(arg) {
        Some(number) => number,
        None => {
            let number = crate::args::parse_f64(arg);
            number.ok_or_else(|| wrong("Could not convert argument to expected type"))? as i64
        }
    };
    match u32::try_from(number) {
        Ok(max) if max > 0 => Ok(max as usize),
        _ => Err(wrong("Value is outside acceptable bounds")),
    }
}

fn sugget(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 10 {
        return Err(CommandError::Arity("ft.sugget".to_owned()));
    }
    if args.at(2).len() > QUERY_LEN_MAX {
        return Err("Invalid query length".into());
    }
    let wanted = Wanted::parse(args)?;
    let Some(suggestions) = cx.keys.get(args.at(1)).map(Value::as_suggestions).transpose()? else {
        cx.reply.array(0);
        return Ok(());
    };
    let found =
        suggestions.complete(args.at(2), &wanted.options).ok_or(CommandError::new("Invalid query"))?;
    cx.reply.array(found.len() * (1 + usize::from(wanted.scores) + usize::from(wanted.payloads)));
    for suggestion in found {
        cx.reply.bulk(suggestion.text.as_bytes());
        if wanted.scores {
            cx.reply.double(suggestion.score);
        }
        if wanted.payloads {
            match suggestion.payload {
                Some(payload) => cx.reply.bulk(&payload),
                None => cx.reply.null(),
            }
        }
    }
    Ok(())
}

static FT_SUGLEN: Command = Command {
    name: "ft.suglen",
    arity: 2,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns how many suggestions there are.",
    complexity: "O(1)",
    syntax: "key",
    run: suglen,
    ..COMMAND
};

fn suglen(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let suggestions = cx.keys.get(args.at(1)).map(Value::as_suggestions).transpose()?;
    cx.reply.int(suggestions.map_or(0, Suggestions::len) as i64);
    Ok(())
}
