use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ds::SharedBuf;
use crate::ds::listpack::Item;

const SMALL: NodeLimits = NodeLimits { max_bytes: 4096, max_entries: 4 };

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId::new(ms, seq)
}

fn text(item: Item<'_>) -> Vec<u8> {
    item.to_bytes(&mut itoa::Buffer::new()).to_vec()
}

fn read(range: Range<'_>) -> Vec<(StreamId, Pairs)> {
    range.map(|entry| (entry.id, entry.fields().map(|(f, v)| (text(f), text(v))).collect())).collect()
}

fn ids(range: Range<'_>) -> Vec<StreamId> {
    range.map(|entry| entry.id).collect()
}

/// Entries 1-0, 2-0 … n-0, four to a node.
fn numbered(n: u64) -> Entries {
    let mut entries = Entries::default();
    for ms in 1..=n {
        entries.append(id(ms, 0), &[b"f", b"v"], SMALL).unwrap();
    }
    entries
}

/// What redis-server 7.0.15 makes of
/// `XADD s 1000-5 a 1 b hello`, `XADD s 1000-6 a 200 b world`, `XADD s 1001-0 c x`, `XADD s 70000-1 a -1 b zz`,
/// `XDEL s 1000-6`.
const REDIS_NODE: &[u8] = b"\x5c\x00\x00\x00\x1f\x00\x03\x01\x01\x01\x02\x01\x81a\x02\x81b\x02\x00\x01\x02\x01\x00\x01\
\x00\x01\x01\x01\x85hello\x06\x05\x01\x03\x01\x00\x01\x01\x01\xc0\xc8\x02\x85world\x06\x05\x01\x00\x01\x01\x01\xdf\xfb\
\x02\x01\x01\x81c\x02\x81x\x02\x06\x01\x02\x01\xf2\x88\x0d\x01\x04\xdf\xfc\x02\xdf\xff\x02\x82zz\x03\x05\x01\xff";

#[test]
fn nodes_are_laid_out_as_redis_does() {
    let mut entries = Entries::default();
    let limits = NodeLimits { max_bytes: 4096, max_entries: 100 };
    entries.append(id(1000, 5), &[b"a", b"1", b"b", b"hello"], limits).unwrap();
    entries.append(id(1000, 6), &[b"a", b"200", b"b", b"world"], limits).unwrap();
    entries.append(id(1001, 0), &[b"c", b"x"], limits).unwrap();
    entries.append(id(70000, 1), &[b"a", b"-1", b"b", b"zz"], limits).unwrap();
    assert!(entries.delete(id(1000, 6)));
    let (&master, node) = entries.nodes().next().unwrap();
    assert_eq!(master, id(1000, 5));
    assert_eq!(node.bytes().escape_ascii().to_string(), REDIS_NODE.escape_ascii().to_string());
    let node = Node::validated(master, SharedBuf::from_slice(REDIS_NODE)).unwrap();
    assert_eq!(node.live(), 3);
}

#[test]
fn a_node_is_full_at_either_limit() {
    assert_eq!(numbered(9).node_count(), 3);
    let by_bytes = NodeLimits { max_bytes: 200, max_entries: 0 };
    let mut entries = Entries::default();
    for ms in 1..=4 {
        entries.append(id(ms, 0), &[b"f", &[b'x'; 80]], by_bytes).unwrap();
    }
    assert_eq!(entries.node_count(), 2, "the second entry of a node just fits");
    let unlimited = NodeLimits { max_bytes: 0, max_entries: 0 };
    let mut entries = Entries::default();
    for ms in 1..=1000 {
        entries.append(id(ms, 0), &[b"f", b"v"], unlimited).unwrap();
    }
    assert_eq!(entries.node_count(), 1);
}

#[test]
fn ids_must_grow() {
    let mut entries = numbered(3);
    assert_eq!(entries.append(id(3, 0), &[b"f", b"v"], SMALL), Err(AppendError::IdTooSmall));
    assert_eq!(entries.append(id(2, 9), &[b"f", b"v"], SMALL), Err(AppendError::IdTooSmall));
    assert_eq!(entries.append(StreamId::MAX, &[b"f", b"v"], SMALL), Ok(()));
    assert_eq!(entries.last_entry_id(), Some(StreamId::MAX));
}

#[test]
fn trimming_by_whole_nodes_stops_at_a_node_that_must_stay() {
    let mut entries = numbered(10);
    assert_eq!(entries.trim(Trim::MaxLen(3), true, 0), 4);
    assert_eq!((entries.len(), entries.first_id()), (6, id(5, 0)));
    assert_eq!(entries.trim(Trim::MaxLen(3), false, 0), 3);
    assert_eq!((entries.len(), entries.first_id()), (3, id(8, 0)));
    assert_eq!(entries.trim(Trim::MinId(id(9, 1)), true, 0), 1, "the node of 5 to 8");
    assert_eq!(entries.trim(Trim::MinId(id(9, 1)), false, 0), 1);
    assert_eq!(ids(entries.iter()), [id(10, 0)]);
    assert_eq!(entries.trim(Trim::MaxLen(0), true, 0), 1);
    assert_eq!((entries.len(), entries.first_id(), entries.node_count()), (0, StreamId::MIN, 0));
    assert_eq!((entries.last_id(), entries.added()), (id(10, 0), 10));
}

#[test]
fn trimming_keeps_to_its_limit() {
    let mut entries = numbered(20);
    assert_eq!(entries.trim(Trim::MaxLen(0), true, 9), 8);
    assert_eq!(entries.trim(Trim::MaxLen(0), true, 3), 0);
}

#[test]
fn a_clone_does_not_change() {
    let mut stream = Stream { entries: numbered(100), ..Stream::new() };
    let mut group = Group::new(StreamId::MIN, None);
    let (alice, _) = group.find_or_create_consumer(b"alice", 1);
    for ms in 1..=100 {
        group.assign(id(ms, 0), Nack { consumer: alice, delivered_at_ms: 5, deliveries: 1 });
    }
    stream.add_group(b"g", group);
    let snapshot = stream.clone();
    stream.entries.delete(id(50, 0));
    stream.entries.trim(Trim::MaxLen(10), false, 0);
    stream.entries.append(id(200, 0), &[b"f", b"v"], SMALL).unwrap();
    let (group, _) = stream.group_mut(b"g").unwrap();
    assert!(group.acknowledge(id(1, 0)));
    assert_eq!(group.delete_consumer(b"alice"), Some(99));
    assert_eq!(ids(snapshot.entries.iter()), (1..=100).map(|ms| id(ms, 0)).collect::<Vec<_>>());
    let group = snapshot.group(b"g").unwrap();
    assert_eq!(group.pending().len(), 100);
    assert_eq!(group.consumers().next().unwrap().pending().len(), 100);
}

#[test]
fn a_pending_entry_belongs_to_one_consumer() {
    let mut group = Group::new(StreamId::MIN, None);
    let (alice, new) = group.find_or_create_consumer(b"alice", 1);
    let (bob, _) = group.find_or_create_consumer(b"bob", 1);
    assert!(new && group.find_or_create_consumer(b"alice", 2) == (alice, false));
    let nack = |consumer| Nack { consumer, delivered_at_ms: 5, deliveries: 1 };
    group.assign(id(1, 0), nack(alice));
    group.assign(id(1, 0), nack(alice));
    group.assign(id(2, 0), nack(alice));
    group.assign(id(1, 0), nack(bob));
    let counts = |group: &Group| group.consumers().map(|c| c.pending().len()).collect::<Vec<_>>();
    assert_eq!(counts(&group), [1, 1]);
    assert_eq!(group.delete_consumer(b"bob"), Some(1));
    assert_eq!(group.delete_consumer(b"bob"), None);
    assert_eq!(group.pending().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id(2, 0)]);
    let (carol, _) = group.find_or_create_consumer(b"carol", 1);
    assert!(carol != alice && group.consumer(alice).name == b"alice"[..].into());
    assert!(group.acknowledge(id(2, 0)) && !group.acknowledge(id(2, 0)));
    assert_eq!(counts(&group), [0, 0]);
}

#[test]
fn lag_is_known_as_long_as_nothing_is_missing_ahead() {
    let mut entries = numbered(10);
    let mut group = Group::new(StreamId::MIN, None);
    assert_eq!(group.lag(&entries), Some(10));
    group.advance(&entries, id(1, 0));
    assert_eq!((group.entries_read, group.lag(&entries)), (Some(1), Some(9)));
    group.advance(&entries, id(2, 0));
    assert_eq!((group.entries_read, group.lag(&entries)), (Some(2), Some(8)));
    entries.delete(id(5, 0));
    assert_eq!(group.lag(&entries), None);
    group.advance(&entries, id(3, 0));
    assert_eq!((group.entries_read, group.lag(&entries)), (None, None));
    group.advance(&entries, id(10, 0));
    assert_eq!((group.entries_read, group.lag(&entries)), (Some(10), Some(0)));
}

#[test]
fn a_stream_comes_back_from_its_pieces() {
    let mut entries = numbered(10);
    entries.delete(id(6, 0));
    let counters = Counters {
        len: entries.len(),
        last_id: entries.last_id(),
        max_deleted_id: Some(entries.max_deleted_id()),
        added: Some(entries.added()),
    };
    let load = |counters| {
        let mut loader = StreamLoader::new();
        for (&master, node) in entries.nodes() {
            loader.push_node(master, SharedBuf::from_slice(node.bytes())).unwrap();
        }
        loader.finish(counters)
    };
    let loaded = load(counters).unwrap().entries;
    assert_eq!(read(loaded.iter()), read(entries.iter()));
    assert_eq!(loaded.first_id(), entries.first_id());
    let short = load(Counters { len: 8, ..counters });
    assert_eq!(short.unwrap_err(), LoadError::Length { expected: 8, found: 9 });
    let old = load(Counters { last_id: id(9, 0), ..counters });
    assert_eq!(old.unwrap_err(), LoadError::LastId { last_id: id(9, 0), entry: id(10, 0) });

    let mut loader = StreamLoader::new();
    let node = SharedBuf::from_slice(entries.nodes().next().unwrap().1.bytes());
    loader.push_node(id(1, 0), node.clone()).unwrap();
    let twice = loader.push_node(id(3, 0), node);
    assert_eq!(twice, Err(LoadError::NodeOrder { master: id(3, 0), last: id(4, 0) }));
}

#[test]
fn a_group_comes_back_from_its_pieces_or_not_at_all() {
    let loader = || {
        let mut loader = GroupLoader::new(id(2, 0), Some(2));
        loader.push_pending(id(1, 0), 10, 1).unwrap();
        loader.push_pending(id(2, 0), 20, 2).unwrap();
        loader
    };
    let mut good = loader();
    good.push_consumer(b"a", 5, None, &[id(2, 0)]).unwrap();
    good.push_consumer(b"b", 6, Some(7), &[id(1, 0)]).unwrap();
    assert_eq!(good.push_consumer(b"b", 6, None, &[]), Err(LoadError::NameTwice));
    let group = good.finish().unwrap();
    let owner = |id| group.consumer(group.pending().get(&id).unwrap().consumer).name.to_vec();
    assert_eq!((owner(id(1, 0)), owner(id(2, 0))), (b"b".to_vec(), b"a".to_vec()));

    let mut bad = loader();
    assert_eq!(bad.push_pending(id(2, 0), 20, 2), Err(LoadError::PendingTwice { id: id(2, 0) }));
    let unknown = bad.push_consumer(b"a", 5, None, &[id(3, 0)]);
    assert_eq!(unknown, Err(LoadError::PendingOwner { id: id(3, 0) }));
    let twice = bad.push_consumer(b"b", 5, None, &[id(1, 0), id(1, 0)]);
    assert_eq!(twice, Err(LoadError::PendingOwner { id: id(1, 0) }));
    assert_eq!(bad.finish().unwrap_err(), LoadError::Orphan { id: id(2, 0) });
}

#[test]
fn hostile_nodes_are_refused() {
    let refuse = |items: &[i64]| {
        let mut pack = crate::ds::Listpack::new();
        pack.append_many(items.iter().copied());
        Node::validated(id(5, 5), pack.as_shared().clone()).unwrap_err()
    };
    assert_eq!(refuse(&[]), NodeError::Malformed { index: 0 });
    assert_eq!(refuse(&[1, 0, -1]), NodeError::Malformed { index: 2 });
    assert_eq!(refuse(&[1, 0, i64::MAX, 7]), NodeError::Malformed { index: 4 });
    assert_eq!(refuse(&[1, 0, 1, 7, 1]), NodeError::Malformed { index: 4 });
    assert_eq!(refuse(&[1, 0, 1, 7, 0]), NodeError::Counts { live: 1, deleted: 0 });
    assert_eq!(refuse(&[1, 0, 1, 7, 0, 3, 0, 0, 9, 4]), NodeError::Counts { live: 1, deleted: 0 });
    assert_eq!(refuse(&[1, 0, 1, 7, 0, 2, 0, 0, 9, 5]), NodeError::Malformed { index: 9 });
    assert_eq!(refuse(&[1, 0, 1, 7, 0, 2, 0, -1, 9, 4]), NodeError::Order { id: id(5, 4) });
    assert_eq!(refuse(&[1, 0, 1, 7, 0, 0, 0, 0, i64::MAX, 4]), NodeError::Malformed { index: 10 });
    let twice = [2, 0, 1, 7, 0, 2, 0, 0, 9, 4, 2, 0, 0, 9, 4];
    assert_eq!(refuse(&twice), NodeError::Order { id: id(5, 5) });
}

#[derive(Clone, Debug)]
enum Step {
    Append { ms: u64, seq: u64, fields: u8, value: Vec<u8> },
    Delete(usize),
    TrimLen { max: u64, whole: bool, limit: u64 },
    TrimId { at: usize, whole: bool },
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u64, 0..3u64, 0..3u8, prop::collection::vec(any::<u8>(), 0..5))
            .prop_map(|(ms, seq, fields, value)| Step::Append { ms, seq, fields, value }),
        2 => any::<usize>().prop_map(Step::Delete),
        1 => (0..30u64, any::<bool>(), 0..10u64)
            .prop_map(|(max, whole, limit)| Step::TrimLen { max, whole, limit }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(at, whole)| Step::TrimId { at, whole }),
    ]
}

proptest! {
    #[test]
    fn entries_behave_as_a_sorted_map(steps in prop::collection::vec(steps(), 1..80)) {
        let mut entries = Entries::default();
        let mut model: BTreeMap<StreamId, Pairs> = BTreeMap::new();
        let pick = |model: &BTreeMap<StreamId, Pairs>, at: usize| {
            model.keys().nth(at % model.len().max(1)).copied().unwrap_or_default()
        };
        for step in steps {
            let trimmed = match step {
                Step::Append { ms, seq, fields, value } => {
                    let last = entries.last_id();
                    let id = if ms == 0 { id(last.ms, last.seq + seq + 1) } else { id(last.ms + ms, seq) };
                    let names: &[&[u8]] = match fields {
                        0 => &[b"f"],
                        1 => &[b"f", b"7"],
                        _ => &[b"g"],
                    };
                    let pairs: Vec<&[u8]> = names.iter().flat_map(|&name| [name, &value]).collect();
                    entries.append(id, &pairs, SMALL).unwrap();
                    model.insert(id, names.iter().map(|name| (name.to_vec(), value.clone())).collect());
                    None
                }
                Step::Delete(at) => {
                    let id = pick(&model, at);
                    prop_assert_eq!(entries.delete(id), model.remove(&id).is_some());
                    prop_assert!(!entries.delete(id));
                    None
                }
                Step::TrimLen { max, whole, limit } => {
                    let excess = (model.len() as u64).saturating_sub(max);
                    Some((entries.trim(Trim::MaxLen(max), whole, limit), excess, whole || limit > 0))
                }
                Step::TrimId { at, whole } => {
                    let min = pick(&model, at);
                    let excess = model.range(..min).count() as u64;
                    Some((entries.trim(Trim::MinId(min), whole, 0), excess, whole))
                }
            };
            if let Some((removed, excess, approximately)) = trimmed {
                prop_assert!(removed == excess || (approximately && removed < excess));
                for _ in 0..removed {
                    model.pop_first();
                }
            }
            prop_assert_eq!(entries.len(), model.len() as u64);
            prop_assert_eq!(entries.first_id(), model.keys().next().copied().unwrap_or_default());
        }
        let expected: Vec<_> = model.clone().into_iter().collect();
        prop_assert_eq!(read(entries.iter()), expected.clone());
        for at in 0..4 {
            let (a, b) = (pick(&model, at * 5), pick(&model, at * 7 + 3));
            let inside: Vec<_> = expected.iter().filter(|(id, _)| (a..=b).contains(id)).cloned().collect();
            prop_assert_eq!(read(entries.range(a, b, false)), inside.clone());
            let backwards: Vec<_> = inside.into_iter().rev().collect();
            prop_assert_eq!(read(entries.range(a, b, true)), backwards);
        }
        for (&master, node) in entries.nodes() {
            prop_assert!(Node::validated(master, SharedBuf::from_slice(node.bytes())).is_ok());
        }
    }

    /// Whatever passes validation can be read and edited without a panic.
    #[test]
    fn a_damaged_node_is_refused_or_harmless(at in 0..REDIS_NODE.len(), byte in any::<u8>(), cut in 0..60usize) {
        let mut bytes = REDIS_NODE.to_vec();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut.saturating_sub(50));
        let master = id(1000, 5);
        let mut loader = StreamLoader::new();
        if loader.push_node(master, SharedBuf::from_slice(&bytes)).is_err() {
            return Ok(());
        }
        let live = loader.len;
        let counters = Counters { len: live, last_id: StreamId::MAX, ..Counters::default() };
        let mut entries = loader.finish(counters).unwrap().entries;
        prop_assert_eq!(entries.iter().count() as u64, live);
        prop_assert_eq!(entries.range(StreamId::MIN, StreamId::MAX, true).count() as u64, live);
        let first = entries.first_id();
        prop_assert!(live == 0 || entries.delete(first));
        entries.trim(Trim::MaxLen(1), false, 0);
        entries.trim(Trim::MaxLen(0), false, 0);
        prop_assert!(entries.is_empty());
    }
}
