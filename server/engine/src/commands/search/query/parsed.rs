//! From arguments to a query that runs, within a time.

use cairn_search::eval::{Scorer, TANH_FACTOR};
use cairn_search::query::ast::{Kind as NodeKind, Node};
use cairn_search::query::{Filter, ParseOptions, Query};
use cairn_search::schema::{FieldKind, FieldMask, Schema};
use cairn_search::text::Language;

use super::options::Request;
use super::{World, said};
use crate::error::{CommandError, CommandResult};
use crate::host::Host;

/// How long a query may run that is told to take its time: the executor serves nobody else meanwhile.
const TIMEOUT_MAX_MS: u64 = 60_000;
/// What the policy FAIL answers, and the others say as a warning.
pub(super) const TIMED_OUT: &str = "Timeout limit was reached";
pub(super) const TRUNCATED: &str = "Max prefix expansions limit was reached";

/// The moment by which a query has to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// So many milliseconds from now; 0: as many as may be.
    pub fn after(host: &dyn Host, ms: u64) -> Self {
        let ms = if ms == 0 { TIMEOUT_MAX_MS } else { ms.min(TIMEOUT_MAX_MS) };
        Self(host.monotonic_us().saturating_add(ms * 1000))
    }

    pub fn is_over(self, host: &dyn Host) -> bool {
        host.monotonic_us() >= self.0
    }
}

/// A query with what it was made of.
pub(super) struct Parsed {
    pub query: Query,
    pub scorer: Scoring,
    /// The names by which results have distances, in order.
    pub distances: Vec<Vec<u8>>,
}

/// How results are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scoring {
    pub scorer: Scorer,
    /// Scores are divided by the greatest.
    pub normalised: bool,
    /// HAMMING compares payloads, which no document has: all scores are 0.
    pub zero: bool,
}

impl Scoring {
    fn parse(request: &Request<'_>) -> CommandResult<Self> {
        let plain = |scorer| Ok(Self { scorer, normalised: false, zero: false });
        let Some(name) = request.scorer else { return plain(Scorer::default()) };
        if name == b"BM25STD.NORM" {
            return Ok(Self { scorer: Scorer::Bm25Std, normalised: true, zero: false });
        }
        if name == b"HAMMING" {
            return Ok(Self { scorer: Scorer::DocScore, normalised: false, zero: true });
        }
        // Names are looked up as they are.
        match Scorer::parse(name) {
            Some(Scorer::Bm25StdTanh { .. }) => {
                plain(Scorer::Bm25StdTanh { factor: request.tanh_factor.unwrap_or(TANH_FACTOR) })
            }
            Some(scorer) if name.iter().all(|byte| !byte.is_ascii_lowercase()) => plain(scorer),
            _ => Err(said("No such scorer ", name, "")),
        }
    }
}

impl Parsed {
    pub fn new(world: World<'_>, request: &Request<'_>) -> CommandResult<Self> {
        let World { entry, settings, .. } = world;
        let schema = entry.index.schema();
        let language = match request.language {
            Some(name) => Some(Language::parse(name).ok_or("No such language")?),
            None => None,
        };
        let scorer = Scoring::parse(request)?;
        let (filters, nothing) = filters(schema, request)?;
        let in_keys = match (nothing, request.in_keys) {
            (true, _) => Some(Vec::new()),
            (false, []) => None,
            (false, keys) => Some(keys.iter().map(|key| key.to_vec()).collect()),
        };
        let mask = |names: &[&[u8]]| {
            names
                .iter()
                .fold(0, |mask: FieldMask, name| mask | schema.find(name).map_or(0, |at| schema.mask_of(at)))
        };
        let options = ParseOptions {
            dialect: request.dialect as u8,
            params: request.params.clone(),
            verbatim: request.verbatim,
            no_stop_words: request.no_stop_words,
            in_fields: (!request.in_fields.is_empty()).then(|| mask(request.in_fields)),
            in_keys,
            language,
            slop: request.slop.and_then(|slop| u32::try_from(slop).ok()),
            in_order: request.in_order,
            filters,
            affix_len_min: settings.min_prefix as usize,
            expansions_max: settings.max_expansions as usize,
        };
        let query = Query::parse(request.query, &entry.index, &options).map_err(error)?;
        let mut distances = Vec::new();
        distance_names(&query.root, &mut distances);
        for (at, name) in distances.iter().enumerate() {
            if schema.find(name).is_some() {
                return Err(said("Property `", name, "` already exists in schema"));
            }
            if distances[..at].contains(name) {
                return Err(said("Property `", name, "` specified more than once"));
            }
        }
        Ok(Self { query, scorer, distances })
    }
}

/// An error of the library as a reply.
pub(super) fn error(error: cairn_search::query::QueryError) -> CommandError {
    error.message.into()
}

/// FILTER and GEOFILTER. True if one is of a field that is not there, which in dialect 1 means that nothing is found.
fn filters(schema: &Schema, request: &Request<'_>) -> CommandResult<(Vec<Filter>, bool)> {
    let mut filters = Vec::new();
    let mut nothing = false;
    for filter in &request.filters {
        let field = schema.find(filter.field);
        match field.filter(|&at| schema.fields()[at].kind == FieldKind::Numeric) {
            Some(field) => {
                let (min, min_inclusive) = filter.min;
                let (max, max_inclusive) = filter.max;
                filters.push(Filter::Numeric { field, min, max, min_inclusive, max_inclusive });
            }
            None if request.dialect == 1 => nothing = true,
            None if field.is_some() => {
                return Err(said("Field is not a numeric field, field: ", filter.field, ""));
            }
            None => return Err(said("Unknown Field '", filter.field, "'")),
        }
    }
    for filter in &request.geo_filters {
        let field = schema.find(filter.field);
        match field.filter(|&at| schema.fields()[at].kind == FieldKind::Geo) {
            Some(field) => {
                let (longitude, latitude) = (filter.longitude, filter.latitude);
                if !(-180.0..=180.0).contains(&longitude) || !(-90.0..=90.0).contains(&latitude) {
                    return Err("Invalid GeoFilter lat/lon".into());
                }
                if filter.radius.is_nan() || filter.radius <= 0.0 {
                    return Err("Invalid GeoFilter radius".into());
                }
                let (radius, unit) = (filter.radius, filter.unit);
                filters.push(Filter::Geo { field, longitude, latitude, radius, unit });
            }
            None if request.dialect == 1 => nothing = true,
            None if field.is_some() => {
                return Err(said("Field is not a geo field, field: ", filter.field, ""));
            }
            None => return Err(said("Unknown Field, field: ", filter.field, "")),
        }
    }
    Ok((filters, nothing))
}

fn distance_names(node: &Node, names: &mut Vec<Vec<u8>>) {
    if let NodeKind::Vector(vector) = &node.kind
        && let Some(name) = &vector.score_field
    {
        names.push(name.clone());
    }
    node.children().iter().for_each(|child| distance_names(child, names));
}
