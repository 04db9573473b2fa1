//! What paths mean, and what is none.

use super::eval::PLACES_MAX;
use super::*;
use crate::Json;

const DOC: &str = r#"{
    "a": {"b": [1, 2.5, -3, "x", null, true, {"c": "foo", "d e": 7}], "a": [[1], [2, [3]]]},
    "b": {"a": 1, "c": []},
    "re": "^f", "big": 9223372036854775808
}"#;

fn found(path: &str) -> String {
    let doc = Json::parse(DOC).unwrap();
    let path = Path::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let values = path.select(&doc).unwrap();
    Json::array(values.into_iter().cloned().collect()).to_text()
}

fn places(path: &str) -> Vec<String> {
    let doc = Json::parse(DOC).unwrap();
    let found = Path::parse(path).unwrap().locate(&doc).unwrap();
    found.iter().map(|(location, _)| location.to_path()).collect()
}

#[test]
fn names_indexes_slices_and_unions() {
    for (path, expected) in [
        ("$.b", r#"[{"a":1,"c":[]}]"#),
        ("$['b']['a']", "[1]"),
        (r#"$.b["a"]"#, "[1]"),
        ("$. b [ 'a' , \"c\" ]", "[1,[]]"),
        ("$.b['c','nope','a','a']", "[[],1,1]"),
        ("$.nope", "[]"),
        ("$.re.x", "[]"),
        ("$.a.b[0]", "[1]"),
        ("$.a.b.[1]", "[2.5]"),
        ("$.a.b[-1]['d e']", "[7]"),
        ("$.a.b[-100]", "[1]"),
        ("$.a.b[100]", "[]"),
        ("$.a.b[0,2,-1].c", r#"["foo"]"#),
        ("$.a.b[0,0]", "[1,1]"),
        ("$.a.b[1:3]", "[2.5,-3]"),
        ("$.a.b[:2]", "[1,2.5]"),
        ("$.a.b[5:]..c", r#"["foo"]"#),
        ("$.a.b[-3:-1]", "[null,true]"),
        ("$.a.b[::3]", r#"[1,"x",{"c":"foo","d e":7}]"#),
        ("$.a.b[1:6:2]", r#"[2.5,"x",true]"#),
        ("$.a.b[3:1]", "[]"),
        ("$.a.b[0:2:]", "[1,2.5]"),
        ("$.b[0]", "[]"),
        ("$.b.*", "[1,[]]"),
        ("$.b[*]", "[1,[]]"),
        ("$.re[*]", "[]"),
    ] {
        assert_eq!(found(path), expected, "{path}");
    }
}

#[test]
fn descending_is_in_the_order_of_the_document_a_container_before_its_content() {
    assert_eq!(
        found("$..a"),
        r#"[{"b":[1,2.5,-3,"x",null,true,{"c":"foo","d e":7}],"a":[[1],[2,[3]]]},[[1],[2,[3]]],1]"#
    );
    assert_eq!(found("$..[0]"), "[1,[1],1,2,3]");
    assert_eq!(found("$.a.a..*"), "[[1],[2,[3]],1,2,[3],3]");
    assert_eq!(found("$.a.a..[*]"), found("$.a.a..*"));
    assert_eq!(places("$..a"), [r#"$["a"]"#, r#"$["a"]["a"]"#, r#"$["b"]["a"]"#]);
    // A value that is meant twice is found twice.
    assert_eq!(places("$..a..a[0]"), [r#"$["a"]["a"][0]"#]);
    assert_eq!(places("$.a.a..[0]..[0]").len(), 1 + 1 - 1);
}

#[test]
fn filters() {
    for (filter, expected) in [
        ("@>1", "[2.5]"),
        ("@ >= 1", "[1,2.5]"),
        ("@<1", "[-3]"),
        ("@<=1.0", "[1,-3]"),
        ("@==1.0", "[1]"),
        ("1==@", "[1]"),
        ("@=='x'", r#"["x"]"#),
        ("@>='a'", r#"["x"]"#),
        ("@==null", "[null]"),
        ("@==true", "[true]"),
        ("@<true", "[]"),
        ("@.c", r#"[{"c":"foo","d e":7}]"#),
        ("@.c=='foo'", r#"[{"c":"foo","d e":7}]"#),
        ("@.c!='foo' && @>0", "[1,2.5]"),
        (r#"@.c=~"^fo+$""#, r#"[{"c":"foo","d e":7}]"#),
        (r#"@.c=~'\\w'"#, r#"[{"c":"foo","d e":7}]"#),
        (r#"@.c=~"(?i)FOO""#, r#"[{"c":"foo","d e":7}]"#),
        ("@.c=~$.re", r#"[{"c":"foo","d e":7}]"#),
        ("@.c=~'[f'", "[]"),
        ("@.c=~$.b.a", "[]"),
        ("'foo'=~'foo'", "[]"),
        ("@['d e']==7", r#"[{"c":"foo","d e":7}]"#),
        ("@.*==7", r#"[{"c":"foo","d e":7}]"#),
        ("@>1 || @==null", "[2.5,null]"),
        ("@==1 || @>2 && @<0", "[1]"),
        ("(@==1 || @>2) && @<2", "[1]"),
        ("!(@.c) && !(@==null) && @!=true && @!='x'", "[1,2.5,-3]"),
        ("!@.c && @<0", "[-3]"),
        ("@ + 1 == 2", "[1]"),
        ("@ * 2 + 1 == 6", "[2.5]"),
        ("1 + @ * 2 == 6", "[2.5]"),
        ("(1 + @) * 2 == 7", "[2.5]"),
        ("@ / 2 == 0.5", "[1]"),
        ("@ / 0 != 1", r#"[1,2.5,-3,"x",null,true,{"c":"foo","d e":7}]"#),
        ("@ % 2 == -1", "[-3]"),
        ("-@ == 3", "[-3]"),
        ("@ == -3", "[-3]"),
        ("@ == $.b.a", "[1]"),
        ("$.b.nope", "[]"),
        ("$.b.a == 1 && @ == null", "[null]"),
        ("true && @==1", "[1]"),
        ("@ == @", r#"[1,2.5,-3,"x",null,true,{"c":"foo","d e":7}]"#),
    ] {
        assert_eq!(found(&format!("$.a.b[?({filter})]")), expected, "{filter}");
        assert_eq!(found(&format!("$.a.b[?{filter}]")), expected, "{filter}");
    }
    assert_eq!(found("$[?(@.a)].c"), "[[]]");
    assert_eq!(found("$..[?(@==$.big)]"), "[9223372036854775808]");
    assert_eq!(found("$.a.a[?(@[?(@>1)])]"), "[[2,[3]]]");
    assert_eq!(found("$.re[?(@=='^f')]"), "[]");
}

#[test]
fn legacy_paths() {
    for (path, expected) in [
        (".b.a", "[1]"),
        ("b.a", "[1]"),
        ("a.b[0]", "[1]"),
        ("['b'].a", "[1]"),
        ("..a[0]", "[[1]]"),
        (".a['b'][1]", "[2.5]"),
    ] {
        assert!(Path::parse(path).unwrap().is_legacy(), "{path}");
        assert_eq!(found(path), expected, "{path}");
    }
    let root = Path::parse(".").unwrap();
    assert!(root.is_legacy() && root.is_root());
    let root = Path::parse("$").unwrap();
    assert!(!root.is_legacy() && root.is_root());
    // What begins with a dollar but goes on otherwise is a name.
    let doc = Json::parse(r#"{"$a":1}"#).unwrap();
    assert!(Path::parse("$a").unwrap().is_legacy());
    assert_eq!(Path::parse("$a").unwrap().select(&doc).unwrap(), [&Json::Int(1)]);
    assert_eq!(Path::parse("$.$a").unwrap().select(&doc).unwrap(), [&Json::Int(1)]);
}

#[test]
fn what_is_no_path_is_refused_where_it_goes_wrong() {
    for (path, at) in [
        ("$.", 2),
        ("", 2),
        (" ", 3),
        ("$..", 3),
        ("$.....a", 3),
        ("$[", 2),
        ("$[1", 3),
        ("$[1,]", 4),
        ("$[-inf]", 2),
        ("$[01]", 3),
        ("$[0:3:0]", 6),
        ("$[99999999999999999999]", 22),
        ("$['a]", 5),
        (r#"$["a\n"]"#, 4),
        ("$[?()]", 4),
        ("$[?(@.a]", 7),
        ("$[?(@.a==)]", 9),
        ("$[?(@==1 + (@==2))]", 17),
        ("$.a b", 4),
        ("$.a\nb", 3),
        ("$.ż", 2),
        ("gar\0bage", 5),
    ] {
        let error = Path::parse(path).expect_err(path);
        assert_eq!(error.at, at, "{path}: {error}");
    }
    let error = Path::parse("$.a[").unwrap_err().to_string();
    assert!(
        error.starts_with(
            "Error occurred at position 4, Error at position 4: expected one of the following: "
        )
    );
}

#[test]
fn what_would_recurse_or_grow_without_end_is_refused() {
    for path in [
        format!("$[?{}@.a{}]", "(".repeat(40), ")".repeat(40)),
        format!("$[?{}1{}]", "@[?".repeat(40), "]".repeat(40)),
        format!("$[?1{}]", " + 1".repeat(40)),
        format!("${}", ".a".repeat(2000)),
    ] {
        assert!(Path::parse(&path).is_err(), "{}", &path[..20]);
    }
    let allowed = format!("$[?{}@.a{}]", "(".repeat(20), ")".repeat(20));
    assert!(Path::parse(&allowed).is_ok());
    let doc = Json::parse("[[[[[[[[[[1]]]]]]]]]]").unwrap();
    let path = format!("${}", format!("[{}0]", "0,".repeat(99)).repeat(10));
    assert_eq!(Path::parse(&path).unwrap().select(&doc), Err(TooManySteps));
}

/// Twenty characters took 20 GB: what was looked at counted, but not the way to each place, which was kept.
#[test]
fn places_count_with_all_the_steps_to_them() {
    let nested = Json::parse(&format!("{}{}", "[".repeat(127), "]".repeat(127))).unwrap();
    let path = Path::parse("$..*..*").unwrap();
    // Each pair of levels, 8 thousand, and 85 steps to the inner one on average.
    assert_eq!(path.locate(&nested).unwrap().len(), 126 * 125 / 2);
    assert!(path.locate_within(&nested, &mut Steps::new(600_000)).is_err());
    assert!(path.locate_within(&nested, &mut Steps::new(900_000)).is_ok());
    // A long name on the way to many.
    let long = format!(r#"{{"{}":[{}0]}}"#, "n".repeat(1_000_000), "0,".repeat(4_999));
    assert_eq!(Path::parse("$.*[*]").unwrap().locate(&Json::parse(&long).unwrap()), Err(TooManySteps));
    let zeros = Json::array(vec![Json::Int(0); PLACES_MAX + 1]);
    assert_eq!(Path::parse("$[*]").unwrap().locate(&zeros), Err(TooManySteps));
    assert_eq!(Path::parse("$[*]").unwrap().select(&zeros).unwrap().len(), PLACES_MAX + 1);
}

#[test]
fn the_last_step_is_known_of_static_paths() {
    for (path, expected) in [
        ("$", None),
        ("$.a", Some(Last::Key(&"a".into()))),
        ("$.a[0]['b c']", Some(Last::Key(&"b c".into()))),
        ("$.a[0]", Some(Last::Index)),
        ("$..a", None),
        ("$.a[0,1]", None),
        ("$.*.a", None),
        ("$['a','b']", None),
        ("$[0:1].a", None),
    ] {
        assert_eq!(Path::parse(path).unwrap().last_if_static(), expected, "{path}");
    }
}
