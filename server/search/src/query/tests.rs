use super::*;
use crate::schema::{Field, FieldKind, HnswSpec, Metric, VectorAlgorithm, VectorSpec, VectorType};

fn index() -> Index {
    let hnsw = VectorAlgorithm::Hnsw(HnswSpec::default());
    let vector = VectorSpec { algorithm: hnsw, numbers: VectorType::Float32, dim: 2, metric: Metric::L2 };
    Index::new(
        Schema::default()
            .with(Field::new("title", FieldKind::TEXT))
            .with(Field::new("body", FieldKind::TEXT))
            .with(Field::new("plain", FieldKind::Text { weight: 1.0, nostem: true, with_suffix: false }))
            .with(Field::new("tag", FieldKind::TAG))
            .with(Field::new("num", FieldKind::Numeric))
            .with(Field::new("loc", FieldKind::Geo))
            .with(Field { index_missing: true, ..Field::new("maybe", FieldKind::Numeric) })
            .with(Field::new("v", FieldKind::Vector(vector))),
        1,
    )
}

const BLOB: &[u8] = &[0; 8];

fn options(dialect: u8) -> ParseOptions<'static> {
    let params = [
        ("blob", BLOB),
        ("short", b"x"),
        ("n", b"5"),
        ("word", b"Hello"),
        ("k", b"3"),
        ("not_a_number", b"many"),
    ];
    ParseOptions {
        dialect,
        verbatim: true,
        params: params.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        ..ParseOptions::default()
    }
}

fn explained(query: &str) -> String {
    let index = index();
    Query::parse(query.as_bytes(), &index, &options(2)).unwrap().explain(&index)
}

fn error(query: &str) -> String {
    Query::parse(query.as_bytes(), &index(), &options(2)).expect_err(query).to_string()
}

fn explained_1(query: &str) -> String {
    let index = index();
    Query::parse(query.as_bytes(), &index, &options(1)).unwrap().explain(&index)
}

#[test]
fn words_are_all_wanted_and_bind_closer_than_unions() {
    assert_eq!(explained("hello"), "hello\n");
    assert_eq!(explained("Hello World"), "INTERSECT {\n  hello\n  world\n}\n");
    assert_eq!(
        explained("a1 b1|c1 d1"),
        "UNION {\n  INTERSECT {\n    a1\n    b1\n  }\n  INTERSECT {\n    c1\n    d1\n  }\n}\n"
    );
    assert_eq!(explained("x1 (y1|z1)"), "INTERSECT {\n  x1\n  UNION {\n    y1\n    z1\n  }\n}\n");
}

#[test]
fn in_dialect_1_unions_bind_closer_and_modifiers_reach_further() {
    assert_eq!(
        explained_1("hello world | \"goodbye\" moon"),
        "INTERSECT {\n  UNION {\n    INTERSECT {\n      hello\n      world\n    }\n    EXACT {\n      goodbye\n    }\n  }\n  moon\n}\n"
    );
    assert_eq!(explained_1("@title:James Brown"), "@title:INTERSECT {\n  @title:james\n  @title:brown\n}\n");
    assert_eq!(explained("@title:James Brown"), "INTERSECT {\n  @title:james\n  brown\n}\n");
    assert_eq!(explained_1("@nosuch:word"), "@NULL:word\n");
}

#[test]
fn signs_take_the_part_behind_them() {
    assert_eq!(explained("-hello world"), "INTERSECT {\n  NOT{\n    hello\n  }\n  world\n}\n");
    assert_eq!(explained("~hello"), "OPTIONAL{\n  hello\n}\n");
    assert_eq!(explained("--hello"), "hello\n");
    assert_eq!(explained("-(a1|b1)"), "NOT{\n  UNION {\n    a1\n    b1\n  }\n}\n");
}

#[test]
fn stop_words_are_no_condition() {
    assert_eq!(explained("the hello"), "hello\n");
    assert_eq!(explained("the"), "<empty>\n");
    assert_eq!(explained("-the hello"), "hello\n");
    assert_eq!(explained(""), "<empty>\n");
}

#[test]
fn phrases_are_exact() {
    assert_eq!(explained("\"hello the World\""), "EXACT {\n  hello\n  the\n  world\n}\n");
    assert_eq!(
        explained("@title|body:\"a1 b1\""),
        "@title|body:EXACT {\n  @title|body:a1\n  @title|body:b1\n}\n"
    );
}

#[test]
fn patterns_are_what_they_look_like() {
    assert_eq!(explained("hel*"), "PREFIX{hel*}\n");
    assert_eq!(explained("*llo"), "SUFFIX{*llo}\n");
    assert_eq!(explained("*ell*"), "INFIX{*ell*}\n");
    assert_eq!(explained("w'h?l*'"), "WILDCARD{h?l*}\n");
    assert_eq!(explained("%%helo%%"), "FUZZY{helo}\n");
    assert_eq!(explained("$word*"), "PREFIX{hello*}\n");
}

#[test]
fn numbers_have_bounds() {
    assert_eq!(explained("@num:[1 (2.5]"), "NUMERIC {1.000000 <= @num < 2.500000}\n");
    assert_eq!(explained("@num:[-inf +inf]"), "NUMERIC {-inf <= @num <= inf}\n");
    assert_eq!(explained("@num:[$n]"), "NUMERIC {5.000000 <= @num <= 5.000000}\n");
    assert_eq!(explained("@num>=$n"), "NUMERIC {5.000000 <= @num <= inf}\n");
    assert_eq!(explained("@num<-$n"), "NUMERIC {-inf <= @num < -5.000000}\n");
    assert_eq!(explained("@num!=3"), "NOT{\n  NUMERIC {3.000000 <= @num <= 3.000000}\n}\n");
    assert_eq!(error("@num:[5 1]"), "Invalid numeric range (min > max): @num:[5.000000 1.000000]");
    assert_eq!(error("@num:[$not_a_number 7]"), "Bad lower range: many");
    assert_eq!(error("@num==$not_a_number"), "Invalid numeric value (many) for parameter `not_a_number`");
}

#[test]
fn places_have_a_circle() {
    assert_eq!(explained("@loc:[1.5 -2 $n km]"), "GEO loc:{1.500000,-2.000000 --> 5.000000 km}\n");
    assert_eq!(error("@loc:[1 2 3 miles]"), "Invalid GeoFilter unit");
    assert_eq!(error("@loc:[1 2 -3 km]"), "Invalid GeoFilter radius");
    assert_eq!(error("@loc:[200 2 3 km]"), "Invalid GeoFilter lat/lon");
}

#[test]
fn tags_are_a_list_in_braces() {
    assert_eq!(
        explained(r"@tag:{red | dark\-blue | new york | gr* | $word}"),
        "TAG:@tag {\n  red\n  dark-blue\n  INTERSECT {\n    new\n    york\n  }\n  PREFIX{gr*}\n  Hello\n}\n"
    );
    assert_eq!(explained("@tag:{\"a b\"}"), "TAG:@tag {\n  a b\n}\n");
    assert_eq!(error("@tag:{}"), "Syntax error at offset 6 near tag");
}

#[test]
fn the_order_of_words_is_not_asked_for_where_there_is_none() {
    let mut schema = Schema::default()
        .with(Field::new("title", FieldKind::TEXT))
        .with(Field::new("names", FieldKind::TEXT))
        .with(Field::new("tag", FieldKind::TAG))
        .with(Field::new("num", FieldKind::Numeric));
    schema.set_unordered(1);
    let index = Index::new(schema, 1);
    let near = ParseOptions { dialect: 2, slop: Some(0), ..ParseOptions::default() };
    let in_order = ParseOptions { slop: None, in_order: true, ..near.clone() };
    let neither = ParseOptions { slop: None, ..near.clone() };
    let filter = Filter::Numeric { field: 3, min: 0.0, max: 1.0, min_inclusive: true, max_inclusive: true };
    let filtered = ParseOptions { filters: vec![filter], ..near.clone() };
    let refused = [
        (&near, "@names:(a1 b1)"),
        (&in_order, "a1 b1"),
        (&near, "@title|names:\"a1 b1\""),
        (&near, "@title:a1 | (@title:b1 (@names:(c1 d1)))"),
        (&near, "-(a1 b1)"),
        (&near, "@tag:{new york}"),
        (&filtered, "@names:a1"),
        (&neither, "@names:(a1 b1)=>{$slop: 0}"),
        (&neither, "@names:(a1 b1)=>{$inorder: false}"),
    ];
    for (options, query) in refused {
        let error = Query::parse(query.as_bytes(), &index, options).expect_err(query).to_string();
        assert_eq!(error, "slop/inorder are not supported for field with undefined ordering `names`");
    }
    let taken = [
        (&neither, "@names:(a1 b1)"),
        (&neither, "@names:\"a1 b1\""),
        (&neither, "@names:(a1 b1)=>{$slop: -1; $weight: 2}"),
        (&neither, "@title:(a1 b1)=>{$slop: 1; $inorder: true} @names:c1"),
        (&near, "@title:(a1 b1)"),
        (&in_order, "@names:a1"),
        (&in_order, "@names:(a1|b1)"),
    ];
    for (options, query) in taken {
        Query::parse(query.as_bytes(), &index, options).expect(query);
    }
}

#[test]
fn attributes_are_of_the_part_before_them() {
    assert_eq!(
        explained("(a1 b1)=>{$slop: 2; $inorder: true; $weight: 0.5}"),
        "INTERSECT {\n  a1\n  b1\n} => { $weight: 0.5; $slop: 2; $inorder: true; }\n"
    );
    assert_eq!(explained("hello=>{$weight: 2}"), "hello => {$weight: 2;}\n");
    assert_eq!(error("hello=>{$slop: no}"), "Invalid value (no) for `slop`");
    assert_eq!(error("hello=>{$nope: 1}"), "Invalid attribute nope");
    assert_eq!(error("hello=>{$phonetic: true}"), "field does not support phonetics");
}

#[test]
fn the_nearest_are_asked_for_behind_an_arrow() {
    assert_eq!(
        explained("*=>[KNN 10 @v $blob]"),
        "VECTOR {K=10 nearest vectors to `$blob` in vector index associated with field @v, yields distance as `__v_score`}\n"
    );
    assert_eq!(
        explained("(@num:[1 2] hello)=>[KNN $k @v $blob EF_RUNTIME 150 AS score]"),
        "VECTOR {\n  INTERSECT {\n    NUMERIC {1.000000 <= @num <= 2.000000}\n    hello\n  }\n} => {K=3 nearest vectors to `$blob` \
         in vector index associated with field @v, EF_RUNTIME = 150, yields distance as `score`}\n"
    );
    assert_eq!(
        explained("@v:[VECTOR_RANGE 0.5 $blob]=>{$YIELD_DISTANCE_AS: d; $EPSILON: 0.1}"),
        "VECTOR {Vectors that are within 0.5 distance radius from `$blob` in vector index associated with field @v, \
         EPSILON = 0.1, yields distance as `d`}\n"
    );
    assert_eq!(
        error("*=>[KNN 10 @v $short]"),
        "Error parsing vector similarity query: query vector blob size (1) does not match index's expected size (8)."
    );
    assert_eq!(error("*=>[KNN 10 @v $nosuch]"), "No such parameter `nosuch`");
    assert_eq!(error("*=>[KNN 10 @title $blob]"), "Expected a VECTOR field at offset 11 near title");
    assert_eq!(
        error("*=>[NNK 10 @v $blob]"),
        "Syntax error: Expecting Vector Similarity command at offset 4 near NNK"
    );
    assert_eq!(error("hello world=>[KNN 10 @v $blob]"), "Syntax error at offset 13 near >[");
}

#[test]
fn missing_fields_are_asked_for_where_the_index_knows_them() {
    assert_eq!(explained("ismissing(@maybe)"), "ISMISSING{maybe}\n");
    assert_eq!(
        error("ismissing(@num)"),
        "'ismissing' requires defining the field with 'INDEXMISSING' at offset 10 near num"
    );
}

#[test]
fn syntax_errors_say_where() {
    assert_eq!(error("(hello"), "Syntax error at offset 1 near hello");
    assert_eq!(error("hello)"), "Syntax error at offset 5 near hello");
    assert_eq!(error("@title:"), "Syntax error at offset 6 near title");
    assert_eq!(error("@nosuch:word"), "Unknown field at offset 0 near nosuch");
    assert_eq!(error("@num:word"), "Expected a TEXT field at offset 0 near num");
    assert_eq!(error("@title:[1 2]"), "Expected a NUMERIC field at offset 0 near title");
    assert_eq!(error("@title:(a1 @num:[1 2])"), "Syntax error at offset 11 near num");
    assert_eq!(error("hello *"), "Syntax error at offset 6 near hello");
    assert_eq!(error("$nosuch"), "No such parameter `nosuch`");
    assert_eq!(error("a1 | | b1"), "Syntax error at offset 5 near a1");
    assert_eq!(
        error("\"\""),
        "Use `INDEXEMPTY` in field creation in order to index and query for empty strings"
    );
}

#[test]
fn all_is_all_there_is() {
    assert_eq!(explained("*"), "<WILDCARD>\n");
    assert_eq!(explained("((*))"), "<WILDCARD>\n");
}

#[test]
fn deep_and_wide_queries_are_refused() {
    let deep = "(".repeat(1000) + "a" + &")".repeat(1000);
    assert!(error(&deep).starts_with("Parser stack overflow"));
    assert!(error(&"-".repeat(100_000)).starts_with("Parser stack overflow"));
    let wide = "word ".repeat(ast::NODES_MAX + 1);
    assert!(error(&wide).contains("more than"));
    let long = "a".repeat(2000);
    assert_eq!(error(&format!("{long}*")), "PREFIX query string is too long. Maximum allowed length is 1024");
    assert!(error(&format!("@tag:{{w'{long}'}}")).starts_with("WILDCARD query string is too long"));
    let fine = "(".repeat(100) + "a1" + &")".repeat(100);
    assert_eq!(explained(&fine), "a1\n");
}

#[test]
fn words_are_joined_by_stems_unless_verbatim_or_quoted() {
    let index = index();
    let options = ParseOptions { dialect: 2, ..ParseOptions::default() };
    let explained = |text: &str| Query::parse(text.as_bytes(), &index, &options).unwrap().explain(&index);
    assert_eq!(explained("running"), "UNION {\n  running\n  +run(expanded)\n  run(expanded)\n}\n");
    assert_eq!(explained("hello"), "UNION {\n  hello\n  +hello(expanded)\n}\n");
    assert_eq!(explained("\"running\""), "EXACT {\n  running\n}\n");
    assert_eq!(explained("@plain:running"), "@plain:running\n");
    assert_eq!(explained("12345"), "12345\n");
    assert_eq!(
        explained("@title|plain:running"),
        "@title|plain:UNION {\n  @title|plain:running\n  @title:+run(expanded)\n  @title:run(expanded)\n}\n"
    );
}

#[test]
fn conditions_beside_the_query_come_first() {
    let index = index();
    let filter = Filter::Numeric { field: 4, min: 1.0, max: 2.0, min_inclusive: true, max_inclusive: true };
    let options = ParseOptions { filters: vec![filter], in_keys: Some(vec![b"k".to_vec()]), ..options(2) };
    let explained = |text: &str| Query::parse(text.as_bytes(), &index, &options).unwrap().explain(&index);
    assert_eq!(
        explained("a1 b1"),
        "INTERSECT {\n  IDS {}\n  NUMERIC {1.000000 <= @num <= 2.000000}\n  a1\n  b1\n}\n"
    );
    assert!(explained("*=>[KNN 1 @v $blob]").starts_with("VECTOR {\n  INTERSECT {\n    IDS {}\n"));
}

#[test]
fn conditions_count_among_the_parts_of_a_query() {
    let index = index();
    let filter = Filter::Numeric { field: 4, min: 1.0, max: 2.0, min_inclusive: true, max_inclusive: true };
    let parsed = |count: usize, text: &str| {
        let options = ParseOptions { filters: vec![filter.clone(); count], ..options(2) };
        Query::parse(text.as_bytes(), &index, &options).map(|query| query.root.count())
    };
    assert_eq!(parsed(4000, "a1 b1"), Ok(4003));
    assert_eq!(parsed(4000, "(a1)=>[KNN 1 @v $blob]"), Ok(4003));
    assert!(parsed(ast::NODES_MAX, "a1").unwrap_err().message.contains("more than"));
}

#[test]
fn synonyms_of_many_words_do_not_multiply() {
    let stemming = ParseOptions { dialect: 2, ..ParseOptions::default() };
    let mut index = index();
    (0..1000).for_each(|group| index.synonyms.add(format!("g{group}").as_bytes(), [&b"a1"[..]]));
    let parsed = |text: &str| Query::parse(text.as_bytes(), &index, &stemming).unwrap().root.count();
    assert!((1002..1006).contains(&parsed("a1")));
    assert!((ast::NODES_MAX..3 * ast::NODES_MAX).contains(&parsed(&"a1 ".repeat(1000))));
}
