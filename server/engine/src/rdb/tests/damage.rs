//! Files that are damaged, hostile, or hold what Cairn does not have.

use proptest::prelude::*;

use super::super::format::VERSION;
use super::super::save::with_footer;
use super::*;

/// A file with this content and no checksum.
fn file(content: &[u8]) -> Vec<u8> {
    [b"REDIS0011", content, b"\xff\0\0\0\0\0\0\0\0"].concat()
}

fn refusal(file: &[u8]) -> String {
    loaded(file).map(drop).expect_err("damaged").to_string()
}

#[test]
fn errors_say_where_and_what() {
    for (content, text) in [
        (&b"\x00\x03key\x0fval"[..], "at byte 14, in key \"key\": 15 more bytes were expected, 12 are left"),
        (b"\x1a\x03key", "at byte 9: a type of value or an opcode was expected, byte 26 was found"),
        (b"\xfe\x10", "at byte 10: database 16 was found, the configuration allows for 16 (see `databases`)"),
        (b"\x00\x01k\x01v\x00\x01k\x01w", "at byte 15, in key \"k\": the key was there before"),
        (
            b"\x07\x01k\x81AAAAAAAA",
            "at byte 12, in key \"k\": it holds data of the module QUFBQUFBQ, and modules are not supported",
        ),
        (
            b"\xf7\x81AAAAAAAA",
            "at byte 10: it holds data of the module QUFBQUFBQ, and modules are not supported",
        ),
        (
            b"\x07\x01k\x81\x45\xe2\x52\x38\xdf\x91\x2c\x00\x02\x20",
            "at byte 12, in key \"k\": it holds a JSON document in encoding 0, 2 and 3 can be read",
        ),
        (
            b"\x07\x01k\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03\x02\x00",
            "at byte 21, in key \"k\": the parts of a module's data are not those of its type",
        ),
        (
            b"\x07\x01k\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03\x05\x02{]\x00",
            "at byte 25, in key \"k\": a JSON document cannot be parsed: key must be a string at line 1 column 2",
        ),
        (
            b"\x07\x01k\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03\x05\x03\"\xff\"\x00",
            "at byte 26, in key \"k\": a document is not UTF-8",
        ),
        (
            b"\x07\x01k\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03\x05\x01{\x01",
            "at byte 24, in key \"k\": the parts of a module's data are not those of its type",
        ),
        (
            b"\x18\x01k\xfb\xff\xff\xff\xff\xff\xff\xff\x01\x01\x01f\x01v",
            "at byte 24, in key \"k\": the time of a field is out of range",
        ),
        (
            b"\x17\x01k\x0b\x0b\x00\x00\x00\x02\x00\x01\x01\x01\x01\xff",
            "at byte 12, in key \"k\": the elements of the listpack are not fields, values and times in turn",
        ),
        (
            b"\xf6",
            "at byte 9: it holds functions in the format of a release candidate of Redis 7.0, which is not supported",
        ),
        (
            b"\x02\x01k\x81\x7f\xff\xff\xff\xff\xff\xff\xff",
            "at byte 12, in key \"k\": 9223372036854775807 elements were announced, the 9 bytes left cannot hold them",
        ),
        (b"\x02\x01k\x02\x01m\x01m", "at byte 15, in key \"k\": elements: an element is there twice"),
        (
            b"\x00\x01k\xc3\x04\x64\x00a\x20\x00",
            "at byte 12, in key \"k\": a compressed string does not unpack to the 9216 bytes announced",
        ),
        (
            b"\x0b\x01k\x08\x02\0\0\0\0\0\0\0",
            "at byte 12, in key \"k\": intset: an intset that is stored has values, this one has none",
        ),
        (
            b"\x05\x01k\x01\x01m\0\0\0\0\0\0\xf8\x7f",
            "at byte 15, in key \"k\": the score of a sorted set's member is not a number",
        ),
        (b"\xfa\x09cairn-seq\x01x", "at byte 20: the journal position is not a number"),
        (b"\xfa\x0dcairn-time-ms\x01x", "at byte 24: the snapshot's time is not a number"),
    ] {
        assert_eq!(refusal(&file(content)), text);
    }
    assert_eq!(refusal(b"RED"), "at byte 0: it does not begin with \"REDIS\" and a version");
    assert_eq!(refusal(b"REDIS00x1\xff"), "at byte 5: it does not begin with \"REDIS\" and a version");
    assert_eq!(refusal(b"REDIS0013\xff"), "at byte 5: version 13 was found, 1 to 12 can be read");
    assert_eq!(refusal(b"REDIS0000\xff"), "at byte 5: version 0 was found, 1 to 12 can be read");
    assert_eq!(refusal(&[&file(b"")[..], b"?"].concat()), "at byte 10: there are 1 bytes after the end");
}

#[test]
fn a_wrong_checksum_is_noticed_and_none_is_accepted() {
    let mut bytes = saved(&databases_of_integers(3), &Aux::default());
    let end = bytes.len();
    bytes[end - 1] ^= 1;
    assert!(matches!(loaded(&bytes).map(drop), Err(LoadError { problem: Problem::Checksum { .. }, .. })));
    bytes[end - 8..].fill(0);
    assert_eq!(loaded(&bytes).map(|loaded| loaded.dbs[0].len()), Ok(3));
    // Before version 5 there was none.
    assert_eq!(loaded(b"REDIS0003\x00\x01k\x01v\xff").map(|loaded| loaded.dbs[0].len()), Ok(1));
}

#[test]
fn attributes_belong_to_the_next_key_only() {
    let content =
        b"\xfd\x05\0\0\0\x00\x01a\x01v\x00\x01b\x01v\xfc\x06\0\0\0\0\0\0\0\x02\x01e\x00\x00\x01c\x01v";
    let dbs = loaded(&file(content)).map(|loaded| loaded.dbs).expect("valid");
    assert_eq!(["a", "b", "c"].map(|key| dbs[0].expire_at(key.as_bytes())), [Some(5000), None, None]);
    assert_eq!((dbs[0].len(), dbs[0].expires.len()), (3, 1));
}

#[test]
fn keys_without_elements_are_left_out_and_counted() {
    let loaded =
        loaded(&file(b"\x02\x01e\x00\x04\x01f\x00\x00\x01c\x01v")).map_err(|e| e.to_string()).expect("valid");
    assert_eq!(loaded.dbs[0].len(), 1);
    assert_eq!(loaded.aux.other, [(AUX_EMPTY_KEYS.to_owned(), "2".to_owned())]);
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for (name, bytes, _) in super::recorded::FILES {
        for len in 0..bytes.len() {
            assert!(loaded(&bytes[..len]).is_err(), "{name}: {len} bytes");
        }
    }
}

/// The checksum does not stop them, so that changed bytes reach every check; what passes them all is whole enough to be used.
#[test]
fn any_byte_changed_is_survived() {
    for (_, bytes, _) in super::recorded::FILES {
        let mut bytes = bytes.to_vec();
        let end = bytes.len() - 8;
        // About 400 places of each file, every one of the small ones.
        for (at, change) in (9..end).step_by(1 + end / 400).zip([1, 0x80, 0xff].into_iter().cycle()) {
            let byte = bytes[at];
            bytes[at] ^= change;
            super::super::fuzzing::fuzz_rdb(&bytes);
            bytes[at] = byte;
        }
    }
}

proptest! {
    #[test]
    fn any_payload_is_survived(kind in 0u8..26, body in prop::collection::vec(any::<u8>(), 0..64)) {
        super::super::fuzzing::fuzz_restore(&[&[kind][..], &body].concat());
    }

    /// Of a document everything is right but its text.
    #[test]
    fn any_text_of_a_document_is_survived(text in "[\\[\\]{}\",:a0-9.eE+\\\\-]{0,40}") {
        let frame = b"\x07\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03\x05";
        super::super::fuzzing::fuzz_restore(&[&frame[..], &[text.len() as u8], text.as_bytes(), b"\0"].concat());
    }

    /// Frames of packed forms are right, so that the checks behind them are reached.
    #[test]
    fn any_packed_content_is_survived(
        kind in prop::sample::select(vec![9u8, 10, 12, 13, 16, 17, 20]),
        content in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let len = content.len() as u8;
        let blob = match kind {
            9 => content,
            10 | 12 | 13 => [&[len + 11, 0, 0, 0, 10, 0, 0, 0, 0xff, 0xff][..], &content, &[0xff]].concat(),
            _ => [&[len + 7, 0, 0, 0, 0xff, 0xff][..], &content, &[0xff]].concat(),
        };
        super::super::fuzzing::fuzz_restore(&[&[kind, blob.len() as u8][..], &blob].concat());
    }
}

#[test]
fn a_footer_is_all_that_a_payload_without_a_body_has() {
    let config = Config::default();
    assert!(matches!(
        load_value(&with_footer(Vec::new(), VERSION), &options(&config)),
        Err(RestoreError::Footer)
    ));
}
