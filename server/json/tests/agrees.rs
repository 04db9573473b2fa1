//! On documents and paths of which both dialects say the same, our evaluation finds what an independent implementation
//! of RFC 9535 finds, in the same order, at the same places.

use cairn_json::{Json, Path, Step};
use proptest::prelude::*;
use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};

fn document() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..6i64).prop_map(Value::from),
        (-3..6i64).prop_map(|half| Value::from(half as f64 + 0.5)),
        "[abc]{0,3}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[abcd]", inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Negative indexes beyond the start are left out: RedisJSON takes the first element, the standard nothing.
fn index() -> impl Strategy<Value = String> {
    (0..4i64).prop_map(|index| index.to_string())
}

fn name() -> impl Strategy<Value = String> {
    "[abcd]"
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => name().prop_map(|name| format!(".{name}")),
        1 => prop::collection::vec(name(), 1..4)
            .prop_map(|names| format!("[{}]", names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(","))),
        1 => prop::collection::vec(index(), 1..4).prop_map(|indexes| format!("[{}]", indexes.join(","))),
        1 => (prop::option::of(0..4u8), prop::option::of(-3..5i8), 1..3u8).prop_map(|(start, end, step)| {
            let text = |bound: Option<String>| bound.unwrap_or_default();
            format!("[{}:{}:{step}]", text(start.map(|n| n.to_string())), text(end.map(|n| n.to_string())))
        }),
        1 => Just(".*".to_owned()),
        1 => Just("[*]".to_owned()),
        2 => name().prop_map(|name| format!("..{name}")),
        1 => Just("..*".to_owned()),
        1 => Just("..[0]".to_owned()),
        2 => filter().prop_map(|filter| format!("[?{filter}]")),
    ]
}

/// Comparisons with a literal of the same type on the right, where something is on the left: the dialects differ about
/// nothing, and about values of different types.
fn test() -> impl Strategy<Value = String> {
    let subject = prop_oneof![
        Just("@".to_owned()),
        name().prop_map(|name| format!("@.{name}")),
        index().prop_map(|index| format!("@[{index}]")),
        (name(), name()).prop_map(|(a, b)| format!("@.{a}.{b}")),
    ];
    let literal = prop_oneof![
        (-3..6i64).prop_map(|value| value.to_string()),
        (0..6i64).prop_map(|value| format!("{value}.5")),
        "[abc]{0,2}".prop_map(|text| format!("'{text}'")),
    ];
    let op = prop::sample::select(vec!["==", "<", "<=", ">", ">="]);
    prop_oneof![
        subject.clone(),
        name().prop_map(|name| format!("@..{name}")),
        name().prop_map(|name| format!("$.{name}")),
        (subject.clone(), op, literal.clone()).prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        (subject, prop::sample::select(vec!["true", "false", "null"]))
            .prop_map(|(left, right)| format!("{left} == {right}")),
    ]
}

fn filter() -> impl Strategy<Value = String> {
    test().prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} && {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} || {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 0..5).prop_map(|segments| format!("${}", segments.concat()))
}

/// A place as both libraries can name it.
fn place(steps: &[Step]) -> Vec<String> {
    let name = |step: &Step| match step {
        Step::Key(name) => format!(".{}", name.as_str()),
        Step::Index(index) => index.to_string(),
    };
    steps.iter().map(name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn evaluation_agrees_with_an_independent_library(doc in document(), text in path()) {
        let theirs = JsonPath::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let expected: Vec<(Vec<String>, Value)> = theirs
            .query_located(&doc)
            .iter()
            .map(|node| {
                let steps = node.location().iter().map(|element| match element {
                    PathElement::Name(name) => format!(".{name}"),
                    PathElement::Index(index) => index.to_string(),
                });
                (steps.collect(), node.node().clone())
            })
            .collect();

        let ours = Json::parse(&doc.to_string()).expect("it is JSON");
        let path = Path::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let found = path.locate(&ours).expect("few steps");
        let selected: Vec<Json> = path.select(&ours).expect("few steps").into_iter().cloned().collect();
        prop_assert_eq!(&selected, &found.iter().map(|(_, value)| (*value).clone()).collect::<Vec<_>>());

        let mut found: Vec<(Vec<String>, Value)> = found
            .into_iter()
            .map(|(location, value)| {
                (place(location.steps()), serde_json::from_str(&value.to_text()).expect("it is JSON"))
            })
            .collect();
        let mut expected = expected;
        if text.contains("..") {
            // Where descending is followed by several parts, the standard leaves the order open.
            found.sort_by(|a, b| a.0.cmp(&b.0));
            expected.sort_by(|a, b| a.0.cmp(&b.0));
        }
        prop_assert_eq!(found, expected, "{} of {}", text, doc);
    }
}
