use super::*;
use crate::eval::{SearchOptions, Sort};
use crate::query::{ParseOptions, Query};
use crate::schema::{HnswSpec, Metric, VectorAlgorithm, VectorSpec, VectorType};

fn products() -> Index {
    let hnsw = VectorAlgorithm::Hnsw(HnswSpec::default());
    let vector = VectorSpec { algorithm: hnsw, numbers: VectorType::Float32, dim: 2, metric: Metric::L2 };
    Index::new(
        Schema::default()
            .with(Field::new("name", FieldKind::TEXT).sortable())
            .with(Field::new("tags", FieldKind::TAG))
            .with(Field::new("price", FieldKind::Numeric).sortable())
            .with(Field::new("place", FieldKind::Geo))
            .with(Field::new("vector", FieldKind::Vector(vector))),
        1,
    )
}

fn blob(vector: [f32; 2]) -> Vec<u8> {
    vector.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn put(index: &mut Index, key: &str, name: &str, tags: &str, price: f64) {
    let vector = blob([price as f32, 0.0]);
    let fields = vec![
        FieldValue::Texts(vec![name.as_bytes()]),
        FieldValue::Texts(vec![tags.as_bytes()]),
        FieldValue::Numbers(vec![price]),
        FieldValue::Places(vec![(13.0, 52.0)]),
        FieldValue::Vectors(vec![&vector]),
    ];
    index.upsert(key.as_bytes(), &Document::new(fields)).unwrap();
}

fn keys(index: &Index, query: &str) -> Vec<String> {
    let options = ParseOptions { dialect: 2, ..ParseOptions::default() };
    let query = Query::parse(query.as_bytes(), index, &options).unwrap();
    let found = index.search(
        &query,
        &SearchOptions { sort: Sort::Id, limit: 1000, ..SearchOptions::default() },
        &mut || true,
    );
    let key = |hit: &crate::eval::Hit| String::from_utf8(index.key_of(hit.doc).unwrap().to_vec()).unwrap();
    found.hits.iter().map(key).collect()
}

#[test]
fn a_write_is_found_and_what_it_replaced_is_not() {
    let mut index = products();
    put(&mut index, "a", "red lamp", "home,light", 10.0);
    put(&mut index, "b", "blue lamp", "home", 20.0);
    assert_eq!(keys(&index, "lamp"), ["a", "b"]);
    put(&mut index, "a", "green chair", "garden", 30.0);
    assert_eq!(keys(&index, "lamp"), ["b"]);
    assert_eq!(keys(&index, "@tags:{light}"), [""; 0]);
    assert_eq!(keys(&index, "@price:[10 20]"), ["b"]);
    assert_eq!(keys(&index, "@tags:{garden} @place:[13 52 1 km]"), ["a"]);
}

#[test]
fn a_removed_document_leaves_nothing_that_is_found() {
    let mut index = products();
    put(&mut index, "a", "red lamp", "home", 10.0);
    assert!(index.remove(b"a") && !index.remove(b"a"));
    for query in ["lamp", "@tags:{home}", "@price:[0 100]", "@place:[13 52 1 km]", "*", "-foo", "~lamp"] {
        assert_eq!(keys(&index, query), [""; 0], "{query}");
    }
    let stats = index.stats();
    assert_eq!((stats.docs, stats.terms, stats.records, stats.words), (0, 0, 0, 0));
}

#[test]
fn a_renamed_document_is_found_under_its_new_key_and_replaces_another() {
    let mut index = products();
    put(&mut index, "a", "red lamp", "home", 10.0);
    put(&mut index, "b", "blue chair", "home", 20.0);
    assert!(index.rename(b"a", b"b"));
    assert_eq!(keys(&index, "*"), ["b"]);
    assert_eq!(keys(&index, "chair"), [""; 0]);
    assert!(!index.rename(b"a", b"c"));
}

#[test]
fn a_document_that_does_not_fit_is_refused_and_what_was_of_its_key_goes() {
    let mut index = products();
    put(&mut index, "a", "red lamp", "home", 10.0);
    let mut fields = vec![FieldValue::Missing; 5];
    fields[4] = FieldValue::Vectors(vec![b"short"]);
    let error = index.upsert(b"a", &Document::new(fields)).unwrap_err();
    assert_eq!(error.to_string(), "Could not add vector with blob size 5 (expected size 8)");
    assert!(index.is_empty());
    let places = vec![
        FieldValue::Missing,
        FieldValue::Missing,
        FieldValue::Missing,
        FieldValue::Places(vec![(0.0, 89.0)]),
        FieldValue::Missing,
    ];
    assert_eq!(index.upsert(b"a", &Document::new(places)), Err(IndexError::Place));
}

#[test]
fn strings_become_values_of_their_fields() {
    let number = Field::new("n", FieldKind::Numeric);
    let value = |text: &'static str| FieldValue::of_string(&number, text.as_bytes());
    assert_eq!(value("-1.5e3"), Ok(FieldValue::Numbers(vec![-1500.0])));
    assert_eq!(value("inf"), Ok(FieldValue::Numbers(vec![f64::INFINITY])));
    assert_eq!(value("cheap").unwrap_err().to_string(), "Invalid numeric value: 'cheap'");
    assert!(value("nan").is_err() && value("").is_err());
    let place = Field::new("p", FieldKind::Geo);
    let of = |text: &'static str| FieldValue::of_string(&place, text.as_bytes());
    assert_eq!(of("13.4,52.5"), Ok(FieldValue::Places(vec![(13.4, 52.5)])));
    assert_eq!(of("13.4 52.5"), of("13.4,52.5"));
    assert_eq!(of("here"), Err(IndexError::Place));
}

#[test]
fn arrays_are_values_of_one_document() {
    let mut index = products();
    let fields = vec![
        FieldValue::Texts(vec![b"red lamp", b"shade"]),
        FieldValue::Tags(vec![b"a,b", b"c"]),
        FieldValue::Numbers(vec![1.0, 100.0, 1.0]),
        FieldValue::Missing,
        FieldValue::Missing,
    ];
    index.upsert(b"a", &Document::new(fields)).unwrap();
    assert_eq!(keys(&index, "@price:[90 110]"), ["a"]);
    assert_eq!(keys(&index, "@price:[0 10]"), ["a"]);
    assert_eq!(keys(&index, "@price:[2 99]"), [""; 0]);
    assert_eq!(keys(&index, "@tags:{c}"), ["a"]);
    assert_eq!(keys(&index, r"@tags:{a\,b}"), ["a"]);
    assert_eq!(keys(&index, "\"red lamp\""), ["a"]);
    assert_eq!(keys(&index, "\"lamp shade\""), [""; 0], "a phrase does not go from one text to the next");
    index.remove(b"a");
    assert_eq!(keys(&index, "@price:[-inf inf]"), [""; 0]);
}

#[test]
fn a_field_that_is_added_is_filled_by_the_next_writes() {
    let mut index = products();
    put(&mut index, "a", "red lamp", "home", 10.0);
    index.add_field(Field { index_missing: true, ..Field::new("brand", FieldKind::TAG) }).unwrap();
    assert_eq!(keys(&index, "ismissing(@brand)"), ["a"]);
    let fields = vec![
        FieldValue::Missing,
        FieldValue::Missing,
        FieldValue::Missing,
        FieldValue::Missing,
        FieldValue::Missing,
        FieldValue::Texts(vec![b"Acme"]),
    ];
    index.upsert(b"a", &Document::new(fields)).unwrap();
    assert_eq!(keys(&index, "@brand:{acme}"), ["a"]);
    assert_eq!(keys(&index, "ismissing(@brand)"), [""; 0]);
    assert!(index.add_field(Field::new("brand", FieldKind::TAG)).is_err());
}

#[test]
fn synonyms_are_found_by_each_other_once_documents_know_of_them() {
    let mut index = products();
    index.synonyms.add(b"g", [&b"boy"[..], b"child"]);
    put(&mut index, "a", "a boy", "", 1.0);
    put(&mut index, "b", "one child", "", 1.0);
    put(&mut index, "c", "one man", "", 1.0);
    assert_eq!(keys(&index, "child"), ["a", "b"]);
    assert_eq!(keys(&index, "boy"), ["a", "b"]);
    assert_eq!(keys(&index, "\"boy\""), ["a"], "what is quoted is meant as it is");
}

#[test]
fn an_index_whose_ids_are_sparse_asks_to_be_built_anew() {
    let mut index = products();
    put(&mut index, "a", "x", "", 1.0);
    assert!(!index.wants_rebuild());
}

#[test]
fn sort_values_are_of_the_first_value_and_in_lower_case() {
    let mut index = products();
    put(&mut index, "a", "Red Lamp", "home", 10.0);
    let id = index.id_of(b"a").unwrap();
    assert_eq!(index.sort_value(id, 0), Some(&SortValue::Text((*b"red lamp").into())));
    assert_eq!(index.sort_value(id, 2), Some(&SortValue::Number(10.0)));
    assert_eq!(index.sort_value(id, 1), None, "tags are not sortable here");
}

#[test]
fn a_key_that_is_written_over_and_over_does_not_fill_the_index() {
    let mut index = products();
    for n in 0..20_000 {
        put(&mut index, "a", "the same red lamp", "home,light", f64::from(n));
        put(&mut index, if n % 2 == 0 { "b" } else { "c" }, "another red chair", "home", 1.0);
    }
    let stats = index.stats();
    assert_eq!(stats.docs, 3);
    assert!(stats.records_dead < 2000, "{} dead", stats.records_dead);
    assert!(
        stats.text_bytes + stats.tag_bytes + stats.number_bytes + stats.vector_bytes < 300_000,
        "{stats:?}"
    );
    assert_eq!(keys(&index, "lamp"), ["a"]);
}

#[test]
fn figures_follow_what_comes_and_goes() {
    let schema = Schema::default().with(Field::new("name", FieldKind::TEXT).sortable());
    let mut index = Index::new(schema, 1);
    let mut keys = Vec::new();
    for n in 0..300 {
        let text = format!("common word{n}");
        let document = Document::new(vec![FieldValue::Texts(vec![text.as_bytes()])]);
        keys.push(format!("k{}", n % 200).into_bytes());
        index.upsert(&keys[n], &document).unwrap();
    }
    let counted = |index: &Index| {
        index
            .terms
            .iter_lists()
            .map(|list| (list.live(), list.dead()))
            .fold((0, 0), |sum, (live, dead)| (sum.0 + u64::from(live), sum.1 + u64::from(dead)))
    };
    let stats = index.stats();
    assert_eq!((stats.docs, stats.terms), (200, 201));
    assert_eq!((stats.records, stats.records_dead), counted(&index));
    assert_eq!(stats.records, 200 * 2, "the common word and its own");
    assert!(stats.doc_bytes > 0 && stats.sort_bytes > 0);
    keys.iter().for_each(|key| {
        index.remove(key);
    });
    let empty = index.stats();
    assert_eq!((empty.records, empty.records_dead, empty.sort_bytes), (0, 0, 0));
    assert!(empty.doc_bytes < stats.doc_bytes);
}

#[test]
fn a_vector_that_stays_keeps_its_place_and_its_document_is_found_by_its_new_id() {
    let mut index = products();
    let put = |index: &mut Index, key: &str, price: f64, vectors: &[[f32; 2]]| {
        let blobs: Vec<Vec<u8>> = vectors.iter().copied().map(blob).collect();
        let fields = vec![
            FieldValue::Texts(vec![b"lamp"]),
            FieldValue::Missing,
            FieldValue::Numbers(vec![price]),
            FieldValue::Missing,
            FieldValue::Vectors(blobs.iter().map(Vec::as_slice).collect()),
        ];
        index.upsert(key.as_bytes(), &Document::new(fields)).unwrap()
    };
    let nearest = |index: &Index, at: [f32; 2]| -> Vec<u32> {
        let Part::Vectors(vectors) = &index.parts[4] else { unreachable!("it is a vector's") };
        vectors.nearest(&blob(at), 10, None, None, &mut || true).iter().map(|near| near.doc).collect()
    };
    let count = |index: &Index| {
        let Part::Vectors(vectors) = &index.parts[4] else { unreachable!("it is a vector's") };
        vectors.len()
    };
    let b = put(&mut index, "b", 1.0, &[[5.0, 0.0]]);
    let first = put(&mut index, "a", 1.0, &[[1.0, 0.0]]);
    assert_eq!(nearest(&index, [0.0, 0.0]), [first, b]);
    let second = put(&mut index, "a", 2.0, &[[1.0, 0.0]]);
    assert_eq!(nearest(&index, [0.0, 0.0]), [second, b], "another price, the same vector");
    let third = put(&mut index, "a", 2.0, &[[9.0, 0.0]]);
    assert_eq!(nearest(&index, [0.0, 0.0]), [b, third], "another vector");
    let fourth = put(&mut index, "a", 2.0, &[[9.0, 0.0], [0.0, 0.0]]);
    assert_eq!(nearest(&index, [0.0, 0.0]), [fourth, b], "one more");
    let fifth = put(&mut index, "a", 3.0, &[[9.0, 0.0], [0.0, 0.0]]);
    assert_eq!((nearest(&index, [0.0, 0.0]), count(&index)), (vec![fifth, b], 3));
    let wrong = FieldValue::Vectors(vec![b"short"]);
    let fields =
        vec![FieldValue::Missing, FieldValue::Missing, FieldValue::Missing, FieldValue::Missing, wrong];
    index.upsert(b"b", &Document::new(fields)).unwrap_err();
    assert_eq!((nearest(&index, [0.0, 0.0]), count(&index)), (vec![fifth], 2), "nothing of it is left");
    assert!(index.remove(b"a"));
    assert_eq!((nearest(&index, [0.0, 0.0]), count(&index)), (vec![], 0));
}

#[test]
fn words_of_any_weight_are_counted() {
    let heavy = FieldKind::Text { weight: 5e9, nostem: false, with_suffix: false };
    let mut index = Index::new(Schema::default().with(Field::new("t", heavy)), 1);
    let document = Document::new(vec![FieldValue::Texts(vec![b"one two three"])]);
    index.upsert(b"k", &document).unwrap();
    assert_eq!(index.stats().words, u64::from(u32::MAX));
    assert!(index.remove(b"k"));
    assert_eq!(index.stats().words, 0);
}
