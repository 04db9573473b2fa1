//! Entry points for fuzzers: any bytes may come in, a panic is a bug.

use crate::{Json, Path};

/// What paths are tried on.
const DOCUMENT: &str =
    r#"{"a":{"b":[1,2.5,-3,"x",null,true,{"c":"foo"}],"a":[[1],[2,[3]]]},"b":{"a":1,"c":[]},"re":"f.*"}"#;

/// Paths to start from.
pub const PATH_SAMPLES: &[&[u8]] = &[
    b"$",
    b".a.b[0]",
    b"$..*",
    b"$.a['b',\"c\"][-1]",
    b"$..[1:5:2]",
    b"$..b[?(@.c=~\"f.*\" && !(@.x) || @ + 1 >= $.b.a)]",
    b"$.a[?@.b[?(@>1)]==null]",
];

/// Documents to start from.
pub const DOCUMENT_SAMPLES: &[&[u8]] = &[DOCUMENT.as_bytes(), b"[1e308,-0,18446744073709551615,\"\\u2b50\"]"];

/// Parses a path and looks for it; what it finds is where it says.
pub fn fuzz_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(path) = Path::parse(text) else { return };
    let document = Json::parse(DOCUMENT).expect("it is JSON");
    let (Ok(found), Ok(values)) = (path.locate(&document), path.select(&document)) else { return };
    assert_eq!(found.len(), values.len());
    for ((location, value), selected) in found.iter().zip(values) {
        assert_eq!(document.at(location.steps()), Some(*value));
        assert_eq!(*value, selected);
        let again = Path::parse(&location.to_path()).expect("a location is a path");
        assert_eq!(again.select(&document), Ok(vec![*value]));
    }
}

/// Parses a document; printed, it is the same one.
pub fn fuzz_document(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(document) = Json::parse_deep(text) else { return };
    let printed = document.to_text();
    let again = Json::parse_deep(&printed).expect("our own text");
    assert_eq!(again, document);
    assert_eq!(again.to_text(), printed);
}
