//! FT.SEARCH: documents in order.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use cairn_proto::{ReplyWriter, Resp};
use cairn_search::aggregate::{Value as Operand, general, number_text};
use cairn_search::eval::{Hit, SearchOptions, Sort};
use cairn_search::highlight::Matches;
use cairn_search::schema::FieldKind;

use super::document::{Document, Found, Place, Show, is_fresh, kept};
use super::options::{Kind, Mark, Named, Plan, Request};
use super::parsed::{Deadline, Parsed, Scoring, TIMED_OUT};
use super::reply::{Results, Warnings};
use super::{World, limits, look_up, said};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;
use crate::search::definition::Source;

/// Results of a search that does not say how many.
const LIMIT_DEFAULT: usize = 10;
/// Results between two looks at the clock while they are written.
const CLOCK_EVERY: usize = 64;
/// Documents that a sort by what it has to read keeps at least before it drops those behind.
const SORT_ROOM: usize = 1024;

pub(super) static FT_SEARCH: Command = Command {
    name: "ft.search",
    arity: -3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Returns the documents of an index that a query finds, in order.",
    complexity: "O(N), N being the number of documents that the query finds",
    syntax: "index query [NOCONTENT] [VERBATIM] [NOSTOPWORDS] [WITHSCORES] [WITHPAYLOADS] [WITHSORTKEYS] \
             [FILTER numeric_field min max] [GEOFILTER geo_field lon:double lat:double radius:double unit] \
             [INKEYS count:integer key [key ...]] [INFIELDS count:integer field [field ...]] \
             [RETURN count:integer identifier [identifier ...]] [SUMMARIZE [option ...]] [HIGHLIGHT [option ...]] \
             [SLOP slop:integer] [TIMEOUT timeout:integer] [INORDER] [LANGUAGE language] [EXPANDER expander] \
             [SCORER scorer] [EXPLAINSCORE] [PAYLOAD payload] [SORTBY sortby [ASC | DESC]] \
             [LIMIT offset:integer num:integer] [PARAMS nargs:integer name [value ...]] [DIALECT dialect:integer]",
    run: search,
    ..COMMAND
};

fn search(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse(Kind::Search, args.from(2), &limits(cx))?;
    look_up(cx, args.at(1), request.dialect)?;
    let Context { shared, keys, reply, host, .. } = cx;
    let world = World::new(shared, keys, &**host, args.at(1));
    let answer = Answer::of(world, &request, reply.resp)?;
    answer.write(reply).map(|_| ())
}

/// What a search has found, and how it is to be shown.
pub(super) struct Answer<'w> {
    world: World<'w>,
    request: &'w Request<'w>,
    pub parsed: Parsed,
    pub total: usize,
    hits: Vec<Hit>,
    order: Order<'w>,
    fields: Vec<Output<'w>>,
    show: Show,
    /// All of the document is shown, behind `fields`.
    whole: bool,
    pub deadline: Deadline,
    pub warnings: Warnings,
    pub content: bool,
}

/// What results are ordered by.
pub(super) enum Order<'w> {
    Score,
    Distance {
        name: &'w [u8],
        descending: bool,
    },
    /// What the index keeps of a sortable field.
    Kept {
        name: &'w [u8],
        field: usize,
        descending: bool,
    },
    /// A field that has to be read from each document.
    Read {
        name: &'w [u8],
        field: usize,
        place: Place<'w>,
        descending: bool,
    },
}

/// A field of the reply.
struct Output<'w> {
    name: &'w [u8],
    from: From<'w>,
    mark: Mark,
}

enum From<'w> {
    /// A distance of the name of the field.
    Distance,
    Place(Place<'w>),
    /// What it is sorted by, unless the document has a field of this name.
    SortKey(Place<'w>),
}

impl<'w> Answer<'w> {
    /// Searches. `resp` is the protocol of the reply, of which some options are part.
    pub fn of(world: World<'w>, request: &'w Request<'w>, resp: Resp) -> CommandResult<Self> {
        let source = world.entry.definition.source;
        check_format(request, source, resp)?;
        check_marks(request, world)?;
        let parsed = Parsed::new(world, request)?;
        let deadline = Deadline::after(world.host, request.timeout_ms);
        let show = Show::of(request.dialect, request.expand);
        let order = Order::of(world, request, &parsed)?;
        let mut answer = Self {
            world,
            request,
            total: 0,
            hits: Vec::new(),
            fields: Vec::new(),
            show,
            whole: request.returned.is_none(),
            content: !(request.no_content || request.count_only),
            parsed,
            order,
            deadline,
            warnings: Warnings::default(),
        };
        if answer.content {
            answer.fields = answer.outputs();
        }
        answer.run();
        if answer.warnings.timed_out && world.settings.fail_on_timeout {
            return Err(TIMED_OUT.into());
        }
        Ok(answer)
    }

    pub fn is_by_score(&self) -> bool {
        matches!(self.order, Order::Score)
    }

    fn window(&self) -> (usize, usize) {
        let arrange = self.request.steps.iter().find_map(|step| match step {
            Plan::Arrange(arrange) if arrange.limited => Some(arrange),
            _ => None,
        });
        let (offset, count) = arrange.map_or((0, LIMIT_DEFAULT), |a| (a.offset as usize, a.count as usize));
        let end = offset.saturating_add(count).min(self.world.max_search_results());
        (offset, end.saturating_sub(offset))
    }

    fn run(&mut self) {
        let (world, deadline) = (self.world, self.deadline);
        let mut goes_on = || !deadline.is_over(world.host);
        let (offset, limit) = self.window();
        let index = &world.entry.index;
        let Parsed { query, scorer, .. } = &self.parsed;
        let with_scores = self.request.with_scores && !scorer.zero;
        let sort = match &self.order {
            Order::Score if scorer.zero => Sort::Id,
            Order::Score => Sort::Score,
            Order::Distance { name, descending } => {
                Sort::Distance { name: name.to_vec(), descending: *descending }
            }
            Order::Kept { field, descending, .. } => Sort::Field { field: *field, descending: *descending },
            Order::Read { .. } => return self.run_reading(offset, limit),
        };
        // The greatest score is that of the first by score.
        let normalised = scorer.normalised && with_scores && limit > 0;
        let from = if normalised && sort == Sort::Score { 0 } else { offset };
        let by_score = sort == Sort::Score;
        let options = SearchOptions {
            sort,
            scorer: scorer.scorer,
            with_scores,
            offset: from,
            limit: limit + (offset - from),
        };
        let mut found = index.search(query, &options, &mut goes_on);
        if normalised {
            let greatest = if by_score {
                found.hits.first().map_or(0.0, |hit| hit.score)
            } else {
                let first = SearchOptions {
                    sort: Sort::Score,
                    with_scores,
                    scorer: scorer.scorer,
                    offset: 0,
                    limit: 1,
                };
                index.search(query, &first, &mut goes_on).hits.first().map_or(0.0, |hit| hit.score)
            };
            found.hits.drain(..(offset - from).min(found.hits.len()));
            if greatest > 0.0 {
                found.hits.iter_mut().for_each(|hit| hit.score /= greatest);
            }
        }
        self.total = found.total;
        self.hits = found.hits;
        self.warnings = Warnings { timed_out: found.stopped, truncated: found.truncated };
    }

    /// By a field of which the index keeps nothing to sort by: every document that is found has to be read.
    fn run_reading(&mut self, offset: usize, limit: usize) {
        let Order::Read { place, descending, .. } = &self.order else { return };
        let (world, deadline, descending) = (self.world, self.deadline, *descending);
        let mut goes_on = || !deadline.is_over(world.host);
        let index = &world.entry.index;
        let wanted = offset.saturating_add(limit);
        let directed = |order: Ordering| if descending { order.reverse() } else { order };
        let compare = |(a, x): &(Option<Operand>, Hit), (b, y): &(Option<Operand>, Hit)| match (a, b) {
            (Some(a), Some(b)) => directed(a.order(b).then(x.doc.cmp(&y.doc))),
            (None, None) => directed(x.doc.cmp(&y.doc)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        let Scoring { scorer, zero, .. } = self.parsed.scorer;
        let scorer = (self.request.with_scores && !zero).then_some(scorer);
        let mut rows: Vec<(Option<Operand>, Hit)> = Vec::new();
        let mut total = 0_usize;
        let all = index.visit(&self.parsed.query, scorer, &mut goes_on, |hit| {
            total += 1;
            if wanted > 0 {
                rows.push((read_operand(world, place, &hit), hit));
                if rows.len() >= wanted.saturating_mul(2).max(SORT_ROOM) {
                    rows.sort_by(compare);
                    rows.truncate(wanted);
                }
            }
            match total.is_multiple_of(CLOCK_EVERY) && deadline.is_over(world.host) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        rows.sort_by(compare);
        self.total = total;
        self.hits = rows.into_iter().map(|(_, hit)| hit).skip(offset).take(limit).collect();
        self.warnings.timed_out = !all || deadline.is_over(world.host);
    }

    /// The fields of the reply, in Redis's order: distances, what it is sorted by, the rest.
    fn outputs(&self) -> Vec<Output<'w>> {
        let entry = self.world.entry;
        let schema = &entry.definition.schema;
        let returned = self.request.returned.as_deref();
        let wanted =
            |name: &[u8]| returned.is_none_or(|fields| fields.iter().any(|field| field.name == name));
        let mut outputs: Vec<Output<'w>> = Vec::new();
        if let Some((name, field)) = self.order.field()
            && wanted(name)
        {
            let sort_key = match &self.order {
                Order::Kept { field, .. }
                    if entry.definition.source == Source::Hash || self.show == Show::First =>
                {
                    Place::Kept(*field)
                }
                _ => Place::of_field(entry, field),
            };
            let from = match returned {
                // It is read again, as any field that is asked for.
                Some(fields) => From::Place(
                    fields
                        .iter()
                        .find(|f| f.name == name)
                        .map_or(sort_key, |f| Place::resolve(entry, f.path)),
                ),
                None => From::SortKey(sort_key),
            };
            outputs.push(Output { name, from, mark: self.mark(name, Some(field)) });
        }
        for &Named { path, name } in returned.into_iter().flatten() {
            if outputs.iter().any(|known| known.name == name) {
                continue;
            }
            let from = match self.parsed.distances.iter().any(|known| known == name) {
                true => From::Distance,
                false => From::Place(Place::resolve(entry, path)),
            };
            outputs.push(Output { name, from, mark: self.mark(name, schema.find(path)) });
        }
        // Distances were there first.
        outputs.sort_by_key(|output| !matches!(output.from, From::Distance));
        outputs
    }

    /// What is to be marked in a field: in texts only.
    fn mark(&self, name: &[u8], field: Option<usize>) -> Mark {
        let fields = self.world.entry.definition.schema.fields();
        match field.map(|at| &fields[at].kind) {
            Some(FieldKind::Text { .. }) if self.request.marks.asked => self.request.marks.of(name),
            _ => Mark::default(),
        }
    }

    /// Writes the results; answers how many.
    pub fn write(&self, reply: &mut ReplyWriter) -> CommandResult<usize> {
        let mut results = Results::begin(reply, self.total, self.request.expand);
        let mut warnings = self.warnings;
        let mut written = 0;
        for (nth, hit) in self.hits.iter().enumerate() {
            if nth % CLOCK_EVERY == CLOCK_EVERY - 1 && self.deadline.is_over(self.world.host) {
                warnings.timed_out = true;
                if self.world.settings.fail_on_timeout {
                    return Err(TIMED_OUT.into());
                }
                break;
            }
            let Some(key) = self.world.entry.index.key_of(hit.doc) else { continue };
            let definition = &self.world.entry.definition;
            let document = Document::open(self.world.db, key, definition.source, self.world.now_ms);
            let Some(document) = document else { continue };
            written += 1;
            results.add(self.write_hit(reply, hit, key, document));
        }
        results.finish(reply, self.total, warnings);
        Ok(written)
    }

    /// Answers how many elements of the array of results it has written.
    fn write_hit(&self, reply: &mut ReplyWriter, hit: &Hit, key: &[u8], document: Document<'_>) -> usize {
        let request = self.request;
        let resp3 = reply.resp == Resp::V3;
        let told = [
            true,
            request.with_scores,
            request.with_raw_ids,
            request.with_payloads,
            request.with_sort_keys,
            self.content,
        ];
        let elements = told.iter().filter(|told| **told).count();
        if resp3 {
            reply.map(elements + 1);
        }
        let label = |reply: &mut ReplyWriter, name: &str| {
            if resp3 {
                reply.simple(name);
            }
        };
        label(reply, "id");
        reply.bulk(key);
        if request.with_scores {
            label(reply, "score");
            self.write_score(reply, hit);
        }
        if request.with_raw_ids {
            label(reply, "id");
            reply.int(i64::from(hit.doc));
        }
        if request.with_payloads {
            label(reply, "payload");
            reply.null();
        }
        if request.with_sort_keys {
            label(reply, "sortkey");
            self.write_sort_key(reply, hit, key, document);
        }
        if self.content {
            label(reply, "extra_attributes");
            self.write_fields(reply, hit, key, document);
        }
        if resp3 {
            reply.simple("values");
            reply.array(0);
            return 1;
        }
        elements
    }

    fn write_score(&self, reply: &mut ReplyWriter, hit: &Hit) {
        if self.request.explain_score {
            reply.array(2);
            reply.double(hit.score);
            reply.simple(&format!("Final score {:.2}", hit.score));
        } else {
            reply.double(hit.score);
        }
    }

    fn write_sort_key(&self, reply: &mut ReplyWriter, hit: &Hit, key: &[u8], document: Document<'_>) {
        let index = &self.world.entry.index;
        let found = match &self.order {
            Order::Score => Found::Missing,
            Order::Distance { name, .. } => {
                let distance = hit.distances.iter().find(|(known, _)| known == name);
                distance.map_or(Found::Missing, |(_, distance)| Found::Number(*distance))
            }
            Order::Kept { field, .. } => kept(index, hit.doc, *field),
            Order::Read { place, .. } => place.find(index, hit.doc, key, document, Show::First),
        };
        match found.operand() {
            Some(Operand::Number(number)) => reply.bulk(format!("#{}", general(number, 17)).as_bytes()),
            Some(Operand::Text(text)) => reply.bulk(&[b"$", &text[..]].concat()),
            _ => reply.null(),
        }
    }

    fn write_fields(&self, reply: &mut ReplyWriter, hit: &Hit, key: &[u8], document: Document<'_>) {
        let index = &self.world.entry.index;
        // Terms are looked for only once something is to be marked.
        let mut matches: Option<Matches> = None;
        let mut pairs = 0;
        let fields = reply.defer();
        if self.whole {
            for (name, distance) in &hit.distances {
                reply.bulk(name);
                reply.bulk(number_text(*distance).as_bytes());
                pairs += 1;
            }
        }
        for output in &self.fields {
            let own = match document {
                Document::Hash(hash, now_ms) if matches!(output.from, From::SortKey(_)) => {
                    hash.get(output.name).filter(|_| is_fresh(hash, output.name, now_ms))
                }
                _ => None,
            };
            let found = match &output.from {
                _ if own.is_some() => own.map_or(Found::Missing, Found::Elem),
                From::Distance => {
                    let distance = hit.distances.iter().find(|(known, _)| known == output.name);
                    distance.map_or(Found::Missing, |(_, distance)| Found::Number(*distance))
                }
                From::Place(place) | From::SortKey(place) => {
                    place.find(index, hit.doc, key, document, self.show)
                }
            };
            if found.is_missing() {
                continue;
            }
            reply.bulk(output.name);
            self.write_value(reply, &found, &output.mark, hit, &mut matches);
            pairs += 1;
        }
        if self.whole {
            pairs += self.write_whole(reply, hit, document, &mut matches);
        }
        reply.finish_map(fields, pairs);
    }

    fn write_whole(
        &self,
        reply: &mut ReplyWriter,
        hit: &Hit,
        document: Document<'_>,
        matches: &mut Option<Matches>,
    ) -> usize {
        let schema = &self.world.entry.definition.schema;
        match document {
            Document::Json(json) => {
                reply.bulk(b"$");
                let found = match self.show {
                    Show::First => Found::Json(json),
                    _ => Found::Many(vec![json]),
                };
                found.reply(reply, self.show);
                1
            }
            Document::Hash(hash, now_ms) => {
                let mut pairs = 0;
                for (name, value) in hash.iter() {
                    let mut buffer = itoa::Buffer::new();
                    let name = name.to_bytes(&mut buffer);
                    let shown = self.fields.iter().any(|output| output.name == name)
                        || hit.distances.iter().any(|(known, _)| known == name);
                    if shown || !is_fresh(hash, name, now_ms) {
                        continue;
                    }
                    reply.bulk(name);
                    if self.request.marks.asked {
                        let mark = self.mark(name, schema.find(name));
                        self.write_value(reply, &Found::Elem(value), &mark, hit, matches);
                    } else {
                        value.reply(reply);
                    }
                    pairs += 1;
                }
                pairs
            }
        }
    }

    fn write_value(
        &self,
        reply: &mut ReplyWriter,
        found: &Found<'_>,
        mark: &Mark,
        hit: &Hit,
        matches: &mut Option<Matches>,
    ) {
        if !mark.is_some() {
            return found.reply(reply, self.show);
        }
        let index = &self.world.entry.index;
        let mut goes_on = || !self.deadline.is_over(self.world.host);
        let matches = matches
            .get_or_insert_with(|| Matches::of(index, &self.parsed.query, hit.doc, None, &mut goes_on));
        let marked = found.with_text(|text| match (&mark.summarize, &mark.highlight) {
            (Some(summary), tags) => matches.summarize(index, text, summary, tags.as_ref()),
            (None, Some(tags)) => matches.highlight(index, text, tags),
            (None, None) => text.to_vec(),
        });
        match marked {
            Some(text) => reply.bulk_shared(text.into()),
            None => found.reply(reply, self.show),
        }
    }
}

fn read_operand(world: World<'_>, place: &Place<'_>, hit: &Hit) -> Option<Operand> {
    let key = world.entry.index.key_of(hit.doc)?;
    let document = Document::open(world.db, key, world.entry.definition.source, world.now_ms)?;
    place.find(&world.entry.index, hit.doc, key, document, Show::First).operand()
}

impl<'w> Order<'w> {
    fn of(world: World<'w>, request: &'w Request<'w>, parsed: &Parsed) -> CommandResult<Self> {
        let key = request.steps.iter().find_map(|step| match step {
            Plan::Arrange(arrange) => arrange.keys.first().copied(),
            _ => None,
        });
        let Some((name, descending)) = key else { return Ok(Self::Score) };
        if parsed.distances.iter().any(|known| known == name) {
            return Ok(Self::Distance { name, descending });
        }
        let schema = &world.entry.definition.schema;
        let Some(field) = schema.find(name) else {
            return Err(said("Property `", name, "` not loaded nor in schema"));
        };
        if schema.fields()[field].sortable && schema.fields()[field].kind != FieldKind::Geo {
            return Ok(Self::Kept { name, field, descending });
        }
        Ok(Self::Read { name, field, place: Place::of_field(world.entry, field), descending })
    }

    fn field(&self) -> Option<(&'w [u8], usize)> {
        match self {
            Self::Kept { name, field, .. } | Self::Read { name, field, .. } => Some((name, *field)),
            Self::Score | Self::Distance { .. } => None,
        }
    }
}

/// FORMAT EXPAND is for JSON, and for those who can read it.
pub(super) fn check_format(request: &Request<'_>, source: Source, resp: Resp) -> CommandResult {
    if request.expand && resp != Resp::V3 {
        return Err("EXPAND format is only supported with RESP3".into());
    }
    if request.expand && source != Source::Json {
        return Err("EXPAND format is only supported with JSON".into());
    }
    if request.expand && request.dialect < 3 {
        return Err("EXPAND format requires dialect 3 or greater".into());
    }
    Ok(())
}

fn check_marks(request: &Request<'_>, world: World<'_>) -> CommandResult {
    let marks = &request.marks;
    if !marks.asked {
        return Ok(());
    }
    let definition = &world.entry.definition;
    if definition.source == Source::Json && request.returned.as_ref().is_none_or(Vec::is_empty) {
        return Err("HIGHLIGHT/SUMMARIZE on JSON indexes requires RETURN with explicit field names".into());
    }
    if definition.no_offsets || definition.no_highlights {
        return Err("Cannot use HIGHLIGHT/SUMMARIZE because NOOFSETS was specified at index level".into());
    }
    match &request.returned {
        None => {
            let unknown = marks.fields.iter().find(|(name, _)| definition.schema.find(name).is_none());
            unknown.map_or(Ok(()), |(name, _)| Err(said("No such property `", name, "`")))
        }
        Some(fields) => {
            let marked = |named: &&Named<'_>| marks.of(named.name).is_some();
            let unknown =
                fields.iter().filter(marked).find(|named| definition.schema.find(named.path).is_none());
            unknown.map_or(Ok(()), |named| Err(said("Property `", named.name, "` is not in schema")))
        }
    }
}
