//! HyperLogLog. `registers.rs`: the string that holds one, byte for byte Redis's; `estimate.rs`: the count; `debug.rs`:
//! PFDEBUG and PFSELFTEST; here: the other commands.
//!
//! The string is data that clients can read (GET, DUMP), so that all nodes must agree on its bytes:
//!
//! - When a sketch goes from sparse to dense depends on `hll-sparse-max-bytes`, which may differ where the effect is
//!   applied. So PFADD and PFMERGE are effects only as long as the form stays; a change of form is logged as the
//!   whole string. While an effect is applied, nothing becomes dense for its size.
//! - PFCOUNT stores the count that it has worked out in the string, as Redis does. These eight bytes are an effect of
//!   their own (`SETRANGE`); the answer does not wait for it, because it says nothing that the registers do not.

mod debug;
mod estimate;
mod registers;

use registers::{Corrupt, Form, REGISTERS};

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, INSERT, Keys, READ, READ_INSERT, READ_REWRITE};
use crate::commands::string::raw_at;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::types::Str;
use crate::value::Value;

pub(super) const COMMANDS: &[&Command] = &[&PFADD, &PFCOUNT, &debug::PFDEBUG, &PFMERGE, &debug::PFSELFTEST];

const NOT_A_SKETCH: CommandError =
    CommandError::new("WRONGTYPE Key is not a valid HyperLogLog string value.");

impl From<Corrupt> for CommandError {
    fn from(Corrupt: Corrupt) -> Self {
        Self::new("INVALIDOBJ Corrupted HLL object detected")
    }
}

static PFADD: Command = Command {
    name: "pfadd",
    arity: -2,
    group: Group::HyperLogLog,
    since: "2.8.9",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, INSERT)],
    summary: "Adds elements to a HyperLogLog; makes it when it is not there.",
    complexity: "O(1) for each element",
    syntax: "key [element:string ...]",
    run: pfadd,
    ..COMMAND
};

fn pfadd(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let form = form_at(cx, key)?;
    let sparse_max = sparse_bytes_max(cx);
    let mut updates = 0;
    if form.is_none() {
        cx.keys.set_keep_ttl(key, Value::Str(Str::raw(registers::empty())));
        updates = 1;
    }
    let buf = raw_at(cx, key)?;
    let mut added = 2;
    let result = args.from(2).iter().try_for_each(|element| {
        updates += u64::from(registers::add(buf, element, sparse_max)?);
        added += 1;
        Ok(())
    });
    if updates > 0 {
        registers::forget_count(buf);
        // What came before the damage has been done.
        log_sketch(cx, key, form, &args[..added]);
        cx.changed(key, Class::String, "pfadd");
        cx.shared.effects.add_dirty(updates - 1);
    }
    result.map_err(|corrupt: Corrupt| corrupt.into()).inspect(|()| cx.reply.int((updates > 0).into()))
}

static PFCOUNT: Command = Command {
    name: "pfcount",
    arity: -2,
    group: Group::HyperLogLog,
    since: "2.8.9",
    flags: &[Flag::ReadOnly, Flag::MayReplicate],
    keys: &[Keys::range(1, -1, 1, READ_REWRITE)],
    summary: "Estimates how many different elements were added to a HyperLogLog, or to several together.",
    complexity: "O(1), with a large constant for several keys or after a change",
    syntax: "key [key ...]",
    run: pfcount,
    ..COMMAND
};

fn pfcount(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 {
        let mut union = [0; REGISTERS];
        for &key in args.from(1) {
            if let Some(value) = cx.keys.get(key) {
                value.as_str()?.with_bytes(|bytes| merge(&mut union, bytes)).map(drop)?;
            }
        }
        cx.reply.int(estimate::of_registers(&union) as i64);
        return Ok(());
    }
    let key = args.at(1);
    let Some(value) = cx.keys.get(key) else {
        cx.reply.int(0);
        return Ok(());
    };
    let (known, count) = value.as_str()?.with_bytes(|bytes| {
        form(bytes)?;
        match registers::known_count(bytes) {
            Some(count) => Ok((true, count)),
            None => Ok::<_, CommandError>((false, estimate::of_sketch(bytes)?)),
        }
    })?;
    // When nothing can be logged the count is worked out again next time.
    if !known && cx.shared.write_refusal.is_none() {
        let bytes = registers::set_count(raw_at(cx, key)?, count);
        cx.touch_key(key);
        cx.shared.effects.add_dirty(1);
        let db = cx.keys.selected();
        cx.shared.effects.log(db, &[b"SETRANGE", key, registers::COUNT_OFFSET, &bytes]);
    }
    cx.reply.int(count as i64);
    Ok(())
}

static PFMERGE: Command = Command {
    name: "pfmerge",
    arity: -2,
    group: Group::HyperLogLog,
    since: "2.8.9",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, READ_INSERT), Keys::range(2, -1, 1, READ)],
    summary: "Merges HyperLogLogs into another, which counts as one of them.",
    complexity: "O(N) with N the number of keys, with a large constant",
    syntax: "destkey:key [sourcekey:key ...]",
    run: pfmerge,
    ..COMMAND
};

fn pfmerge(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let mut union = [0; REGISTERS];
    let mut any_dense = false;
    for source in args.from(1) {
        if let Some(value) = cx.keys.get(source) {
            let form = value.as_str()?.with_bytes(|bytes| merge(&mut union, bytes))?;
            any_dense |= form == Form::Dense;
        }
    }
    let form = form_at(cx, key)?;
    let sparse_max = sparse_bytes_max(cx);
    if form.is_none() {
        cx.keys.set_keep_ttl(key, Value::Str(Str::raw(registers::empty())));
    }
    let buf = raw_at(cx, key)?;
    if any_dense {
        registers::make_dense(buf)?;
    }
    registers::raise(buf, &union, sparse_max)?;
    registers::forget_count(buf);
    log_sketch(cx, key, form, &args);
    cx.changed(key, Class::String, "pfadd");
    cx.reply.ok();
    Ok(())
}

/// Logs the change of a sketch that had the form `before`: `argv` when that does the same everywhere.
fn log_sketch(cx: &mut Context<'_>, key: &[u8], before: Option<Form>, argv: &[&[u8]]) {
    if !cx.shared.effects.recorded() {
        return;
    }
    let Some(Value::Str(string)) = cx.keys.peek(key).cloned() else { return };
    let bytes = string.bytes();
    let now = registers::form(&bytes);
    if now == before || now == Some(Form::Sparse) {
        cx.log(argv);
    } else {
        cx.log(&[b"SET", key, &bytes, b"KEEPTTL"]);
    }
}

/// The form of the sketch at `key`; `None`: there is no key.
fn form_at(cx: &Context<'_>, key: &[u8]) -> CommandResult<Option<Form>> {
    cx.keys.peek(key).map(|value| value.as_str()?.with_bytes(form)).transpose()
}

fn form(bytes: &[u8]) -> CommandResult<Form> {
    registers::form(bytes).ok_or(NOT_A_SKETCH)
}

fn merge(union: &mut [u8; REGISTERS], bytes: &[u8]) -> CommandResult<Form> {
    let form = form(bytes)?;
    registers::merge(union, bytes)?;
    Ok(form)
}

fn sparse_bytes_max(cx: &Context<'_>) -> usize {
    if cx.mode.applying { usize::MAX } else { cx.config().hll_sparse_max_bytes }
}

#[cfg(test)]
mod tests;
