//! Kinds of directives: how a type of value is read, shown by CONFIG GET and written by CONFIG
//! REWRITE. Texts of refusals are Redis's, because clients and test suites match on them.

use std::marker::PhantomData;

use super::values::{
    Choice, MemoryShare, NodeAddress, NotifyFlags, OutputBufferLimit, OutputBufferLimits, SaveRule,
    ShutdownFlags,
};
use super::words::{format_memory, parse_integer, parse_memory, quote};

/// Why a value is refused: the text after "CONFIG SET failed (…) - ".
pub(super) type Refusal = String;

const WRONG_NUMBER: &str = "wrong number of arguments";

/// One line of a config file, without the directive's name.
pub(super) struct Line {
    pub args: String,
    /// Written even if the file did not mention the directive: the value is not the default.
    pub keep: bool,
}

pub(super) trait Kind {
    type Value: PartialEq;
    /// The value is a list of words (`save 900 1`), not one word.
    const MANY: bool = false;

    /// Reads a new value. `current` is what parts that are not mentioned keep.
    fn parse(&self, words: &[&str], current: &Self::Value) -> Result<Self::Value, Refusal>;

    /// The value as CONFIG GET shows it.
    fn format(&self, value: &Self::Value) -> String;

    /// The value as lines of a config file; none if it can only be expressed by leaving it out.
    fn lines(&self, value: &Self::Value, default: &Self::Value) -> Vec<Line> {
        vec![Line { args: self.format(value), keep: value != default }]
    }
}

fn single<'a>(words: &[&'a str]) -> Result<&'a str, Refusal> {
    match words {
        [word] => Ok(word),
        _ => Err(WRONG_NUMBER.to_owned()),
    }
}

/// `yes` or `no`.
pub(super) struct YesNo;

impl Kind for YesNo {
    type Value = bool;

    fn parse(&self, words: &[&str], _: &bool) -> Result<bool, Refusal> {
        let word = single(words)?;
        if word.eq_ignore_ascii_case("yes") {
            Ok(true)
        } else if word.eq_ignore_ascii_case("no") {
            Ok(false)
        } else {
            Err("argument must be 'yes' or 'no'".to_owned())
        }
    }

    fn format(&self, value: &bool) -> String {
        if *value { "yes" } else { "no" }.to_owned()
    }
}

/// An integer type that a numeric directive can have.
pub(super) trait Integer: Copy + PartialEq + TryFrom<i128> {
    fn wide(self) -> i128;
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl Integer for $int {
            fn wide(self) -> i128 {
                self as i128
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, usize, i32, i64);

/// How a number is written.
#[derive(Clone, Copy, PartialEq)]
enum Notation {
    Decimal,
    Memory,
    Octal,
}

/// A number between two bounds.
pub(super) struct Number<T> {
    notation: Notation,
    min: i128,
    max: i128,
    of: PhantomData<T>,
}

/// A decimal number.
pub(super) const fn int<T>(min: i128, max: i128) -> Number<T> {
    Number { notation: Notation::Decimal, min, max, of: PhantomData }
}

/// A byte count; units may be used.
pub(super) const fn memory<T>(min: i128, max: i128) -> Number<T> {
    Number { notation: Notation::Memory, min, max, of: PhantomData }
}

/// File permissions.
pub(super) const fn octal<T>(min: i128, max: i128) -> Number<T> {
    Number { notation: Notation::Octal, min, max, of: PhantomData }
}

impl<T: Integer> Kind for Number<T> {
    type Value = T;

    fn parse(&self, words: &[&str], _: &T) -> Result<T, Refusal> {
        let word = single(words)?;
        let (number, refusal) = match self.notation {
            Notation::Decimal => {
                (parse_integer(word).map(i128::from), "argument couldn't be parsed into an integer")
            }
            Notation::Memory => (parse_memory(word).map(i128::from), "argument must be a memory value"),
            Notation::Octal => (
                i64::from_str_radix(word, 8).ok().map(i128::from),
                "argument couldn't be parsed as an octal number",
            ),
        };
        let number = number.ok_or(refusal)?;
        let (min, max) = (self.min, self.max);
        if !(min..=max).contains(&number) {
            return Err(match self.notation {
                Notation::Octal => format!("argument must be between {min:o} and {max:o} inclusive"),
                _ => format!("argument must be between {min} and {max} inclusive"),
            });
        }
        T::try_from(number).map_err(|_| format!("argument must be between {min} and {max} inclusive"))
    }

    fn format(&self, value: &T) -> String {
        match self.notation {
            Notation::Octal => format!("{:o}", value.wide()),
            Notation::Decimal | Notation::Memory => value.wide().to_string(),
        }
    }

    fn lines(&self, value: &T, default: &T) -> Vec<Line> {
        let args = match (self.notation, u64::try_from(value.wide())) {
            (Notation::Memory, Ok(bytes)) => format_memory(bytes),
            _ => self.format(value),
        };
        vec![Line { args, keep: value != default }]
    }
}

/// A byte count or a percentage of `maxmemory`.
pub(super) struct MemoryOrPercent;

impl Kind for MemoryOrPercent {
    type Value = MemoryShare;

    fn parse(&self, words: &[&str], _: &MemoryShare) -> Result<MemoryShare, Refusal> {
        let word = single(words)?;
        if let Some(bytes) = parse_memory(word) {
            return Ok(MemoryShare::Bytes(bytes));
        }
        let percent = word.strip_suffix('%').and_then(parse_integer).filter(|percent| *percent >= 0);
        match percent.map(u8::try_from) {
            Some(Ok(percent @ 0..=100)) => Ok(MemoryShare::PercentOfMaxmemory(percent)),
            Some(_) => Err("percentage argument must be less or equal to 100".to_owned()),
            None => Err("argument must be a memory or percent value".to_owned()),
        }
    }

    fn format(&self, value: &MemoryShare) -> String {
        match value {
            MemoryShare::Bytes(bytes) => bytes.to_string(),
            MemoryShare::PercentOfMaxmemory(percent) => format!("{percent}%"),
        }
    }

    fn lines(&self, value: &MemoryShare, default: &MemoryShare) -> Vec<Line> {
        let args = match value {
            MemoryShare::Bytes(bytes) => format_memory(*bytes),
            MemoryShare::PercentOfMaxmemory(_) => self.format(value),
        };
        vec![Line { args, keep: value != default }]
    }
}

/// Any text.
pub(super) struct Text {
    /// Empty means "not set", and a config file says so by not mentioning the directive.
    empty_is_unset: bool,
}

/// A text that may be empty.
pub(super) const TEXT: Text = Text { empty_is_unset: false };
/// A text that is either set or not.
pub(super) const OPTIONAL: Text = Text { empty_is_unset: true };

impl Kind for Text {
    type Value = String;

    fn parse(&self, words: &[&str], _: &String) -> Result<String, Refusal> {
        single(words).map(str::to_owned)
    }

    fn format(&self, value: &String) -> String {
        value.clone()
    }

    fn lines(&self, value: &String, default: &String) -> Vec<Line> {
        if self.empty_is_unset && value.is_empty() {
            return Vec::new();
        }
        vec![Line { args: quote(value.as_bytes()), keep: value != default }]
    }
}

/// One of the words of a [`Choice`].
pub(super) struct OneOf<T>(PhantomData<T>);

pub(super) const fn one_of<T>() -> OneOf<T> {
    OneOf(PhantomData)
}

fn not_one_of<'a>(words: impl Iterator<Item = &'a str>) -> Refusal {
    let words: Vec<_> = words.collect();
    format!("argument(s) must be one of the following: {}", words.join(", "))
}

impl<T: Choice> Kind for OneOf<T> {
    type Value = T;

    fn parse(&self, words: &[&str], _: &T) -> Result<T, Refusal> {
        let word = single(words)?;
        let choice = T::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        choice.map(|(_, value)| *value).ok_or_else(|| not_one_of(T::ALL.iter().map(|(name, _)| *name)))
    }

    fn format(&self, value: &T) -> String {
        let name = T::ALL.iter().find(|(_, choice)| choice == value).map(|(name, _)| *name);
        name.expect("every variant is listed in ALL").to_owned()
    }
}

/// One of some words that mean nothing to Cairn, so that they need no type.
pub(super) struct Word(pub &'static [&'static str]);

impl Kind for Word {
    type Value = &'static str;

    fn parse(&self, words: &[&str], _: &&'static str) -> Result<&'static str, Refusal> {
        let word = single(words)?;
        let known = self.0.iter().find(|known| known.eq_ignore_ascii_case(word));
        known.copied().ok_or_else(|| not_one_of(self.0.iter().copied()))
    }

    fn format(&self, value: &&'static str) -> String {
        (*value).to_owned()
    }
}

/// Another kind with one more rule.
pub(super) struct Checked<K: Kind>(pub K, pub fn(&K::Value) -> Result<(), &'static str>);

impl<K: Kind> Kind for Checked<K> {
    type Value = K::Value;
    const MANY: bool = K::MANY;

    fn parse(&self, words: &[&str], current: &K::Value) -> Result<K::Value, Refusal> {
        let value = self.0.parse(words, current)?;
        (self.1)(&value)?;
        Ok(value)
    }

    fn format(&self, value: &K::Value) -> String {
        self.0.format(value)
    }

    fn lines(&self, value: &K::Value, default: &K::Value) -> Vec<Line> {
        self.0.lines(value, default)
    }
}

/// A number that is brought within bounds instead of refused (`hz`).
pub(super) struct Clamped<T> {
    pub number: Number<T>,
    pub min: T,
    pub max: T,
}

impl<T: Integer + Ord> Kind for Clamped<T> {
    type Value = T;

    fn parse(&self, words: &[&str], current: &T) -> Result<T, Refusal> {
        Ok(self.number.parse(words, current)?.clamp(self.min, self.max))
    }

    fn format(&self, value: &T) -> String {
        self.number.format(value)
    }
}

/// A list that one empty word empties (`bind ""`, `save ""`).
fn listed<'a, 'w>(words: &'a [&'w str]) -> &'a [&'w str] {
    if words == [""] { &[] } else { words }
}

/// Addresses to listen on.
pub(super) struct Addresses;

/// As in Redis.
const ADDRESSES_MAX: usize = 16;

impl Kind for Addresses {
    type Value = Vec<String>;
    const MANY: bool = true;

    fn parse(&self, words: &[&str], _: &Vec<String>) -> Result<Vec<String>, Refusal> {
        let words = listed(words);
        if words.len() > ADDRESSES_MAX {
            return Err("Too many bind addresses specified.".to_owned());
        }
        Ok(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn format(&self, value: &Vec<String>) -> String {
        value.join(" ")
    }

    fn lines(&self, value: &Vec<String>, default: &Vec<String>) -> Vec<Line> {
        if value == default {
            return Vec::new();
        }
        let args = if value.is_empty() { "\"\"".to_owned() } else { self.format(value) };
        vec![Line { args, keep: true }]
    }
}

/// Nodes, with commas between them; one word, so that it is one argument of a shell.
pub(super) struct NodeAddresses;

impl Kind for NodeAddresses {
    type Value = Vec<NodeAddress>;

    fn parse(&self, words: &[&str], _: &Vec<NodeAddress>) -> Result<Vec<NodeAddress>, Refusal> {
        let list = single(words)?;
        if list.is_empty() {
            return Ok(Vec::new());
        }
        let mut nodes = Vec::new();
        for word in list.split(',') {
            let node = NodeAddress::parse(word.trim()).ok_or_else(|| format!("'{word}' is not host:port"))?;
            if nodes.contains(&node) {
                return Err(format!("'{node}' is listed twice"));
            }
            nodes.push(node);
        }
        Ok(nodes)
    }

    fn format(&self, value: &Vec<NodeAddress>) -> String {
        value.iter().map(NodeAddress::to_string).collect::<Vec<_>>().join(",")
    }

    fn lines(&self, value: &Vec<NodeAddress>, default: &Vec<NodeAddress>) -> Vec<Line> {
        if value.is_empty() {
            return Vec::new();
        }
        vec![Line { args: quote(self.format(value).as_bytes()), keep: value != default }]
    }
}

/// Pairs of seconds and changes.
pub(super) struct SaveRules;

impl Kind for SaveRules {
    type Value = Vec<SaveRule>;
    const MANY: bool = true;

    fn parse(&self, words: &[&str], _: &Vec<SaveRule>) -> Result<Vec<SaveRule>, Refusal> {
        let (pairs, rest) = listed(words).as_chunks::<2>();
        let rule = |[seconds, changes]: &[&str; 2]| {
            let seconds = seconds.parse().ok().filter(|seconds| *seconds >= 1)?;
            // Redis keeps the changes in an int.
            let changes = changes.parse().ok().filter(|changes| *changes <= i32::MAX as u64)?;
            Some(SaveRule { seconds, changes })
        };
        let rules: Option<Vec<_>> = pairs.iter().map(rule).collect();
        rules.filter(|_| rest.is_empty()).ok_or_else(|| "Invalid save parameters".to_owned())
    }

    fn format(&self, value: &Vec<SaveRule>) -> String {
        let rules: Vec<_> = value.iter().map(|rule| format!("{} {}", rule.seconds, rule.changes)).collect();
        rules.join(" ")
    }

    /// A line for each rule, always: lines of a file add up, and what is not written would leave
    /// the defaults in force.
    fn lines(&self, value: &Vec<SaveRule>, _: &Vec<SaveRule>) -> Vec<Line> {
        if value.is_empty() {
            return vec![Line { args: "\"\"".to_owned(), keep: true }];
        }
        value
            .iter()
            .map(|rule| Line { args: format!("{} {}", rule.seconds, rule.changes), keep: true })
            .collect()
    }
}

/// Limits for the classes of clients that are named; the others keep theirs.
pub(super) struct BufferLimits;

impl Kind for BufferLimits {
    type Value = OutputBufferLimits;
    const MANY: bool = true;

    fn parse(&self, words: &[&str], current: &OutputBufferLimits) -> Result<OutputBufferLimits, Refusal> {
        let (limits, rest) = listed(words).as_chunks::<4>();
        if !rest.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
        }
        let mut value = *current;
        for [class, hard, soft, soft_seconds] in limits {
            let class = match class.to_ascii_lowercase().as_str() {
                "normal" => &mut value.normal,
                "slave" | "replica" => &mut value.replica,
                "pubsub" => &mut value.pubsub,
                _ => return Err("Invalid client class specified in buffer limit configuration.".to_owned()),
            };
            let limit = || {
                // Redis keeps the seconds in an int.
                let soft_seconds = soft_seconds.parse().ok().filter(|seconds| *seconds <= i32::MAX as u64)?;
                Some(OutputBufferLimit { hard: parse_memory(hard)?, soft: parse_memory(soft)?, soft_seconds })
            };
            *class = limit()
                .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
        }
        Ok(value)
    }

    fn format(&self, value: &OutputBufferLimits) -> String {
        let class = |name, limit: OutputBufferLimit| {
            format!("{name} {} {} {}", limit.hard, limit.soft, limit.soft_seconds)
        };
        [class("normal", value.normal), class("slave", value.replica), class("pubsub", value.pubsub)]
            .join(" ")
    }

    fn lines(&self, value: &OutputBufferLimits, default: &OutputBufferLimits) -> Vec<Line> {
        // All classes or none: a line is reused for whichever class comes first.
        let keep = value != default;
        let class = |name, limit: OutputBufferLimit| {
            let (hard, soft) = (format_memory(limit.hard), format_memory(limit.soft));
            Line { args: format!("{name} {hard} {soft} {}", limit.soft_seconds), keep }
        };
        vec![class("normal", value.normal), class("replica", value.replica), class("pubsub", value.pubsub)]
    }
}

/// Letters of `notify-keyspace-events`.
pub(super) struct NotifyLetters;

impl Kind for NotifyLetters {
    type Value = NotifyFlags;

    fn parse(&self, words: &[&str], _: &NotifyFlags) -> Result<NotifyFlags, Refusal> {
        NotifyFlags::parse(single(words)?)
            .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned())
    }

    fn format(&self, value: &NotifyFlags) -> String {
        value.to_string()
    }

    fn lines(&self, value: &NotifyFlags, default: &NotifyFlags) -> Vec<Line> {
        vec![Line { args: quote(value.to_string().as_bytes()), keep: value != default }]
    }
}

/// Options of SHUTDOWN.
pub(super) struct ShutdownWords;

impl Kind for ShutdownWords {
    type Value = ShutdownFlags;
    const MANY: bool = true;

    fn parse(&self, words: &[&str], _: &ShutdownFlags) -> Result<ShutdownFlags, Refusal> {
        let refusal = || not_one_of(["default", "save", "nosave", "now", "force"].into_iter());
        if words.is_empty() {
            return Err(refusal());
        }
        let mut flags = ShutdownFlags::default();
        for word in words {
            match word.to_ascii_lowercase().as_str() {
                "default" => {}
                "save" => flags.save = true,
                "nosave" => flags.nosave = true,
                "now" => flags.now = true,
                "force" => flags.force = true,
                _ => return Err(refusal()),
            }
        }
        if flags.save && flags.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
        }
        Ok(flags)
    }

    fn format(&self, value: &ShutdownFlags) -> String {
        let words =
            [(value.save, "save"), (value.nosave, "nosave"), (value.now, "now"), (value.force, "force")];
        let set: Vec<_> = words.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
        if set.is_empty() { "default".to_owned() } else { set.join(" ") }
    }
}

/// `replicaof`: `host port`, or nothing.
pub(super) struct Master;

impl Kind for Master {
    type Value = String;
    const MANY: bool = true;

    fn parse(&self, words: &[&str], _: &String) -> Result<String, Refusal> {
        match words {
            [] | [""] => Ok(String::new()),
            [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => {
                Ok(String::new())
            }
            [host, port] if !host.is_empty() => match port.parse::<u16>() {
                Ok(port) => Ok(format!("{host} {port}")),
                Err(_) => Err("Invalid master port".to_owned()),
            },
            _ => Err("wrong number of arguments".to_owned()),
        }
    }

    fn format(&self, value: &String) -> String {
        value.clone()
    }

    fn lines(&self, value: &String, _: &String) -> Vec<Line> {
        if value.is_empty() { Vec::new() } else { vec![Line { args: value.clone(), keep: true }] }
    }
}

/// Percentiles between 0 and 100.
pub(super) struct Percentiles;

impl Kind for Percentiles {
    type Value = Vec<f64>;
    const MANY: bool = true;

    fn parse(&self, words: &[&str], _: &Vec<f64>) -> Result<Vec<f64>, Refusal> {
        let percentile = |word: &&str| {
            let number: f64 = word
                .parse()
                .ok()
                .filter(|number: &f64| !number.is_nan())
                .ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&number) {
                return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
            }
            Ok(number)
        };
        Ok(listed(words).iter().map(percentile).collect::<Result<_, _>>()?)
    }

    fn format(&self, value: &Vec<f64>) -> String {
        let trimmed = |number: &f64| {
            let text = format!("{number:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        value.iter().map(trimmed).collect::<Vec<_>>().join(" ")
    }

    fn lines(&self, value: &Vec<f64>, default: &Vec<f64>) -> Vec<Line> {
        let args = if value.is_empty() { "\"\"".to_owned() } else { self.format(value) };
        vec![Line { args, keep: value != default }]
    }
}

/// OOM scores of a master, a replica and a background child.
pub(super) struct OomScores;

impl Kind for OomScores {
    type Value = [i32; 3];
    const MANY: bool = true;

    fn parse(&self, words: &[&str], _: &[i32; 3]) -> Result<[i32; 3], Refusal> {
        let words: &[&str; 3] = words.try_into().map_err(|_| WRONG_NUMBER.to_owned())?;
        let mut scores = [0; 3];
        for (score, word) in scores.iter_mut().zip(words) {
            *score = word
                .parse()
                .ok()
                .filter(|score| (-2000..=2000).contains(score))
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        }
        Ok(scores)
    }

    fn format(&self, value: &[i32; 3]) -> String {
        value.map(|score| score.to_string()).join(" ")
    }
}
