//! What becomes of the rows of a group.

use super::value::Value;
use crate::query::{QueryError, shown};
use std::collections::{BTreeMap, BTreeSet};

/// Values that a random sample or a quantile's resolution may ask for.
const SAMPLE_MAX: usize = 1000;
/// Bytes of an entry of a set beside the value.
const ENTRY: usize = 32;
/// Registers of a count that may be a little wrong, as a power of two.
const SKETCH_BITS: u32 = 8;

/// A reducer with the properties it reads. Names are without the `@`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reducer {
    pub(super) kind: Kind,
    /// The properties that it reads.
    pub(super) reads: Vec<Vec<u8>>,
    /// The name of its result.
    pub(super) name: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Count,
    CountDistinct,
    CountDistinctish,
    Sum,
    Min,
    Max,
    Avg,
    StdDev,
    Quantile(f64),
    ToList,
    FirstValue,
    /// The value of the row that is first by another property.
    FirstValueBy {
        descending: bool,
    },
    RandomSample(usize),
}

impl Reducer {
    /// A reducer by its name and arguments. Without a name its result has one that is made of these.
    pub fn parse(function: &[u8], arguments: &[&[u8]], name: Option<&[u8]>) -> Result<Self, QueryError> {
        let shown_function = shown(function);
        let upper = function.to_ascii_uppercase();
        let mut left = arguments.iter().copied();
        let mut property = || match left.next() {
            Some(argument) => Ok(argument.strip_prefix(b"@").unwrap_or(argument).to_vec()),
            None => Err(QueryError::argument(format!("Missing arguments for {shown_function}"))),
        };
        let mut reads = Vec::new();
        let kind = match upper.as_slice() {
            b"COUNT" if !arguments.is_empty() => {
                return Err(QueryError::argument("Count accepts 0 values only"));
            }
            b"COUNT" => Kind::Count,
            b"COUNT_DISTINCT" => {
                reads.push(property()?);
                Kind::CountDistinct
            }
            b"COUNT_DISTINCTISH" => {
                reads.push(property()?);
                Kind::CountDistinctish
            }
            b"SUM" | b"MIN" | b"MAX" | b"AVG" | b"STDDEV" | b"TOLIST" => {
                reads.push(property()?);
                match upper.as_slice() {
                    b"SUM" => Kind::Sum,
                    b"MIN" => Kind::Min,
                    b"MAX" => Kind::Max,
                    b"AVG" => Kind::Avg,
                    b"STDDEV" => Kind::StdDev,
                    _ => Kind::ToList,
                }
            }
            b"QUANTILE" => {
                reads.push(property()?);
                let share = left.next().and_then(|a| std::str::from_utf8(a).ok()?.parse::<f64>().ok());
                let bad = || {
                    QueryError::argument(
                        "Bad arguments for QUANTILE: Could not convert argument to expected type",
                    )
                };
                let share = share.ok_or_else(bad)?;
                if !(0.0..=1.0).contains(&share) {
                    return Err(QueryError::argument("Percentage must be between 0.0 and 1.0"));
                }
                // How exact it has to be: here it always is.
                if let Some(resolution) = left.next() {
                    let resolution =
                        std::str::from_utf8(resolution).ok().and_then(|r| r.parse::<usize>().ok());
                    if !resolution.is_some_and(|r| (1..=SAMPLE_MAX).contains(&r)) {
                        return Err(QueryError::argument("Invalid resolution"));
                    }
                }
                Kind::Quantile(share)
            }
            b"FIRST_VALUE" => {
                reads.push(property()?);
                match left.next() {
                    None => Kind::FirstValue,
                    Some(by) if by.eq_ignore_ascii_case(b"BY") => {
                        let Some(by) = left.next() else {
                            return Err(QueryError::argument("Missing arguments for FIRST_VALUE"));
                        };
                        reads.push(by.strip_prefix(b"@").unwrap_or(by).to_vec());
                        let order = left.next().map(<[u8]>::to_ascii_uppercase);
                        match order.as_deref() {
                            None | Some(b"ASC") => Kind::FirstValueBy { descending: false },
                            Some(b"DESC") => Kind::FirstValueBy { descending: true },
                            Some(other) => return Err(unknown(other, "FIRST_VALUE")),
                        }
                    }
                    Some(other) => return Err(unknown(other, "FIRST_VALUE")),
                }
            }
            b"RANDOM_SAMPLE" => {
                reads.push(property()?);
                let size = left.next().and_then(|a| std::str::from_utf8(a).ok()?.parse::<usize>().ok());
                let bad = || {
                    QueryError::argument(
                        "Bad arguments for <sample size>: Could not convert argument to expected type",
                    )
                };
                let size = size.ok_or_else(bad)?;
                if size > SAMPLE_MAX {
                    return Err(QueryError::argument("Sample size too large"));
                }
                Kind::RandomSample(size)
            }
            _ => return Err(QueryError::argument(format!("No such reducer: {shown_function}"))),
        };
        if let Some(extra) = left.next() {
            return Err(unknown(extra, &shown_function));
        }
        let name = name.map_or_else(|| generated_name(function, arguments), <[u8]>::to_vec);
        Ok(Self { kind, reads, name })
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The names of the properties that it reads.
    pub fn reads(&self) -> &[Vec<u8>] {
        &self.reads
    }
}

fn unknown(argument: &[u8], reducer: &str) -> QueryError {
    QueryError::argument(format!("Unknown argument `{}` at position 0 for {reducer}", shown(argument)))
}

/// `__generated_alias`, the function and its arguments.
fn generated_name(function: &[u8], arguments: &[&[u8]]) -> Vec<u8> {
    let bare = |argument: &&[u8]| {
        let signs = argument.iter().take_while(|&&b| b == b'@').count();
        argument[signs..].to_vec()
    };
    let arguments: Vec<Vec<u8>> = arguments.iter().map(bare).collect();
    [b"__generated_alias", function, &arguments.join(&b',')[..]].concat().to_ascii_lowercase()
}

/// What a reducer has gathered of a group.
#[derive(Debug)]
pub(super) enum State {
    Count(u64),
    Distinct(BTreeSet<Vec<u8>>),
    Sketch(Box<[u8; 1 << SKETCH_BITS]>),
    Sum { sum: f64, count: u64 },
    Least(f64),
    Greatest(f64),
    Deviation { count: u64, mean: f64, squares: f64 },
    Numbers(Vec<f64>),
    List { known: BTreeMap<Vec<u8>, ()>, values: Vec<Value> },
    First(Option<Value>),
    FirstBy { value: Value, by: Value, any: bool },
    Sample { seen: u64, values: Vec<Value> },
}

impl Kind {
    pub(super) fn start(self) -> State {
        match self {
            Self::Count => State::Count(0),
            Self::CountDistinct => State::Distinct(BTreeSet::new()),
            Self::CountDistinctish => State::Sketch(Box::new([0; 1 << SKETCH_BITS])),
            Self::Sum | Self::Avg => State::Sum { sum: 0.0, count: 0 },
            Self::Min => State::Least(f64::INFINITY),
            Self::Max => State::Greatest(f64::NEG_INFINITY),
            Self::StdDev => State::Deviation { count: 0, mean: 0.0, squares: 0.0 },
            Self::Quantile(_) => State::Numbers(Vec::new()),
            Self::ToList => State::List { known: BTreeMap::new(), values: Vec::new() },
            Self::FirstValue => State::First(None),
            Self::FirstValueBy { .. } => State::FirstBy { value: Value::Null, by: Value::Null, any: false },
            Self::RandomSample(_) => State::Sample { seen: 0, values: Vec::new() },
        }
    }

    /// Bytes of a state that has gathered nothing.
    pub(super) fn start_size(self) -> usize {
        let boxed = if self == Self::CountDistinctish { 1 << SKETCH_BITS } else { 0 };
        size_of::<State>() + boxed
    }

    /// Adds a row: what it has of the properties that the reducer reads. Answers by how many bytes the state has grown.
    pub(super) fn add(
        self,
        state: &mut State,
        read: &[Option<&Value>],
        random: &mut dyn FnMut() -> u64,
    ) -> isize {
        let held = |value: &Value| value.held() as isize;
        let value = read.first().copied().flatten();
        let identity = |value: &Value| {
            let mut bytes = Vec::new();
            value.identity(&mut bytes);
            bytes
        };
        let mut grown = 0;
        match state {
            State::Count(count) => *count += 1,
            State::Distinct(known) => {
                if let Some(value) = value.filter(|v| **v != Value::Null) {
                    let identity = identity(value);
                    let size = identity.len() + ENTRY;
                    if known.insert(identity) {
                        grown += size as isize;
                    }
                }
            }
            State::Sketch(registers) => {
                if let Some(value) = value.filter(|v| **v != Value::Null) {
                    sketch(registers, &identity(value));
                }
            }
            State::Sum { sum, count } => {
                if let Some(number) = value.and_then(Value::number) {
                    *sum += number;
                    *count += 1;
                }
            }
            State::Least(least) => {
                if let Some(number) = value.and_then(Value::number) {
                    *least = least.min(number);
                }
            }
            State::Greatest(greatest) => {
                if let Some(number) = value.and_then(Value::number) {
                    *greatest = greatest.max(number);
                }
            }
            State::Deviation { count, mean, squares } => {
                // Welford's.
                for number in numbers(value) {
                    *count += 1;
                    let gap = number - *mean;
                    *mean += gap / *count as f64;
                    *squares += gap * (number - *mean);
                }
            }
            State::Numbers(all) => {
                let before = all.len();
                all.extend(numbers(value));
                grown += ((all.len() - before) * size_of::<f64>()) as isize;
            }
            State::List { known, values } => {
                let of_value = match value {
                    Some(Value::Array(elements)) => &elements[..],
                    Some(value) => std::slice::from_ref(value),
                    None => &[],
                };
                for value in of_value {
                    let identity = identity(value);
                    let size = identity.len() + ENTRY + size_of::<Value>();
                    if known.insert(identity, ()).is_none() {
                        values.push(value.clone());
                        grown += size as isize + held(value);
                    }
                }
            }
            State::First(first) => {
                first.get_or_insert_with(|| {
                    grown += value.map_or(0, held);
                    value.cloned().unwrap_or(Value::Null)
                });
            }
            State::FirstBy { value: first, by: first_by, any } => {
                let Self::FirstValueBy { descending } = self else { return 0 };
                let by = read.get(1).copied().flatten().unwrap_or(&Value::Null);
                let better = match (by, &*first_by) {
                    _ if !*any => true,
                    (Value::Null, _) => false,
                    (_, Value::Null) => true,
                    (by, first_by) => {
                        by.order(first_by)
                            == if descending { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less }
                    }
                };
                if better {
                    *any = true;
                    grown += value.map_or(0, held) + held(by) - held(first) - held(first_by);
                    *first = value.cloned().unwrap_or(Value::Null);
                    *first_by = by.clone();
                }
            }
            State::Sample { seen, values } => {
                let (Self::RandomSample(size), Some(value)) = (self, value) else { return 0 };
                if values.len() < size {
                    grown += size_of::<Value>() as isize + held(value);
                    values.push(value.clone());
                } else if let Some(place) = values.get_mut((random() % (*seen + 1)) as usize) {
                    grown += held(value) - held(place);
                    *place = value.clone();
                }
                *seen += 1;
            }
        }
        grown
    }

    pub(super) fn finish(self, state: State) -> Value {
        let number = Value::Number;
        match state {
            State::Count(count) => number(count as f64),
            State::Distinct(known) => number(known.len() as f64),
            State::Sketch(registers) => number(estimate(&registers[..])),
            State::Sum { count: 0, .. } => number(f64::NAN),
            State::Sum { sum, count } => number(if self == Self::Avg { sum / count as f64 } else { sum }),
            State::Least(value) | State::Greatest(value) => number(value),
            State::Deviation { count, squares, .. } => {
                number(if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 })
            }
            State::Numbers(mut all) => {
                let Self::Quantile(share) = self else { return Value::Null };
                all.sort_unstable_by(f64::total_cmp);
                let rank = (share * all.len() as f64).ceil() as usize;
                number(all.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN))
            }
            State::List { values, .. } | State::Sample { values, .. } => Value::Array(values),
            State::First(value) => value.unwrap_or(Value::Null),
            State::FirstBy { value, .. } => value,
        }
    }
}

/// The numbers of a value: of an array, of each of its values.
fn numbers(value: Option<&Value>) -> impl Iterator<Item = f64> + '_ {
    let values = match value {
        Some(Value::Array(values)) => &values[..],
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    values.iter().filter_map(Value::number)
}

/// HyperLogLog: the register of a value remembers its longest run of zeros.
fn sketch(registers: &mut [u8; 1 << SKETCH_BITS], bytes: &[u8]) {
    // FNV, then a finaliser, for FNV's high bits are poor.
    let mut hash =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    let register = &mut registers[(hash >> (64 - SKETCH_BITS)) as usize];
    let zeros = (hash << SKETCH_BITS).leading_zeros().min(64 - SKETCH_BITS) + 1;
    *register = (*register).max(zeros as u8);
}

fn estimate(registers: &[u8]) -> f64 {
    let len = registers.len() as f64;
    let alpha = 0.7213 / (1.0 + 1.079 / len);
    let sum: f64 = registers.iter().map(|&r| (-f64::from(r)).exp2()).sum();
    let raw = alpha * len * len / sum;
    let empty = registers.iter().filter(|&&r| r == 0).count();
    let few = raw <= 2.5 * len && empty > 0;
    (if few { len * (len / empty as f64).ln() } else { raw }).trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduce(function: &str, arguments: &[&str], rows: &[(Value, Value)]) -> Value {
        let arguments: Vec<&[u8]> = arguments.iter().map(|a| a.as_bytes()).collect();
        let reducer = Reducer::parse(function.as_bytes(), &arguments, None).unwrap();
        let mut state = reducer.kind.start();
        let mut seed = 1u64;
        for (a, b) in rows {
            reducer.kind.add(&mut state, &[Some(a), Some(b)], &mut || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed >> 33
            });
        }
        reducer.kind.finish(state)
    }

    fn rows(numbers: &[f64]) -> Vec<(Value, Value)> {
        numbers.iter().map(|&n| (Value::Number(n), Value::Number(-n))).collect()
    }

    #[test]
    fn each_reducer_reduces() {
        let five = rows(&[5.0, 1.0, 4.0, 2.0, 2.0]);
        let cases: [(&str, &[&str], f64); 9] = [
            ("count", &[], 5.0),
            ("count_distinct", &["@a"], 4.0),
            ("count_distinctish", &["@a"], 4.0),
            ("sum", &["@a"], 14.0),
            ("min", &["@a"], 1.0),
            ("max", &["@a"], 5.0),
            ("avg", &["@a"], 2.8),
            ("quantile", &["@a", "0.5"], 2.0),
            ("first_value", &["@a"], 5.0),
        ];
        for (function, arguments, expected) in cases {
            assert_eq!(reduce(function, arguments, &five), Value::Number(expected), "{function}");
        }
        let Value::Number(deviation) = reduce("stddev", &["@a"], &five) else { panic!() };
        assert!((deviation - 1.643_167_672_515_498).abs() < 1e-12);
        let list = |numbers: &[f64]| Value::Array(numbers.iter().map(|&n| Value::Number(n)).collect());
        assert_eq!(reduce("tolist", &["@a"], &five), list(&[5.0, 1.0, 4.0, 2.0]));
        assert_eq!(reduce("first_value", &["@a", "BY", "@b"], &five), Value::Number(5.0));
        assert_eq!(reduce("first_value", &["@a", "BY", "@b", "DESC"], &five), Value::Number(1.0));
        assert_eq!(reduce("random_sample", &["@a", "9"], &five), list(&[5.0, 1.0, 4.0, 2.0, 2.0]));
        let Value::Array(sample) = reduce("random_sample", &["@a", "2"], &five) else { panic!() };
        assert_eq!(sample.len(), 2);
    }

    #[test]
    fn reducers_without_numbers_say_so() {
        let none = [(Value::text("x"), Value::Null)];
        assert!(matches!(reduce("sum", &["@a"], &none), Value::Number(n) if n.is_nan()));
        assert!(matches!(reduce("avg", &["@a"], &none), Value::Number(n) if n.is_nan()));
        assert_eq!(reduce("min", &["@a"], &none), Value::Number(f64::INFINITY));
        assert_eq!(reduce("stddev", &["@a"], &none), Value::Number(0.0));
        assert!(matches!(reduce("quantile", &["@a", "0.5"], &none), Value::Number(n) if n.is_nan()));
    }

    #[test]
    fn many_are_counted_nearly_right() {
        let many = rows(&(0..20_000).map(f64::from).collect::<Vec<_>>());
        let Value::Number(count) = reduce("count_distinctish", &["@a"], &many) else { panic!() };
        assert!((count / 20_000.0 - 1.0).abs() < 0.2, "{count}");
    }

    #[test]
    fn reducers_that_do_not_exist_or_lack_arguments_are_refused() {
        let error = |function: &str, arguments: &[&[u8]]| {
            Reducer::parse(function.as_bytes(), arguments, None).unwrap_err().to_string()
        };
        assert_eq!(error("median", &[b"@a"]), "No such reducer: median");
        assert_eq!(error("SUM", &[]), "Missing arguments for SUM");
        assert_eq!(error("QUANTILE", &[b"@a", b"1.5"]), "Percentage must be between 0.0 and 1.0");
        assert_eq!(error("RANDOM_SAMPLE", &[b"@a", b"5000"]), "Sample size too large");
        assert_eq!(error("COUNT", &[b"@a"]), "Count accepts 0 values only");
    }

    #[test]
    fn results_have_names() {
        let name = |name| Reducer::parse(b"FIRST_VALUE", &[b"@A", b"BY", b"@b"], name).unwrap().name;
        assert_eq!(name(None), b"__generated_aliasfirst_valuea,by,b");
        assert_eq!(name(Some(&b"x"[..])), b"x");
    }
}
