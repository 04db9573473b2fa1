//! Which values of a document a path means.
//!
//! A path is applied part by part to a list of values, which gives the same order as following each match to the end:
//! that of RedisJSON. A value that a path means twice is found twice.

use super::filter::Patterns;
use super::{Path, Segment, StepRef, absolute};
use crate::Json;
use crate::location::Location;
use crate::text::Text;

/// Values looked at for one path at most, or for all those of one command, those of filters included. What takes more is refused: a short path can mean
/// exponentially many, and nobody else is served meanwhile.
pub const STEPS_MAX: u64 = 50_000_000;
/// Places that one path may mean where it is asked for them: each is kept with the whole way to it.
pub const PLACES_MAX: usize = 1_000_000;
/// What a value counts as on top, in steps, if it is remembered where it was reached from.
const TRAIL_STEPS: u64 = 4;
/// Bytes of a name on the way to a place that count as one step more.
const NAME_BYTES_PER_STEP: usize = 64;

/// [`STEPS_MAX`] or [`PLACES_MAX`] was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySteps;

/// Steps that may still be made.
#[derive(Debug)]
pub struct Steps(u64);

impl Default for Steps {
    fn default() -> Self {
        Self(STEPS_MAX)
    }
}

impl Steps {
    pub fn new(left: u64) -> Self {
        Self(left)
    }

    pub fn left(&self) -> u64 {
        self.0
    }

    /// Takes so many off.
    pub fn count(&mut self, steps: u64) -> Result<(), TooManySteps> {
        self.0 = self.0.checked_sub(steps).ok_or(TooManySteps)?;
        Ok(())
    }
}

impl Path {
    /// The values that the path means.
    pub fn select<'d>(&self, root: &'d Json) -> Result<Vec<&'d Json>, TooManySteps> {
        self.select_within(root, &mut Steps::default())
    }

    /// [`Path::select`] for one of several paths or documents, which share these steps.
    pub fn select_within<'d>(
        &self,
        root: &'d Json,
        steps: &mut Steps,
    ) -> Result<Vec<&'d Json>, TooManySteps> {
        let found = Evaluation::new(root, None, steps).select_outer(&self.segments)?;
        Ok(found.into_iter().map(|node| node.value).collect())
    }

    /// The first value that the path means.
    pub fn first<'d>(&self, root: &'d Json) -> Result<Option<&'d Json>, TooManySteps> {
        Ok(self.select(root)?.first().copied())
    }

    /// The values that the path means, and where they are.
    pub fn locate<'d>(&self, root: &'d Json) -> Result<Vec<(Location, &'d Json)>, TooManySteps> {
        self.locate_within(root, &mut Steps::default())
    }

    /// [`Path::locate`] for one of several paths or documents, which share these steps.
    pub fn locate_within<'d>(
        &self,
        root: &'d Json,
        steps: &mut Steps,
    ) -> Result<Vec<(Location, &'d Json)>, TooManySteps> {
        locate(&self.segments, root, steps)
    }

    /// [`Path::locate_within`] for the path without its last part: where something could be added.
    pub fn locate_parents_within<'d>(
        &self,
        root: &'d Json,
        steps: &mut Steps,
    ) -> Result<Vec<(Location, &'d Json)>, TooManySteps> {
        let parents = &self.segments[..self.segments.len().saturating_sub(1)];
        locate(parents, root, steps)
    }
}

fn locate<'d>(
    segments: &[Segment],
    root: &'d Json,
    steps: &mut Steps,
) -> Result<Vec<(Location, &'d Json)>, TooManySteps> {
    let mut trail = Vec::new();
    let found = Evaluation::new(root, Some(&mut trail), steps).select_outer(segments)?;
    if found.len() > PLACES_MAX {
        return Err(TooManySteps);
    }
    found.into_iter().map(|node| Ok((location(&trail, node.trail, steps)?, node.value))).collect()
}

/// Where the values found were reached from: each entry is one step and the entry before it.
type Trail<'d> = Vec<(usize, StepRef<'d>)>;

/// The root, in a trail.
const ROOT: usize = usize::MAX;

/// The way to what was reached by `at`; each step of it counts.
fn location(trail: &Trail<'_>, mut at: usize, left: &mut Steps) -> Result<Location, TooManySteps> {
    let mut steps = Vec::new();
    while at != ROOT {
        let (before, step) = trail[at];
        let name_len = if let StepRef::Key(name) = step { name.len() } else { 0 };
        left.count(1 + (name_len / NAME_BYTES_PER_STEP) as u64)?;
        steps.push(step.to_step());
        at = before;
    }
    steps.reverse();
    Ok(Location::new(steps))
}

/// A value found, and where its trail ends.
#[derive(Clone, Copy)]
pub(super) struct Node<'d> {
    pub value: &'d Json,
    trail: usize,
}

impl<'d> Node<'d> {
    pub fn untracked(value: &'d Json) -> Self {
        Self { value, trail: ROOT }
    }
}

/// One path over one document.
pub(super) struct Evaluation<'a, 't> {
    /// What `$` means.
    pub root: &'a Json,
    pub patterns: Patterns,
    /// `None` where nobody wants to know.
    trail: Option<&'t mut Trail<'a>>,
    steps: &'t mut Steps,
}

impl<'a, 't> Evaluation<'a, 't> {
    fn new(root: &'a Json, trail: Option<&'t mut Trail<'a>>, steps: &'t mut Steps) -> Self {
        Self { root, patterns: Patterns::default(), trail, steps }
    }

    fn select_outer(&mut self, segments: &[Segment]) -> Result<Vec<Node<'a>>, TooManySteps> {
        self.select(segments, Node::untracked(self.root))
    }

    /// Says that so many values are being looked at.
    pub fn count(&mut self, steps: u64) -> Result<(), TooManySteps> {
        self.steps.count(steps)
    }

    /// The values that `segments` mean, seen from `start`.
    pub fn select(&mut self, segments: &[Segment], start: Node<'a>) -> Result<Vec<Node<'a>>, TooManySteps> {
        let mut found = vec![start];
        let mut next = Vec::new();
        for segment in segments {
            for node in found.drain(..) {
                self.count(1)?;
                self.apply(segment, node, &mut next)?;
            }
            std::mem::swap(&mut found, &mut next);
        }
        Ok(found)
    }

    fn apply(
        &mut self,
        segment: &Segment,
        node: Node<'a>,
        out: &mut Vec<Node<'a>>,
    ) -> Result<(), TooManySteps> {
        match (segment, node.value) {
            (Segment::Key(name), Json::Object(_)) => self.key(name, node, out)?,
            (Segment::Keys(names), Json::Object(_)) => {
                self.count(names.len() as u64)?;
                for name in names {
                    self.key(name, node, out)?;
                }
            }
            (Segment::Indexes(indexes), Json::Array(elements)) => {
                self.count(indexes.len() as u64)?;
                for &index in indexes {
                    self.index(absolute(index, elements.len()), elements, node, out)?;
                }
            }
            (Segment::Slice { start, end, step }, Json::Array(elements)) => {
                let start = start.map_or(0, |start| absolute(start, elements.len()));
                let end = end.map_or(elements.len(), |end| absolute(end, elements.len()));
                for index in (start..end).step_by(*step) {
                    self.count(1)?;
                    self.index(index, elements, node, out)?;
                }
            }
            (Segment::All, _) => self.each(node, out, |_, _| Ok(true))?,
            (Segment::Filter(filter), _) => {
                self.each(node, out, |this, value| this.passes(filter, value))?;
            }
            (Segment::Descend, _) => self.descend(node, out)?,
            _ => {}
        }
        Ok(())
    }

    fn key(&mut self, name: &Text, node: Node<'a>, out: &mut Vec<Node<'a>>) -> Result<(), TooManySteps> {
        if let Json::Object(object) = node.value
            && let Some((name, value)) = object.get_full(name)
        {
            out.push(self.step(node, StepRef::Key(name), value)?);
        }
        Ok(())
    }

    fn index(
        &mut self,
        index: usize,
        elements: &'a [Json],
        node: Node<'a>,
        out: &mut Vec<Node<'a>>,
    ) -> Result<(), TooManySteps> {
        if let Some(value) = elements.get(index) {
            out.push(self.step(node, StepRef::Index(index), value)?);
        }
        Ok(())
    }

    /// Appends the values in a container that are wanted.
    fn each(
        &mut self,
        node: Node<'a>,
        out: &mut Vec<Node<'a>>,
        mut wanted: impl FnMut(&mut Self, &'a Json) -> Result<bool, TooManySteps>,
    ) -> Result<(), TooManySteps> {
        match node.value {
            Json::Array(elements) => {
                for (index, value) in elements.iter().enumerate() {
                    self.count(1)?;
                    if wanted(self, value)? {
                        out.push(self.step(node, StepRef::Index(index), value)?);
                    }
                }
            }
            Json::Object(object) => {
                for (name, value) in object.iter() {
                    self.count(1)?;
                    if wanted(self, value)? {
                        out.push(self.step(node, StepRef::Key(name), value)?);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Appends a container and all within it, each before what it holds. Nothing leads on from a scalar.
    /// Recursion goes as deep as the document, which is limited.
    fn descend(&mut self, node: Node<'a>, out: &mut Vec<Node<'a>>) -> Result<(), TooManySteps> {
        match node.value {
            Json::Array(elements) => {
                out.push(node);
                for (index, value) in elements.iter().enumerate() {
                    self.count(1)?;
                    if value.len().is_some() {
                        let child = self.step(node, StepRef::Index(index), value)?;
                        self.descend(child, out)?;
                    }
                }
            }
            Json::Object(object) => {
                out.push(node);
                for (name, value) in object.iter() {
                    self.count(1)?;
                    if value.len().is_some() {
                        let child = self.step(node, StepRef::Key(name), value)?;
                        self.descend(child, out)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, from: Node<'a>, step: StepRef<'a>, value: &'a Json) -> Result<Node<'a>, TooManySteps> {
        let Some(trail) = &mut self.trail else { return Ok(Node::untracked(value)) };
        self.steps.count(TRAIL_STEPS)?;
        trail.push((from.trail, step));
        Ok(Node { value, trail: trail.len() - 1 })
    }
}
