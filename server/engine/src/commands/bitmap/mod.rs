//! Strings as bitmaps. `field.rs`: BITFIELD; `bits.rs`: counting and finding; here: the other commands.

mod bits;
mod field;

use std::ops::Range;

use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, OVERWRITE, READ, READ_UPDATE};
use crate::commands::string::raw_at;
use crate::context::Context;
use crate::ds::SharedBuf;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::types::Str;
use crate::value::Value;

pub(super) const COMMANDS: &[&Command] =
    &[&BITCOUNT, &BITOP, &BITPOS, &GETBIT, &SETBIT, &field::BITFIELD, &field::BITFIELD_RO];

const BAD_OFFSET: CommandError = CommandError::new("ERR bit offset is not an integer or out of range");
const BAD_BIT: CommandError = CommandError::new("ERR bit is not an integer or out of range");

/// A bit's number as argument; the longest string that there may be has a byte for it.
fn check_offset(cx: &Context<'_>, offset: Option<i64>) -> CommandResult<usize> {
    let offset = offset.and_then(|offset| usize::try_from(offset).ok()).ok_or(BAD_OFFSET)?;
    // What has been logged was allowed when it was run.
    let bytes_max = if cx.obeys() { usize::MAX } else { cx.config().proto_max_bulk_len };
    if offset / 8 >= bytes_max.min(crate::ds::shared_buf::LEN_MAX) {
        return Err(BAD_OFFSET);
    }
    Ok(offset)
}

static SETBIT: Command = Command {
    name: "setbit",
    arity: 4,
    group: Group::Bitmap,
    since: "2.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Sets or clears a bit of the string at a key and returns what it was.",
    syntax: "key offset:integer value:integer",
    run: setbit,
    ..COMMAND
};

fn setbit(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let offset = check_offset(cx, parse_i64(args.at(2)))?;
    let new = match parse_i64(args.at(3)) {
        Some(bit @ (0 | 1)) => bit as u8,
        _ => return Err(BAD_BIT),
    };
    let (byte, shift) = (offset / 8, 7 - offset % 8);
    let old = match cx.keys.peek(key) {
        Some(value) => value.as_str()?.with_bytes(|bytes| bytes.get(byte).map(|byte| byte >> shift & 1)),
        None => None,
    };
    if old == Some(new) {
        cx.keys.find_to_change(key);
    } else {
        let buf = raw_at(cx, key)?;
        if buf.len() <= byte {
            buf.resize(byte + 1, 0);
        }
        let place = &mut buf.make_mut()[byte];
        *place = *place & !(1 << shift) | new << shift;
        cx.changed(key, Class::String, "setbit");
        cx.log_self();
    }
    cx.reply.int(old.unwrap_or(0).into());
    Ok(())
}

static GETBIT: Command = Command {
    name: "getbit",
    arity: 3,
    group: Group::Bitmap,
    since: "2.2.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns a bit of the string at a key.",
    syntax: "key offset:integer",
    run: getbit,
    ..COMMAND
};

fn getbit(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let offset = check_offset(cx, parse_i64(args.at(2)))?;
    let bit = match cx.keys.get(key) {
        Some(value) => value
            .as_str()?
            .with_bytes(|bytes| bytes.get(offset / 8).map_or(0, |byte| byte >> (7 - offset % 8) & 1)),
        None => 0,
    };
    cx.reply.int(bit.into());
    Ok(())
}

static BITCOUNT: Command = Command {
    name: "bitcount",
    arity: -2,
    group: Group::Bitmap,
    since: "2.6.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Counts the set bits of the string at a key, or of a part of it.",
    complexity: "O(N) with N the length of the part",
    syntax: "key [start:integer end:integer [BYTE | BIT]]",
    run: bitcount,
    ..COMMAND
};

fn bitcount(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let range = match args.len() {
        2 => None,
        4 | 5 => Some((args.int(2)?, args.int(3)?, parse_unit(args, 4)?)),
        _ => return Err(CommandError::Syntax),
    };
    let count = match cx.keys.get(args.at(1)) {
        Some(value) => {
            let string = value.as_str()?;
            let bits = match range {
                None => Some(0..string.len() * 8),
                Some((start, end, _)) if start < 0 && end < 0 && start > end => None,
                Some((start, end, unit)) => bit_range(start, end, unit, string.len()),
            };
            bits.filter(|bits| !bits.is_empty())
                .map_or(0, |bits| string.with_bytes(|bytes| bits::count_in(bytes, bits)))
        }
        None => 0,
    };
    cx.reply.int(count as i64);
    Ok(())
}

static BITPOS: Command = Command {
    name: "bitpos",
    arity: -3,
    group: Group::Bitmap,
    since: "2.8.7",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Finds the first set or clear bit of the string at a key, or of a part of it.",
    complexity: "O(N) with N the length of the part",
    syntax: "key bit:integer [start:integer [end:integer [BYTE | BIT]]]",
    run: bitpos,
    ..COMMAND
};

fn bitpos(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let bit = match args.int(2)? {
        bit @ (0 | 1) => bit == 1,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    let (start, end, unit) = match args.len() {
        3 => (0, -1, Unit::Byte),
        4 => (args.int(3)?, -1, Unit::Byte),
        5 | 6 => {
            let (start, unit) = (args.int(3)?, parse_unit(args, 5)?);
            (start, args.int(4)?, unit)
        }
        _ => return Err(CommandError::Syntax),
    };
    let Some(value) = cx.keys.get(args.at(1)) else {
        cx.reply.int(if bit { -1 } else { 0 });
        return Ok(());
    };
    let string = value.as_str()?;
    let range = bit_range(start, end, unit, string.len());
    let found = range.and_then(|range| {
        let end = range.end;
        let found = string.with_bytes(|bytes| bits::find(bytes, bit, range));
        // Without an end the string is taken as if zeros followed it.
        found.or_else(|| (!bit && args.len() < 5).then_some(end))
    });
    cx.reply.int(found.map_or(-1, |at| at as i64));
    Ok(())
}

/// What the ends of a range are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

fn parse_unit(args: Args<'_>, i: usize) -> CommandResult<Unit> {
    match () {
        () if i >= args.len() || args.is(i, "BYTE") => Ok(Unit::Byte),
        () if args.is(i, "BIT") => Ok(Unit::Bit),
        () => Err(CommandError::Syntax),
    }
}

/// The bits that an inclusive range names, whose negative ends count from the end of `len` bytes. `None`: it is empty.
fn bit_range(start: i64, end: i64, unit: Unit, len: usize) -> Option<Range<usize>> {
    let (total, bits) = match unit {
        Unit::Byte => (len as i64, 8),
        Unit::Bit => (len as i64 * 8, 1),
    };
    let from_start = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
    let (start, end) = (from_start(start), from_start(end).min(total - 1));
    (start <= end).then(|| start as usize * bits..(end as usize + 1) * bits)
}

static BITOP: Command = Command {
    name: "bitop",
    arity: -4,
    group: Group::Bitmap,
    since: "2.6.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(2, OVERWRITE), Keys::range(3, -1, 1, READ)],
    summary: "Combines strings bit by bit into another.",
    complexity: "O(N) with N the length of all strings",
    syntax: "<AND | OR | XOR | NOT> destkey:key key [key ...]",
    run: bitop,
    ..COMMAND
};

fn bitop(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let combine: fn(&mut u8, u8) = match () {
        () if args.is(1, "AND") => |a, b| *a &= b,
        () if args.is(1, "OR") => |a, b| *a |= b,
        () if args.is(1, "XOR") => |a, b| *a ^= b,
        () if args.is(1, "NOT") => |a, _| *a = !*a,
        () => return Err(CommandError::Syntax),
    };
    let invert = args.is(1, "NOT");
    if invert && args.len() != 4 {
        return Err("ERR BITOP NOT must be called with a single source key.".into());
    }
    let (target, sources) = (args.at(2), args.from(3));
    let mut strings = Vec::with_capacity(sources.len());
    for key in sources {
        strings.push(match cx.keys.get(key) {
            Some(value) => value.as_str()?.bytes(),
            None => (&[]).into(),
        });
    }
    let len = strings.iter().map(|string| string.len()).max().unwrap_or(0);
    if len == 0 {
        cx.delete_key(target, Class::Generic, "del");
        cx.reply.int(0);
        return Ok(());
    }
    let mut result = SharedBuf::with_capacity(len);
    result.extend_from_slice(&strings[0]);
    result.resize(len, 0);
    let bytes = result.make_mut();
    if invert {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for string in &strings[1..] {
        let (common, rest) = bytes.split_at_mut(string.len());
        common.iter_mut().zip(&**string).for_each(|(a, &b)| combine(a, b));
        rest.iter_mut().for_each(|a| combine(a, 0));
    }
    cx.keys.set(target, Value::Str(Str::raw(result)));
    cx.changed(target, Class::String, "set");
    cx.log_self();
    cx.reply.int(len as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_as_in_redis() {
        for (start, end, unit, expected) in [
            (0, -1, Unit::Byte, Some(0..24)),
            (1, 1, Unit::Byte, Some(8..16)),
            (-100, -2, Unit::Byte, Some(0..16)),
            (5, 30, Unit::Bit, Some(5..24)),
            (-3, -1, Unit::Bit, Some(21..24)),
            (3, 2, Unit::Bit, None),
            (3, 100, Unit::Byte, None),
            (i64::MIN, i64::MIN, Unit::Bit, Some(0..1)),
        ] {
            assert_eq!(bit_range(start, end, unit, 3), expected, "{start} {end} {unit:?}");
        }
        assert_eq!(bit_range(0, -1, Unit::Byte, 0), None);
    }
}
