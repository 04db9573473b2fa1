//! Malformed queries, schemas, paths, vectors and documents: the errors of Redis 8.0's modules, and a server that goes on.

use std::time::Duration;

use cairn_tests::golden::{Reply, args};
use cairn_tests::server::{Connection, Server};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const LIMIT: Duration = Duration::from_secs(20);

/// How an error is compared.
enum Says {
    /// These are its words.
    Just(&'static str),
    /// These are among its words: where the place in the query follows, or a list.
    Partly(&'static str),
}
use Says::{Just, Partly};

const SETUP: &[&str] = &[
    "FT.CREATE idx SCHEMA t TEXT other TEXT NOSTEM tag TAG n NUMERIC SORTABLE g GEO \
     v VECTOR HNSW 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2 flat VECTOR FLAT 6 TYPE FLOAT64 DIM 2 DISTANCE_METRIC COSINE",
    "FT.CREATE docs ON JSON PREFIX 1 d: SCHEMA $.name AS name TEXT $.names[*] AS names TEXT",
    "HSET doc t hello n 1",
    "JSON.SET d:1 $ '{\"name\":\"lamp\",\"names\":[\"a\",\"b\"],\"n\":1}'",
    "VADD set VALUES 2 1 0 east",
    "SET string text",
];

/// Schemas.
const SCHEMAS: &[(&str, Says)] = &[
    ("FT.CREATE", Partly("wrong number of arguments")),
    ("FT.CREATE idx SCHEMA t TEXT", Just("Index already exists")),
    ("FT.CREATE new t TEXT PREFIX 1", Just("Unknown argument `t`")),
    ("FT.CREATE new SCHEMA t", Partly("wrong number of arguments")),
    ("FT.CREATE new ON HASH LANGUAGE german PREFIX 1 a:", Just("No schema found")),
    ("FT.CREATE new ON HASH STOPWORDS 0 SCHEMA", Just("Fields arguments are missing")),
    ("FT.CREATE new LANGUAGE none SCHEMA t TEXT", Partly("Invalid language")),
    ("FT.CREATE new SCORE 10 SCHEMA t TEXT", Partly("Invalid score")),
    ("FT.CREATE new SCHEMA t TEXT n", Just("Field `n` does not have a type")),
    ("FT.CREATE new SCHEMA t NUMBER", Just("Invalid field type for field `t`")),
    ("FT.CREATE new SCHEMA t TEXT t TAG", Just("Duplicate field in schema - t")),
    (
        "FT.CREATE new SCHEMA t TEXT WEIGHT heavy",
        Just("Bad arguments for weight: Could not convert argument to expected type"),
    ),
    ("FT.CREATE new SCHEMA t TEXT PHONETIC xx", Partly("Matcher Format:")),
    ("FT.CREATE new SCHEMA t TAG SEPARATOR ab", Just("Tag separator must be a single character. Got `ab`")),
    (
        "FT.CREATE new SCHEMA t TAG INDEXMISSING NOINDEX",
        Partly("Field cannot be defined with both `NOINDEX` and `INDEXMISSING`"),
    ),
    ("FT.CREATE new SCHEMA v VECTOR", Partly("Bad arguments for vector similarity algorithm")),
    (
        "FT.CREATE new SCHEMA v VECTOR NONE 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2",
        Partly("Bad arguments for vector similarity algorithm"),
    ),
    (
        "FT.CREATE new SCHEMA v VECTOR FLAT",
        Partly("Bad arguments for vector similarity number of parameters"),
    ),
    ("FT.CREATE new SCHEMA v VECTOR FLAT 6", Just("Expected 6 parameters but got 0")),
    (
        "FT.CREATE new SCHEMA v VECTOR FLAT 1",
        Partly("Bad number of arguments for vector similarity index: got 1 but expected even number"),
    ),
    ("FT.CREATE new SCHEMA v VECTOR FLAT 2 SIZE 3", Just("Bad arguments for algorithm FLAT: SIZE")),
    (
        "FT.CREATE new SCHEMA v VECTOR FLAT 4 DIM 2 DISTANCE_METRIC IP",
        Just("Missing mandatory parameter: cannot create FLAT index without specifying TYPE argument"),
    ),
    (
        "FT.CREATE new SCHEMA v VECTOR HNSW 4 TYPE FLOAT32 DISTANCE_METRIC IP",
        Just("Missing mandatory parameter: cannot create HNSW index without specifying DIM argument"),
    ),
    (
        "FT.CREATE new SCHEMA v VECTOR HNSW 4 TYPE FLOAT32 DIM 2",
        Just(
            "Missing mandatory parameter: cannot create HNSW index without specifying DISTANCE_METRIC argument",
        ),
    ),
    (
        "FT.CREATE new SCHEMA v VECTOR HNSW 6 TYPE DOUBLE DIM 2 DISTANCE_METRIC IP",
        Partly("Bad arguments for vector similarity HNSW index `TYPE`"),
    ),
    (
        "FT.CREATE new SCHEMA v VECTOR HNSW 6 TYPE FLOAT32 DIM two DISTANCE_METRIC IP",
        Partly("Bad arguments for vector similarity HNSW index `DIM`"),
    ),
    (
        "FT.CREATE new SCHEMA v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC FAR",
        Partly("Bad arguments for vector similarity FLAT index `DISTANCE_METRIC`"),
    ),
    (
        "FT.CREATE new SCHEMA v VECTOR HNSW 8 TYPE FLOAT32 DIM 2 DISTANCE_METRIC IP M many",
        Partly("Bad arguments for vector similarity HNSW index `M`"),
    ),
    ("FT.ALTER idx ADD t2 TEXT SORTABLE", Just("ALTER must be followed by SCHEMA")),
    ("FT.ALTER idx SCHEMA DEL t2 TEXT", Just("Unknown action passed to ALTER SCHEMA")),
    ("FT.ALTER idx SCHEMA ADD t TEXT", Just("Duplicate field in schema - t")),
    ("FT.ALTER none SCHEMA ADD t TEXT", Partly("Unknown index name")),
    ("FT.DROPINDEX none", Just("Unknown Index name")),
    ("FT.DROPINDEX idx NOW", Just("Unknown argument")),
    ("FT.INFO none", Just("Unknown index name")),
    ("FT.ALIASADD alias none", Just("Unknown index name (or name is an alias itself)")),
    ("FT.ALIASDEL none", Just("Alias does not exist")),
    ("FT.TAGVALS idx none", Just("No such field")),
    ("FT.TAGVALS idx t", Just("Not a tag field")),
    ("FT.SYNDUMP none", Partly("no such index")),
];

/// Queries: `FT.SEARCH idx … DIALECT 2` with what follows a `|`.
const QUERIES: &[(&str, Says)] = &[
    ("(hello", Just("Syntax error at offset 1 near hello")),
    ("hello)", Just("Syntax error at offset 5 near hello")),
    ("@t:", Just("Syntax error at offset 2 near t")),
    ("@none:hello", Partly("Unknown field at offset 0 near none")),
    ("@n:hello", Partly("Expected a TEXT field at offset 0 near n")),
    ("@t:[1 2]", Partly("Expected a NUMERIC field at offset 0 near t")),
    ("@tag:{}", Partly("Syntax error at offset")),
    ("@t:{hello}", Partly("Expected a TAG field at offset 0 near t")),
    ("**", Partly("Syntax error at offset")),
    ("hello | | world", Partly("Syntax error at offset")),
    ("@n:[5 1]", Just("Invalid numeric range (min > max): @n:[5.000000 1.000000]")),
    ("@n:[1e 0]", Partly("Syntax error at offset")),
    ("@n:[1 2", Partly("Syntax error at offset")),
    ("@n===1", Partly("Syntax error at offset")),
    ("@n:[$low 2]", Just("No such parameter `low`")),
    ("@n:[$low 2] | PARAMS 2 low few", Just("Bad lower range: few")),
    ("@n:[1 $top] | PARAMS 2 top few", Just("Bad upper range: few")),
    ("@t:$word", Just("No such parameter `word`")),
    ("@g:[1 2 -3 km]", Just("Invalid GeoFilter radius")),
    ("@g:[181 4.56 10 km]", Just("Invalid GeoFilter lat/lon")),
    ("@g:[1 2 3 miles]", Just("Invalid GeoFilter unit")),
    ("@g:[a b c km]", Partly("Syntax error at offset")),
    ("@g:[1 2 $far km] | PARAMS 2 far away", Just("Invalid numeric value (away) for parameter `far`")),
    ("hello=>{$slop: far}", Just("Invalid value (far) for `slop`")),
    ("hello=>{$weight: -1}", Just("Invalid value (-1) for `weight`")),
    ("hello=>{$none: 1}", Just("Invalid attribute none")),
    ("ismissing(@t)", Partly("'ismissing' requires")),
    ("*=>[NKN 2 @v $b] | PARAMS 2 b abcdefgh", Partly("Syntax error: Expecting Vector Similarity command")),
    ("*=>[KNN few @v $b] | PARAMS 2 b abcdefgh", Partly("Syntax error at offset")),
    ("*=>[KNN 2 @v $b]", Just("No such parameter `b`")),
    ("*=>[KNN 2 @t $b] | PARAMS 2 b abcdefgh", Just("Expected a VECTOR field at offset 10 near t")),
    (
        "*=>[KNN 2 @v $b] | PARAMS 2 b abcdefg",
        Just(
            "Error parsing vector similarity query: query vector blob size (7) does not match index's expected size (8).",
        ),
    ),
    (
        "*=>[KNN 2 @flat $b] | PARAMS 2 b abcdefgh",
        Just(
            "Error parsing vector similarity query: query vector blob size (8) does not match index's expected size (16).",
        ),
    ),
    (
        "@v:[VECTOR_RANGE 0.1 $b] | PARAMS 2 b abcdefghi",
        Just(
            "Error parsing vector similarity query: query vector blob size (9) does not match index's expected size (8).",
        ),
    ),
    (
        "@v:[VECTOR_RANGE -1 $b] | PARAMS 2 b abcdefgh",
        Just("Error parsing vector similarity query: negative radius (-1) given in a range query"),
    ),
    (
        "*=>[KNN 2 @v $b EF_RUNTIME -42] | PARAMS 2 b abcdefgh",
        Partly("Error parsing vector similarity parameters: Invalid value was given"),
    ),
    (
        "*=>[KNN 2 @v $b EF_FUNTIME 30] | PARAMS 2 b abcdefgh",
        Partly("Error parsing vector similarity parameters: Invalid option"),
    ),
    (
        "*=>[KNN 2 @v $b EPSILON 2] | PARAMS 2 b abcdefgh",
        Partly(
            "Error parsing vector similarity parameters: range query attributes were sent for a non-range query",
        ),
    ),
    (
        "*=>[KNN 2 @v $b BATCH_SIZE 100] | PARAMS 2 b abcdefgh",
        Partly(
            "Error parsing vector similarity parameters: hybrid query attributes were sent for a non-hybrid query",
        ),
    ),
    (
        "*=>[KNN $k @v $b] | PARAMS 4 k 9223372036854775807 b abcdefgh",
        Partly("query KNN K parameter is too large, must not exceed 288230376151711744"),
    ),
    ("*=>[KNN $k @v $b] | PARAMS 4 k -3 b abcdefgh", Partly("Invalid numeric value (-3) for parameter `k`")),
    ("*=>[KNN 2 @v $b AS t] | PARAMS 2 b abcdefgh", Just("Property `t` already exists in schema")),
    ("hello=>[KNN 2 @v $b] | PARAMS 2 b", Partly("Bad arguments for PARAMS: Expected an argument")),
    ("* | PARAMS 1 b", Partly("Parameters must be specified in PARAM VALUE pairs")),
    ("* | PARAMS 4 b 1 b 2", Just("Duplicate parameter `b`")),
    ("* | LIMIT 0", Just("LIMIT requires two arguments")),
    ("* | LIMIT a b", Just("LIMIT needs two numeric arguments")),
    ("* | LIMIT 0 1234567", Just("LIMIT exceeds maximum of 1000000")),
    ("* | LIMIT 5 0", Just("The `offset` of the LIMIT must be 0 when `num` is 0")),
    ("* | SORTBY t SORTBY n", Just("Multiple SORTBY steps are not allowed")),
    ("* | SORTBY none", Just("Property `none` not loaded nor in schema")),
    ("* | TIMEOUT soon", Just("TIMEOUT requires a non negative integer")),
    ("* | EXPLAINSCORE", Just("EXPLAINSCORE must be accompanied with WITHSCORES")),
    ("* | SCORER NONE", Just("No such scorer NONE")),
    ("* | LANGUAGE klingon", Just("No such language")),
    ("* | RETURN 3 t AS", Partly("Bad arguments for RETURN")),
    ("* | RETURN 2 t AS", Just("RETURN path AS name - must be accompanied with NAME")),
    ("* | FILTER n a b", Partly("Bad lower range: a")),
    ("* | GEOFILTER g 1 2 -3 km", Partly("Invalid GeoFilter radius")),
    ("* | FORMAT XPAND", Just("FORMAT XPAND is not supported")),
    ("* | NONSENSE", Partly("Unknown argument `NONSENSE` at position")),
    ("* | HIGHLIGHT FIELDS 1 none", Just("No such property `none`")),
];

/// All the others.
const COMMANDS: &[(&str, Says)] = &[
    ("FT.SEARCH", Partly("wrong number of arguments")),
    ("FT.SEARCH idx", Partly("wrong number of arguments")),
    ("FT.SEARCH none hello", Just("No such index none")),
    ("FT.SEARCH idx hello DIALECT", Just("Need an argument for DIALECT")),
    ("FT.SEARCH idx hello DIALECT 0", Partly("DIALECT requires a non negative integer >=1 and <= 4")),
    ("FT.SEARCH idx hello DIALECT 9", Partly("DIALECT requires a non negative integer >=1 and <= 4")),
    ("FT.SEARCH idx {1025*a}* DIALECT 2", Partly("PREFIX query string is too long")),
    ("FT.SEARCH idx *{1025*a} DIALECT 2", Partly("SUFFIX query string is too long")),
    ("FT.SEARCH idx {20000*(}a DIALECT 2", Partly("Parser stack overflow")),
    ("FT.EXPLAIN none hello", Just("none: no such index")),
    ("FT.EXPLAIN idx '@t:@n:[0 10]' DIALECT 2", Partly("Syntax error at offset")),
    ("FT.AGGREGATE none *", Just("No such index none")),
    (
        "FT.AGGREGATE idx * GROUPBY 1 n",
        Just("Bad arguments for GROUPBY: Unknown property `n`. Did you mean `@n`?"),
    ),
    ("FT.AGGREGATE idx * GROUPBY 2 @n @n", Just("Property `n` specified more than once")),
    ("FT.AGGREGATE idx * GROUPBY 1 @n REDUCE NONE 0", Just("No such reducer: NONE")),
    ("FT.AGGREGATE idx * GROUPBY 1 @n REDUCE COUNT 1 @n", Partly("Count accepts 0 values only")),
    ("FT.AGGREGATE idx * SORTBY 1 @none", Just("Property `none` not loaded nor in schema")),
    ("FT.AGGREGATE idx * SORTBY 2 @n UP", Just("MISSING ASC or DESC after sort field (UP)")),
    ("FT.AGGREGATE idx * APPLY nofunction(1) AS x", Just("Unknown function name 'nofunction'")),
    ("FT.AGGREGATE idx * APPLY '1 +' AS x", Partly("Syntax error at offset")),
    ("FT.AGGREGATE idx * APPLY @none+1 AS x", Just("Property `none` not loaded nor in pipeline")),
    ("FT.AGGREGATE idx * FILTER '@n >'", Partly("Syntax error at offset")),
    ("FT.AGGREGATE idx * LOAD 2 @t", Just("Bad arguments for LOAD: Expected an argument, but none provided")),
    ("FT.AGGREGATE idx * LOAD many", Just("Bad arguments for LOAD: Expected number of fields or `*`")),
    ("FT.CURSOR READ idx 12345", Partly("Cursor not found")),
    ("FT.PROFILE idx SEARCH hello world", Partly("The QUERY keyword is expected")),
    ("FT.PROFILE idx FIND QUERY hello", Just("No `SEARCH` or `AGGREGATE` provided")),
    ("FT.SPELLCHECK none hello", Just("none: no such index")),
    (
        "FT.SPELLCHECK idx hello DISTANCE 9",
        Just("bad distance given, distance must be a natural number between 1 to 4"),
    ),
    ("FT.SUGADD sug text heavy", Partly("ERR invalid score")),
    ("FT.SUGADD string text 1", Partly("WRONGTYPE")),
    ("FT.SUGGET string te", Partly("WRONGTYPE")),
    // Documents and paths.
    ("JSON.SET d:2 $ {200*[}", Partly("recursion limit exceeded")),
    ("JSON.SET d:2 $ '{\"a\":'", Partly("EOF while parsing")),
    ("JSON.SET d:2 $.a 1", Just("ERR new objects must be created at the root")),
    ("JSON.SET d:1 $..[ 1", Partly("Error occurred at position")),
    ("JSON.GET d:1 $[", Partly("Error occurred at position")),
    ("JSON.GET d:1 '$[?(@.n=='", Partly("Error occurred at position")),
    ("JSON.NUMINCRBY d:1 $.n many", Partly("expected value")),
    ("JSON.GET string $", Just("Existing key has wrong Redis type")),
    // Vectors.
    ("VADD set VALUES 3 1 0 0 north", Partly("ERR Vector dimension mismatch")),
    ("VADD set FP32 abc north", Partly("ERR invalid vector specification")),
    ("VADD set VALUES 2 1 x north", Partly("ERR invalid vector specification")),
    ("VSIM set VALUES 3 1 0 0", Partly("ERR Vector dimension mismatch")),
    ("VSIM set ELE none", Partly("ERR element not found in set")),
    ("VSIM set ELE east FILTER '.a >'", Partly("ERR syntax error in FILTER")),
    ("VSIM set ELE east EF 0", Partly("ERR invalid EF")),
    ("VSIM string ELE east", Partly("WRONGTYPE")),
];

fn split(line: &str) -> Vec<Vec<u8>> {
    args::split(line, &args::Variables::new()).unwrap_or_else(|error| panic!("{line}: {error:#}"))
}

/// The commands of a table, with the words that make a query of a row's.
fn command_of_query(row: &str) -> Vec<Vec<u8>> {
    let (query, more) = row
        .split_once(" | ")
        .filter(|(_, more)| more.starts_with(|c: char| c.is_ascii_uppercase()))
        .unwrap_or((row, ""));
    let mut command = split("FT.SEARCH idx");
    command.push(query.as_bytes().to_vec());
    command.extend(split(more));
    // The last place is for words that are cut short.
    let at = 3;
    command.splice(at..at, split("DIALECT 2"));
    command
}

#[test]
fn what_is_malformed_gets_the_error_of_redis() {
    let server = Server::cairn(&["--appendfsync", "no"]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let mut ask = |command: &[Vec<u8>]| {
        client.send(command).unwrap();
        client.reply(LIMIT).unwrap_or_else(|error| panic!("{}: {error}", shown(command)))
    };
    for line in SETUP {
        let reply = ask(&split(line));
        assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply}");
    }
    let schemas = SCHEMAS.iter().map(|(line, says)| (split(line), says));
    let queries = QUERIES.iter().map(|(row, says)| (command_of_query(row), says));
    let commands = COMMANDS.iter().map(|(line, says)| (split(line), says));
    let mut wrong = Vec::new();
    for (command, says) in schemas.chain(queries).chain(commands) {
        let reply = ask(&command);
        let Reply::Error(error) = &reply else {
            wrong.push(format!("{}\n    no error: {reply}", shown(&command)));
            continue;
        };
        let error = String::from_utf8_lossy(error);
        let (right, expected) = match says {
            Just(words) => (error == *words, words),
            Partly(words) => (error.contains(words), words),
        };
        if !right {
            wrong.push(format!("{}\n    {error}\n    {expected}", shown(&command)));
        }
    }
    // Nothing of it has changed anything.
    let found = ask(&split("FT.SEARCH idx hello NOCONTENT"));
    assert_eq!(found, Reply::Array(vec![Reply::Integer(1), Reply::Bulk(b"doc".to_vec())]));
    assert!(wrong.is_empty(), "{} errors are others:\n{}", wrong.len(), wrong.join("\n"));
}

fn shown(command: &[Vec<u8>]) -> String {
    let words: Vec<String> = command.iter().map(|word| word.escape_ascii().to_string()).collect();
    let mut line = words.join(" ");
    line.truncate(160);
    line
}

/// What arguments are made of.
const WORDS: &[&str] = &[
    "idx",
    "docs",
    "hello",
    "*",
    "@t:hello",
    "@n:[0 5]",
    "@tag:{a}",
    "-hello",
    "%hello%",
    "hel*",
    "(a|b)",
    "\"a b\"",
    "$x",
    "0",
    "1",
    "2",
    "-1",
    "1000000",
    "99999999999999999999",
    "1e999",
    "nan",
    "",
    "\0",
    "LIMIT",
    "SORTBY",
    "n",
    "@n",
    "t",
    "RETURN",
    "NOCONTENT",
    "WITHSCORES",
    "PARAMS",
    "x",
    "DIALECT",
    "GROUPBY",
    "REDUCE",
    "COUNT",
    "SUM",
    "QUANTILE",
    "AS",
    "APPLY",
    "sqrt(@n)",
    "@n/0",
    "FILTER",
    "@n>0",
    "LOAD",
    "WITHCURSOR",
    "HIGHLIGHT",
    "SUMMARIZE",
    "FIELDS",
    "TAGS",
    "LEN",
    "INKEYS",
    "INFIELDS",
    "SLOP",
    "INORDER",
    "VERBATIM",
    "TIMEOUT",
    "GEOFILTER",
    "g",
    "km",
    "SCORER",
    "TFIDF",
    "EXPLAINSCORE",
    "SCHEMA",
    "TEXT",
    "TAG",
    "NUMERIC",
    "VECTOR",
    "FLAT",
    "HNSW",
    "6",
    "TYPE",
    "FLOAT32",
    "DIM",
    "DISTANCE_METRIC",
    "L2",
    "ON",
    "JSON",
    "PREFIX",
    "STOPWORDS",
    "WEIGHT",
    "SORTABLE",
    "QUERY",
    "SEARCH",
    "AGGREGATE",
    "READ",
    "DEL",
    "ADD",
    "TERMS",
    "DISTANCE",
    "*=>[KNN 2 @v $x]",
    "@v:[VECTOR_RANGE 1 $x]",
    "abcdefgh",
    "set",
    "VALUES",
    "FP32",
    "ELE",
    "east",
    "FUZZY",
    "MAX",
    "INCR",
    "$..*",
    "$[?(@.n>0)]",
    ".",
    "{\"a\":1}",
    "[[",
    "string",
    "d:1",
    "sug",
];

const NAMES: &[&str] = &[
    "FT.SEARCH",
    "FT.AGGREGATE",
    "FT.CREATE",
    "FT.ALTER",
    "FT.EXPLAIN",
    "FT.EXPLAINCLI",
    "FT.PROFILE",
    "FT.CURSOR",
    "FT.SPELLCHECK",
    "FT.TAGVALS",
    "FT.SYNUPDATE",
    "FT.SYNDUMP",
    "FT.DICTADD",
    "FT.DICTDUMP",
    "FT.ALIASADD",
    "FT.ALIASUPDATE",
    "FT.INFO",
    "FT.CONFIG",
    "FT.SUGADD",
    "FT.SUGGET",
    "JSON.SET",
    "JSON.GET",
    "JSON.MERGE",
    "JSON.ARRPOP",
    "JSON.NUMINCRBY",
    "VADD",
    "VSIM",
    "VEMB",
    "VLINKS",
    "VSETATTR",
    "VRANGE",
];

/// Arguments without sense are answered, whatever the answer is, and the server goes on.
#[test]
fn arguments_at_random_are_answered() {
    const COMMANDS: usize = 20_000;
    const LOT: usize = 200;
    let mut rng = StdRng::seed_from_u64(1);
    let server = Server::cairn(&["--appendfsync", "no"]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let mut errors = 0;
    for lot in 0..COMMANDS / LOT {
        // Again and again, as some of it may delete what there is.
        let setup = SETUP.iter().map(|line| split(line));
        let random = (0..LOT).map(|_| {
            let name = NAMES[rng.random_range(0..NAMES.len())];
            let count = rng.random_range(0..12);
            // Mostly of something that is there.
            let first = ["idx", "docs", "d:1", "set", "sug", "none"][rng.random_range(0..6)];
            let words = (0..count).map(|_| WORDS[rng.random_range(0..WORDS.len())]);
            [name, first].into_iter().chain(words).map(|word| word.as_bytes().to_vec()).collect()
        });
        let commands: Vec<Vec<Vec<u8>>> = setup.chain(random).collect();
        for command in &commands {
            client.send(command).unwrap();
        }
        for command in &commands {
            let reply = client.reply(LIMIT).unwrap_or_else(|error| {
                panic!("lot {lot}, at {} or before: {error:#}", shown(command));
            });
            errors += usize::from(matches!(reply, Reply::Error(_)));
        }
    }
    println!("{errors} errors");
    assert!(errors < COMMANDS, "nothing makes sense to it");
}
