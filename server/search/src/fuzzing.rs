//! The bodies of the fuzz targets: any bytes in, a panic if an invariant does not hold.

use crate::aggregate::{Expression, Properties, Value};
use crate::eval::{SearchOptions, Sort};
use crate::index::{Document, FieldValue, Index};
use crate::query::{ParseOptions, Query};
use crate::schema::{Field, FieldKind, HnswSpec, Metric, Schema, VectorAlgorithm, VectorSpec, VectorType};
use crate::text::{Language, lower};
use crate::vector::filter::{self, Filter};
use std::collections::BTreeMap;

thread_local! {
    static INDEX: Index = index();
}

fn index() -> Index {
    let hnsw = VectorAlgorithm::Hnsw(HnswSpec::default());
    let vector = VectorSpec { algorithm: hnsw, numbers: VectorType::Float32, dim: 1, metric: Metric::L2 };
    let schema = Schema::default()
        .with(Field { index_empty: true, ..Field::new("a", FieldKind::TEXT) })
        .with(Field::new("t", FieldKind::TAG))
        .with(Field { index_missing: true, ..Field::new("n", FieldKind::Numeric).sortable() })
        .with(Field::new("g", FieldKind::Geo))
        .with(Field::new("v", FieldKind::Vector(vector)));
    let mut index = Index::new(schema, 1);
    let texts = ["hello world", "running the hello", "", "a red lamp by the world", "hell"];
    for (at, text) in texts.iter().enumerate() {
        let vector = (at as f32).to_le_bytes();
        let fields = vec![
            FieldValue::Texts(vec![text.as_bytes()]),
            FieldValue::Texts(vec![b"x, y z"]),
            if at == 2 { FieldValue::Missing } else { FieldValue::Numbers(vec![at as f64]) },
            FieldValue::Places(vec![(at as f64, -(at as f64))]),
            FieldValue::Vectors(vec![&vector]),
        ];
        index.upsert(format!("k{at}").as_bytes(), &Document::new(fields)).expect("the document fits");
    }
    index.remove(b"k1");
    index
}

/// The first byte chooses the dialect, the rest is the query. What is read finds the same documents in every order,
/// and its explanation is text. Each language takes it for a word, too.
pub fn fuzz_query(data: &[u8]) {
    INDEX.with(|index| query(index, data));
}

fn query(index: &Index, data: &[u8]) {
    let Some((&dialect, text)) = data.split_first() else { return };
    Language::all().for_each(|language| drop(language.stem(&lower(text))));
    let vector = 2f32.to_le_bytes();
    let params: BTreeMap<Vec<u8>, &[u8]> = [(b"v".to_vec(), &vector[..]), (b"n".to_vec(), b"2")].into();
    let options = ParseOptions { dialect: 1 + dialect % 4, params, ..ParseOptions::default() };
    let Ok(query) = Query::parse(text, index, &options) else { return };
    assert!(query.explain(index).ends_with('\n'));
    let found = |sort: Sort| {
        let options = SearchOptions { sort, limit: 10, with_scores: true, ..SearchOptions::default() };
        let found = index.search(&query, &options, &mut || true);
        assert_eq!(found.total, found.hits.len());
        let mut docs: Vec<u32> = found.hits.iter().map(|hit| hit.doc).collect();
        docs.sort_unstable();
        assert!(docs.windows(2).all(|pair| pair[0] < pair[1]), "a document is found once");
        assert!(docs.iter().all(|&doc| index.key_of(doc).is_some()), "what is found is there");
        docs
    };
    let by_id = found(Sort::Id);
    assert_eq!(found(Sort::Score), by_id);
    assert_eq!(found(Sort::Field { field: 2, descending: true }), by_id);
    by_id.iter().for_each(|&doc| drop(index.matched_terms(&query, doc, &mut || true)));
}

struct Row(Value);

impl Properties for Row {
    fn get(&self, name: &[u8]) -> Option<&Value> {
        (name == b"a").then_some(&self.0)
    }
}

/// An expression, which is evaluated over a few rows.
pub fn fuzz_expression(data: &[u8]) {
    let Ok(expression) = Expression::parse(data) else { return };
    for value in [Value::Null, Value::Number(1.5e9), Value::text("12"), Value::Array(vec![Value::text("x")])]
    {
        let _ = expression.evaluate(&Row(value));
    }
}

/// The filter of a vector set up to the first zero, then attributes that it is tried on.
pub fn fuzz_filter(data: &[u8]) {
    let cut = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (text, attributes) = (&data[..cut], data.get(cut + 1..).unwrap_or_default());
    match Filter::parse(text) {
        Ok(filter) => {
            filter.matches(attributes);
            let negated = Filter::parse(&[b"!(", text, b")"].concat());
            assert!(
                negated.is_ok() || text.len() + 3 > filter::LEN_MAX,
                "what is in parentheses is one value"
            );
        }
        Err(at) => assert!(at <= text.len()),
    }
}
