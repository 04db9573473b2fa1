//! Payloads of RESTORE in every type of value, each with the DEBUG DIGEST-VALUE that Redis 7.0.15 printed for it.

use super::*;

/// The types that only old versions wrote, put together by hand and restored by Redis.
const OLD: &[(&str, &[u8], &str)] = &[
    (
        "LIST",
        b"\x01\x03\x01a\xc0\x05@dlong long long long long long long long long long long long long long \
          long long long long long long \x01\x00]f\x9aKm\xa4\xd2\xb0",
        "60403174a28068202d342c5a2ecf18bf4419ca5a",
    ),
    (
        "ZSET",
        b"\x03\x04\x04half\x030.5\x03top\xfe\x06bottom\xff\x05third\x130.33333333333333331\x01\x00\xa4\
          \x9f\xc0`BQ\x1c\xd0",
        "a43c195c18765bc5660880f7463cf0d545386214",
    ),
    (
        "HASH_ZIPMAP",
        b"\x09 \x03\x04name\x05\x00value\x01n\x02\x0312???\x05empty\x00\x01?\xff\x02\x00\xd7\xfe\xef\
          \xb8\xc8t\xd6i",
        "116271fb301f880965ac42d84d5b50a2f942d61d",
    ),
    (
        "LIST_ZIPLIST",
        b"\x0a@uu\x00\x00\x00+\x00\x00\x00\x08\x00\x00\x01a\x03\xf2\x02\xfe\x9c\x03\xc0\xe8\x03\x04\
          \xf0\xa0\x86\x01\x05\xd0\x00\xe1\xf5\x05\x06\xe0\x00\x10\xa5\xd4\xe8\x00\x00\x00\x0a@Fxxxxxx\
          xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xff\x06\x00\x1f\x93r\x0f\
          \xcf\xaa@k",
        "d6cd94a798b02a45ded3aeb4a5faec45b26b684c",
    ),
    (
        "ZSET_ZIPLIST",
        b"\x0c$$\x00\x00\x00\x1e\x00\x00\x00\x06\x00\x00\x05first\x07\xfe\xfd\x03\xf8\x02\xf3\x02\x04l\
          ast\x06\x032.5\xff\x06\x00/S\xf0\xd2rrqq",
        "bc26ce970921ae4663d019a75e286c4d3510be8a",
    ),
    (
        "HASH_ZIPLIST",
        b"\x0dARR\x01\x00\x00\x22\x00\x00\x00\x06\x00\x00\x05field\x07\x05value\x07\xf6\x02\xf7\x02\
          \x04long\x06A,yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\
          yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\
          yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\
          yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\xff\x06\x00\x1c\x8fU\xf7\x17x\x81\xb9",
        "1057ef2538b3a7ab4dd8829bdf2213b8fb0dda7b",
    ),
    (
        "LIST_QUICKLIST",
        b"\x0e\x02\x12\x12\x00\x00\x00\x0c\x00\x00\x00\x02\x00\x00\xf2\x02\x03two\xff\x14\x14\x00\x00\
          \x00\x11\x00\x00\x00\x02\x00\x00\x05three\x07\xf5\xff\x07\x00\x14\xb6\x1b-\x1c\x08\xbc\xbb",
        "36dd87a9ad2cbc7a636fd28148f031141fc13376",
    ),
    (
        "SET",
        b"\x02\x03\x01b\xc1\x00\x10\x01a\x01\x00\x5c`\x0dUD\xe6_I",
        "bcbdf904a0f7bd56ea4cbfa4d1dffbf161eb0d70",
    ),
    (
        "HASH",
        b"\x04\x02\x01f\x01v\x01g\xc0\xff\x01\x00\xab\x91\xd7K\xc3\xa7\xb7^",
        "8f53ea4233f0a3f2b09cab24013962f42f9d3807",
    ),
];

/// What Redis itself dumps.
const DUMPED: &[(&str, &[u8], &str)] = &[
    ("string", b"\x00\x05hello\x0a\x00cr\xdfve4 \x0a", "36b23a1456b2dce2c3ed252c456761301dba8060"),
    ("int", b"\x00\xc2@\xe2\x01\x00\x0a\x00C&G\xf4C\x19r\x83", "f65119d7a8e5aea6d8a789c71fad19e6308fd126"),
    (
        "compressed",
        b"\x00\xc3\x0a@x\x02aba\xe0j\x01\x01ab\x0a\x00\xb2\x88p\x8cS\x07\x16\xd2",
        "f4f6ca920953eae8b00b22ad12be79030214786b",
    ),
    (
        "set",
        b"\x02\x03\x01y\x01x\xc0\x01\x0a\x00\xae\x04\xbaN\xa3\x84\x05[",
        "03ee76a1ebe8db27d61b3ea784011d5acc537675",
    ),
    (
        "intset",
        b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00p\x11\x01\x00\x0a\
          \x00\x85\xd5\xc1\x06[\x1d\xd0U",
        "a987c6ebdc9d549d1b48972961620e22c2294133",
    ),
    (
        "hash",
        b"\x10\x12\x12\x00\x00\x00\x04\x00\x81f\x02\x81v\x02\x81n\x02\x0c\x01\xff\x0a\x00\x016\x94\x81\
          \xd3[\x89t",
        "76d7ce7d8cb69c65ddb54b94589fa9396351461b",
    ),
    (
        "zset",
        b"\x11\x14\x14\x00\x00\x00\x04\x00\x81a\x02\x01\x01\x81b\x02\x832.5\x04\xff\x0a\x00\xd4Ln\xa4\
          \xf6D\xd9\xd7",
        "c45c5b051acd64070e5ed1a949939d5145f806c5",
    ),
    (
        "list",
        b"\x12\x01\x02\x0f\x0f\x00\x00\x00\x03\x00\x81a\x02\x01\x01\x81c\x02\xff\x0a\x00\x8e\x9e\x05\
          \xd7`k\x1f)",
        "f2dc162838908580b7896509b12fc0dba793310a",
    ),
    (
        "stream",
        b"\x13\x01\x10\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\x1d\x1d\x00\x00\
          \x00\x0a\x00\x01\x01\x00\x01\x01\x01\x81f\x02\x00\x01\x02\x01\x00\x01\x00\x01\x81v\x02\x04\
          \x01\xff\x01\x05\x01\x05\x01\x00\x00\x01\x00\x0a\x00\xb9\xdc91\xcb\xa8\xa0]",
        "9772ff973b35659052ee64022446d89c034a1d67",
    ),
];

/// Hashes with fields that expire, put together by hand as Redis 7.4 and its release candidates write them: `f` has the
/// value `v` and a time, `n` is 7 and has none.
const TIMED: &[(&str, &[u8])] = &[
    ("HASH_TIMES_RC", b"\x16\x02\x81\x00\x00\x03\xbb\x2c\xc3\xd8\x00\x01f\x01v\x00\x01n\xc0\x07"),
    (
        "HASH_LISTPACK_TIMES_RC",
        b"\x17\x1e\x1e\x00\x00\x00\x06\x00\x81f\x02\x81v\x02\xf4\x00\xd8\xc3\x2c\xbb\x03\x00\x00\x09\x81n\x02\x07\x01\x00\
          \x01\xff",
    ),
    ("HASH_TIMES", b"\x18\x00\xd8\xc3\x2c\xbb\x03\x00\x00\x02\x01\x01f\x01v\x00\x01n\xc0\x07"),
    (
        "HASH_LISTPACK_TIMES",
        b"\x19\x00\xd8\xc3\x2c\xbb\x03\x00\x00\x1e\x1e\x00\x00\x00\x06\x00\x81f\x02\x81v\x02\xf4\x00\xd8\xc3\x2c\xbb\x03\
          \x00\x00\x09\x81n\x02\x07\x01\x00\x01\xff",
    ),
];

#[test]
fn hashes_with_fields_that_expire_are_restored() {
    use super::super::{format::VERSION_FIELD_TIMES, save::with_footer};
    for (name, payload) in TIMED {
        for (entries, kind) in [(128, 0x19), (1, 0x18)] {
            let config = Config { hash_max_listpack_entries: entries, ..Config::default() };
            let payload = with_footer(payload.to_vec(), VERSION_FIELD_TIMES);
            let value =
                load_value(&payload, &options(&config)).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let hash = value.as_hash().expect("a hash");
            assert_eq!(
                (hash.len(), hash.time_of(b"f"), hash.time_of(b"n")),
                (2, Some(4_102_444_800_000), None),
                "{name}"
            );
            assert_eq!(hash.get(b"n").and_then(|value| value.as_int()), Some(7), "{name}");
            let again = dump_value(&value);
            assert_eq!(again[0], kind, "{name}");
            if again[0] == payload[0] && kind == 0x19 {
                assert_eq!(again, payload, "{name}");
            }
        }
    }
}

/// A server of an older version must not be given what it cannot read, nor be refused what it can.
#[test]
fn only_fields_that_expire_make_it_a_later_version() {
    let mut hash = crate::types::Hash::new();
    let limits = crate::types::HashLimits::new(&Config::default(), SEED);
    hash.set(b"f", &b"v"[..], &limits);
    let mut dbs = databases(&[(0, "h", Value::Hash(hash.clone()), None)]);
    assert_eq!(saved(&dbs, &Aux::default())[..9], *b"REDIS0011");
    hash.set_time(b"f", 1, SEED);
    let entry = KeyEntry::new(Key::from("h"), Value::Hash(hash), 0);
    dbs[0].note_field_times(&entry);
    dbs[0].dict.insert(entry);
    let file = saved(&dbs, &Aux::default());
    assert_eq!(file[..9], *b"REDIS0012");
    let back = loaded(&file).map_err(|error| error.to_string()).expect("our own file");
    assert_eq!(back.dbs[0].field_expiries.get(b"h"), Some(1));
}

fn payloads() -> impl Iterator<Item = &'static (&'static str, &'static [u8], &'static str)> {
    OLD.iter().chain(DUMPED)
}

#[test]
fn payloads_of_redis_are_restored() {
    let config = Config::default();
    for (name, payload, digest) in payloads() {
        let value =
            load_value(payload, &options(&config)).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(hex(crate::digest::value(&value, None)), *digest, "{name}");
    }
}

#[test]
fn a_restored_value_is_dumped_and_restored_again() {
    let config = Config::default();
    for (name, payload, digest) in payloads() {
        let value = load_value(payload, &options(&config)).expect("seen above");
        let again = load_value(&dump_value(&value), &options(&config))
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(hex(crate::digest::value(&again, None)), *digest, "{name}");
        assert_eq!(again.encoding(), value.encoding(), "{name}");
    }
}

#[test]
fn a_wrong_footer_is_told_from_a_wrong_payload() {
    let config = Config::default();
    let restore = |payload: &[u8]| load_value(payload, &options(&config)).map(|value| value.kind());
    let good = dump_value(&Value::string(b"some text"));
    assert_eq!(restore(&good), Ok(crate::value::Kind::Str));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert_eq!(restore(&bad), Err(RestoreError::Footer), "byte {at}");
        assert_eq!(restore(&good[..at]), Err(RestoreError::Footer), "{at} bytes");
    }
    // Redis answers with these two lines.
    for (payload, problem, line) in [
        (&b"\x00\x0bhello"[..], Problem::Truncated { needed: 11, left: 5 }, "ERR Bad data format"),
        (b"\x00\x05hello!", Problem::Trailing(1), "ERR Bad data format"),
        (b"\x02\x00", Problem::Empty, "ERR Bad data format"),
        (b"\xff", Problem::UnknownType(255), "ERR Bad data format"),
    ] {
        let error =
            restore(&super::super::save::with_footer(payload.to_vec(), super::super::format::VERSION))
                .expect_err("not a value");
        assert_eq!(error, RestoreError::Payload(problem));
        assert_eq!(&*crate::error::CommandError::from(error).text(), line.as_bytes());
    }
    let line = crate::error::CommandError::from(RestoreError::Footer);
    assert_eq!(&*line.text(), b"ERR DUMP payload version or checksum are wrong");
}

/// Put together by hand, as RediSearch's `TrieType_RdbSave` does in its three versions.
#[test]
fn suggestions_are_read_in_every_version_of_their_encoding() {
    use super::super::format::{SUGGESTIONS_MODULE_ID, module_id};
    assert_eq!(SUGGESTIONS_MODULE_ID, module_id(b"trietype0", 0) | 1);
    let restore = |version: u64, parts: &[u8]| {
        let id = module_id(b"trietype0", version).to_be_bytes();
        let payload = [&b"\x07\x81"[..], &id, parts].concat();
        let payload = super::super::save::with_footer(payload, super::super::format::VERSION);
        load_value(&payload, &options(&Config::default())).map(|value| {
            let mut all = Vec::new();
            value.as_suggestions().expect("suggestions").for_each(|text, score, payload| {
                all.push((text.to_owned(), score, payload.map(<[u8]>::to_vec)));
            });
            all
        })
    };
    const SCORE: &[u8] = b"\x04\x00\x00\x00\x00\x00\x00\xf8\x3f";
    let old = [b"\x02\x02\x05\x03ab\x00", SCORE, b"\x05\x02b\x00", SCORE, b"\x00"].concat();
    assert_eq!(restore(0, &old), Ok(vec![("ab".to_owned(), 1.5, None), ("b".to_owned(), 1.5, None)]));
    let payloads = [b"\x02\x01\x05\x03ab\x00", SCORE, b"\x05\x02p\x00\x00"].concat();
    assert_eq!(restore(1, &payloads), Ok(vec![("ab".to_owned(), 1.5, Some(b"p".to_vec()))]));
    let counts = [b"\x02\x01\x05\x03ab\x00", SCORE, b"\x05\x01\x00\x02\x07\x00"].concat();
    assert_eq!(restore(2, &counts), Ok(vec![("ab".to_owned(), 1.5, None)]));
    let failed = |version, parts: &[u8]| match restore(version, parts) {
        Err(RestoreError::Payload(problem)) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(failed(3, &counts), Problem::SuggestionsEncoding(3));
    assert_eq!(failed(1, b"\x02\x00\x00"), Problem::Empty);
    assert!(matches!(failed(1, b"\x02\x7f\xff\x00"), Problem::TooMany { .. }));
    let without_zero = [b"\x02\x01\x05\x02ab", SCORE, b"\x00"].concat();
    assert!(matches!(failed(0, &without_zero), Problem::Content(_)));
    let not_a_number = b"\x02\x01\x05\x03ab\x00\x04\x00\x00\x00\x00\x00\x00\xf8\x7f\x00";
    assert!(matches!(failed(0, not_a_number), Problem::Content(_)));
}

#[test]
fn a_payload_of_a_later_version_is_refused() {
    let config = Config::default();
    let mut payload = b"\x00\x05hello\x0d\x00".to_vec();
    payload.extend_from_slice(&super::super::crc64::update(0, &payload).to_le_bytes());
    assert!(matches!(load_value(&payload, &options(&config)), Err(RestoreError::Footer)));
}
