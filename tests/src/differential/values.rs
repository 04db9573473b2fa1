//! Random arguments, by kind. Small pools, so that commands meet each other's keys and members; and what lies at and
//! beyond every limit.

use cairn_engine::rng::Rng;

/// What an argument is meant to be. It is now and then something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key that mostly holds this type, by the first letters of its name.
    Key(&'static str),
    AnyKey,
    /// A sorted set of which all scores are 0. Where they are not, what BYLEX finds is not defined, and depends on chance in
    /// Redis; so no other command writes to one of these.
    LexKey,
    Value,
    Member,
    Text,
    Integer,
    Count,
    /// More than any collection here has.
    All,
    Index,
    Score,
    ScoreBound,
    LexBound,
    /// Of a bit, or of a byte in a string: none that makes a string of many megabytes.
    Offset,
    BitOffset,
    BitType,
    Seconds,
    Milliseconds,
    AtSeconds,
    AtMilliseconds,
    Timeout,
    Database,
    Glob,
    EntryId,
    Group,
    Consumer,
    /// Of idleness: nothing here is idle for long, so all or nothing is.
    Idle,
    Longitude,
    Latitude,
    Radius,
    Unit,
    Cursor,
    Channel,
    SortBy,
    SortGet,
    Library,
    Function,
    Script,
    Junk,
}

/// Names of kinds in the catalogue.
const KINDS: &[(&str, Kind)] = &[
    ("s", Kind::Key("s")),
    ("n", Kind::Key("n")),
    ("b", Kind::Key("b")),
    ("lcs", Kind::Key("c")),
    ("p", Kind::Key("p")),
    ("l", Kind::Key("l")),
    ("h", Kind::Key("h")),
    ("set", Kind::Key("t")),
    ("z", Kind::Key("z")),
    ("g", Kind::Key("g")),
    ("x", Kind::Key("x")),
    ("y", Kind::LexKey),
    ("k", Kind::AnyKey),
    ("v", Kind::Value),
    ("m", Kind::Member),
    ("text", Kind::Text),
    ("i", Kind::Integer),
    ("c", Kind::Count),
    ("all", Kind::All),
    ("idx", Kind::Index),
    ("score", Kind::Score),
    ("sb", Kind::ScoreBound),
    ("lb", Kind::LexBound),
    ("off", Kind::Offset),
    ("bit", Kind::BitOffset),
    ("type", Kind::BitType),
    ("sec", Kind::Seconds),
    ("ms", Kind::Milliseconds),
    ("at", Kind::AtSeconds),
    ("atms", Kind::AtMilliseconds),
    ("to", Kind::Timeout),
    ("db", Kind::Database),
    ("glob", Kind::Glob),
    ("id", Kind::EntryId),
    ("grp", Kind::Group),
    ("con", Kind::Consumer),
    ("idle", Kind::Idle),
    ("lon", Kind::Longitude),
    ("lat", Kind::Latitude),
    ("rad", Kind::Radius),
    ("unit", Kind::Unit),
    ("cur", Kind::Cursor),
    ("ch", Kind::Channel),
    ("by", Kind::SortBy),
    ("get", Kind::SortGet),
    ("lib", Kind::Library),
    ("fn", Kind::Function),
    ("script", Kind::Script),
    ("junk", Kind::Junk),
];

impl Kind {
    /// The kind that the catalogue calls so.
    pub fn named(name: &str) -> Option<Kind> {
        KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// First letters of keys: of strings, numbers, bitmaps, LCS's strings, HyperLogLogs, lists, hashes, sets, sorted sets, geo
/// sets and streams.
pub const KEY_POOLS: &[&str] = &["s", "n", "b", "c", "p", "l", "h", "t", "z", "g", "x"];
/// Keys of each pool.
const KEYS_OF_A_POOL: usize = 3;
/// Keys for BYLEX, and one that holds a string.
pub const LEX_KEYS: &[&[u8]] = &[b"y1", b"y2", b"y1", b"y2", b"y1", b"y2", b"y3", b"y_string"];
/// Keys outside the pools.
const ODD_KEYS: &[&[u8]] = &[b"", b"none", b"\x00\xff\r\nk", b"w_1", b"{tag}k", b"-1"];

const WORDS: &[&str] = &["a", "b", "c", "foo", "bar", "Hello", "ab", "abc", "z", "m", "1a", "e1", "Foo", "_"];
/// No two are equal up to a NUL, where collation, and with it SORT ALPHA, would see no difference.
const BINARY: &[&[u8]] =
    &[b"", b"Q\x00b", b"\xff\xfe", b"\r\n", b"\x80", b" ", b"a b", b"\"q\"", b"\xc3\xa9"];

/// Integers where something happens, and what is none.
const ODD_INTEGERS: &[&str] = &[
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "9223372036854775806",
    "-9223372036854775807",
    "4611686018427387904",
    "18446744073709551615",
    "18446744073709551616",
    "2147483647",
    "2147483648",
    "-2147483648",
    "4294967295",
    "4294967296",
    "+1",
    "-0",
    "01",
    "00",
    " 1",
    "1 ",
    "1.0",
    "1e3",
    "0x10",
    "",
    "-",
    "+",
    "abc",
    "99999999999999999999999",
    "32768",
    "-32769",
    "256",
    "65536",
];

const ODD_FLOATS: &[&str] = &[
    "inf",
    "-inf",
    "+inf",
    "Infinity",
    "-INFINITY",
    "nan",
    "-nan",
    "NaN",
    "1e308",
    "-1e308",
    "1.7976931348623157e308",
    "1e309",
    "5e-324",
    "2.2250738585072014e-308",
    "1e-400",
    "-0",
    "-0.0",
    "0x10",
    "0x1p3",
    "1e",
    "e1",
    " 1",
    "1 ",
    "",
    ".5",
    "5.",
    "1_000",
    "3.0e2",
    "0.1",
    "0.2",
    "0.30000000000000004",
    "1e17",
    "123456789012345678",
    "9007199254740993",
    "1e21",
    "3.141592653589793238462643383279502884197",
    "-1.5e-7",
    "+2",
    "--1",
    "1,5",
    "9223372036854775807",
    "17179869184.0000001",
];

const ENTRY_IDS: &[&str] = &[
    "-",
    "+",
    "$",
    ">",
    "0",
    "0-0",
    "0-1",
    "1-*",
    "5-*",
    "18446744073709551615-18446744073709551615",
    "18446744073709551615",
    "18446744073709551616-1",
    "1-18446744073709551615",
    "1-18446744073709551616",
    "-1-1",
    "1-",
    "-1",
    "1--1",
    "a-b",
    "1-1-1",
    "",
    "1 -1",
    "+-+",
    "007-1",
];

/// Absolute times of expiry lie after this, in 2039.
const FAR_OFF_MS: u64 = 2_200_000_000_000;

const SCRIPTS: &[&str] = &[
    "return 1",
    "return ARGV",
    "return {KEYS, ARGV}",
    "return {1, 2.9, 'a', false, nil, 3}",
    "return {ok='fine'}",
    "return {err='ERR mine'}",
    "return {err='mine'}",
    "return redis.error_reply('MY wrong')",
    "return redis.error_reply('')",
    "return redis.status_reply('so')",
    "return {double=3.5}",
    "return {map={a=1}}",
    "return {set={a=true}}",
    "return {big_number={}}",
    "return {verbatim_string={string='x', format='txt'}}",
    "redis.setresp(3) return {redis.call('HGETALL', 'none'), redis.call('GET', 'none')}",
    "redis.setresp(3) return {double=1.5}",
    "redis.setresp(4)",
    "return tostring(redis.call('GET', 'none'))",
    "return redis.pcall('LPUSH', 's1', 1)",
    "local r = redis.pcall('LPUSH', 's1', 1) return r.err or r",
    "local r = redis.pcall('NOSUCH') return r.err",
    "return redis.call('NOSUCH', 'a')",
    "return redis.call('GET')",
    "return redis.call()",
    "return redis.pcall({})",
    "return redis.call('SET', 'n1', 1.5)",
    "return redis.call('SUBSCRIBE', 'a')",
    "return redis.call('MULTI')",
    "error('raised')",
    "error({err='ERR raised'})",
    "error({err='raised table'})",
    "return redis.sha1hex(ARGV[1] or 'x')",
    "return redis.sha1hex()",
    "return cjson.encode({1, 2, {a='b'}})",
    "return cjson.decode(ARGV[1] or '{}')",
    "return cjson.encode(cjson.decode('[1.5, null, true, \"x\"]'))",
    "return cmsgpack.pack({1, 'a', 2.5})",
    "return cmsgpack.unpack(cmsgpack.pack(ARGV))",
    "return struct.pack('>I2', 258)",
    "return {struct.unpack('>I2', 'ab')}",
    "return bit.band(255, 15)",
    "return bit.tohex(255)",
    "return {tostring(1e15), tostring(0.1), tostring(1/0), tostring(-0.5)}",
    "return 3.99",
    "return -1.5",
    "return 1e30",
    "return 2^53",
    "return nil",
    "return true",
    "return false",
    "return {}",
    "return {{}, {{1}}}",
    "x = 1",
    "return y",
    "return (",
    "return #ARGV",
    "return string.format('%5.2f', 3.14159)",
    "return redis.REDIS_VERSION_NUM == nil",
    "redis.log(redis.LOG_DEBUG, 'x') return 1",
    "redis.log('x')",
    "redis.log(9, 'x')",
    "return redis.acl_check_cmd('GET', 'k')",
    "return redis.acl_check_cmd('NOSUCH')",
    "return redis.breakpoint()",
    "redis.replicate_commands() return 1",
    "redis.set_repl(redis.REPL_ALL) return 1",
    "redis.set_repl(99)",
    "return #redis.call('KEYS', 'nothing*')",
    "#!lua\nreturn 1",
    "#!lua flags=no-writes\nreturn redis.call('SET', 'n1', 1)",
    "#!lua flags=allow-oom,no-cluster\nreturn 1",
    "#!lua flags=what\nreturn 1",
    "#!lua name=x\nreturn 1",
    "#!js\nreturn 1",
    "#!lua",
    "print('x') return 1",
    "return loadstring('return 7')()",
    "return dofile('x')",
    "return pcall(function() redis.call('NOSUCH') end)",
    "return {pcall(redis.call, 'INCR', 'h1')}",
    "return select(2, pcall(error, {err='E'}))",
    "return setmetatable({}, {__index=function() return 1 end})",
    "return tonumber('0x10')",
    "return math.floor(3.7)",
    "table.insert(ARGV, 'more') return table.concat(ARGV, ',')",
    "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])",
    "return redis.call('INCRBY', KEYS[1], ARGV[1])",
    "return {redis.call('TYPE', KEYS[1]), redis.call('EXISTS', KEYS[1])}",
];

/// Where arguments come from.
pub struct Values {
    rng: Rng,
}

impl Values {
    /// The same seed draws the same arguments.
    pub fn new(seed: u64) -> Values {
        Values { rng: Rng::new(seed) }
    }

    /// A uniform number in `0..n`.
    pub fn below(&self, n: usize) -> usize {
        self.rng.below(n as u64) as usize
    }

    /// True `of` times in `in_all`.
    pub fn chance(&self, of: usize, in_all: usize) -> bool {
        self.below(in_all) < of
    }

    /// One of them.
    pub fn pick<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// The word, in lower case now and then.
    pub fn cased(&self, word: &str) -> Vec<u8> {
        if self.chance(1, 10) { word.to_lowercase().into() } else { word.into() }
    }

    /// How often something is repeated: mostly once or twice, rarely more often than the small encodings allow.
    pub fn times(&self) -> usize {
        match self.below(1000) {
            0..550 => 1,
            550..750 => 2,
            750..940 => 3 + self.below(4),
            940..985 => 7 + self.below(34),
            985..997 => 100 + self.below(60),
            _ => 500 + self.below(60),
        }
    }

    /// `times` as text, or now and then another number.
    pub fn count_of(&self, times: usize) -> Vec<u8> {
        match self.below(60) {
            0 => self.draw(Kind::Count),
            1 => (times + 1).to_string().into(),
            2 => times.saturating_sub(1).to_string().into(),
            _ => times.to_string().into(),
        }
    }

    /// An argument of this kind.
    pub fn draw(&self, kind: Kind) -> Vec<u8> {
        match kind {
            Kind::Key(pool) => self.key(pool),
            Kind::AnyKey => self.any_key(),
            Kind::LexKey => self.pick(LEX_KEYS).to_vec(),
            Kind::Value => self.value(),
            Kind::Member => self.member(),
            Kind::Text => self.text(),
            Kind::Integer => self.integer(),
            Kind::Count => self.count(),
            Kind::All => (100_000 + self.below(3)).to_string().into(),
            Kind::Index => self.index(),
            Kind::Score => self.score(),
            Kind::ScoreBound => self.score_bound(),
            Kind::LexBound => self.lex_bound(),
            Kind::Offset => self.offset(&["-1", "4294967296", "536870912", "9223372036854775807", "a", ""]),
            Kind::BitOffset if self.chance(1, 4) => format!("#{}", self.below(20)).into(),
            Kind::BitOffset => {
                self.offset(&["-1", "#-1", "#", "#a", "4294967296", "9223372036854775807", "a"])
            }
            Kind::BitType => self.bit_type(),
            Kind::Seconds => self.lifetime(10_000, 10_000_000),
            Kind::Milliseconds => self.lifetime(10_000_000, 10_000_000_000),
            Kind::AtSeconds => self.moment(1000),
            Kind::AtMilliseconds => self.moment(1),
            Kind::Timeout => self
                .pick(&["0.001", "0.002", "-1", "a", "", "nan", "1e400", "-0.1", "0.003"])
                .as_bytes()
                .into(),
            Kind::Database => {
                self.pick(&["0", "1", "1", "2", "15", "16", "-1", "a", "", "4294967296"]).as_bytes().into()
            }
            Kind::Glob => self.glob(),
            Kind::EntryId => self.entry_id(),
            Kind::Group => self.pick(&["g1", "g1", "g1", "g2", "", "none"]).as_bytes().into(),
            Kind::Consumer => self.pick(&["alice", "alice", "bob", "carol", ""]).as_bytes().into(),
            Kind::Idle => self.pick(&["0", "0", "0", "999999999999", "-1", "a"]).as_bytes().into(),
            Kind::Longitude => self.coordinate(180.0),
            Kind::Latitude => self.coordinate(85.0),
            Kind::Radius => self
                .pick(&["1", "100", "5000", "20000", "0", "1e7", "-1", "a", "0.5", "nan"])
                .as_bytes()
                .into(),
            Kind::Unit => self.pick(&["m", "km", "km", "ft", "mi", "KM", "k", ""]).as_bytes().into(),
            Kind::Cursor => {
                self.pick(&["0", "0", "0", "0", "5", "-1", "a", "", "18446744073709551615"]).as_bytes().into()
            }
            Kind::Channel => self.pick(&["ch1", "ch2", "ch3", "", "c\x00"]).as_bytes().into(),
            Kind::SortBy => self.pick(&["s*", "n*", "w_*", "h*->a", "h*->", "nosuch*"]).as_bytes().into(),
            Kind::SortGet => {
                self.pick(&["#", "s*", "n*", "h*->a", "h1->*", "x", "*", "h*->b"]).as_bytes().into()
            }
            Kind::Library => self.library(),
            Kind::Function => self.pick(&["f1", "f2", "f3", "nosuch", ""]).as_bytes().into(),
            Kind::Script => self.pick(SCRIPTS).as_bytes().into(),
            Kind::Junk => self.junk(),
        }
    }

    fn key(&self, pool: &str) -> Vec<u8> {
        if self.chance(1, 14) {
            self.any_key()
        } else {
            format!("{pool}{}", 1 + self.below(KEYS_OF_A_POOL)).into()
        }
    }

    fn any_key(&self) -> Vec<u8> {
        match self.chance(1, 12) {
            true => self.pick(ODD_KEYS).to_vec(),
            false => format!("{}{}", self.pick(KEY_POOLS), 1 + self.below(KEYS_OF_A_POOL)).into(),
        }
    }

    fn value(&self) -> Vec<u8> {
        match self.below(20) {
            0..7 => self.pick(WORDS).as_bytes().into(),
            7..12 => self.small_integer(),
            12 => self.pick(ODD_INTEGERS).as_bytes().into(),
            13 => self.pick(ODD_FLOATS).as_bytes().into(),
            14 | 15 => self.pick(BINARY).to_vec(),
            16 => self.long_text(),
            _ => self.text(),
        }
    }

    /// Around the lengths at which an encoding changes.
    fn long_text(&self) -> Vec<u8> {
        let length = *self.pick(&[20, 39, 44, 45, 63, 64, 65, 100, 128, 255, 256, 513, 1100]);
        let letter = *self.pick(b"abxyz0\xff");
        let mut text = vec![letter; length];
        let at = self.below(length);
        text[at] = b'!';
        text
    }

    fn text(&self) -> Vec<u8> {
        (0..self.below(12)).map(|_| *self.pick(b"aabbcxyz019 _-")).collect()
    }

    fn member(&self) -> Vec<u8> {
        match self.below(20) {
            0..9 => self.pick(WORDS).as_bytes().into(),
            9..15 => self.small_integer(),
            15..18 => self.below(700).to_string().into(),
            18 => format!("m{}", self.below(300)).into(),
            _ => self.value(),
        }
    }

    fn small_integer(&self) -> Vec<u8> {
        (self.below(26) as i64 - 5).to_string().into()
    }

    fn integer(&self) -> Vec<u8> {
        match self.below(8) {
            0 => self.pick(ODD_INTEGERS).as_bytes().into(),
            1 => (self.below(2_000_000) as i64 - 1_000_000).to_string().into(),
            _ => self.small_integer(),
        }
    }

    fn count(&self) -> Vec<u8> {
        match self.below(24) {
            0 => self.pick(ODD_INTEGERS).as_bytes().into(),
            1 => b"-1".into(),
            2 => b"-3".into(),
            3 | 4 => b"0".into(),
            n => (n as i64 - 4).to_string().into(),
        }
    }

    fn index(&self) -> Vec<u8> {
        match self.below(20) {
            0 => self.pick(ODD_INTEGERS).as_bytes().into(),
            1..5 => b"-1".into(),
            5..8 => b"0".into(),
            8 => (self.below(1000) as i64 - 500).to_string().into(),
            _ => (self.below(16) as i64 - 8).to_string().into(),
        }
    }

    fn score(&self) -> Vec<u8> {
        match self.below(16) {
            0 | 1 => self.pick(ODD_FLOATS).as_bytes().into(),
            2 | 3 => format!("{}.{}", self.below(10) as i64 - 5, self.below(1000)).into(),
            4 => (self.rng.unit() * 1e6).to_string().into(),
            5 => self.pick(ODD_INTEGERS).as_bytes().into(),
            _ => self.small_integer(),
        }
    }

    fn score_bound(&self) -> Vec<u8> {
        let mut bound = if self.chance(1, 4) { b"(".to_vec() } else { Vec::new() };
        match self.below(6) {
            0 => bound.extend(b"-inf"),
            1 => bound.extend(b"+inf"),
            _ => bound.extend(self.score()),
        }
        bound
    }

    fn lex_bound(&self) -> Vec<u8> {
        match self.below(12) {
            0 | 1 => b"-".into(),
            2 | 3 => b"+".into(),
            4 => self.member(),
            5 => self.pick(&["(", "[", "", "(-", "[+", "-inf", "]a"]).as_bytes().into(),
            n => [if n % 2 == 0 { &b"["[..] } else { b"(" }, &self.member()].concat(),
        }
    }

    fn offset(&self, odd: &[&str]) -> Vec<u8> {
        match self.below(12) {
            0 => self.pick(odd).as_bytes().into(),
            1 => self.below(70_000).to_string().into(),
            _ => self.below(200).to_string().into(),
        }
    }

    fn bit_type(&self) -> Vec<u8> {
        match self.below(8) {
            0 => self
                .pick(&["u64", "i65", "u0", "i0", "u", "i", "x8", "u-1", "u08", "I8", ""])
                .as_bytes()
                .into(),
            1 => self.pick(&["i64", "u63", "i1", "u1"]).as_bytes().into(),
            _ => format!("{}{}", self.pick(&["u", "i"]), 1 + self.below(40)).into(),
        }
    }

    /// Relative and far off: nothing expires while a run lasts. Equal ones do not occur, so that GT and LT never hang on
    /// the milliseconds between two commands.
    fn lifetime(&self, from: usize, to: usize) -> Vec<u8> {
        match self.below(12) {
            0 => self.pick(&["0", "-1", "-9223372036854775808", "-1000"]).as_bytes().into(),
            1 => self
                .pick(&["9223372036854775807", "9223372036854775", "9223372036854776", "a", "", "1.5"])
                .as_bytes()
                .into(),
            _ => (from + self.below(to - from)).to_string().into(),
        }
    }

    fn moment(&self, unit: u64) -> Vec<u8> {
        match self.below(12) {
            0 => self.pick(&["0", "1", "-1", "1000000", "-9223372036854775808"]).as_bytes().into(),
            1 => self
                .pick(&["9223372036854775807", "9223372036854775", "9223372036854776", "a", ""])
                .as_bytes()
                .into(),
            // Of few, so that times are compared with their equals.
            _ => ((FAR_OFF_MS + 1_000_000_000 * self.below(9) as u64) / unit).to_string().into(),
        }
    }

    fn glob(&self) -> Vec<u8> {
        self.pick(&[
            "*", "*", "a*", "*1", "?", "[a-c]*", "[^a]*", "h?", "\\*", "[", "[a", "", "*a*", "[z-a]",
            "f\\oo", "**", "[\\]]",
        ])
        .as_bytes()
        .into()
    }

    fn entry_id(&self) -> Vec<u8> {
        match self.below(20) {
            0 | 1 => self.pick(ENTRY_IDS).as_bytes().into(),
            2 => format!("({}-{}", self.below(40), self.below(4)).into(),
            3..6 => self.below(60).to_string().into(),
            6 => format!("{}-*", self.below(60)).into(),
            _ => format!("{}-{}", self.below(60), self.below(4)).into(),
        }
    }

    fn coordinate(&self, limit: f64) -> Vec<u8> {
        match self.below(14) {
            0 => self
                .pick(&[
                    "180",
                    "-180",
                    "181",
                    "85.05112878",
                    "85.06",
                    "-85.05112878",
                    "a",
                    "nan",
                    "0",
                    "",
                    "1e3",
                ])
                .as_bytes()
                .into(),
            1..8 => format!("{:.3}", (self.rng.unit() - 0.5) * 10.0).into(),
            _ => format!("{:.6}", (self.rng.unit() * 2.0 - 1.0) * limit).into(),
        }
    }

    fn library(&self) -> Vec<u8> {
        let name = self.pick(&["one", "two", "three"]);
        let body = self.pick(&[
            "redis.register_function('f1', function(keys, args) return {keys, args} end)",
            "redis.register_function('f2', function(keys, args) return redis.call('SET', keys[1], args[1]) end)",
            "redis.register_function{function_name='f3', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}",
            "redis.register_function{function_name='f3', callback=function() return 1 end, description='what it does', flags={'allow-oom', 'allow-stale'}}",
            "redis.register_function{function_name='f3', callback=function() return 1 end, flags={'what'}}",
            "redis.register_function('f1', function() error('raised') end) redis.register_function('f2', function() return redis.error_reply('E x') end)",
            "redis.register_function('bad name', function() return 1 end)",
            "redis.register_function('f1', 5)",
            "redis.register_function('f1')",
            "redis.register_function{}",
            "redis.register_function('f1', function() return nosuch end) local x = 1",
            "return redis.call('PING')",
            "x = 1",
            "local x = (",
            "",
        ]);
        let head = self.pick(&[
            "#!lua name=",
            "#!lua name=",
            "#!lua name=",
            "#!lua name=",
            "#!lua NAME=",
            "#!js name=",
            "#!lua what=",
            "#!lua nam",
            "name=",
            "#!lua name=bad-",
        ]);
        format!("{head}{name}\n{body}").into()
    }

    fn junk(&self) -> Vec<u8> {
        match self.below(4) {
            0 => self.value(),
            1 => self.integer(),
            2 => self.any_key(),
            _ => self
                .pick(&[
                    "NX",
                    "XX",
                    "GT",
                    "LT",
                    "CH",
                    "INCR",
                    "GET",
                    "EX",
                    "PX",
                    "COUNT",
                    "LIMIT",
                    "WITHSCORES",
                    "BY",
                    "STORE",
                    "ASC",
                    "DESC",
                    "MATCH",
                    "REV",
                    "KEEPTTL",
                    "PERSIST",
                    "ANY",
                    "WEIGHTS",
                    "AGGREGATE",
                    "IDLE",
                    "MAXLEN",
                    "BLOCK",
                ])
                .as_bytes()
                .into(),
        }
    }
}
