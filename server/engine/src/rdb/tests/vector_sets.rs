//! Vector sets: what a Redis writes, put together by hand as `VectorSetRdbSave` and `hnsw_serialize_node` do, and what is wrong with it.

use proptest::prelude::*;

use super::super::format::{VECTOR_SET_MODULE_ID, VERSION, module_id};
use super::super::save::with_footer;
use super::super::writer::Writer;
use super::*;
use crate::types::VectorSet;

/// A node of Redis's: id, links to ids in each layer, and the room for them.
type Node<'a> = (&'a str, u64, &'a [&'a [u64]], u64);

struct Payload<'a> {
    dim: u64,
    config: u64,
    flags: u64,
    nodes: &'a [Node<'a>],
    /// Of a node's parameters.
    version: u64,
    vector: &'a [u8],
}

/// Bytes, M 4.
const PLAIN: Payload<'static> =
    Payload { dim: 2, config: 1 | 4 << 8, flags: 0, nodes: &[], version: 1, vector: &[127, 3] };

impl Payload<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut writer = Writer::in_memory(false);
        let unsigned = |writer: &mut Writer<'_>, number: u64| {
            writer.number(2);
            writer.number(number);
        };
        writer.byte(7);
        writer.number(module_id(b"vectorset", 0));
        for number in [self.dim, self.nodes.len() as u64, self.config, self.flags] {
            unsigned(&mut writer, number);
        }
        for (name, id, layers, room) in self.nodes {
            writer.number(5);
            writer.string(name.as_bytes());
            if self.flags & 2 != 0 {
                writer.number(5);
                writer.string(if *id == 7 { b"{}" } else { b"" });
            }
            writer.number(5);
            writer.string(self.vector);
            let mut params = vec![*id, self.version << 24 | (layers.len() as u64 - 1)];
            for links in *layers {
                params.extend([links.len() as u64, *room]);
                params.extend(*links);
                if self.version >= 1 {
                    params.push(u64::from(0.5f32.to_bits()) << 32);
                }
            }
            params.push(u64::from(2f32.to_bits()) | u64::from(0.75f32.to_bits()) << 32);
            unsigned(&mut writer, params.len() as u64);
            params.iter().for_each(|&param| unsigned(&mut writer, param));
        }
        writer.number(0);
        with_footer(writer.into_vec(), VERSION)
    }

    fn load(&self) -> Result<VectorSet, Problem> {
        match load_value(&self.bytes(), &options(&Config::default())) {
            Ok(value) => Ok(value.as_vector_set().expect("a vector set").clone()),
            Err(RestoreError::Payload(problem)) => Err(problem),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn links<'a>(set: &'a VectorSet, name: &str) -> Vec<Vec<&'a [u8]>> {
    let slot = set.slot(name.as_bytes()).expect("it is there");
    let layers = set.slots().layers(slot);
    layers.map(|links| links.iter().map(|&link| set.name(link)).collect()).collect()
}

#[test]
fn a_set_of_redis_keeps_its_elements_and_its_graph() {
    assert_eq!(VECTOR_SET_MODULE_ID & 1023, 0);
    for version in [0, 1] {
        let nodes: &[Node<'_>] =
            &[("b", 7, &[&[3, 9], &[9]], 8), ("a", 3, &[&[7]], 8), ("c", 9, &[&[7], &[7]], 8)];
        let set = Payload { flags: 2, nodes, version, ..PLAIN }.load().expect("as Redis has it");
        assert_eq!((set.len(), set.slots().dim(), set.slots().m(), set.with_attributes()), (3, 2, 4, 1));
        assert_eq!(links(&set, "b"), [vec![&b"a"[..], b"c"], vec![b"c"]]);
        assert_eq!(links(&set, "a"), [vec![b"b"]]);
        let slot = set.slot(b"b").expect("it is there");
        assert_eq!((set.attributes(slot), set.slots().length(slot)), (&b"{}"[..], 2.0));
        assert_eq!(set.slots().vector(slot), [1.5, 3.0 * 0.75 / 127.0 * 2.0]);
    }
}

#[test]
fn links_beyond_what_a_node_has_room_for_are_left_out_on_both_sides() {
    let others: Vec<u64> = (2..=13).collect();
    let names: Vec<String> = (1..=13).map(|n| format!("e{n}")).collect();
    let (all, one): (&[&[u64]], &[&[u64]]) = (&[&others], &[&[1]]);
    let nodes: Vec<Node<'_>> = names
        .iter()
        .zip(1..)
        .map(|(name, id)| (name.as_str(), id, if id == 1 { all } else { one }, 16))
        .collect();
    let set = Payload { nodes: &nodes, ..PLAIN }.load().expect("Redis has such nodes");
    assert_eq!(links(&set, "e1")[0].len(), 8, "twice M");
    assert_eq!((links(&set, "e9"), links(&set, "e10")), (vec![vec![&b"e1"[..]]], vec![vec![]]));
    assert!(set.slots().is_sound());
}

#[test]
fn what_is_no_vector_set_is_refused() {
    let two: &[Node<'_>] = &[("a", 1, &[&[2]], 8), ("b", 2, &[&[1]], 8)];
    assert!(Payload { nodes: two, ..PLAIN }.load().is_ok());
    assert_eq!(PLAIN.load().expect_err("none"), Problem::Empty);
    let nodes = |nodes: &[Node<'_>]| Payload { nodes, ..PLAIN }.load();
    for (what, result) in [
        ("no dimensions", Payload { dim: 0, nodes: two, ..PLAIN }.load()),
        ("too many dimensions", Payload { dim: 65537, nodes: two, ..PLAIN }.load()),
        ("vectors of another dimension", Payload { dim: 3, nodes: two, ..PLAIN }.load()),
        ("an unknown form", Payload { config: 3 | 4 << 8, nodes: two, ..PLAIN }.load()),
        ("M too great", Payload { config: 1 | 5000 << 8, nodes: two, ..PLAIN }.load()),
        ("an unknown version", Payload { version: 2, nodes: two, ..PLAIN }.load()),
        ("id 0", nodes(&[("a", 0, &[&[]], 8)])),
        ("one id twice", nodes(&[("a", 5, &[&[]], 8), ("b", 5, &[&[]], 8)])),
        ("one name twice", nodes(&[("a", 1, &[&[]], 8), ("a", 2, &[&[]], 8)])),
        ("a link to nobody", nodes(&[("a", 1, &[&[2]], 8)])),
        ("a link to itself", nodes(&[("a", 1, &[&[1]], 8)])),
        ("a link of one side", nodes(&[("a", 1, &[&[2]], 8), ("b", 2, &[&[]], 8)])),
        ("a link twice", nodes(&[("a", 1, &[&[2, 2]], 8), ("b", 2, &[&[1, 1]], 8)])),
        ("a link to a lower node", nodes(&[("a", 1, &[&[2], &[2]], 8), ("b", 2, &[&[1]], 8)])),
        ("more links than room", nodes(&[("a", 1, &[&[2]], 0), ("b", 2, &[&[1]], 8)])),
        ("too much room", nodes(&[("a", 1, &[&[]], 16385)])),
        ("too many layers", nodes(&[("a", 1, &[&[] as &[u64]; 30], 8)])),
        ("an unknown projection", Payload { flags: 1, nodes: two, ..PLAIN }.load()),
    ] {
        assert!(result.is_err(), "{what}");
    }
}

/// What our own look like: a set of bytes with attributes, one of bits with a projection, suggestions.
const DUMPED: [&[u8]; 3] = [
    b"\x07\x81\xbd\xe7-\xa2\xbb\x1e\xb4\x00\x02\x02\x02\x02\x02P\x01\x02\x02\x05\x01a\x05\x02{}\x05\x02\x7f\x00\x02\x06\x02\x01\x02\x00\x02\x01\x02 \x02\x02\x02\x81?\x80\x00\x00?\x80\x00\x00\x05\x01b\x05\x00\x05\x02\x00\x7f\x02\x06\x02\x02\x02\x00\x02\x01\x02 \x02\x01\x02\x81?\x80\x00\x00?\x80\x00\x00\x00",
    b"\x07\x81\xbd\xe7-\xa2\xbb\x1e\xb4\x00\x02\x01\x02\x01\x02P\x02\x02\x01\x02\x02\x05\x08\xf3\x045?\xf3\x045?\x05\x01a\x05\x08\x01\x00\x00\x00\x00\x00\x00\x00\x02\x05\x02\x01\x02\x00\x02\x00\x02 \x02\x80?5\x04\xf3\x00",
    b"\x07\x81\xb6\xb8\x9e\xb7*^\xd0\x01\x02\x01\x05\x03ab\x00\x04\x00\x00\x00\x00\x00\x00\xf0?\x05\x02p\x00\x00",
];

/// What loads, whatever it is, is dumped and loaded again as the same.
fn survives(payload: Vec<u8>) {
    let config = Config::default();
    let Ok(value) = load_value(&with_footer(payload, VERSION), &options(&config)) else { return };
    let again = load_value(&dump_value(&value), &options(&config)).expect("our own payload");
    assert_eq!(crate::digest::value(&again, None), crate::digest::value(&value, None));
}

#[test]
fn any_byte_of_a_payload_may_be_another() {
    let config = Config::default();
    for payload in DUMPED {
        load_value(&with_footer(payload.to_vec(), VERSION), &options(&config)).expect("a good one");
        for at in 0..payload.len() {
            survives(payload[..at].to_vec());
            for byte in 0..=255 {
                let mut damaged = payload.to_vec();
                damaged[at] = byte;
                survives(damaged);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_of_a_payload_may_be_others(
        which in 0usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut damaged = DUMPED[which].to_vec();
        for (at, byte) in changes {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        survives(damaged);
    }
}
