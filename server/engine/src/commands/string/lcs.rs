//! LCS: the longest common subsequence of two strings.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::value::Value;

pub(super) static LCS: Command = Command {
    name: "lcs",
    arity: -3,
    group: Group::String,
    since: "7.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::range(1, 1, 1, READ)],
    summary: "Finds the longest common subsequence of two strings.",
    complexity: "O(N*M) with N and M the lengths of the strings; so is the memory that it takes meanwhile",
    syntax: "key1:key key2:key [LEN] [IDX] [MINMATCHLEN min-match-len:integer] [WITHMATCHLEN]",
    run: lcs,
    ..COMMAND
};

const NOT_STRINGS: CommandError = CommandError::new("ERR The specified keys must contain string values");
const LEN_AND_IDX: CommandError =
    CommandError::new("ERR If you want both the length and indexes, please just use IDX.");
const TABLE_TOO_LARGE: CommandError =
    CommandError::new("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
const OUT_OF_MEMORY: CommandError =
    CommandError::new("ERR Insufficient memory, failed allocating transient memory for LCS");

#[derive(Clone, Copy, Default)]
struct Options {
    only_len: bool,
    ranges: bool,
    len_min: u64,
    with_len: bool,
}

impl Options {
    fn parse(args: Args<'_>) -> CommandResult<Self> {
        let mut options = Self::default();
        let mut i = 3;
        while i < args.len() {
            if args.is(i, "IDX") {
                options.ranges = true;
            } else if args.is(i, "LEN") {
                options.only_len = true;
            } else if args.is(i, "WITHMATCHLEN") {
                options.with_len = true;
            } else if args.is(i, "MINMATCHLEN") && i + 1 < args.len() {
                options.len_min = u64::try_from(args.int(i + 1)?).unwrap_or(0);
                i += 1;
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        if options.only_len && options.ranges { Err(LEN_AND_IDX) } else { Ok(options) }
    }
}

fn lcs(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let mut strings = [Vec::new(), Vec::new()];
    // Both are looked up, and count as hits or misses, before anything is said of them.
    let found = [cx.keys.get(args.at(1)), cx.keys.get(args.at(2))];
    for (string, value) in strings.iter_mut().zip(found) {
        match value {
            Some(Value::Str(value)) => *string = value.to_vec(),
            Some(_) => return Err(NOT_STRINGS),
            None => {}
        }
    }
    let options = Options::parse(args)?;
    let [a, b] = &strings;
    let table = Table::new(a, b, cx.config().proto_max_bulk_len)?;
    let len = table.at(a.len(), b.len());
    if options.only_len {
        cx.reply.int(i64::from(len));
        return Ok(());
    }
    let (common, ranges) = table.trace(a, b);
    if !options.ranges {
        cx.reply.bulk(&common);
        return Ok(());
    }
    let wanted: Vec<&Match> = ranges.iter().filter(|range| range.len as u64 >= options.len_min).collect();
    cx.reply.map(2);
    cx.reply.bulk(b"matches");
    cx.reply.array(wanted.len());
    for Match { a, b, len } in wanted {
        cx.reply.array(2 + usize::from(options.with_len));
        for start in [a, b] {
            cx.reply.array(2);
            cx.reply.int(*start as i64);
            cx.reply.int((start + len - 1) as i64);
        }
        if options.with_len {
            cx.reply.int(*len as i64);
        }
    }
    cx.reply.bulk(b"len");
    cx.reply.int(i64::from(len));
    Ok(())
}

/// A part that both strings have in common: where it begins in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// The lengths of the longest common subsequences of all beginnings of both strings.
struct Table {
    lens: Vec<u32>,
    width: usize,
}

impl Table {
    fn new(a: &[u8], b: &[u8], bytes_max: usize) -> CommandResult<Self> {
        let width = b.len() + 1;
        let cells = (a.len() + 1).checked_mul(width).ok_or(OUT_OF_MEMORY)?;
        if cells.checked_mul(size_of::<u32>()).ok_or(OUT_OF_MEMORY)? > bytes_max {
            return Err(TABLE_TOO_LARGE);
        }
        let mut lens = Vec::new();
        lens.try_reserve_exact(cells).map_err(|_| OUT_OF_MEMORY)?;
        lens.resize(cells, 0);
        let mut table = Self { lens, width };
        for (i, &x) in a.iter().enumerate() {
            let (above, row) = table.lens[i * width..(i + 2) * width].split_at_mut(width);
            for (j, &y) in b.iter().enumerate() {
                row[j + 1] = if x == y { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Ok(table)
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.lens[i * self.width + j]
    }

    /// The subsequence, and the parts that it is made of, the last one first. Of several longest ones it is the one that
    /// Redis finds.
    fn trace(&self, a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
        let mut common = Vec::with_capacity(self.at(a.len(), b.len()) as usize);
        let mut ranges: Vec<Match> = Vec::new();
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                common.push(a[i - 1]);
                match ranges.last_mut() {
                    Some(range) if (range.a, range.b) == (i, j) => {
                        *range = Match { a: i - 1, b: j - 1, len: range.len + 1 };
                    }
                    _ => ranges.push(Match { a: i - 1, b: j - 1, len: 1 }),
                }
                (i, j) = (i - 1, j - 1);
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        common.reverse();
        (common, ranges)
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::TestEngine;

    fn is_subsequence(needle: &[u8], text: &[u8]) -> bool {
        let mut rest = text.iter();
        needle.iter().all(|byte| rest.any(|other| other == byte))
    }

    fn longest_by_trying_all(a: &[u8], b: &[u8]) -> usize {
        (0..1u32 << a.len())
            .map(|mask| a.iter().enumerate().filter(|(i, _)| mask & 1 << i != 0).map(|(_, &x)| x).collect())
            .filter(|chosen: &Vec<u8>| is_subsequence(chosen, b))
            .map(|chosen| chosen.len())
            .max()
            .unwrap_or(0)
    }

    proptest! {
        #[test]
        fn it_is_common_and_there_is_no_longer_one(a in "[abc]{0,9}", b in "[abc]{0,9}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let table = Table::new(a, b, usize::MAX).unwrap();
            let (common, ranges) = table.trace(a, b);
            prop_assert!(is_subsequence(&common, a) && is_subsequence(&common, b));
            prop_assert_eq!(common.len(), longest_by_trying_all(a, b));
            let joined: Vec<u8> =
                ranges.iter().rev().flat_map(|range| a[range.a..range.a + range.len].to_vec()).collect();
            prop_assert_eq!(joined, common);
            for range in ranges {
                prop_assert_eq!(&a[range.a..range.a + range.len], &b[range.b..range.b + range.len]);
            }
        }
    }

    #[test]
    fn the_table_may_not_be_larger_than_the_largest_string() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "CONFIG SET proto-max-bulk-len 1mb");
        server.send(a, &[b"SET", b"a", &[b'x'; 600]]);
        server.send(a, &[b"SET", b"b", &[b'x'; 600]]);
        assert_eq!(
            server.run(a, "LCS a b LEN"),
            "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n"
        );
    }
}
