//! BITFIELD: integers of any width in a string.

use super::check_offset;
use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ, READ_UPDATE, READ_UPDATE_VARIABLE};
use crate::commands::string::raw_at;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;

pub(super) static BITFIELD: Command = Command {
    name: "bitfield",
    arity: -2,
    group: Group::Bitmap,
    since: "3.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, READ_UPDATE_VARIABLE)],
    key_access: Some(|args| {
        let writes = (2..args.len()).any(|at| args.is(at, "SET") || args.is(at, "INCRBY"));
        if writes { READ_UPDATE } else { READ }
    }),
    summary: "Reads and writes integers of any width in the string at a key.",
    complexity: "O(1) for each operation",
    syntax: "key [GET encoding:string offset:integer | [OVERFLOW <WRAP | SAT | FAIL>] \
             <SET encoding:string offset:integer value:integer | \
             INCRBY encoding:string offset:integer increment:integer> ...]",
    run: |cx, args| bitfield(cx, args, false),
    ..COMMAND
};

pub(super) static BITFIELD_RO: Command = Command {
    name: "bitfield_ro",
    arity: -2,
    group: Group::Bitmap,
    since: "6.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Reads integers of any width in the string at a key.",
    complexity: "O(1) for each operation",
    syntax: "key [GET encoding:string offset:integer [GET encoding:string offset:integer ...]]",
    run: |cx, args| bitfield(cx, args, true),
    ..COMMAND
};

/// One operation of BITFIELD.
#[derive(Clone, Copy, Debug)]
struct Operation {
    field: Field,
    action: Action,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64, Overflow),
    Increment(i64, Overflow),
}

/// What happens to a result that does not fit.
#[derive(Clone, Copy, Debug)]
enum Overflow {
    Wrap,
    Saturate,
    /// Nothing is written, the answer is null.
    Fail,
}

fn bitfield(cx: &mut Context<'_>, args: Args<'_>, read_only: bool) -> CommandResult {
    let key = args.at(1);
    let operations = parse(cx, args)?;
    let written = operations.iter().filter(|operation| !matches!(operation.action, Action::Get));
    let Some(bits) = written.map(|operation| operation.field.end()).max() else {
        return get_only(cx, key, &operations);
    };
    if read_only {
        return Err("ERR BITFIELD_RO only supports the GET subcommand".into());
    }
    let len = bits.div_ceil(8);
    let buf = raw_at(cx, key)?;
    let grows = buf.len() < len;
    if grows {
        buf.resize(len, 0);
    }
    let bytes = buf.make_mut();
    let mut changes = 0;
    let mut answers = Vec::with_capacity(operations.len());
    for Operation { field, action } in operations {
        let old = field.read(bytes);
        let (wanted, overflow, answer_old) = match action {
            Action::Get => {
                answers.push(Some(old));
                continue;
            }
            Action::Set(value, overflow) => (field.as_given(value), overflow, true),
            Action::Increment(by, overflow) => (i128::from(old) + i128::from(by), overflow, false),
        };
        let new = field.fit(wanted, overflow);
        if let Some(new) = new {
            field.write(bytes, new);
            changes += u64::from(grows || new != old);
        }
        answers.push(new.map(|new| if answer_old { old } else { new }));
    }
    if changes > 0 {
        cx.changed(key, Class::String, "setbit");
        cx.shared.effects.add_dirty(changes - 1);
        cx.log_self();
    } else if grows {
        // Redis makes room even for what then fails, and tells nobody.
        cx.touch_key(key);
        cx.log_self();
    }
    cx.reply.array(answers.len());
    for answer in answers {
        match answer {
            Some(value) => cx.reply.int(value),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn get_only(cx: &mut Context<'_>, key: &[u8], operations: &[Operation]) -> CommandResult {
    let Some(value) = cx.keys.get(key) else {
        cx.reply.array(operations.len());
        operations.iter().for_each(|_| cx.reply.int(0));
        return Ok(());
    };
    value.as_str()?.with_bytes(|bytes| {
        cx.reply.array(operations.len());
        operations.iter().for_each(|operation| cx.reply.int(operation.field.read(bytes)));
    });
    Ok(())
}

fn parse(cx: &Context<'_>, args: Args<'_>) -> CommandResult<Vec<Operation>> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut i = 2;
    while i < args.len() {
        let following = args.len() - i - 1;
        if args.is(i, "OVERFLOW") && following >= 1 {
            overflow = match () {
                () if args.is(i + 1, "WRAP") => Overflow::Wrap,
                () if args.is(i + 1, "SAT") => Overflow::Saturate,
                () if args.is(i + 1, "FAIL") => Overflow::Fail,
                () => return Err("ERR Invalid OVERFLOW type specified".into()),
            };
            i += 2;
            continue;
        }
        let is_get = args.is(i, "GET") && following >= 2;
        let is_set = args.is(i, "SET") && following >= 3;
        let is_increment = args.is(i, "INCRBY") && following >= 3;
        if !(is_get || is_set || is_increment) {
            return Err(CommandError::Syntax);
        }
        let field = Field::parse(cx, args.at(i + 1), args.at(i + 2))?;
        let action = match () {
            () if is_get => Action::Get,
            () if is_set => Action::Set(args.int(i + 3)?, overflow),
            () => Action::Increment(args.int(i + 3)?, overflow),
        };
        operations.push(Operation { field, action });
        i += if is_get { 3 } else { 4 };
    }
    Ok(operations)
}

/// Where an integer stands, and how wide it is: up to 64 bits signed, up to 63 unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    signed: bool,
    bits: u32,
    offset: usize,
}

impl Field {
    fn parse(cx: &Context<'_>, encoding: &[u8], offset: &[u8]) -> CommandResult<Self> {
        let (signed, bits_max, bits) = match encoding {
            [b'i', bits @ ..] => (true, 64, bits),
            [b'u', bits @ ..] => (false, 63, bits),
            _ => return Err(BAD_ENCODING),
        };
        let bits = parse_i64(bits).filter(|bits| (1..=bits_max).contains(bits)).ok_or(BAD_ENCODING)?;
        let offset = match offset {
            [b'#', index @ ..] => parse_i64(index).and_then(|index| index.checked_mul(bits)),
            _ => parse_i64(offset),
        };
        Ok(Self { signed, bits: bits as u32, offset: check_offset(cx, offset)? })
    }

    /// The bit behind it.
    fn end(self) -> usize {
        self.offset + self.bits as usize
    }

    /// Its value; bits beyond the end of the bytes are zeros.
    fn read(self, bytes: &[u8]) -> i64 {
        self.extend((self.window(bytes) >> self.shift()) as u64)
    }

    /// Writes the value's lower bits; the bytes must be there.
    fn write(self, bytes: &mut [u8], value: i64) {
        let mask = u128::from(self.mask()) << self.shift();
        let window = self.window(bytes) & !mask | (value as u128) << self.shift() & mask;
        let (first, end) = (self.offset / 8, self.end().div_ceil(8));
        bytes[first..end].copy_from_slice(&window.to_be_bytes()[16 - WINDOW_BYTES..][..end - first]);
    }

    /// A value to be set as the integer that it stands for: an unsigned field takes a negative number as a large one.
    fn as_given(self, value: i64) -> i128 {
        if self.signed { value.into() } else { (value as u64).into() }
    }

    /// The value as it is written; `None`: it does not fit, and that is a failure.
    fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = match self.signed {
            true => (-1i128 << (self.bits - 1), (1i128 << (self.bits - 1)) - 1),
            false => (0, self.mask().into()),
        };
        if (min..=max).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.extend(value as u64)),
            Overflow::Saturate => Some(value.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }

    /// The lower bits as a number.
    fn extend(self, value: u64) -> i64 {
        let unused = u64::BITS - self.bits;
        if self.signed { ((value << unused) as i64) >> unused } else { (value & self.mask()) as i64 }
    }

    fn mask(self) -> u64 {
        u64::MAX >> (u64::BITS - self.bits)
    }

    /// The nine bytes from the field's first one on, which hold it wherever it begins.
    fn window(self, bytes: &[u8]) -> u128 {
        let first = self.offset / 8;
        (first..first + WINDOW_BYTES)
            .fold(0, |window, at| window << 8 | u128::from(bytes.get(at).copied().unwrap_or(0)))
    }

    /// The field's place in the window, from the right.
    fn shift(self) -> u32 {
        8 * WINDOW_BYTES as u32 - (self.offset % 8) as u32 - self.bits
    }
}

const WINDOW_BYTES: usize = 9;

const BAD_ENCODING: CommandError = CommandError::new(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_written_field_is_read_back_and_its_neighbours_stay(
            mut bytes in prop::collection::vec(any::<u8>(), 20),
            signed: bool,
            bits in 1..=64u32,
            offset in 0..96usize,
            value: i64,
        ) {
            let field = Field { signed, bits: if signed { bits } else { bits.min(63) }, offset };
            let before = bytes.clone();
            let value = field.extend(value as u64);
            field.write(&mut bytes, value);
            prop_assert_eq!(field.read(&bytes), value);
            let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
            for at in (0..field.offset).chain(field.end()..160) {
                prop_assert_eq!(bit(&bytes, at), bit(&before, at));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_wrapped_cut_or_refused() {
        let i8_field = Field { signed: true, bits: 8, offset: 0 };
        assert_eq!(i8_field.fit(200, Overflow::Wrap), Some(-56));
        assert_eq!(i8_field.fit(200, Overflow::Saturate), Some(127));
        assert_eq!(i8_field.fit(-500, Overflow::Saturate), Some(-128));
        assert_eq!(i8_field.fit(200, Overflow::Fail), None);
        let u63_field = Field { signed: false, bits: 63, offset: 0 };
        assert_eq!(u63_field.fit(u63_field.as_given(-1), Overflow::Saturate), Some(i64::MAX));
        assert_eq!(u63_field.fit(u63_field.as_given(-1), Overflow::Wrap), Some(i64::MAX));
        let i64_field = Field { signed: true, bits: 64, offset: 0 };
        assert_eq!(i64_field.fit(i128::from(i64::MAX) + 1, Overflow::Wrap), Some(i64::MIN));
    }
}
