//! The arguments of FT.SEARCH and FT.AGGREGATE, in the order and with the errors of RediSearch.

use std::collections::BTreeMap;

use cairn_search::highlight::{Summary, Tags};
use cairn_search::query::ast::GeoUnit;

use super::said;
use crate::error::{CommandError, CommandResult};
use crate::search::cursor::{Bad, Cursor};

/// The language of queries that are told no DIALECT ends here.
pub(super) const DIALECT_MAX: usize = 4;
/// Properties of a GROUPBY. The same limit as RediSearch has.
const GROUP_BY_MAX: usize = 127;
/// Properties of a SORTBY. The same limit as RediSearch has.
const SORT_KEYS_MAX: usize = 8;

/// Fields of RETURN, of a LOAD, of HIGHLIGHT and SUMMARIZE together, and reducers of a GROUPBY: lists that are searched.
const FIELDS_MAX: usize = 1024;

/// Limits that the configuration sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub dialect: usize,
    pub timeout_ms: u64,
    pub max_search_results: u64,
    pub max_aggregate_results: u64,
    pub cursor_max_idle_ms: u64,
}

/// Which command the arguments are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Search,
    Aggregate,
    /// FT.EXPLAIN: takes what both take.
    Explain,
}

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub kind: Kind,
    pub query: &'a [u8],
    pub verbatim: bool,
    pub no_stop_words: bool,
    pub in_order: bool,
    pub slop: Option<i64>,
    pub language: Option<&'a [u8]>,
    pub scorer: Option<&'a [u8]>,
    pub tanh_factor: Option<u32>,
    pub in_keys: &'a [&'a [u8]],
    pub in_fields: &'a [&'a [u8]],
    pub filters: Vec<RangeFilter<'a>>,
    pub geo_filters: Vec<GeoFilter<'a>>,
    pub params: BTreeMap<Vec<u8>, &'a [u8]>,
    pub dialect: usize,
    pub timeout_ms: u64,
    /// `EXPAND`: values of JSON documents as maps and arrays.
    pub expand: bool,
    pub no_content: bool,
    pub with_scores: bool,
    pub add_scores: bool,
    pub explain_score: bool,
    pub with_payloads: bool,
    pub with_sort_keys: bool,
    pub with_raw_ids: bool,
    /// RETURN's fields; `None`: all there are.
    pub returned: Option<Vec<Named<'a>>>,
    pub marks: Marks<'a>,
    /// Only the number of results is wanted.
    pub count_only: bool,
    pub steps: Vec<Plan<'a>>,
    pub cursor: Option<CursorOptions>,
}

/// `path AS name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub path: &'a [u8],
    pub name: &'a [u8],
}

/// FILTER of FT.SEARCH.
#[derive(Debug)]
pub(super) struct RangeFilter<'a> {
    pub field: &'a [u8],
    pub min: (f64, bool),
    pub max: (f64, bool),
}

#[derive(Debug)]
pub(super) struct GeoFilter<'a> {
    pub field: &'a [u8],
    pub longitude: f64,
    pub latitude: f64,
    pub radius: f64,
    pub unit: GeoUnit,
}

/// HIGHLIGHT and SUMMARIZE: of all fields, and of some.
#[derive(Debug, Default)]
pub(super) struct Marks<'a> {
    pub asked: bool,
    pub all: Mark,
    pub fields: Vec<(&'a [u8], Mark)>,
    /// How many names were given, with those that were given again.
    named: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Mark {
    pub highlight: Option<Tags>,
    pub summarize: Option<Summary>,
}

impl Mark {
    pub fn is_some(&self) -> bool {
        self.highlight.is_some() || self.summarize.is_some()
    }
}

/// A step of FT.AGGREGATE as it was given. Of FT.SEARCH's there is at most one: what orders and cuts.
#[derive(Debug)]
pub(super) enum Plan<'a> {
    GroupBy {
        by: Vec<&'a [u8]>,
        reducers: Vec<Reduce<'a>>,
    },
    Apply {
        expression: &'a [u8],
        name: &'a [u8],
    },
    Filter(&'a [u8]),
    /// `None`: all fields.
    Load(Option<&'a [&'a [u8]]>),
    Arrange(Arrange<'a>),
}

#[derive(Debug)]
pub(super) struct Reduce<'a> {
    pub function: &'a [u8],
    pub args: &'a [&'a [u8]],
    pub name: Option<&'a [u8]>,
}

/// SORTBY and LIMIT that stand together.
#[derive(Debug, Default)]
pub(super) struct Arrange<'a> {
    /// Names without the `@`, and whether they descend.
    pub keys: Vec<(&'a [u8], bool)>,
    sorted: bool,
    pub limited: bool,
    pub offset: u64,
    pub count: u64,
}

/// WITHCURSOR.
#[derive(Clone, Copy, Debug)]
pub(super) struct CursorOptions {
    pub count: Option<usize>,
    pub max_idle_ms: u64,
}

/// The word was one that this place knows.
type Known = CommandResult<bool>;

impl<'a> Request<'a> {
    /// Parses what follows the index's name: the query and all options.
    pub fn parse(kind: Kind, args: &'a [&'a [u8]], limits: &Limits) -> CommandResult<Self> {
        let mut cursor = Cursor::new(args);
        let query = cursor.bytes().map_err(|_| CommandError::new("No query string provided"))?;
        let mut request = Self {
            kind,
            query,
            verbatim: false,
            no_stop_words: false,
            in_order: false,
            slop: None,
            language: None,
            scorer: None,
            tanh_factor: None,
            in_keys: &[],
            in_fields: &[],
            filters: Vec::new(),
            geo_filters: Vec::new(),
            params: BTreeMap::new(),
            dialect: limits.dialect,
            timeout_ms: limits.timeout_ms,
            expand: false,
            no_content: false,
            with_scores: false,
            add_scores: false,
            explain_score: false,
            with_payloads: false,
            with_sort_keys: false,
            with_raw_ids: false,
            returned: None,
            marks: Marks::default(),
            count_only: false,
            steps: Vec::new(),
            cursor: None,
        };
        let mut seen = Seen::default();
        // What is said of the query comes before the steps.
        while !cursor.is_at_end() {
            let known = request.query_word(&mut cursor, &mut seen)?
                || request.filter_word(&mut cursor, &mut seen)?
                || request.common_word(&mut cursor, &mut seen, limits)?;
            if !known {
                break;
            }
        }
        request.check(&seen)?;
        while !cursor.is_at_end() {
            let known =
                request.common_word(&mut cursor, &mut seen, limits)? || request.step_word(&mut cursor)?;
            if !known {
                let word = cursor.peek().unwrap_or_default();
                let at = args.len() - cursor.left();
                return Err(said("Unknown argument `", word, &format!("` at position {at} for <main>")));
            }
        }
        Ok(request)
    }

    fn is_search(&self) -> bool {
        self.kind == Kind::Search
    }

    fn query_word(&mut self, cursor: &mut Cursor<'a>, seen: &mut Seen<'a>) -> Known {
        let flags = [
            ("INORDER", &mut self.in_order),
            ("VERBATIM", &mut self.verbatim),
            ("WITHSCORES", &mut self.with_scores),
            ("ADDSCORES", &mut self.add_scores),
            ("WITHSORTKEYS", &mut self.with_sort_keys),
            ("WITHPAYLOADS", &mut self.with_payloads),
            ("NOCONTENT", &mut self.no_content),
            ("NOSTOPWORDS", &mut self.no_stop_words),
            ("EXPLAINSCORE", &mut self.explain_score),
        ];
        for (word, flag) in flags {
            if cursor.take_if(word) {
                *flag = true;
                return Ok(true);
            }
        }
        // There are neither payloads nor other expanders than the one.
        let ignored = &mut None;
        let texts = [
            ("LANGUAGE", &mut self.language),
            ("SCORER", &mut self.scorer),
            ("EXPANDER", &mut *ignored),
            ("PAYLOAD", &mut seen.payload),
        ];
        for (word, text) in texts {
            if cursor.take_if(word) {
                *text = Some(cursor.bytes().map_err(|bad| bad.of(word))?);
                return Ok(true);
            }
        }
        if cursor.take_if("INFIELDS") {
            self.in_fields = cursor.counted().map_err(|bad| bad.of("INFIELDS"))?;
        } else if cursor.take_if("INKEYS") {
            self.in_keys = cursor.counted().map_err(|bad| bad.of("INKEYS"))?;
        } else if cursor.take_if("SLOP") {
            let slop = cursor.int().map_err(|bad| bad.of("SLOP"))?;
            self.slop = Some(i64::from(i32::try_from(slop).map_err(|_| Bad::Bounds.of("SLOP"))?));
        } else if cursor.take_if("RETURN") {
            seen.returned = Some(cursor.counted().map_err(|bad| bad.of("RETURN"))?);
        } else if cursor.take_if("SUMMARIZE") {
            self.refuse_in_aggregate("SUMMARIZE")?;
            self.summarize(cursor).map_err(|_| CommandError::new("Bad arguments for SUMMARIZE"))?;
        } else if cursor.take_if("HIGHLIGHT") {
            self.refuse_in_aggregate("HIGHLIGHT")?;
            self.highlight(cursor).map_err(|_| CommandError::new("Bad arguments for HIGHLIGHT"))?;
        } else if cursor.take_if("WITHCOUNT") || cursor.take_if("WITHOUTCOUNT") {
            // Counting costs nothing here.
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn refuse_in_aggregate(&self, what: &str) -> CommandResult {
        match self.kind {
            Kind::Aggregate => Err(format!("{what} is not supported on FT.AGGREGATE").into()),
            _ => Ok(()),
        }
    }

    fn summarize(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Bad> {
        let fields = marked_fields(cursor)?;
        let mut summary = Summary::default();
        loop {
            if cursor.take_if("LEN") {
                summary.words = cursor.size(0)?;
            } else if cursor.take_if("FRAGS") {
                summary.pieces = cursor.size(0)?;
            } else if cursor.take_if("SEPARATOR") {
                summary.separator = cursor.bytes()?.to_vec();
            } else {
                break;
            }
        }
        self.marks.set(fields, |mark| mark.summarize = Some(summary.clone()))
    }

    fn highlight(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Bad> {
        let fields = marked_fields(cursor)?;
        let mut tags = Tags::default();
        while cursor.take_if("TAGS") {
            tags = Tags { open: cursor.bytes()?.to_vec(), close: cursor.bytes()?.to_vec() };
        }
        self.marks.set(fields, |mark| mark.highlight = Some(tags.clone()))
    }

    fn filter_word(&mut self, cursor: &mut Cursor<'a>, seen: &mut Seen<'a>) -> Known {
        if !self.is_search() {
            return Ok(false);
        }
        if cursor.take_if("FILTER") {
            if cursor.left() < 3 {
                return Err("FILTER requires 3 arguments".into());
            }
            let mut word = || cursor.bytes().unwrap_or_default();
            let (field, min, max) = (word(), word(), word());
            seen.empty_filter |= min.is_empty() || max.is_empty();
            self.filters.push(RangeFilter { field, min: bound(min, true)?, max: bound(max, false)? });
        } else if cursor.take_if("GEOFILTER") {
            if cursor.left() < 5 {
                return Err("GEOFILTER requires 5 arguments".into());
            }
            let field = cursor.bytes().unwrap_or_default();
            let mut number = |name: &str| {
                if cursor.peek() == Some(b"") {
                    seen.empty_filter = true;
                    let _ = cursor.bytes();
                    return Ok(0.0);
                }
                cursor.double().map_err(|bad| bad.of(name))
            };
            let (longitude, latitude, radius) = (number("<lon>")?, number("<lat>")?, number("<radius>")?);
            let unit = cursor.bytes().unwrap_or_default();
            let unit = GeoUnit::parse(unit).ok_or_else(|| said("Unknown distance unit ", unit, ""))?;
            self.geo_filters.push(GeoFilter { field, longitude, latitude, radius, unit });
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn common_word(&mut self, cursor: &mut Cursor<'a>, seen: &mut Seen<'a>, limits: &Limits) -> Known {
        if cursor.take_if("LIMIT") {
            self.limit(cursor, limits)?;
        } else if cursor.take_if("SORTBY") {
            self.sort_by(cursor)?;
        } else if cursor.take_if("TIMEOUT") {
            if cursor.is_at_end() {
                return Err("Need argument for TIMEOUT".into());
            }
            let timeout =
                cursor.size(0).map_err(|_| CommandError::new("TIMEOUT requires a non negative integer"))?;
            self.timeout_ms = timeout as u64;
        } else if cursor.take_if("WITHCURSOR") {
            self.cursor = Some(cursor_options(cursor, limits)?);
        } else if cursor.take_if("WITHRAWIDS") {
            self.with_raw_ids = true;
        } else if cursor.take_if("PARAMS") {
            let given = cursor.counted().map_err(|bad| bad.of("PARAMS"))?;
            self.params(given)?;
        } else if cursor.take_if("DIALECT") {
            self.dialect = dialect(cursor)?;
            if self.expand && self.dialect < 3 {
                return Err("EXPAND format requires dialect 3 or greater".into());
            }
        } else if cursor.take_if("FORMAT") {
            let format = cursor.bytes().map_err(|_| CommandError::new("Need an argument for FORMAT"))?;
            self.expand = format.eq_ignore_ascii_case(b"EXPAND");
            if !self.expand && !format.eq_ignore_ascii_case(b"STRING") {
                return Err(said("FORMAT ", format, " is not supported"));
            }
        } else if cursor.take_if("BM25STD_TANH_FACTOR") {
            if cursor.is_at_end() {
                return Err("Need an argument for BM25STD_TANH_FACTOR".into());
            }
            let factor = cursor.size(1).ok().filter(|&factor| factor <= TANH_FACTOR_MAX);
            let factor = factor.ok_or_else(|| {
                format!("BM25STD_TANH_FACTOR must be between 1 and {TANH_FACTOR_MAX} inclusive")
            })?;
            self.tanh_factor = Some(factor as u32);
        } else {
            return Ok(false);
        }
        let _ = seen;
        Ok(true)
    }

    /// The step at the end that orders and cuts; one is made if there is none.
    fn arrange(&mut self) -> &mut Arrange<'a> {
        if !matches!(self.steps.last(), Some(Plan::Arrange(_))) {
            self.steps.push(Plan::Arrange(Arrange::default()));
        }
        match self.steps.last_mut() {
            Some(Plan::Arrange(arrange)) => arrange,
            _ => unreachable!("one was made"),
        }
    }

    fn limit(&mut self, cursor: &mut Cursor<'a>, limits: &Limits) -> CommandResult {
        if cursor.left() < 2 {
            return Err("LIMIT requires two arguments".into());
        }
        let numeric = |_| CommandError::new("LIMIT needs two numeric arguments");
        let offset = cursor.size(0).map_err(numeric)? as u64;
        let count = cursor.size(0).map_err(numeric)? as u64;
        if count == 0 && offset != 0 {
            return Err("The `offset` of the LIMIT must be 0 when `num` is 0".into());
        }
        let max = if self.is_search() { limits.max_search_results } else { limits.max_aggregate_results };
        if count > max {
            return Err(format!("LIMIT exceeds maximum of {max}").into());
        }
        if offset > limits.max_search_results {
            return Err(format!("OFFSET exceeds maximum of {}", limits.max_search_results).into());
        }
        self.count_only |= count == 0;
        let arrange = self.arrange();
        (arrange.limited, arrange.offset, arrange.count) = (true, offset, count);
        Ok(())
    }

    fn sort_by(&mut self, cursor: &mut Cursor<'a>) -> CommandResult {
        let legacy = self.is_search();
        let again = matches!(self.steps.last(), Some(Plan::Arrange(arrange)) if arrange.sorted);
        if again && legacy {
            return Err("Multiple SORTBY steps are not allowed".into());
        }
        if again {
            return Err("Multiple SORTBY steps are not allowed. Sort multiple fields in a single step".into());
        }
        let mut keys: Vec<(&[u8], bool)> = Vec::new();
        let mut max = None;
        if legacy {
            let name = cursor.bytes().map_err(|_| CommandError::new("Bad SORTBY arguments"))?;
            let descending = cursor.take_if("DESC");
            if !descending {
                cursor.take_if("ASC");
            }
            keys.push((name, descending));
            if cursor.take_if("MAX") {
                return Err("SORTBY MAX is not supported by FT.SEARCH".into());
            }
        } else {
            for &word in cursor.counted().map_err(|bad| bad.of("SORTBY"))? {
                let descends = word.eq_ignore_ascii_case(b"DESC");
                if let Some(name) = word.strip_prefix(b"@") {
                    if keys.len() == SORT_KEYS_MAX {
                        return Err(format!("Cannot sort by more than {SORT_KEYS_MAX} fields").into());
                    }
                    keys.push((name, false));
                } else if descends || word.eq_ignore_ascii_case(b"ASC") {
                    if let Some(last) = keys.last_mut() {
                        last.1 = descends;
                    }
                } else {
                    return Err(said("MISSING ASC or DESC after sort field (", word, ")"));
                }
            }
            if cursor.take_if("MAX") {
                max = Some(cursor.size(0).map_err(|bad| bad.of("MAX"))? as u64);
            }
        }
        if keys.is_empty() && max.is_none_or(|max| max == 0) {
            return Ok(());
        }
        let arrange = self.arrange();
        arrange.sorted = !keys.is_empty();
        arrange.keys = keys;
        if let Some(max) = max {
            arrange.count = max;
        }
        Ok(())
    }

    fn params(&mut self, given: &'a [&'a [u8]]) -> CommandResult {
        if !self.params.is_empty() {
            return Err("Multiple PARAMS are not allowed. Parameters can be defined only once".into());
        }
        if given.is_empty() || !given.len().is_multiple_of(2) {
            return Err("Parameters must be specified in PARAM VALUE pairs".into());
        }
        for pair in given.chunks_exact(2) {
            if self.params.insert(pair[0].to_vec(), pair[1]).is_some() {
                return Err(said("Duplicate parameter `", pair[0], "`"));
            }
        }
        Ok(())
    }

    /// What can be said once all that is said of the query is known.
    fn check(&mut self, seen: &Seen<'a>) -> CommandResult {
        if self.dialect >= 2 && seen.empty_filter {
            return Err("Numeric/Geo filter value/s cannot be empty".into());
        }
        if self.explain_score && !self.with_scores {
            return Err("EXPLAINSCORE must be accompanied with WITHSCORES".into());
        }
        if self.is_search() && self.add_scores {
            return Err("ADDSCORES is not supported on FT.SEARCH".into());
        }
        let Some(words) = seen.returned else { return Ok(()) };
        self.refuse_in_aggregate("RETURN")?;
        let returned = named(words, "RETURN")?;
        self.no_content |= returned.is_empty();
        self.returned = Some(returned);
        Ok(())
    }

    fn step_word(&mut self, cursor: &mut Cursor<'a>) -> Known {
        if cursor.take_if("GROUPBY") {
            if self.is_search() {
                return Err("option `GROUPBY` is mutually exclusive with simple (i.e. search) options".into());
            }
            self.group_by(cursor)?;
            return Ok(true);
        }
        if self.is_search() {
            return Ok(false);
        }
        if cursor.take_if("APPLY") {
            let expression = cursor.bytes().map_err(|bad| bad.of("APPLY/FILTER"))?;
            let name = match cursor.take_if("AS") {
                true => cursor.bytes().map_err(|_| CommandError::new("AS needs argument"))?,
                false => expression,
            };
            self.steps.push(Plan::Apply { expression, name });
        } else if cursor.take_if("FILTER") {
            let expression = cursor.bytes().map_err(|bad| bad.of("APPLY/FILTER"))?;
            self.steps.push(Plan::Filter(expression));
        } else if cursor.take_if("LOAD") {
            let fields = match cursor.counted() {
                Ok(fields) => Some(fields),
                Err(Bad::Unparsable) if cursor.take_if("*") => None,
                Err(Bad::Unparsable) => {
                    return Err("Bad arguments for LOAD: Expected number of fields or `*`".into());
                }
                Err(bad) => return Err(bad.of("LOAD")),
            };
            self.steps.push(Plan::Load(fields));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn group_by(&mut self, cursor: &mut Cursor<'a>) -> CommandResult {
        let properties = cursor.counted().map_err(|bad| bad.of("GROUPBY"))?;
        if properties.len() > GROUP_BY_MAX {
            return Err(Bad::Bounds.of("GROUPBY"));
        }
        let mut by = Vec::with_capacity(properties.len());
        for &property in properties {
            let Some(name) = property.strip_prefix(b"@") else {
                let unknown =
                    said("Bad arguments for GROUPBY: Unknown property `", property, "`. Did you mean `@");
                return Err(CommandError::Bytes(
                    [&unknown.text(), crate::error::printed(property), b"`?"].concat(),
                ));
            };
            by.push(name);
        }
        let mut reducers = Vec::new();
        while cursor.take_if("REDUCE") {
            if reducers.len() == FIELDS_MAX {
                return Err(Bad::Bounds.of("REDUCE"));
            }
            let function = cursor.bytes().map_err(|bad| bad.of("REDUCE"))?;
            let args = cursor
                .counted()
                .map_err(|bad| said("Bad arguments for ", function, &format!(": {}", bad.text())))?;
            let name = match cursor.take_if("AS") {
                true => Some(cursor.bytes().map_err(|bad| bad.of("AS"))?),
                false => None,
            };
            reducers.push(Reduce { function, args, name });
        }
        self.steps.push(Plan::GroupBy { by, reducers });
        Ok(())
    }
}

/// What was said, but counts only once all is known.
#[derive(Default)]
struct Seen<'a> {
    returned: Option<&'a [&'a [u8]]>,
    empty_filter: bool,
    payload: Option<&'a [u8]>,
}

const TANH_FACTOR_MAX: usize = 10_000;

impl<'a> Marks<'a> {
    fn set(&mut self, fields: Option<&'a [&'a [u8]]>, set: impl Fn(&mut Mark)) -> Result<(), Bad> {
        self.asked = true;
        let Some(fields) = fields.filter(|fields| !fields.is_empty()) else {
            set(&mut self.all);
            return Ok(());
        };
        self.named += fields.len();
        if self.named > FIELDS_MAX {
            return Err(Bad::Bounds);
        }
        for &name in fields {
            let at = self.fields.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                self.fields.push((name, Mark::default()));
                self.fields.len() - 1
            });
            set(&mut self.fields[at].1);
        }
        Ok(())
    }

    /// What is to be done with a field.
    pub fn of(&self, name: &[u8]) -> Mark {
        let own = self.fields.iter().find(|(known, _)| *known == name).map(|(_, mark)| mark);
        let Some(own) = own else {
            // Fields that are named stand for all.
            return self.all.clone();
        };
        Mark {
            highlight: own.highlight.clone().or_else(|| self.all.highlight.clone()),
            summarize: own.summarize.clone().or_else(|| self.all.summarize.clone()),
        }
    }
}

fn marked_fields<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [&'a [u8]]>, Bad> {
    if cursor.take_if("FIELDS") { cursor.counted().map(Some) } else { Ok(None) }
}

/// `path [AS name]` again and again. Of two with the same name the first counts.
pub(super) fn named<'a>(words: &'a [&'a [u8]], command: &str) -> CommandResult<Vec<Named<'a>>> {
    let mut cursor = Cursor::new(words);
    let mut fields: Vec<Named<'_>> = Vec::with_capacity(words.len().min(FIELDS_MAX));
    let mut given = 0;
    while let Ok(path) = cursor.bytes() {
        given += 1;
        if given > FIELDS_MAX {
            return Err(Bad::Bounds.of(command));
        }
        let path = if command == "LOAD" { path.strip_prefix(b"@").unwrap_or(path) } else { path };
        let mut name = path;
        if cursor.take_if("AS") {
            name = cursor
                .bytes()
                .map_err(|_| format!("{command} path AS name - must be accompanied with NAME"))?;
            if name.eq_ignore_ascii_case(b"AS") {
                return Err(format!("Alias for {command} cannot be `AS`").into());
            }
        }
        if fields.iter().all(|known| known.name != name) {
            fields.push(Named { path, name });
        }
    }
    Ok(fields)
}

/// The number behind DIALECT.
pub(super) fn dialect(cursor: &mut Cursor<'_>) -> CommandResult<usize> {
    if cursor.is_at_end() {
        return Err("Need an argument for DIALECT".into());
    }
    let dialect = cursor.size(1).ok().filter(|&dialect| dialect <= DIALECT_MAX);
    dialect.ok_or_else(|| format!("DIALECT requires a non negative integer >=1 and <= {DIALECT_MAX}").into())
}

fn cursor_options(cursor: &mut Cursor<'_>, limits: &Limits) -> CommandResult<CursorOptions> {
    let mut options = CursorOptions { count: None, max_idle_ms: limits.cursor_max_idle_ms };
    loop {
        if cursor.take_if("MAXIDLE") {
            let idle = cursor.size(1).map_err(|bad| bad.of("MAXIDLE"))? as u64;
            options.max_idle_ms = idle.min(limits.cursor_max_idle_ms);
        } else if cursor.take_if("COUNT") {
            options.count = Some(cursor.size(1).map_err(|bad| bad.of("COUNT"))?);
        } else {
            return Ok(options);
        }
    }
}

/// A bound of FILTER with whether it is part of the range. The empty text is 0, in dialect 1.
fn bound(text: &[u8], lower: bool) -> CommandResult<(f64, bool)> {
    let (text, inclusive) = match text.strip_prefix(b"(") {
        Some(rest) => (rest, false),
        None => (text, true),
    };
    let is = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
    if lower && is("-inf") {
        return Ok((f64::NEG_INFINITY, inclusive));
    }
    if !lower && (is("inf") || is("+inf")) {
        return Ok((f64::INFINITY, inclusive));
    }
    if text.is_empty() {
        return Ok((0.0, inclusive));
    }
    let which = if lower { "Bad lower range: " } else { "Bad upper range: " };
    match crate::args::parse_f64(text) {
        Some(number) if number.is_finite() => Ok((number, inclusive)),
        _ => Err(said(which, text, "")),
    }
}
