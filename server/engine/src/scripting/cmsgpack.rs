//! The `cmsgpack` library (lua-cmsgpack 0.4.0): MessagePack with the encodings that it chooses.
//!
//! Numbers with an integer value are integers of the smallest size, others are floats if nothing is lost, else
//! doubles. A table whose keys are exactly 1..n is an array (so is an empty one), any other is a map. Tables nested
//! past 16 levels are nil, which also ends circular references.

use super::number::c_cast_i64;
use super::stack::{BOOLEAN, NIL, NUMBER, Raise, Results, STRING, Stack, TABLE};
use super::vm::Shared;
use super::{LIBRARY_BYTES_MAX, NESTING_MAX};

/// Tables inside tables, when packing.
const PACK_DEPTH_MAX: usize = 16;
const MISSING: &str = "Missing bytes in input.";

/// Pushes the library's table.
pub(super) fn push(stack: Stack, shared: *mut Shared) {
    stack.new_table();
    stack.register("pack", shared, pack);
    stack.register("unpack", shared, |s| unpack_from(s, 0, 0));
    stack.register("unpack_one", shared, unpack_one);
    stack.register("unpack_limit", shared, unpack_limit);
    for (name, text) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        stack.push_bytes(text.as_bytes());
        stack.raw_set_field(name.as_bytes());
    }
}

fn pack(stack: Stack) -> Results {
    let count = stack.top();
    if count == 0 {
        return Err(Raise::arg(0, "MessagePack pack needs input."));
    }
    let out = stack.scratch();
    for index in 1..=count {
        if !stack.check(1) {
            return Err(Raise::arg(0, "Too many arguments for MessagePack pack."));
        }
        stack.push_copy(index);
        encode(stack, out, 0)?;
    }
    stack.push_bytes(out);
    Ok(1)
}

/// Encodes the value on top and pops it.
fn encode(stack: Stack, out: &mut Vec<u8>, depth: usize) -> Result<(), Raise> {
    if out.len() > LIBRARY_BYTES_MAX {
        return Err(Raise::at("MessagePack output too large"));
    }
    match stack.type_of(-1) {
        STRING => {
            let bytes = stack.bytes(-1).expect("a string");
            match bytes.len() {
                n @ 0..32 => out.push(0xa0 | n as u8),
                n @ 32..0x100 => out.extend([0xd9, n as u8]),
                n => head(out, 0xda, n),
            }
            out.extend_from_slice(bytes);
        }
        BOOLEAN => out.push(if stack.boolean(-1) { 0xc3 } else { 0xc2 }),
        NUMBER => encode_number(out, stack.number(-1)),
        TABLE if depth < PACK_DEPTH_MAX => {
            if !stack.check(4) {
                return Err(Raise::at("stack overflow (in function mp_encode_lua_table_as_map)"));
            }
            if is_array(stack) {
                encode_array(stack, out, depth)?;
            } else {
                encode_map(stack, out, depth)?;
            }
        }
        _ => out.push(0xc0),
    }
    stack.pop(1);
    Ok(())
}

/// A 16-bit or 32-bit length after the type byte `short` or the one that follows it.
fn head(out: &mut Vec<u8>, short: u8, n: usize) {
    match u16::try_from(n) {
        Ok(n) => {
            out.push(short);
            out.extend(n.to_be_bytes());
        }
        Err(_) => {
            out.push(short + 1);
            out.extend((n as u32).to_be_bytes());
        }
    }
}

fn encode_number(out: &mut Vec<u8>, d: f64) {
    let n = c_cast_i64(d);
    if d.is_infinite() || n as f64 != d {
        let single = d as f32;
        if f64::from(single) == d {
            out.push(0xca);
            out.extend(single.to_be_bytes());
        } else {
            out.push(0xcb);
            out.extend(d.to_be_bytes());
        }
        return;
    }
    match n {
        -32..=0x7f => out.push(n as u8),
        0x80..=0xff => out.extend([0xcc, n as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend((n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend((n as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend(n.to_be_bytes());
        }
        -128..-32 => out.extend([0xd0, n as u8]),
        -32768..-128 => {
            out.push(0xd1);
            out.extend((n as i16).to_be_bytes());
        }
        -2_147_483_648..-32768 => {
            out.push(0xd2);
            out.extend((n as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend(n.to_be_bytes());
        }
    }
}

/// Whether the keys of the table on top are exactly 1..n.
fn is_array(stack: Stack) -> bool {
    let top = stack.top();
    let (mut count, mut max) = (0i64, 0i64);
    stack.push_nil();
    while stack.next(top) {
        stack.pop(1);
        let key = if stack.type_of(-1) == NUMBER { stack.number(-1) } else { 0.0 };
        if key <= 0.0 || f64::from(key as i32) != key {
            stack.set_top(top);
            return false;
        }
        max = max.max(key as i64);
        count += 1;
    }
    max == count
}

fn encode_array(stack: Stack, out: &mut Vec<u8>, depth: usize) -> Result<(), Raise> {
    let table = stack.top();
    let n = stack.length(table);
    if n <= 15 {
        out.push(0x90 | n as u8)
    } else {
        head(out, 0xdc, n)
    }
    for index in 1..=n {
        stack.raw_get_index(table, index as i32);
        encode(stack, out, depth + 1)?;
    }
    Ok(())
}

fn encode_map(stack: Stack, out: &mut Vec<u8>, depth: usize) -> Result<(), Raise> {
    let table = stack.top();
    let mut n = 0;
    stack.push_nil();
    while stack.next(table) {
        stack.pop(1);
        n += 1;
    }
    if n <= 15 {
        out.push(0x80 | n as u8)
    } else {
        head(out, 0xde, n)
    }
    stack.push_nil();
    while stack.next(table) {
        stack.push_copy(-2);
        encode(stack, out, depth + 1)?;
        encode(stack, out, depth + 1)?;
    }
    Ok(())
}

fn unpack_one(stack: Stack) -> Results {
    let offset = stack.integer_or(2, 0)?;
    stack.set_top(1);
    unpack_from(stack, 1, offset)
}

fn unpack_limit(stack: Stack) -> Results {
    let limit = stack.check_integer(2)?;
    let offset = stack.integer_or(3, 0)?;
    stack.set_top(1);
    unpack_from(stack, limit, offset)
}

/// Decodes up to `limit` values from `offset` on; with both 0, all values, and without the offset in the results.
fn unpack_from(stack: Stack, limit: i64, offset: i64) -> Results {
    let data = stack.check_bytes(1)?;
    if offset < 0 || limit < 0 {
        // The C library prints the length where it says limit.
        let (offset, len) = (offset as i32, data.len() as i32);
        return Err(Raise::at(format!(
            "Invalid request to unpack with offset of {offset} and limit of {len}."
        )));
    }
    if offset as usize > data.len() {
        let (offset, len) = (offset as i32, data.len() as i32);
        return Err(Raise::at(format!("Start offset {offset} greater than input length {len}.")));
    }
    let everything = limit == 0 && offset == 0;
    let limit = if everything { i64::from(i32::MAX) } else { limit };
    let mut rest = &data[offset as usize..];
    let mut count = 0;
    while !rest.is_empty() && i64::from(count) < limit {
        decode(stack, &mut rest, 0)?;
        count += 1;
    }
    if everything {
        return Ok(count);
    }
    if !stack.check(1) {
        return Err(Raise::at("stack overflow (in function mp_unpack_full)"));
    }
    let next = if rest.is_empty() { -1.0 } else { (data.len() - rest.len()) as f64 };
    stack.push_number(next);
    stack.insert(2);
    Ok(count + 1)
}

/// Takes `n` bytes off the front.
fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8], Raise> {
    let (taken, left) = rest.split_at_checked(n).ok_or_else(|| Raise::at(MISSING))?;
    *rest = left;
    Ok(taken)
}

/// Takes an unsigned big-endian integer of `n` bytes off the front.
fn take_integer(rest: &mut &[u8], n: usize) -> Result<u64, Raise> {
    Ok(take(rest, n)?.iter().fold(0, |value, &byte| (value << 8) | u64::from(byte)))
}

/// Decodes one value and pushes it.
fn decode(stack: Stack, rest: &mut &[u8], depth: i32) -> Result<(), Raise> {
    if depth > NESTING_MAX || !stack.check(3) {
        return Err(Raise::at(
            "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)",
        ));
    }
    match take_integer(rest, 1)? as u8 {
        byte @ 0..=0x7f => stack.push_number(byte.into()),
        byte @ 0x80..=0x8f => decode_map(stack, rest, u64::from(byte & 0xf), depth)?,
        byte @ 0x90..=0x9f => decode_array(stack, rest, u64::from(byte & 0xf), depth)?,
        byte @ 0xa0..=0xbf => stack.push_bytes(take(rest, (byte & 0x1f).into())?),
        0xc0 => stack.push_nil(),
        0xc2 => stack.push_bool(false),
        0xc3 => stack.push_bool(true),
        0xca => stack.push_number(f32::from_bits(take_integer(rest, 4)? as u32).into()),
        0xcb => stack.push_number(f64::from_bits(take_integer(rest, 8)?)),
        0xcc => stack.push_number(take_integer(rest, 1)? as f64),
        0xcd => stack.push_number(take_integer(rest, 2)? as f64),
        0xce => stack.push_number(take_integer(rest, 4)? as f64),
        // The C library pushes an unsigned 64-bit integer as a signed one.
        0xcf | 0xd3 => stack.push_number(take_integer(rest, 8)? as i64 as f64),
        0xd0 => stack.push_number((take_integer(rest, 1)? as i8).into()),
        0xd1 => stack.push_number((take_integer(rest, 2)? as i16).into()),
        0xd2 => stack.push_number((take_integer(rest, 4)? as i32).into()),
        0xd9 => decode_string(stack, rest, 1)?,
        0xda => decode_string(stack, rest, 2)?,
        0xdb => decode_string(stack, rest, 4)?,
        0xdc => decode_sized(stack, rest, 2, depth, decode_array)?,
        0xdd => decode_sized(stack, rest, 4, depth, decode_array)?,
        0xde => decode_sized(stack, rest, 2, depth, decode_map)?,
        0xdf => decode_sized(stack, rest, 4, depth, decode_map)?,
        byte @ 0xe0..=0xff => stack.push_number((byte as i8).into()),
        0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => return Err(Raise::at("Bad data format in input.")),
    }
    Ok(())
}

fn decode_string(stack: Stack, rest: &mut &[u8], size: usize) -> Result<(), Raise> {
    let len = take_integer(rest, size)? as usize;
    stack.push_bytes(take(rest, len)?);
    Ok(())
}

type Decode = fn(Stack, &mut &[u8], u64, i32) -> Result<(), Raise>;

fn decode_sized(stack: Stack, rest: &mut &[u8], size: usize, depth: i32, f: Decode) -> Result<(), Raise> {
    let n = take_integer(rest, size)?;
    f(stack, rest, n, depth)
}

fn decode_array(stack: Stack, rest: &mut &[u8], n: u64, depth: i32) -> Result<(), Raise> {
    stack.new_table();
    for index in 1..=n {
        decode(stack, rest, depth + 1)?;
        stack.raw_set_index(-2, index as i32);
    }
    Ok(())
}

fn decode_map(stack: Stack, rest: &mut &[u8], n: u64, depth: i32) -> Result<(), Raise> {
    stack.new_table();
    for _ in 0..n {
        decode(stack, rest, depth + 1)?;
        decode(stack, rest, depth + 1)?;
        match stack.type_of(-2) {
            NIL => return Err(Raise::Bare("table index is nil")),
            NUMBER if stack.number(-2).is_nan() => return Err(Raise::Bare("table index is NaN")),
            _ => stack.raw_set(-3),
        }
    }
    Ok(())
}
