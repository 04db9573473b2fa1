//! The fields of a schema: from arguments, and back.

use cairn_search::schema::{
    Field, FieldKind, HnswSpec, Metric, Schema, SchemaError, VectorAlgorithm, VectorSpec, VectorType,
};

use super::cursor::{Bad, Cursor};
use super::definition::{Source, said};
use crate::error::{CommandError, CommandResult, printed};

/// Numbers of a vector.
const DIMENSIONS_MAX: usize = 1 << 15;
/// Links of a node in an HNSW graph, and nodes looked at.
const LINKS_MAX: usize = 512;
const EF_MAX: usize = 4096;

/// Parses one field and adds it.
pub(super) fn parse(schema: &mut Schema, cursor: &mut Cursor<'_>, source: Source) -> CommandResult {
    let path = cursor.bytes().map_err(|_| CommandError::new("Fields arguments are missing"))?;
    let name = if cursor.take_if("AS") {
        cursor.bytes().map_err(|_| CommandError::new("AS requires an argument"))?
    } else {
        path
    };
    if name.is_empty() {
        return Err("Field name cannot be empty".into());
    }
    if name.contains(&0) {
        return Err("Field name cannot contain null bytes".into());
    }
    if path.contains(&0) {
        return Err("Field path cannot contain null bytes".into());
    }
    if schema.find(name).is_some() {
        return Err(said("Duplicate field in schema - ", name, ""));
    }
    let mut field = Field::new("", FieldKind::TEXT);
    field.path = path.into();
    field.name = name.into();
    parse_kind(&mut field, cursor, source)?;
    schema.add(field).map_err(|error| match error {
        SchemaError::Duplicate(_) => said("Duplicate field in schema - ", name, ""),
        error => error.to_string().into(),
    })
}

fn parse_kind(field: &mut Field, cursor: &mut Cursor<'_>, source: Source) -> CommandResult {
    if cursor.is_at_end() {
        return Err(said("Field `", &field.name, "` does not have a type"));
    }
    if cursor.take_if("TEXT") {
        parse_text(field, cursor)?;
    } else if cursor.take_if("TAG") {
        parse_tag(field, cursor, source)?;
    } else if cursor.take_if("NUMERIC") {
        field.kind = FieldKind::Numeric;
        field.index_missing = cursor.take_if("INDEXMISSING");
    } else if cursor.take_if("GEO") {
        field.kind = FieldKind::Geo;
        field.index_missing = cursor.take_if("INDEXMISSING");
    } else if cursor.take_if("VECTOR") {
        field.kind = FieldKind::Vector(parse_vector(cursor)?);
        field.index_missing = cursor.take_if("INDEXMISSING");
        return Ok(());
    } else {
        return Err(said("Invalid field type for field `", &field.name, "`"));
    }
    loop {
        if cursor.take_if("SORTABLE") {
            field.sortable = true;
            let asked = cursor.take_if("UNF");
            let tags_as_they_are = matches!(field.kind, FieldKind::Tag { case_sensitive: true, .. });
            field.unf |=
                asked || source == Source::Json || field.kind == FieldKind::Numeric || tags_as_they_are;
        } else if cursor.take_if("NOINDEX") {
            field.noindex = true;
        } else {
            break;
        }
    }
    if field.noindex && field.index_missing {
        return Err(said(
            "'Field cannot be defined with both `NOINDEX` and `INDEXMISSING` `",
            &field.name,
            "` '",
        ));
    }
    Ok(())
}

fn parse_text(field: &mut Field, cursor: &mut Cursor<'_>) -> CommandResult {
    let (mut weight, mut nostem, mut with_suffix) = (1.0, false, false);
    loop {
        if cursor.take_if("NOSTEM") {
            nostem = true;
        } else if cursor.take_if("WEIGHT") {
            weight = cursor.double().map_err(|bad| bad.of("weight"))?;
        } else if cursor.take_if("PHONETIC") {
            let matcher = cursor.bytes().map_err(|_| CommandError::new("PHONETIC requires an argument"))?;
            if !matches!(matcher, b"dm:en" | b"dm:fr" | b"dm:pt" | b"dm:es") {
                return Err("Matcher Format: <2 chars algorithm>:<2 chars language>. Support algorithms: double \
                            metaphone (dm). Supported languages: English (en), French (fr), Portuguese (pt) and \
                            Spanish (es)"
                    .into());
            }
        } else if cursor.take_if("WITHSUFFIXTRIE") {
            with_suffix = true;
        } else if !take_presence(field, cursor) {
            break;
        }
    }
    field.kind = FieldKind::Text { weight, nostem, with_suffix };
    Ok(())
}

/// Words about values that are empty or missing.
fn take_presence(field: &mut Field, cursor: &mut Cursor<'_>) -> bool {
    if cursor.take_if("INDEXEMPTY") {
        field.index_empty = true;
    } else if cursor.take_if("INDEXMISSING") {
        field.index_missing = true;
    } else {
        return false;
    }
    true
}

fn parse_tag(field: &mut Field, cursor: &mut Cursor<'_>, source: Source) -> CommandResult {
    let (mut case_sensitive, mut with_suffix) = (false, false);
    // The values of a JSON document are tags already.
    let mut separator = (source == Source::Hash).then_some(b',');
    loop {
        if cursor.take_if("SEPARATOR") {
            let given = cursor.bytes().map_err(|_| CommandError::new("SEPARATOR requires an argument"))?;
            match printed(given) {
                [one] => separator = Some(*one),
                _ => return Err(said("Tag separator must be a single character. Got `", given, "`")),
            }
        } else if cursor.take_if("CASESENSITIVE") {
            case_sensitive = true;
        } else if cursor.take_if("WITHSUFFIXTRIE") {
            with_suffix = true;
        } else if !take_presence(field, cursor) {
            break;
        }
    }
    field.kind = FieldKind::Tag { separator, case_sensitive, with_suffix };
    Ok(())
}

fn parse_vector(cursor: &mut Cursor<'_>) -> CommandResult<VectorSpec> {
    let of_algorithm = |bad: Bad| bad.of("vector similarity algorithm");
    let algorithm = cursor.bytes().map_err(of_algorithm)?;
    let flat = algorithm.eq_ignore_ascii_case(b"FLAT");
    if !flat && !algorithm.eq_ignore_ascii_case(b"HNSW") {
        return Err(of_algorithm(Bad::Unknown));
    }
    let algorithm = if flat { "FLAT" } else { "HNSW" };
    let count = cursor.size(0).map_err(|bad| bad.of("vector similarity number of parameters"))?;
    if count % 2 != 0 {
        let why = if flat {
            "as algorithm parameters (should be submitted as named arguments)"
        } else {
            "(as algorithm parameters should be submitted as named arguments)"
        };
        return Err(format!(
            "Bad number of arguments for vector similarity index: got {count} but expected even number {why}"
        )
        .into());
    }
    let of = |name: &str, bad: Bad| bad.of(&format!("vector similarity {algorithm} index `{name}`"));
    let (mut numbers, mut dim, mut metric) = (None, None, None);
    let mut hnsw = HnswSpec::default();
    let mut seen = 0;
    while seen < count / 2 && !cursor.is_at_end() {
        if cursor.take_if("TYPE") {
            numbers = Some(vector_type(cursor).map_err(|bad| of("TYPE", bad))?);
        } else if cursor.take_if("DIM") {
            dim = Some(at_most(cursor, DIMENSIONS_MAX).map_err(|bad| of("DIM", bad))?);
        } else if cursor.take_if("DISTANCE_METRIC") {
            metric = Some(vector_metric(cursor).map_err(|bad| of("DISTANCE_METRIC", bad))?);
        } else if cursor.take_if("INITIAL_CAP") {
            // Room is made as it is needed.
            cursor.size(0).map_err(|bad| of("INITIAL_CAP", bad))?;
        } else if flat && cursor.take_if("BLOCK_SIZE") {
            cursor.size(1).map_err(|bad| of("BLOCK_SIZE", bad))?;
        } else if !flat && cursor.take_if("M") {
            hnsw.m = at_most(cursor, LINKS_MAX).map_err(|bad| of("M", bad))?;
        } else if !flat && cursor.take_if("EF_CONSTRUCTION") {
            hnsw.ef_construction = at_most(cursor, EF_MAX).map_err(|bad| of("EF_CONSTRUCTION", bad))?;
        } else if !flat && cursor.take_if("EF_RUNTIME") {
            hnsw.ef_runtime = at_most(cursor, EF_MAX).map_err(|bad| of("EF_RUNTIME", bad))?;
        } else if !flat && cursor.take_if("EPSILON") {
            let epsilon = cursor.double().map_err(|bad| of("EPSILON", bad))?;
            if epsilon < 0.0 {
                return Err(of("EPSILON", Bad::Bounds));
            }
            hnsw.epsilon = epsilon;
        } else {
            let word = cursor.bytes().unwrap_or_default();
            return Err(said(&format!("Bad arguments for algorithm {algorithm}: "), word, ""));
        }
        seen += 1;
    }
    if seen < count / 2 {
        return Err(format!("Expected {count} parameters but got {}", seen * 2).into());
    }
    let missing = |name: &str| {
        CommandError::from(format!(
            "Missing mandatory parameter: cannot create {algorithm} index without specifying {name} argument"
        ))
    };
    Ok(VectorSpec {
        algorithm: if flat { VectorAlgorithm::Flat } else { VectorAlgorithm::Hnsw(hnsw) },
        numbers: numbers.ok_or_else(|| missing("TYPE"))?,
        dim: dim.ok_or_else(|| missing("DIM"))?,
        metric: metric.ok_or_else(|| missing("DISTANCE_METRIC"))?,
    })
}

/// A number from one to this.
fn at_most(cursor: &mut Cursor<'_>, max: usize) -> Result<usize, Bad> {
    let value = cursor.size(1)?;
    if value > max { Err(Bad::Bounds) } else { Ok(value) }
}

fn vector_type(cursor: &mut Cursor<'_>) -> Result<VectorType, Bad> {
    let known = [VectorType::Float32, VectorType::Float64];
    let name = cursor.bytes()?;
    known
        .into_iter()
        .find(|known| name.eq_ignore_ascii_case(type_name(*known).as_bytes()))
        .ok_or(Bad::Unknown)
}

fn vector_metric(cursor: &mut Cursor<'_>) -> Result<Metric, Bad> {
    let known = [Metric::L2, Metric::Ip, Metric::Cosine];
    let name = cursor.bytes()?;
    known
        .into_iter()
        .find(|known| name.eq_ignore_ascii_case(metric_name(*known).as_bytes()))
        .ok_or(Bad::Unknown)
}

pub fn type_name(numbers: VectorType) -> &'static str {
    match numbers {
        VectorType::Float32 => "FLOAT32",
        VectorType::Float64 => "FLOAT64",
    }
}

pub fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::L2 => "L2",
        Metric::Ip => "IP",
        Metric::Cosine => "COSINE",
    }
}

/// Appends the field as [`parse`] reads it.
pub(crate) fn put(field: &Field, argv: &mut Vec<Vec<u8>>) {
    let mut put = |words: &[&[u8]]| argv.extend(words.iter().map(|word| word.to_vec()));
    put(&[&field.path]);
    if field.name != field.path {
        put(&[b"AS", &field.name]);
    }
    put(&[field.kind.name().as_bytes()]);
    let with_suffix = match &field.kind {
        FieldKind::Text { weight, nostem, with_suffix } => {
            put(&[b"WEIGHT", weight.to_string().as_bytes()]);
            if *nostem {
                put(&[b"NOSTEM"]);
            }
            *with_suffix
        }
        FieldKind::Tag { separator, case_sensitive, with_suffix } => {
            if let Some(separator) = separator {
                put(&[b"SEPARATOR", &[*separator]]);
            }
            if *case_sensitive {
                put(&[b"CASESENSITIVE"]);
            }
            *with_suffix
        }
        FieldKind::Numeric | FieldKind::Geo => false,
        FieldKind::Vector(spec) => {
            put_vector(spec, &mut put);
            false
        }
    };
    let flags = [
        ("WITHSUFFIXTRIE", with_suffix),
        ("INDEXEMPTY", field.index_empty),
        ("INDEXMISSING", field.index_missing),
        ("SORTABLE", field.sortable),
        ("UNF", field.sortable && field.unf),
        ("NOINDEX", field.noindex),
    ];
    for (word, _) in flags.iter().filter(|(_, on)| *on) {
        put(&[word.as_bytes()]);
    }
}

fn put_vector(spec: &VectorSpec, put: &mut impl FnMut(&[&[u8]])) {
    let mut params = vec![
        ("TYPE", type_name(spec.numbers).to_owned()),
        ("DIM", spec.dim.to_string()),
        ("DISTANCE_METRIC", metric_name(spec.metric).to_owned()),
    ];
    let name = match spec.algorithm {
        VectorAlgorithm::Flat => "FLAT",
        VectorAlgorithm::Hnsw(hnsw) => {
            params.extend([
                ("M", hnsw.m.to_string()),
                ("EF_CONSTRUCTION", hnsw.ef_construction.to_string()),
                ("EF_RUNTIME", hnsw.ef_runtime.to_string()),
                ("EPSILON", hnsw.epsilon.to_string()),
            ]);
            "HNSW"
        }
    };
    put(&[name.as_bytes(), (params.len() * 2).to_string().as_bytes()]);
    params.iter().for_each(|(name, value)| put(&[name.as_bytes(), value.as_bytes()]));
}
