use proptest::prelude::*;

use super::*;

/// What redis-server 7.0.15 (`rdbcompression no`) put into the DUMP of `HSET h f v n 5`.
const GOLDEN_HASH: &[u8] = &[
    0x12, 0, 0, 0, 4, 0, // 18 bytes, 4 elements
    0x81, b'f', 2, 0x81, b'v', 2, 0x81, b'n', 2, 0x05, 1, END,
];

/// `ZADD z 1 a 2.5 b -300 c`.
const GOLDEN_ZSET: &[u8] = &[
    0x1a, 0, 0, 0, 6, 0, // 26 bytes, 6 elements
    0x81, b'c', 2, 0xDE, 0xD4, 2, // -300 in 13 bits
    0x81, b'a', 2, 0x01, 1, // 1
    0x81, b'b', 2, 0x83, b'2', b'.', b'5', 4, END,
];

/// `RPUSH l …` of integers on both sides of every boundary, and of what only looks like an integer.
#[rustfmt::skip]
const GOLDEN_LIST: &[(&[u8], &[u8])] = &[
    (b"0", &[0x00, 1]),
    (b"127", &[0x7F, 1]),
    (b"128", &[0xC0, 0x80, 2]),
    (b"-1", &[0xDF, 0xFF, 2]),
    (b"4095", &[0xCF, 0xFF, 2]),
    (b"4096", &[0xF1, 0x00, 0x10, 3]),
    (b"-4096", &[0xD0, 0x00, 2]),
    (b"-4097", &[0xF1, 0xFF, 0xEF, 3]),
    (b"32767", &[0xF1, 0xFF, 0x7F, 3]),
    (b"32768", &[0xF2, 0x00, 0x80, 0x00, 4]),
    (b"-32768", &[0xF1, 0x00, 0x80, 3]),
    (b"-32769", &[0xF2, 0xFF, 0x7F, 0xFF, 4]),
    (b"8388607", &[0xF2, 0xFF, 0xFF, 0x7F, 4]),
    (b"8388608", &[0xF3, 0x00, 0x00, 0x80, 0x00, 5]),
    (b"-8388608", &[0xF2, 0x00, 0x00, 0x80, 4]),
    (b"-8388609", &[0xF3, 0xFF, 0xFF, 0x7F, 0xFF, 5]),
    (b"2147483647", &[0xF3, 0xFF, 0xFF, 0xFF, 0x7F, 5]),
    (b"2147483648", &[0xF4, 0, 0, 0, 0x80, 0, 0, 0, 0, 9]),
    (b"-2147483648", &[0xF3, 0x00, 0x00, 0x00, 0x80, 5]),
    (b"-2147483649", &[0xF4, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 9]),
    (b"9223372036854775807", &[0xF4, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 9]),
    (b"-9223372036854775808", &[0xF4, 0, 0, 0, 0, 0, 0, 0, 0x80, 9]),
    (b"9223372036854775808", b"\x939223372036854775808\x14"),
    (b"-0", b"\x82-0\x03"),
    (b"01", b"\x8201\x03"),
    (b"", &[0x80, 1]),
    (b"+1", b"\x82+1\x03"),
];

/// Strings around the borders of tags and of backlens as redis-server 7.0.15 stored them: length, tag, backlen.
const GOLDEN_STRINGS: &[(usize, &[u8], &[u8])] = &[
    (63, &[0xBF], &[0x40]),
    (64, &[0xE0, 0x40], &[0x42]),
    (126, &[0xE0, 0x7E], &[0x01, 0x80]),
    (4095, &[0xEF, 0xFF], &[0x20, 0x81]),
    (4096, &[0xF0, 0x00, 0x10, 0, 0], &[0x20, 0x85]),
    (16_377, &[0xF0, 0xF9, 0x3F, 0, 0], &[0x7F, 0xFE]),
    (16_378, &[0xF0, 0xFA, 0x3F, 0, 0], &[0x00, 0xFF, 0xFF]),
    (16_379, &[0xF0, 0xFB, 0x3F, 0, 0], &[0x01, 0x80, 0x80]),
    (2_097_145, &[0xF0, 0xF9, 0xFF, 0x1F, 0], &[0x7F, 0xFF, 0xFE]),
    (2_097_146, &[0xF0, 0xFA, 0xFF, 0x1F, 0], &[0x00, 0xFF, 0xFF, 0xFF]),
];

fn packed<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Listpack {
    let mut lp = Listpack::new();
    items.into_iter().for_each(|item| lp.append(item));
    lp
}

fn texts(lp: &Listpack) -> Vec<Vec<u8>> {
    lp.iter().map(|item| item.to_bytes(&mut itoa::Buffer::new()).to_vec()).collect()
}

#[test]
fn bytes_are_those_of_redis() {
    let hash = packed([&b"f"[..], b"v", b"n", b"5"]);
    assert_eq!(hash.bytes(), GOLDEN_HASH);
    let zset = packed([&b"c"[..], b"-300", b"a", b"1", b"b", b"2.5"]);
    assert_eq!(zset.bytes(), GOLDEN_ZSET);

    let list = packed(GOLDEN_LIST.iter().map(|(text, _)| *text));
    let mut expected = vec![0x9e, 0, 0, 0, 0x1b, 0];
    GOLDEN_LIST.iter().for_each(|(_, entry)| expected.extend_from_slice(entry));
    expected.push(END);
    assert_eq!(list.bytes(), expected);
    assert_eq!(texts(&list), GOLDEN_LIST.iter().map(|(text, _)| text.to_vec()).collect::<Vec<_>>());
}

#[test]
fn what_redis_wrote_is_read() {
    let hash = Listpack::from_bytes(SharedBuf::from_slice(GOLDEN_HASH)).expect("from Redis");
    let expected = [Item::from(b"f"), Item::from(b"v"), Item::from(b"n"), Item::Int(5)];
    assert!(hash.iter().eq(expected));
    assert!(hash.iter().rev().eq(expected.into_iter().rev()));
    let zset = Listpack::from_bytes(SharedBuf::from_slice(GOLDEN_ZSET)).expect("from Redis");
    assert_eq!(zset.at(1), Some(Item::Int(-300)));
    assert_eq!(zset.at(-1), Some(Item::Str(b"2.5")));
    assert_eq!(zset.at(6), None);
    assert_eq!(zset.at(-7), None);
}

#[test]
fn strings_at_the_borders_of_tags_and_backlens() {
    for &(len, tag, backlen) in GOLDEN_STRINGS {
        let text = vec![b'x'; len];
        let lp = packed([&text[..], b"end"]);
        let entry = [tag, &text, backlen].concat();
        assert!(lp.bytes()[HEADER_LEN..].starts_with(&entry), "a string of {len} bytes");
        assert_eq!(validate(lp.bytes(), true), Ok(()));
        let last = lp.last().expect("two elements");
        assert_eq!(lp.prev(last), Some(HEADER_LEN), "a string of {len} bytes, from the right");
        assert_eq!(lp.get(HEADER_LEN), Item::Str(&text));
        assert_eq!(lp.get(HEADER_LEN).text_len(), len);
    }
}

#[test]
fn find_skips_values() {
    let lp = packed([&b"1"[..], b"2", b"2", b"x", b"x", b"1"]);
    assert_eq!(lp.find(b"2", 0), lp.seek(1));
    assert_eq!(lp.find(b"2", 1), lp.seek(2));
    assert_eq!(lp.find(b"x", 1), lp.seek(4));
    assert_eq!(lp.find(b"01", 1), None);
    assert_eq!(lp.find_from(lp.seek(1).expect("in range"), b"1", 0), lp.seek(5));
    assert_eq!(Listpack::new().find(b"", 0), None);
}

#[test]
fn a_decimal_string_from_outside_reads_as_any_other() {
    let mut bytes = vec![0, 0, 0, 0, 1, 0, 0x82, b'1', b'2', 3, END];
    bytes[0] = bytes.len() as u8;
    let mut lp = Listpack::from_bytes(SharedBuf::from_slice(&bytes)).expect("Redis takes it too");
    assert_eq!(lp.find(b"12", 0), Some(HEADER_LEN));
    let item = lp.get(HEADER_LEN);
    assert_eq!((item, item.as_int()), (Item::Str(b"12"), Some(12)));
    lp.append(12);
    assert!(lp.iter().all(|item| item.eq_bytes(b"12")));
}

#[test]
fn the_count_is_unknown_from_65535_elements_on() {
    let mut lp = Listpack::new();
    lp.append_many((0..65_534).map(Item::Int));
    assert_eq!((lp.header_count(), lp.len()), (65_534, 65_534));
    lp.append(1);
    lp.append(2);
    assert_eq!((lp.header_count(), lp.len()), (COUNT_UNKNOWN, 65_536));
    assert_eq!(lp.at(-1), Some(Item::Int(2)));
    assert_eq!(lp.at(65_535), Some(Item::Int(2)));
    assert_eq!(lp.seek(65_536), None);
    assert_eq!(lp.seek(-65_537), None);
    assert_eq!(lp.delete_range(0, 65_535), 65_535);
    assert_eq!(lp.len(), 1);
    assert_eq!(validate(lp.bytes(), true), Ok(()));
    let tail = lp.split_off(HEADER_LEN);
    assert_eq!((lp.len(), lp.is_empty(), tail.len()), (0, true, 1));
}

#[test]
fn growth_wastes_no_more_than_an_allocation_class() {
    let mut lp = Listpack::new();
    for i in 0..2_000 {
        lp.append(i);
        assert!(lp.as_shared().capacity() <= lp.bytes().len() + lp.bytes().len() / 4 + 16);
    }
    lp.delete_range(10, usize::MAX);
    assert!(lp.as_shared().capacity() < 100, "deleting gives memory back");
}

#[test]
fn each_kind_of_damage_has_its_error() {
    use ListpackError::*;
    let check = |body: &[u8]| {
        let total = (HEADER_LEN + body.len()) as u8;
        let mut bytes = vec![total, 0, 0, 0, 0xFF, 0xFF];
        bytes.extend_from_slice(body);
        validate(&bytes, true)
    };
    assert_eq!(validate(&GOLDEN_HASH[..6], true), Err(TooShort { len: 6 }));
    assert_eq!(validate(&GOLDEN_HASH[..17], true), Err(LenMismatch { header: 18, actual: 17 }));
    assert_eq!(check(&[0, 1]), Err(NoEnd { byte: 1 }));
    assert_eq!(check(&[0xF5, 1, END]), Err(BadTag { offset: 6, byte: 0xF5 }));
    assert_eq!(check(&[END, END]), Err(EarlyEnd { offset: 6 }));
    assert_eq!(check(&[0x85, b'a', 2, END]), Err(Overrun { offset: 6 }));
    assert_eq!(check(&[0, 1, 0xF0, 0xFF, 0xFF, END]), Err(Overrun { offset: 8 }));
    assert_eq!(check(&[0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0, END]), Err(Overrun { offset: 6 }));
    assert_eq!(check(&[5, 2, END]), Err(BadBacklen { offset: 6, expected: 1, found: 2 }));
    let mut miscounted = GOLDEN_HASH.to_vec();
    miscounted[4] = 3;
    assert_eq!(validate(&miscounted, true), Err(CountMismatch { header: 3, actual: 4 }));
    assert_eq!(validate(&miscounted, false), Ok(()));
}

/// Whatever passes must be safe to read and to edit.
fn exercise(bytes: &[u8]) {
    let Ok(mut lp) = Listpack::from_bytes(SharedBuf::from_slice(bytes)) else { return };
    let forward = texts(&lp);
    assert_eq!(forward.len(), lp.len());
    let mut backward: Vec<_> = lp.iter().rev().map(|item| item.as_int()).collect();
    backward.reverse();
    assert!(lp.iter().map(|item| item.as_int()).eq(backward));
    for text in &forward {
        assert!(lp.find(text, 0).is_some());
    }
    lp.prepend(b"first");
    lp.append(77);
    while let Some(pos) = lp.last() {
        lp.delete(pos);
    }
    assert_eq!(lp.bytes().len(), HEADER_LEN + 1);
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    const BORDERS: [i64; 13] = [
        0,
        127,
        -4096,
        4095,
        -32_768,
        32_767,
        -8_388_608,
        8_388_607,
        -2_147_483_648,
        2_147_483_647,
        i64::MIN,
        i64::MAX,
        -1,
    ];
    let border = (prop::sample::select(&BORDERS[..]), -2i64..=2)
        .prop_map(|(border, step)| border.saturating_add(step).to_string().into_bytes());
    let sizes = prop::sample::select(vec![0usize, 1, 62, 63, 64, 65, 125, 126, 127, 4095, 4096, 16_378]);
    prop_oneof![
        4 => border,
        2 => any::<i64>().prop_map(|i| i.to_string().into_bytes()),
        3 => prop::collection::vec(any::<u8>(), 0..8),
        1 => (sizes, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => "[-+]?0?[0-9]{1,21}".prop_map(String::into_bytes),
    ]
}

#[derive(Debug, Clone)]
enum Op {
    Insert(usize, Vec<u8>),
    InsertAfter(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Delete(usize),
    DeleteRange(i64, usize),
    AppendMany(Vec<Vec<u8>>),
    Split(usize),
    Snapshot,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (any::<usize>(), element()).prop_map(|(at, e)| Op::Insert(at, e)),
        1 => (any::<usize>(), element()).prop_map(|(at, e)| Op::InsertAfter(at, e)),
        2 => (any::<usize>(), element()).prop_map(|(at, e)| Op::Replace(at, e)),
        2 => any::<usize>().prop_map(Op::Delete),
        1 => (-12i64..12, 0usize..4).prop_map(|(at, n)| Op::DeleteRange(at, n)),
        1 => prop::collection::vec(element(), 0..5).prop_map(Op::AppendMany),
        1 => any::<usize>().prop_map(Op::Split),
        1 => Just(Op::Snapshot),
    ]
}

proptest! {
    #[test]
    fn behaves_as_a_vector_of_strings(ops in prop::collection::vec(op(), 1..40)) {
        let mut lp = Listpack::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        let mut snapshots = Vec::new();
        for op in ops {
            match op {
                Op::Insert(at, e) => {
                    let at = at % (model.len() + 1);
                    let pos = lp.seek(at as i64).unwrap_or(lp.end());
                    lp.insert_before(pos, &e[..]);
                    prop_assert!(lp.get(pos).eq_bytes(&e));
                    model.insert(at, e);
                }
                Op::InsertAfter(at, e) if !model.is_empty() => {
                    let at = at % model.len();
                    let pos = lp.seek(at as i64).expect("in range");
                    let new = lp.insert_after(pos, &e[..]);
                    prop_assert!(lp.get(new).eq_bytes(&e));
                    model.insert(at + 1, e);
                }
                Op::Replace(at, e) if !model.is_empty() => {
                    let at = at % model.len();
                    lp.replace(lp.seek(at as i64).expect("in range"), &e[..]);
                    model[at] = e;
                }
                Op::Delete(at) if !model.is_empty() => {
                    let at = at % model.len();
                    let next = lp.delete(lp.seek(at as i64).expect("in range"));
                    model.remove(at);
                    prop_assert_eq!(next, lp.seek(at as i64));
                }
                Op::DeleteRange(index, count) => {
                    let from = if index < 0 { index + model.len() as i64 } else { index };
                    let deleted = match usize::try_from(from) {
                        Ok(from) if from < model.len() => {
                            let to = model.len().min(from + count);
                            model.drain(from..to).count()
                        }
                        _ => 0,
                    };
                    prop_assert_eq!(lp.delete_range(index, count), deleted);
                }
                Op::AppendMany(es) => {
                    lp.append_many(es.iter().map(|e| &e[..]));
                    model.extend(es);
                }
                Op::Split(at) if !model.is_empty() => {
                    let at = at % model.len();
                    let tail = lp.split_off(lp.seek(at as i64).expect("in range"));
                    prop_assert_eq!(texts(&lp), &model[..at]);
                    prop_assert_eq!(texts(&tail), &model[at..]);
                    lp.append_all(&tail);
                }
                Op::Snapshot => snapshots.push((lp.clone(), model.clone())),
                Op::InsertAfter(..) | Op::Replace(..) | Op::Delete(_) | Op::Split(_) => {}
            }
            prop_assert_eq!(validate(lp.bytes(), true), Ok(()));
            prop_assert_eq!(lp.len(), model.len());
            prop_assert_eq!(lp.is_empty(), model.is_empty());
        }
        snapshots.push((lp, model));
        for (lp, model) in snapshots {
            prop_assert_eq!(&texts(&lp), &model);
            prop_assert!(lp.iter().rev().zip(model.iter().rev()).all(|(item, e)| item.eq_bytes(e)));
            for (at, e) in model.iter().enumerate() {
                let first = model.iter().position(|other| other == e).map(|i| i as i64);
                prop_assert_eq!(lp.find(e, 0), first.and_then(|i| lp.seek(i)));
                prop_assert_eq!(lp.seek(at as i64), lp.seek(at as i64 - model.len() as i64));
                let item = lp.at(at as i64).expect("in range");
                prop_assert_eq!(item.cmp_bytes(e), Ordering::Equal);
                // As an integer exactly if its text survives the round trip through one.
                let int = std::str::from_utf8(e).ok().and_then(|s| s.parse::<i64>().ok());
                let canonical = int.filter(|i| i.to_string().as_bytes() == &e[..]);
                prop_assert_eq!(item.as_int(), canonical);
                prop_assert_eq!(matches!(item, Item::Int(_)), canonical.is_some());
            }
        }
    }

    #[test]
    fn hostile_bytes_are_refused_or_safe(body in prop::collection::vec(any::<u8>(), 0..60), count in any::<u8>()) {
        exercise(&body);
        let mut framed = vec![(HEADER_LEN + body.len() + 1) as u8, 0, 0, 0, count % 8, 0];
        framed.extend_from_slice(&body);
        framed.push(END);
        exercise(&framed);
        framed[4..6].fill(0xFF);
        exercise(&framed);
    }

    #[test]
    fn mutated_listpacks_are_refused_or_safe(
        elements in prop::collection::vec(element(), 0..6),
        flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in any::<usize>(),
        unknown in any::<bool>(),
    ) {
        let mut bytes = packed(elements.iter().map(|e| &e[..])).bytes().to_vec();
        if unknown {
            bytes[4..6].fill(0xFF);
        }
        for (at, byte) in flips {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        exercise(&bytes);
        bytes.truncate(cut % bytes.len());
        exercise(&bytes);
    }
}
