//! What lies within a circle or a box: GEOSEARCH, GEOSEARCHSTORE, and the older GEORADIUS commands.

use cairn_proto::{DOUBLE_TEXT_MAX, ReplyWriter, format_double};

use super::hash::{Cell, Extent, Point, Shape};
use super::{parse_point, parse_unit, place_of, reply_distance, reply_point};
use crate::args::{Args, parse_f64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, OVERWRITE, READ};
use crate::commands::zset::{limits, store};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::Zset;
use crate::types::element::Elem;
use crate::types::zset::{ScoreBound, ScoreRange, ZsetBuilder};

const COMPLEXITY: &str = "O(N+log(M)), N being the number of places in the cells around the shape and M the length of the sorted set";

pub(super) static GEOSEARCH: Command = Command {
    name: "geosearch",
    arity: -7,
    group: Group::Geo,
    since: "6.2.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the places within a circle or a box.",
    complexity: COMPLEXITY,
    syntax: "key FROMMEMBER member:string | FROMLONLAT longitude:double latitude:double \
             BYRADIUS radius:double M | KM | FT | MI | BYBOX width:double height:double M | KM | FT | MI \
             [ASC | DESC] [COUNT count:integer [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
    run: |cx, args| run(cx, args, Form::Search),
    ..COMMAND
};

pub(super) static GEOSEARCHSTORE: Command = Command {
    name: "geosearchstore",
    arity: -8,
    group: Group::Geo,
    since: "6.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, OVERWRITE), Keys::at(2, READ)],
    summary: "Stores the places within a circle or a box in another key.",
    complexity: COMPLEXITY,
    syntax: "destination:key source:key FROMMEMBER member:string | FROMLONLAT longitude:double latitude:double \
             BYRADIUS radius:double M | KM | FT | MI | BYBOX width:double height:double M | KM | FT | MI \
             [ASC | DESC] [COUNT count:integer [ANY]] [STOREDIST]",
    run: |cx, args| run(cx, args, Form::SearchStore),
    ..COMMAND
};

pub(super) static GEORADIUS: Command = Command {
    name: "georadius",
    arity: -6,
    group: Group::Geo,
    since: "3.2.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::MovableKeys],
    keys: &[
        Keys::at(1, READ),
        Keys::after("STORE", 6, 0, 0, OVERWRITE),
        Keys::after("STOREDIST", 6, 0, 0, OVERWRITE),
    ],
    summary: "Returns or stores the places within a circle.",
    complexity: COMPLEXITY,
    syntax: "key longitude:double latitude:double radius:double M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count:integer [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
    run: |cx, args| run(cx, args, Form::Radius { read_only: false }),
    ..COMMAND
};

pub(super) static GEORADIUS_RO: Command = Command {
    name: "georadius_ro",
    arity: -6,
    group: Group::Geo,
    since: "3.2.10",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the places within a circle.",
    complexity: COMPLEXITY,
    syntax: "key longitude:double latitude:double radius:double M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count:integer [ANY]] [ASC | DESC]",
    run: |cx, args| run(cx, args, Form::Radius { read_only: true }),
    ..COMMAND
};

pub(super) static GEORADIUSBYMEMBER: Command = Command {
    name: "georadiusbymember",
    arity: -5,
    group: Group::Geo,
    since: "3.2.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::MovableKeys],
    keys: &[
        Keys::at(1, READ),
        Keys::after("STORE", 5, 0, 0, OVERWRITE),
        Keys::after("STOREDIST", 5, 0, 0, OVERWRITE),
    ],
    summary: "Returns or stores the places within a circle around one of them.",
    complexity: COMPLEXITY,
    syntax: "key member:string radius:double M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count:integer [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
    run: |cx, args| run(cx, args, Form::RadiusByMember { read_only: false }),
    ..COMMAND
};

pub(super) static GEORADIUSBYMEMBER_RO: Command = Command {
    name: "georadiusbymember_ro",
    arity: -5,
    group: Group::Geo,
    since: "3.2.10",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the places within a circle around one of them.",
    complexity: COMPLEXITY,
    syntax: "key member:string radius:double M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count:integer [ANY]] [ASC | DESC]",
    run: |cx, args| run(cx, args, Form::RadiusByMember { read_only: true }),
    ..COMMAND
};

/// Which arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Search,
    SearchStore,
    Radius { read_only: bool },
    RadiusByMember { read_only: bool },
}

impl Form {
    /// Is it one of the GEOSEARCH commands?
    fn searches(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }

    /// Takes STORE key and STOREDIST key?
    fn names_a_store(self) -> bool {
        matches!(self, Self::Radius { read_only: false } | Self::RadiusByMember { read_only: false })
    }
}

fn run(cx: &mut Context<'_>, args: Args<'_>, form: Form) -> CommandResult {
    let source = if form == Form::SearchStore { 2 } else { 1 };
    let set = cx.keys.get(args.at(source)).map(|value| value.as_zset()).transpose()?;
    let request = Request::parse(args, form, set)?;
    let mut places = match (set, request.shape) {
        (Some(set), Some(shape)) => find(set, &shape, if request.any { request.count } else { 0 }),
        _ => Vec::new(),
    };
    request.select(&mut places);

    let Some(destination) = request.store else {
        cx.reply.array(places.len());
        for place in &places {
            request.reply(cx.reply, place);
        }
        return Ok(());
    };
    let limits = limits(cx);
    let mut result = ZsetBuilder::new(limits.seed);
    for place in &places {
        let score =
            if request.store_distance { place.distance / request.metres_per_unit } else { place.score };
        result.score_mut(place.member, score);
    }
    let event = if form.searches() { "geosearchstore" } else { "georadiusstore" };
    replace(cx, destination, result.finish(&limits), event);
    Ok(())
}

/// Stores a result and logs it as what it is: another machine's sines might find another one.
fn replace(cx: &mut Context<'_>, destination: &[u8], result: Zset, event: &str) {
    let replaces = cx.keys.contains(destination);
    let members: Vec<Vec<u8>> = result.iter().map(|(member, _)| member.to_vec()).collect();
    let scores: Vec<String> =
        result.iter().map(|(_, score)| format_double(score, &mut [0; DOUBLE_TEXT_MAX]).to_owned()).collect();
    if !store(cx, destination, result, event) {
        return;
    }
    cx.shared.effects.add_dirty(members.len() as u64 - 1);
    if replaces {
        cx.log(&[b"DEL", destination]);
    }
    let mut effect: Vec<&[u8]> = vec![b"ZADD", destination];
    for (member, score) in members.iter().zip(&scores) {
        effect.extend([score.as_bytes(), member]);
    }
    cx.log(&effect);
}

/// A member within the shape.
struct Place<'a> {
    member: Elem<'a>,
    score: f64,
    point: Point,
    /// From the centre, in metres.
    distance: f64,
    /// As how many'th it was found: decides between equal distances.
    number: usize,
}

/// Everything within the shape; `limit` places are enough (0: all are wanted).
fn find<'a>(set: &'a Zset, shape: &Shape, limit: usize) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for cell in shape.cells() {
        let (min, max) = cell.scores();
        let ranks = set.ranks_by_score(&ScoreRange {
            min: ScoreBound { score: min as f64, exclusive: false },
            max: ScoreBound { score: max as f64, exclusive: true },
        });
        for (member, score) in set.range(ranks, false) {
            let point = Cell::of_score(score).centre();
            if let Some(distance) = shape.distance_within(point) {
                places.push(Place { member, score, point, distance, number: places.len() });
                if places.len() == limit {
                    return places;
                }
            }
        }
    }
    places
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    None,
    Near,
    Far,
}

/// The arguments of a search.
struct Request<'a> {
    /// `None` only when there is no set to search.
    shape: Option<Shape>,
    metres_per_unit: f64,
    sort: Sort,
    /// 0: all.
    count: usize,
    any: bool,
    with_distance: bool,
    with_hash: bool,
    with_point: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

impl<'a> Request<'a> {
    /// Reads the arguments in Redis's order: what is wrong first is reported. Without a set, members are not looked up
    /// but the arguments are checked, because STORE decides what the reply is.
    fn parse(args: Args<'a>, form: Form, set: Option<&Zset>) -> CommandResult<Self> {
        let mut request = Self {
            shape: None,
            metres_per_unit: 1.0,
            sort: Sort::None,
            count: 0,
            any: false,
            with_distance: false,
            with_hash: false,
            with_point: false,
            store: None,
            store_distance: false,
        };
        let mut centre = Centre::Missing;
        let mut extent = None;
        let mut at = match form {
            Form::Radius { .. } => {
                centre = Centre::Given(parse_point(args.at(2), args.at(3))?);
                extent = Some(request.parse_radius(args, 4)?);
                6
            }
            Form::RadiusByMember { .. } => {
                centre = Centre::of_member(set, args.at(2))?;
                if set.is_some() {
                    extent = Some(request.parse_radius(args, 3)?);
                }
                5
            }
            Form::Search => 2,
            Form::SearchStore => {
                request.store = Some(args.at(1));
                3
            }
        };

        while at < args.len() {
            let left = args.len() - at - 1;
            if args.is(at, "WITHDIST") {
                request.with_distance = true;
            } else if args.is(at, "WITHHASH") {
                request.with_hash = true;
            } else if args.is(at, "WITHCOORD") {
                request.with_point = true;
            } else if args.is(at, "ANY") {
                request.any = true;
            } else if args.is(at, "ASC") {
                request.sort = Sort::Near;
            } else if args.is(at, "DESC") {
                request.sort = Sort::Far;
            } else if args.is(at, "COUNT") && left >= 1 {
                request.count = usize::try_from(args.int(at + 1)?).unwrap_or(0);
                if request.count == 0 {
                    return Err("ERR COUNT must be > 0".into());
                }
                at += 1;
            } else if form.names_a_store() && left >= 1 && (args.is(at, "STORE") || args.is(at, "STOREDIST"))
            {
                request.store = Some(args.at(at + 1));
                request.store_distance = args.is(at, "STOREDIST");
                at += 1;
            } else if form == Form::SearchStore && args.is(at, "STOREDIST") {
                request.store_distance = true;
            } else if form.searches() && args.is(at, "FROMMEMBER") && left >= 1 && !centre.is_given() {
                centre = Centre::of_member(set, args.at(at + 1))?;
                at += 1;
            } else if form.searches() && args.is(at, "FROMLONLAT") && left >= 2 && !centre.is_member() {
                centre = Centre::Given(parse_point(args.at(at + 1), args.at(at + 2))?);
                at += 2;
            } else if form.searches()
                && args.is(at, "BYRADIUS")
                && left >= 2
                && !matches!(extent, Some(Extent::Box { .. }))
            {
                extent = Some(request.parse_radius(args, at + 1)?);
                at += 2;
            } else if form.searches()
                && args.is(at, "BYBOX")
                && left >= 3
                && !matches!(extent, Some(Extent::Radius(_)))
            {
                extent = Some(request.parse_box(args, at + 1)?);
                at += 3;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }

        if request.store.is_some() && (request.with_distance || request.with_hash || request.with_point) {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            let text = format!("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
            return Err(text.into());
        }
        if form.searches() && matches!(centre, Centre::Missing) {
            return Err(exactly_one("FROMMEMBER or FROMLONLAT", args));
        }
        if form.searches() && extent.is_none() {
            return Err(exactly_one("BYRADIUS and BYBOX", args));
        }
        if request.any && request.count == 0 {
            return Err("ERR the ANY argument requires COUNT argument".into());
        }
        if request.count != 0 && request.sort == Sort::None && !request.any {
            // Some of them, in no order, would be of little use.
            request.sort = Sort::Near;
        }
        let metres_per_unit = request.metres_per_unit;
        request.shape =
            centre.point().zip(extent).map(|(centre, extent)| Shape { centre, extent, metres_per_unit });
        Ok(request)
    }

    /// `radius unit` at argument `at`.
    fn parse_radius(&mut self, args: Args<'_>, at: usize) -> CommandResult<Extent> {
        let radius = parse_f64(args.at(at)).ok_or(CommandError::new("ERR need numeric radius"))?;
        if radius < 0.0 {
            return Err("ERR radius cannot be negative".into());
        }
        self.metres_per_unit = parse_unit(args.at(at + 1))?;
        Ok(Extent::Radius(radius))
    }

    /// `width height unit` at argument `at`.
    fn parse_box(&mut self, args: Args<'_>, at: usize) -> CommandResult<Extent> {
        let width = parse_f64(args.at(at)).ok_or(CommandError::new("ERR need numeric width"))?;
        let height = parse_f64(args.at(at + 1)).ok_or(CommandError::new("ERR need numeric height"))?;
        if width < 0.0 || height < 0.0 {
            return Err("ERR height or width cannot be negative".into());
        }
        self.metres_per_unit = parse_unit(args.at(at + 2))?;
        Ok(Extent::Box { width, height })
    }

    /// Leaves those that are wanted, in the order that is wanted.
    fn select(&self, places: &mut Vec<Place<'_>>) {
        let compare = |a: &Place<'_>, b: &Place<'_>| {
            let by_distance = a.distance.total_cmp(&b.distance);
            let by_distance = if self.sort == Sort::Far { by_distance.reverse() } else { by_distance };
            by_distance.then(a.number.cmp(&b.number))
        };
        if self.count > 0 && self.count < places.len() {
            if self.sort != Sort::None {
                places.select_nth_unstable_by(self.count, compare);
            }
            places.truncate(self.count);
        }
        if self.sort != Sort::None {
            places.sort_unstable_by(compare);
        }
    }

    fn reply(&self, reply: &mut ReplyWriter, place: &Place<'_>) {
        let options = [self.with_distance, self.with_hash, self.with_point];
        let options = options.iter().filter(|&&wanted| wanted).count();
        if options > 0 {
            reply.array(1 + options);
        }
        place.member.reply(reply);
        if self.with_distance {
            reply_distance(reply, place.distance / self.metres_per_unit);
        }
        if self.with_hash {
            reply.int(place.score as i64);
        }
        if self.with_point {
            reply_point(reply, place.point);
        }
    }
}

/// Where the centre comes from.
#[derive(Clone, Copy, Debug)]
enum Centre {
    Missing,
    Given(Point),
    /// `None`: there is no set that the member could be in.
    Member(Option<Point>),
}

impl Centre {
    fn of_member(set: Option<&Zset>, member: &[u8]) -> CommandResult<Self> {
        let Some(set) = set else { return Ok(Self::Member(None)) };
        match place_of(set, member) {
            Some(point) => Ok(Self::Member(Some(point))),
            None => Err("ERR could not decode requested zset member".into()),
        }
    }

    fn is_given(self) -> bool {
        matches!(self, Self::Given(_))
    }

    fn is_member(self) -> bool {
        matches!(self, Self::Member(_))
    }

    fn point(self) -> Option<Point> {
        match self {
            Self::Missing => None,
            Self::Given(point) => Some(point),
            Self::Member(point) => point,
        }
    }
}

fn exactly_one(what: &str, args: Args<'_>) -> CommandError {
    let mut text = format!("ERR exactly one of {what} can be specified for ").into_bytes();
    text.extend_from_slice(args.at(0));
    CommandError::Bytes(text)
}
