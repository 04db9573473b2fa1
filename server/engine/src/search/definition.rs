//! What FT.CREATE says of an index, and the one form in which it is written down.

use cairn_json::Path;
use cairn_search::aggregate::Expression;
use cairn_search::schema::{Field, FieldKind, Options, Schema};
use cairn_search::text::{Language, StopWords};

use super::cursor::{Bad, Cursor};
use super::fields;
use crate::args::parse_f64;
use crate::error::{CommandError, CommandResult, printed};

/// Prefixes of one index.
const PREFIXES_MAX: usize = 1 << 16;
/// TEXT fields that an index may have without MAXTEXTFIELDS, unless it is created with more.
const NARROW_TEXT_FIELDS: usize = 32;

/// The type of the keys that an index covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Hash,
    Json,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hash => "HASH",
            Self::Json => "JSON",
        }
    }
}

/// An index as it was defined.
#[derive(Debug)]
pub struct Definition {
    pub name: Box<[u8]>,
    pub source: Source,
    /// Of the keys that are indexed; one that is empty if there were none.
    pub prefixes: Vec<Box<[u8]>>,
    /// As it was given, and parsed.
    pub filter: Option<(Box<[u8]>, Expression)>,
    pub language_field: Option<Box<[u8]>>,
    pub score: f64,
    pub score_field: Option<Box<[u8]>>,
    pub payload_field: Option<Box<[u8]>>,
    pub index_all: bool,
    pub no_offsets: bool,
    pub no_highlights: bool,
    pub no_fields: bool,
    pub no_frequencies: bool,
    /// More than [`NARROW_TEXT_FIELDS`] TEXT fields may be there.
    pub wide: bool,
    pub skip_initial_scan: bool,
    /// Dropped after so long without use.
    pub temporary_ms: Option<i64>,
    /// The fields with the index's language and stop words.
    pub schema: Schema,
    /// The paths of a JSON index's fields; `None` for what is no path, at which nothing is found.
    pub paths: Vec<Option<Path>>,
}

impl Definition {
    /// Parses what follows the index's name in FT.CREATE.
    pub fn parse(name: &[u8], args: &[&[u8]]) -> CommandResult<Self> {
        let mut cursor = Cursor::new(args);
        let mut this = Self {
            name: name.into(),
            source: Source::Hash,
            prefixes: Vec::new(),
            filter: None,
            language_field: None,
            score: 1.0,
            score_field: None,
            payload_field: None,
            index_all: false,
            no_offsets: false,
            no_highlights: false,
            no_fields: false,
            no_frequencies: false,
            wide: false,
            skip_initial_scan: false,
            temporary_ms: None,
            schema: Schema::default(),
            paths: Vec::new(),
        };
        let given = this.parse_options(&mut cursor)?;
        if this.wide && this.no_fields {
            return Err("MAXTEXTFIELDS cannot be used with NOFIELDS".into());
        }
        let options = this.check_options(given)?;
        this.schema = Schema::new(options);
        if !cursor.take_if("SCHEMA") {
            return Err(match cursor.peek() {
                Some(arg) => said("Unknown argument `", arg, "`"),
                None => "No schema found".into(),
            });
        }
        this.add_fields(&mut cursor, true)?;
        Ok(this)
    }

    fn parse_options<'a>(&mut self, cursor: &mut Cursor<'a>) -> CommandResult<Given<'a>> {
        let mut given = Given::default();
        loop {
            if cursor.take_if("NOOFFSETS") {
                self.no_offsets = true;
            } else if cursor.take_if("NOHL") {
                self.no_highlights = true;
            } else if cursor.take_if("NOFIELDS") {
                self.no_fields = true;
            } else if cursor.take_if("NOFREQS") {
                self.no_frequencies = true;
            } else if cursor.take_if("MAXTEXTFIELDS") {
                self.wide = true;
            } else if cursor.take_if("SKIPINITIALSCAN") {
                self.skip_initial_scan = true;
            } else if cursor.take_if("ASYNC") || cursor.take_if("NOSCOREIDX") {
                // Words of the past.
            } else if cursor.take_if("ON") {
                given.source = Some(cursor.bytes().map_err(|bad| bad.of("ON"))?);
            } else if cursor.take_if("PREFIX") {
                given.prefixes = cursor.counted().map_err(|bad| bad.of("PREFIX"))?;
            } else if cursor.take_if("FILTER") {
                given.filter = Some(cursor.bytes().map_err(|bad| bad.of("FILTER"))?);
            } else if cursor.take_if("SCORE") {
                given.score = Some(cursor.bytes().map_err(|bad| bad.of("SCORE"))?);
            } else if cursor.take_if("SCORE_FIELD") {
                self.score_field = Some(cursor.bytes().map_err(|bad| bad.of("SCORE_FIELD"))?.into());
            } else if cursor.take_if("LANGUAGE") {
                given.language = Some(cursor.bytes().map_err(|bad| bad.of("LANGUAGE"))?);
            } else if cursor.take_if("LANGUAGE_FIELD") {
                self.language_field = Some(cursor.bytes().map_err(|bad| bad.of("LANGUAGE_FIELD"))?.into());
            } else if cursor.take_if("PAYLOAD_FIELD") {
                self.payload_field = Some(cursor.bytes().map_err(|bad| bad.of("PAYLOAD_FIELD"))?.into());
            } else if cursor.take_if("INDEXALL") {
                given.index_all = Some(cursor.bytes().map_err(|bad| bad.of("INDEXALL"))?);
            } else if cursor.take_if("TEMPORARY") {
                let seconds = cursor.int().map_err(|bad| bad.of("TEMPORARY"))?;
                let ms = seconds.checked_mul(1000).ok_or(Bad::Bounds.of("TEMPORARY"))?;
                self.temporary_ms = (seconds >= 0).then_some(ms);
            } else if cursor.take_if("STOPWORDS") {
                given.stop_words = Some(cursor.counted().map_err(|bad| bad.of("STOPWORDS"))?);
            } else {
                return Ok(given);
            }
        }
    }

    fn check_options(&mut self, given: Given<'_>) -> CommandResult<Options> {
        self.source = match given.source {
            None => Source::Hash,
            Some(name) if name.eq_ignore_ascii_case(b"HASH") => Source::Hash,
            Some(name) if name.eq_ignore_ascii_case(b"JSON") => Source::Json,
            Some(name) => return Err(said("Invalid rule type: ", name, "")),
        };
        if let Some(score) = given.score {
            self.score =
                parse_f64(score).filter(|score| (0.0..=1.0).contains(score)).ok_or("Invalid score")?;
        }
        let language = match given.language {
            Some(name) => Language::parse(name).ok_or("Invalid language")?,
            None => Language::ENGLISH,
        };
        if given.prefixes.len() > PREFIXES_MAX {
            let count = given.prefixes.len();
            return Err(
                format!("Number of prefixes ({count}) exceeds maximum allowed ({PREFIXES_MAX})").into()
            );
        }
        self.prefixes = given.prefixes.iter().map(|&prefix| prefix.into()).collect();
        if self.prefixes.is_empty() {
            self.prefixes.push(Box::default());
        }
        if let Some(text) = given.filter {
            let expression =
                Expression::parse(text).map_err(|error| CommandError::from(error.to_string()))?;
            self.filter = Some((text.into(), expression));
        }
        self.index_all = match given.index_all {
            None => false,
            Some(word) if word.eq_ignore_ascii_case(b"ENABLE") => true,
            Some(word) if word.eq_ignore_ascii_case(b"DISABLE") => false,
            Some(_) => return Err("Invalid argument for `INDEXALL`, use ENABLE/DISABLE".into()),
        };
        let stop_words = match given.stop_words {
            Some(words) => StopWords::custom(words.iter().copied()),
            None => StopWords::Default,
        };
        Ok(Options { language, stop_words, offsets: !self.no_offsets })
    }

    /// Parses the fields that are left of the arguments and adds them. After an error the definition is as before.
    pub fn add_fields(&mut self, cursor: &mut Cursor<'_>, is_new: bool) -> CommandResult {
        let mut schema = self.schema.clone();
        let before = schema.fields().len();
        if cursor.is_at_end() {
            return Err("Fields arguments are missing".into());
        }
        while !cursor.is_at_end() {
            fields::parse(&mut schema, cursor, self.source)?;
        }
        let narrow = schema.text_fields() <= NARROW_TEXT_FIELDS;
        if !narrow && !self.no_fields {
            if !is_new && !self.wide {
                return Err(
                    "Cannot add more fields. Declare index with wide fields to allow adding unlimited fields"
                        .into(),
                );
            }
            self.wide = true;
        }
        if self.source == Source::Json {
            let mut paths = Vec::new();
            for at in before..schema.fields().len() {
                let field = &schema.fields()[at];
                let path = self.path_of(field)?;
                let is_searched = matches!(field.kind, FieldKind::Text { .. }) && !field.noindex;
                let is_static = path.as_ref().is_some_and(Path::is_static);
                // RediSearch looks at paths only from the first field on that has a name of its own.
                let is_named = schema.fields()[..=at].iter().any(|field| field.name != field.path);
                if is_searched && !is_static && is_named && !self.no_offsets {
                    schema.set_unordered(at);
                }
                paths.push(path);
            }
            self.paths.append(&mut paths);
        }
        self.schema = schema;
        Ok(())
    }

    fn path_of(&self, field: &Field) -> CommandResult<Option<Path>> {
        let path = std::str::from_utf8(&field.path).ok().and_then(|text| Path::parse(text).ok());
        if path.is_none() && matches!(field.kind, FieldKind::Text { .. } | FieldKind::Vector(_)) {
            let shown = |bytes: &[u8]| String::from_utf8_lossy(printed(bytes)).into_owned();
            return Err(format!(
                "Invalid JSONPath '{}' in attribute '{}' in index '{}'",
                shown(&field.path),
                shown(&field.name),
                shown(&self.name)
            )
            .into());
        }
        Ok(path)
    }

    /// Does the index cover keys of this name?
    pub fn covers(&self, key: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    /// FT.CREATE with which the same index is made again.
    pub fn to_command(&self) -> Vec<Vec<u8>> {
        let mut argv: Vec<Vec<u8>> = vec![b"FT.CREATE".to_vec(), self.name.to_vec()];
        let mut put = |words: &[&[u8]]| argv.extend(words.iter().map(|word| word.to_vec()));
        put(&[b"ON", self.source.name().as_bytes()]);
        put(&[b"PREFIX", self.prefixes.len().to_string().as_bytes()]);
        self.prefixes.iter().for_each(|prefix| put(&[prefix]));
        let valued = [
            ("FILTER", self.filter.as_ref().map(|(text, _)| &**text)),
            ("LANGUAGE_FIELD", self.language_field.as_deref()),
            ("SCORE_FIELD", self.score_field.as_deref()),
            ("PAYLOAD_FIELD", self.payload_field.as_deref()),
        ];
        for (word, value) in valued {
            if let Some(value) = value {
                put(&[word.as_bytes(), value]);
            }
        }
        put(&[b"LANGUAGE", self.schema.options.language.name().as_bytes()]);
        // Rust prints the shortest text that means the same number.
        put(&[b"SCORE", self.score.to_string().as_bytes()]);
        if self.index_all {
            put(&[b"INDEXALL", b"ENABLE"]);
        }
        let flags = [
            ("NOOFFSETS", self.no_offsets),
            ("NOHL", self.no_highlights),
            ("NOFIELDS", self.no_fields),
            ("NOFREQS", self.no_frequencies),
            ("MAXTEXTFIELDS", self.wide),
            ("SKIPINITIALSCAN", self.skip_initial_scan),
        ];
        for (word, _) in flags.iter().filter(|(_, on)| *on) {
            put(&[word.as_bytes()]);
        }
        if let Some(ms) = self.temporary_ms {
            put(&[b"TEMPORARY", (ms / 1000).to_string().as_bytes()]);
        }
        let stop_words = &self.schema.options.stop_words;
        if stop_words.is_custom() {
            put(&[b"STOPWORDS", stop_words.iter().count().to_string().as_bytes()]);
            stop_words.iter().for_each(|word| put(&[word]));
        }
        put(&[b"SCHEMA"]);
        self.schema.fields().iter().for_each(|field| fields::put(field, &mut argv));
        argv
    }
}

/// Options that have to be looked at in an order of their own, so that the error is the one that Redis finds first.
#[derive(Default)]
struct Given<'a> {
    source: Option<&'a [u8]>,
    prefixes: &'a [&'a [u8]],
    filter: Option<&'a [u8]>,
    score: Option<&'a [u8]>,
    language: Option<&'a [u8]>,
    index_all: Option<&'a [u8]>,
    stop_words: Option<&'a [&'a [u8]]>,
}

/// An error that repeats what the client said.
pub(crate) fn said(before: &str, bytes: &[u8], after: &str) -> CommandError {
    CommandError::Bytes([before.as_bytes(), printed(bytes), after.as_bytes()].concat())
}
