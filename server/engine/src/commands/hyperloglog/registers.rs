//! The string that holds a HyperLogLog: 16384 registers in one of two forms, byte for byte those of Redis.
//!
//! ```text
//! "HYLL"  form:u8  0 0 0  count:u64le  registers
//! dense:   6 bits for each register, least significant bits first
//! sparse:  00xxxxxx            x+1 registers of 0
//!          01xxxxxx yyyyyyyy   xy+1 registers of 0
//!          1vvvvvxx            x+1 registers of v+1
//! ```
//!
//! The highest bit of `count` says that it is out of date. A register holds the longest run of zeros, plus one, that
//! the hashes of its elements had.

use super::estimate::Histogram;
use crate::ds::SharedBuf;

/// The hash's lower bits choose a register.
const INDEX_BITS: usize = 14;
/// The rest of the hash is searched for its first set bit.
pub(super) const HASH_BITS: usize = 64 - INDEX_BITS;
pub(super) const REGISTERS: usize = 1 << INDEX_BITS;
const HEADER: usize = 16;
const DENSE_LEN: usize = HEADER + REGISTERS * 6 / 8;
const FORM_AT: usize = 4;
const COUNT_AT: usize = 8;
/// Where the count begins, as SETRANGE wants it.
pub(super) const COUNT_OFFSET: &[u8] = b"8";
/// In the count's last byte.
const OUT_OF_DATE: u8 = 0x80;
const HASH_SEED: u64 = 0xadc8_3b19;

const VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;
const SHORT_ZEROS_MAX: usize = 64;
/// Runs looked at after a change, to join equal neighbours.
const JOIN_RUNS: usize = 5;

/// How the registers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Dense,
    Sparse,
}

/// The header is right, the registers are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupt;

/// The form, from the header; `None`: this is no HyperLogLog.
pub(super) fn form(bytes: &[u8]) -> Option<Form> {
    if bytes.len() < HEADER || !bytes.starts_with(b"HYLL") {
        return None;
    }
    match bytes[FORM_AT] {
        0 if bytes.len() == DENSE_LEN => Some(Form::Dense),
        1 => Some(Form::Sparse),
        _ => None,
    }
}

/// A sketch of nothing.
pub(super) fn empty() -> SharedBuf {
    let mut bytes = [0; HEADER + 2];
    bytes[..5].copy_from_slice(b"HYLL\x01");
    let (run, _) = Run::Zeros(REGISTERS).encode();
    bytes[HEADER..].copy_from_slice(&run);
    SharedBuf::from_slice(&bytes)
}

/// The count that the header knows, unless it is out of date.
pub(super) fn known_count(bytes: &[u8]) -> Option<u64> {
    let count: [u8; 8] = bytes[COUNT_AT..HEADER].try_into().expect("eight bytes");
    (count[7] & OUT_OF_DATE == 0).then(|| u64::from_le_bytes(count))
}

/// Writes the count into the header, and returns its bytes.
pub(super) fn set_count(buf: &mut SharedBuf, count: u64) -> [u8; 8] {
    buf.make_mut()[COUNT_AT..HEADER].copy_from_slice(&count.to_le_bytes());
    count.to_le_bytes()
}

/// The header's count is out of date.
pub(super) fn forget_count(buf: &mut SharedBuf) {
    buf.make_mut()[HEADER - 1] |= OUT_OF_DATE;
}

/// Adds an element. True when a register changed. A sparse sketch of more than `sparse_max` bytes becomes dense.
pub(super) fn add(buf: &mut SharedBuf, element: &[u8], sparse_max: usize) -> Result<bool, Corrupt> {
    let hash = murmur_hash_64a(element, HASH_SEED);
    let index = hash as usize & (REGISTERS - 1);
    let run = (hash >> INDEX_BITS | 1 << HASH_BITS).trailing_zeros() + 1;
    raise_one(buf, index, run as u8, sparse_max)
}

/// Raises every register to at least these values.
pub(super) fn raise(buf: &mut SharedBuf, values: &[u8; REGISTERS], sparse_max: usize) -> Result<(), Corrupt> {
    for (index, &value) in values.iter().enumerate().filter(|&(_, &value)| value > 0) {
        raise_one(buf, index, value, sparse_max)?;
    }
    Ok(())
}

fn raise_one(buf: &mut SharedBuf, index: usize, value: u8, sparse_max: usize) -> Result<bool, Corrupt> {
    if form(buf) == Some(Form::Sparse) {
        match raise_sparse(buf, index, value, sparse_max)? {
            Raised::Already => return Ok(false),
            Raised::Changed => return Ok(true),
            Raised::NeedsDense => make_dense(buf)?,
        }
    }
    if dense_get(&buf[HEADER..], index) >= value {
        return Ok(false);
    }
    dense_set(&mut buf.make_mut()[HEADER..], index, value);
    Ok(true)
}

/// The runs of a sparse sketch as PFDEBUG DECODE shows them: `z` and `Z` for zeros in one byte and in two, `v` for values.
pub(super) fn runs_text(bytes: &[u8]) -> Result<String, Corrupt> {
    let (mut at, mut words) = (HEADER, Vec::new());
    while at < bytes.len() {
        let (run, run_bytes) = Run::decode(bytes, at)?;
        words.push(match run {
            Run::Zeros(len) => format!("{}:{len}", if run_bytes == 1 { 'z' } else { 'Z' }),
            Run::Values { value, len } => format!("v:{value},{len}"),
        });
        at += run_bytes;
    }
    Ok(words.join(" "))
}

/// Turns a sparse sketch into a dense one.
pub(super) fn make_dense(buf: &mut SharedBuf) -> Result<(), Corrupt> {
    if form(buf) == Some(Form::Dense) {
        return Ok(());
    }
    let mut dense = SharedBuf::with_capacity(DENSE_LEN);
    dense.extend_from_slice(&buf[..HEADER]);
    dense.resize(DENSE_LEN, 0);
    let bytes = dense.make_mut();
    bytes[FORM_AT] = 0;
    each_value(&buf[HEADER..], |index, value| dense_set(&mut bytes[HEADER..], index, value))?;
    *buf = dense;
    Ok(())
}

/// Raises `max` to the registers of a sketch.
pub(super) fn merge(max: &mut [u8; REGISTERS], bytes: &[u8]) -> Result<(), Corrupt> {
    let registers = &bytes[HEADER..];
    if form(bytes) == Some(Form::Sparse) {
        return each_value(registers, |index, value| max[index] = max[index].max(value));
    }
    for (four, packed) in max.chunks_exact_mut(4).zip(registers.chunks_exact(3)) {
        for (max, value) in four.iter_mut().zip(unpack(packed)) {
            *max = (*max).max(value);
        }
    }
    Ok(())
}

/// How many registers there are of each value.
pub(super) fn histogram(bytes: &[u8]) -> Result<Histogram, Corrupt> {
    let mut histogram = [0; 64];
    let registers = &bytes[HEADER..];
    if form(bytes) == Some(Form::Dense) {
        for packed in registers.chunks_exact(3) {
            unpack(packed).into_iter().for_each(|value| histogram[usize::from(value)] += 1);
        }
        return Ok(histogram);
    }
    let mut total = 0;
    for run in Runs::new(registers) {
        let run = run?;
        total += run.len();
        histogram[usize::from(run.value())] += run.len() as u32;
    }
    if total == REGISTERS { Ok(histogram) } else { Err(Corrupt) }
}

// Dense.

/// Four registers in three bytes.
fn unpack(bytes: &[u8]) -> [u8; 4] {
    let (a, b, c) = (bytes[0], bytes[1], bytes[2]);
    [a & 63, (a >> 6 | b << 2) & 63, (b >> 4 | c << 4) & 63, c >> 2]
}

fn dense_get(registers: &[u8], index: usize) -> u8 {
    unpack(&registers[index / 4 * 3..][..3])[index % 4]
}

fn dense_set(registers: &mut [u8], index: usize, value: u8) {
    let place = &mut registers[index / 4 * 3..][..3];
    let shift = index % 4 * 6;
    let word = u32::from_le_bytes([place[0], place[1], place[2], 0]);
    let word = word & !(63 << shift) | u32::from(value) << shift;
    place.copy_from_slice(&word.to_le_bytes()[..3]);
}

// Sparse.

/// Registers of one value, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Zeros(usize),
    Values { value: u8, len: usize },
}

impl Run {
    /// The run at `at`, and its number of bytes.
    fn decode(bytes: &[u8], at: usize) -> Result<(Self, usize), Corrupt> {
        let first = bytes[at];
        match first >> 6 {
            0 => Ok((Self::Zeros(usize::from(first) + 1), 1)),
            1 => {
                let second = bytes.get(at + 1).ok_or(Corrupt)?;
                Ok((Self::Zeros((usize::from(first & 63) << 8 | usize::from(*second)) + 1), 2))
            }
            _ => {
                let len = usize::from(first & 3) + 1;
                Ok((Self::Values { value: (first >> 2 & 31) + 1, len }, 1))
            }
        }
    }

    /// The bytes, and how many of them count.
    fn encode(self) -> ([u8; 2], usize) {
        match self {
            Self::Zeros(len) if len <= SHORT_ZEROS_MAX => ([len as u8 - 1, 0], 1),
            Self::Zeros(len) => ([((len - 1) >> 8) as u8 | 0x40, (len - 1) as u8], 2),
            Self::Values { value, len } => ([(value - 1) << 2 | (len as u8 - 1) | 0x80, 0], 1),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Zeros(len) | Self::Values { len, .. } => len,
        }
    }

    fn value(self) -> u8 {
        match self {
            Self::Zeros(_) => 0,
            Self::Values { value, .. } => value,
        }
    }

    /// The same value over another length.
    fn with_len(self, len: usize) -> Self {
        match self {
            Self::Zeros(_) => Self::Zeros(len),
            Self::Values { value, .. } => Self::Values { value, len },
        }
    }
}

/// The runs of a sparse sketch.
struct Runs<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Runs<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Iterator for Runs<'_> {
    type Item = Result<Run, Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        Some(Run::decode(self.bytes, self.at).map(|(run, len)| {
            self.at += len;
            run
        }))
    }
}

/// Calls `visit` with every register that is not 0.
fn each_value(bytes: &[u8], mut visit: impl FnMut(usize, u8)) -> Result<(), Corrupt> {
    let mut index = 0;
    for run in Runs::new(bytes) {
        let run = run?;
        let end = index + run.len();
        if end > REGISTERS {
            return Err(Corrupt);
        }
        if let Run::Values { value, .. } = run {
            (index..end).for_each(|index| visit(index, value));
        }
        index = end;
    }
    if index == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

enum Raised {
    Already,
    Changed,
    NeedsDense,
}

/// Raises one register of a sparse sketch: splits the run that it is in, and joins what has become equal. The steps
/// are Redis's, because the bytes must be, too: what is joined depends on where one looks.
fn raise_sparse(buf: &mut SharedBuf, index: usize, value: u8, max_len: usize) -> Result<Raised, Corrupt> {
    if value > VALUE_MAX {
        return Ok(Raised::NeedsDense);
    }
    let Place { at, run_bytes, run, first, previous } = find_run(&buf[HEADER..], index)?;
    if run.value() >= value {
        return Ok(Raised::Already);
    }
    let (before, after) = (index - first, first + run.len() - 1 - index);
    let mut split = ([0; 5], 0);
    if before > 0 {
        append(&mut split, run.with_len(before));
    }
    append(&mut split, Run::Values { value, len: 1 });
    if after > 0 {
        append(&mut split, run.with_len(after));
    }
    let split = &split.0[..split.1];
    if split.len() > run_bytes && buf.len() + split.len() - run_bytes > max_len {
        return Ok(Raised::NeedsDense);
    }
    buf.splice(HEADER + at..HEADER + at + run_bytes, split);
    join(buf, HEADER + previous.unwrap_or(0));
    forget_count(buf);
    Ok(Raised::Changed)
}

fn append((bytes, len): &mut ([u8; 5], usize), run: Run) {
    let (encoded, count) = run.encode();
    bytes[*len..*len + count].copy_from_slice(&encoded[..count]);
    *len += count;
}

/// The run that a register is in.
struct Place {
    at: usize,
    run_bytes: usize,
    run: Run,
    /// The run's first register.
    first: usize,
    /// Where the run before it begins.
    previous: Option<usize>,
}

fn find_run(bytes: &[u8], index: usize) -> Result<Place, Corrupt> {
    let (mut at, mut first, mut previous) = (0, 0, None);
    while at < bytes.len() {
        let (run, run_bytes) = Run::decode(bytes, at)?;
        if index < first + run.len() {
            return Ok(Place { at, run_bytes, run, first, previous });
        }
        previous = Some(at);
        at += run_bytes;
        first += run.len();
    }
    Err(Corrupt)
}

/// Joins neighbours of equal value, as far as a run can hold them, among a few runs from `at` on.
fn join(buf: &mut SharedBuf, mut at: usize) {
    let mut removed = 0;
    let mut end = buf.len();
    let bytes = buf.make_mut();
    for _ in 0..JOIN_RUNS {
        if at >= end {
            break;
        }
        match Run::decode(&bytes[..end], at) {
            Ok((Run::Values { value, len }, _)) => {
                if at + 1 < end
                    && let Ok((Run::Values { value: next, len: next_len }, _)) =
                        Run::decode(&bytes[..end], at + 1)
                    && next == value
                    && len + next_len <= VALUE_RUN_MAX
                {
                    bytes[at + 1] = Run::Values { value, len: len + next_len }.encode().0[0];
                    bytes.copy_within(at + 1..end, at);
                    removed += 1;
                    end -= 1;
                } else {
                    at += 1;
                }
            }
            Ok((Run::Zeros(_), run_bytes)) => at += run_bytes,
            // Damage further on is found by whoever reads it.
            Err(Corrupt) => break,
        }
    }
    if removed > 0 {
        buf.truncate(end);
    }
}

/// MurmurHash2, 64 bits, for 64-bit machines (Austin Appleby, public domain).
fn murmur_hash_64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut word = u64::from_le_bytes(word.try_into().expect("eight bytes")).wrapping_mul(M);
        word ^= word >> R;
        hash = (hash ^ word.wrapping_mul(M)).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(M);
    }
    hash ^= hash >> R;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> R
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(buf: &[u8]) -> Vec<u8> {
        let mut values = [0; REGISTERS];
        merge(&mut values, buf).unwrap();
        values.to_vec()
    }

    proptest! {
        #[test]
        fn both_forms_hold_what_an_array_holds(
            raises in prop::collection::vec((0..60usize, 1..34u8), 0..200),
            far in prop::collection::vec((0..REGISTERS, 1..30u8), 0..40),
        ) {
            let (mut sparse, mut dense) = (empty(), empty());
            make_dense(&mut dense).unwrap();
            let mut model = vec![0; REGISTERS];
            for (index, value) in raises.into_iter().chain(far) {
                let changes = model[index] < value;
                prop_assert_eq!(raise_one(&mut sparse, index, value, 3000), Ok(changes));
                prop_assert_eq!(raise_one(&mut dense, index, value, 3000), Ok(changes));
                model[index] = model[index].max(value);
            }
            prop_assert_eq!(&values(&sparse), &model);
            prop_assert_eq!(&values(&dense), &model);
            prop_assert_eq!(histogram(&sparse), histogram(&dense));
            make_dense(&mut sparse).unwrap();
            prop_assert_eq!(&sparse[HEADER..], &dense[HEADER..]);
        }

        #[test]
        fn damage_is_an_error_and_never_a_panic(
            runs in prop::collection::vec(any::<u8>(), 0..60),
            index in 0..REGISTERS,
        ) {
            let mut buf = SharedBuf::from_slice(b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0");
            buf.extend_from_slice(&runs);
            let _ = merge(&mut [0; REGISTERS], &buf);
            let _ = histogram(&buf);
            let _ = raise_one(&mut buf, index, 7, 3000);
            let _ = make_dense(&mut buf);
        }
    }
}
