//! A navigable small world in layers (HNSW, Malkov and Yashunin 2016), over slots whose distances somebody else knows.
//!
//! Two things differ from the paper, so that nodes can be removed:
//! links are mutual, so that a node knows everyone who links to it; and a full list gives up one link at a time for a
//! better one, instead of being thinned out. Removing a node links its neighbours among each other. No operation costs
//! more than the links of the nodes it visits; nothing is marked and left behind.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use roaring::RoaringBitmap;

use super::store::Rows;
use crate::pieces::Pieces;

/// Layers above the lowest, at most. Each has a sixteenth of the nodes below with the default M.
pub const LEVEL_MAX: usize = 15;
/// The greatest M with which every slot has room for all links that it may have; with more there is room for those it has.
const FLAT_M_MAX: usize = 64;
/// Links and neighbours that are compared with each other where a choice is made: no more than there are with the usual M.
const COMPARED_MAX: usize = 128;

/// What a graph's caller knows.
pub trait Space {
    fn distance(&self, a: u32, b: u32) -> f32;
}

/// A slot and how far away it is. Ordered by distance; ties by slot, so that every run is the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    pub distance: f32,
    pub slot: u32,
}

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.slot.cmp(&other.slot))
    }
}

/// Slots met in a search. A search leaves its marks behind: the next one has another number.
#[derive(Debug, Default)]
pub struct Visited {
    marks: Pieces<u32>,
    search: u32,
}

impl Visited {
    pub fn begin(&mut self, slots: usize) {
        self.search = self.search.wrapping_add(1);
        if self.search == 0 {
            // Numbers come again: old marks would be taken for new ones.
            *self = Self { search: 1, ..Self::default() };
        }
        self.marks.grow(slots, 0);
    }

    fn first_time(&mut self, slot: u32) -> bool {
        std::mem::replace(&mut self.marks[slot as usize], self.search) != self.search
    }

    pub fn memory(&self) -> usize {
        self.marks.memory()
    }

    /// Where the first mark is.
    #[cfg(test)]
    pub fn place(&self) -> usize {
        (&raw const self.marks[0]).addr()
    }
}

/// A clone shares everything; a write copies what it touches.
#[derive(Debug, Clone)]
pub struct Graph {
    m: usize,
    ef_construction: usize,
    /// The lowest layer, if M allows it: of each slot the number of its links, then the links, at most twice M.
    ground: Option<Rows<u32>>,
    /// The layers that are not in `ground`, of those slots that are in them.
    lists: Rows<Lists>,
    /// Links in `lists`.
    listed: usize,
    /// Slots by their highest layer: the last of the last is where searches begin.
    tops: Vec<RoaringBitmap>,
    /// Slots that have a place, those not in use included.
    slots: usize,
    len: usize,
    rng: u64,
}

type Lists = Box<[Vec<u32>]>;

/// The highest layer of a node, as chance in `seed` has it: each layer has the `m`th part of the nodes below. In integers: a
/// logarithm is not the same on every machine.
fn level_of(seed: u64, m: usize) -> usize {
    let mut state = seed;
    let mut level = 0;
    while level < LEVEL_MAX && splitmix(&mut state).is_multiple_of(m as u64) {
        level += 1;
    }
    level
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

impl Graph {
    /// `seed` decides which nodes reach the upper layers: the same calls on the same seed build the same graph.
    pub fn new(m: usize, ef_construction: usize, seed: u64) -> Self {
        Self {
            m: m.max(2),
            ef_construction: ef_construction.max(m).max(2),
            ground: (m <= FLAT_M_MAX).then(|| Rows::new(2 * m.max(2) + 1)),
            lists: Rows::new(1),
            listed: 0,
            tops: vec![RoaringBitmap::new(); LEVEL_MAX + 1],
            slots: 0,
            len: 0,
            rng: seed,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Links of a slot in each of its layers, from the lowest on.
    pub fn layers(&self, slot: u32) -> impl Iterator<Item = &[u32]> {
        (0..=self.level(slot)).map(move |level| self.links(slot, level))
    }

    /// A slot's highest layer.
    pub fn level(&self, slot: u32) -> usize {
        self.lists.get(slot)[0].len() - usize::from(self.ground.is_none())
    }

    /// The highest layer there is.
    pub fn level_max(&self) -> usize {
        self.entry().map_or(0, |(level, _)| level)
    }

    fn entry(&self) -> Option<(usize, u32)> {
        let level = self.tops.iter().rposition(|slots| !slots.is_empty())?;
        Some((level, self.tops[level].max()?))
    }

    fn links(&self, slot: u32, level: usize) -> &[u32] {
        match &self.ground {
            Some(ground) if level == 0 => {
                let row = ground.get(slot);
                &row[1..=row[0] as usize]
            }
            ground => &self.lists.get(slot)[0][level - usize::from(ground.is_some())],
        }
    }

    /// The list of a layer that is not in `ground`.
    fn list_mut(&mut self, slot: u32, level: usize) -> &mut Vec<u32> {
        let at = level - usize::from(self.ground.is_some());
        &mut self.lists.get_mut(slot)[0][at]
    }

    /// Gives a slot a place in its layers, without links.
    fn make_place(&mut self, slot: u32, level: usize) {
        self.slots = self.slots.max(slot as usize + 1);
        let lists = match &mut self.ground {
            Some(ground) => {
                ground.get_mut(slot)[0] = 0;
                level
            }
            None => level + 1,
        };
        self.lists.get_mut(slot)[0] = vec![Vec::new(); lists].into_boxed_slice();
        self.tops[level].insert(slot);
        self.len += 1;
    }

    /// Links of a slot in a layer, at most.
    pub fn links_max(&self, level: usize) -> usize {
        if level == 0 { 2 * self.m } else { self.m }
    }

    fn add_link(&mut self, from: u32, to: u32, level: usize) {
        match &mut self.ground {
            Some(ground) if level == 0 => {
                let row = ground.get_mut(from);
                row[0] += 1;
                row[row[0] as usize] = to;
            }
            _ => {
                self.list_mut(from, level).push(to);
                self.listed += 1;
            }
        }
    }

    fn remove_link(&mut self, from: u32, to: u32, level: usize) {
        match &mut self.ground {
            Some(ground) if level == 0 => {
                let row = ground.get_mut(from);
                let len = row[0] as usize;
                let at = row[1..=len].iter().position(|&slot| slot == to).expect("links are mutual");
                row[1 + at] = row[len];
                row[0] -= 1;
            }
            _ => {
                let links = self.list_mut(from, level);
                let at = links.iter().position(|&slot| slot == to).expect("links are mutual");
                links.swap_remove(at);
                self.listed -= 1;
            }
        }
    }

    /// Adds a slot, whose vector is in place.
    pub fn insert(&mut self, slot: u32, space: &impl Space, visited: &mut Visited) {
        let seed = splitmix(&mut self.rng);
        self.insert_with(slot, seed, self.ef_construction, space, visited);
    }

    /// Adds a slot, whose vector is in place. `seed` decides about its layers, `ef` is how many candidates for links are
    /// looked for.
    pub fn insert_with(
        &mut self,
        slot: u32,
        seed: u64,
        ef: usize,
        space: &impl Space,
        visited: &mut Visited,
    ) {
        let level = level_of(seed, self.m);
        let entry = self.entry();
        self.make_place(slot, level);
        let Some((top, entry)) = entry else { return };
        let distance = |other: u32| space.distance(slot, other);
        let mut nearest = Near { distance: distance(entry), slot: entry };
        for layer in (level + 1..=top).rev() {
            nearest = self.descend(nearest, layer, &distance);
        }
        let mut entries = vec![nearest];
        for layer in (0..=level.min(top)).rev() {
            let goes_on = &mut || true;
            entries = self.search_layer(&entries, ef.max(1), layer, &distance, &|_| true, visited, goes_on);
            let chosen = self.choose(&entries, self.m, space);
            for &neighbour in &chosen {
                self.link(slot, neighbour, layer, false, space);
            }
            // Nobody wants it: a node without links would never be found.
            if self.links(slot, layer).is_empty()
                && let Some(&nearest) = chosen.first()
            {
                self.link(slot, nearest, layer, true, space);
            }
        }
    }

    /// Removes a slot. Its neighbours, which each lost a link, are offered each other.
    pub fn remove(&mut self, slot: u32, space: &impl Space) {
        let levels = self.level(slot);
        assert!(self.tops[levels].remove(slot), "the slot is in the graph");
        self.len -= 1;
        for level in 0..=levels {
            let neighbours = self.links(slot, level).to_vec();
            for &neighbour in &neighbours {
                self.remove_link(neighbour, slot, level);
            }
            for (at, &neighbour) in neighbours.iter().enumerate() {
                if neighbours.len() <= COMPARED_MAX {
                    self.reconnect(neighbour, &neighbours, level, space);
                } else {
                    let others = neighbours.iter().cycle().skip(at + 1).take(COMPARED_MAX);
                    let others: Vec<u32> = others.copied().collect();
                    self.reconnect(neighbour, &others, level, space);
                }
            }
        }
        if let Some(ground) = &mut self.ground {
            ground.get_mut(slot)[0] = 0;
        }
        let lists = std::mem::take(&mut self.lists.get_mut(slot)[0]);
        self.listed -= lists.iter().map(Vec::len).sum::<usize>();
    }

    /// Gives the last slot the number of one that was removed before: there are no gaps then.
    pub fn fill(&mut self, gap: u32) {
        let last = self.slots as u32 - 1;
        if gap != last {
            let level = self.level(last);
            for level in 0..=level {
                for neighbour in self.links(last, level).to_vec() {
                    let links = match &mut self.ground {
                        Some(ground) if level == 0 => &mut ground.get_mut(neighbour)[1..],
                        _ => &mut self.list_mut(neighbour, level)[..],
                    };
                    let link = links.iter_mut().find(|link| **link == last).expect("links are mutual");
                    *link = gap;
                }
            }
            if let Some(ground) = &mut self.ground {
                let row = ground.get(last).to_vec();
                ground.get_mut(gap).copy_from_slice(&row);
            }
            self.lists.get_mut(gap)[0] = std::mem::take(&mut self.lists.get_mut(last)[0]);
            self.tops[level].remove(last);
            self.tops[level].insert(gap);
        }
        self.slots -= 1;
        if let Some(ground) = &mut self.ground {
            ground.truncate(last);
        }
        self.lists.truncate(last);
    }

    /// Adds a slot with links as they were saved, at most [`Graph::links_max`] in each layer. When all are there,
    /// [`Graph::is_sound`] says whether they fit together: before that nothing else may be done with the graph.
    pub fn restore(&mut self, slot: u32, layers: &[Vec<u32>]) {
        self.make_place(slot, layers.len() - 1);
        for (level, links) in layers.iter().enumerate() {
            match &mut self.ground {
                Some(ground) if level == 0 => {
                    let row = ground.get_mut(slot);
                    row[0] = links.len() as u32;
                    row[1..=links.len()].copy_from_slice(links);
                }
                _ => {
                    self.list_mut(slot, level).clone_from(links);
                    self.listed += links.len();
                }
            }
        }
    }

    /// Are all links mutual, none twice, and none to what is not in its layer?
    pub fn is_sound(&self) -> bool {
        let slots = 0..self.slots as u32;
        (0..=self.level_max()).all(|level| {
            let of_layer = || slots.clone().filter(|&slot| self.level(slot) >= level);
            let mut ends: Vec<u32> = vec![0; self.slots];
            for slot in of_layer() {
                for &link in self.links(slot, level) {
                    if link as usize >= self.slots || link == slot || self.level(link) < level {
                        return false;
                    }
                    ends[link as usize] += 1;
                }
            }
            // Who links to whom, sorted on both sides.
            let mut sum = 0;
            for end in &mut ends {
                sum += std::mem::replace(end, sum);
            }
            let mut back: Vec<u32> = vec![0; sum as usize];
            for slot in of_layer() {
                for &link in self.links(slot, level) {
                    back[ends[link as usize] as usize] = slot;
                    ends[link as usize] += 1;
                }
            }
            let mut from = 0;
            slots.clone().all(|slot| {
                let back = &back[from..ends[slot as usize] as usize];
                from = ends[slot as usize] as usize;
                let links = if self.level(slot) >= level { self.links(slot, level) } else { &[] };
                let mut links = links.to_vec();
                links.sort_unstable();
                back == links && links.windows(2).all(|pair| pair[0] != pair[1])
            })
        })
    }

    /// A link to the nearest of `others` that opens a way of its own; without one to the nearest there is.
    fn reconnect(&mut self, slot: u32, others: &[u32], level: usize, space: &impl Space) {
        let links = self.links(slot, level);
        if links.len() >= self.links_max(level) {
            return;
        }
        let mut candidates: Vec<Near> = others
            .iter()
            .filter(|&&other| other != slot && !links.contains(&other))
            .map(|&other| Near { distance: space.distance(slot, other), slot: other })
            .collect();
        candidates.sort_unstable();
        let of_its_own = candidates
            .iter()
            .position(|c| links.iter().all(|&link| space.distance(c.slot, link) >= c.distance));
        if let Some(choice) = candidates.get(of_its_own.unwrap_or(0)) {
            let alone = links.is_empty();
            self.link(slot, *choice, level, alone, space);
        }
    }

    /// Links two slots, if both have room or better have it than another; or by force.
    fn link(&mut self, slot: u32, to: Near, level: usize, force: bool, space: &impl Space) {
        let back = Near { distance: to.distance, slot };
        if self.links(slot, level).contains(&to.slot) {
            return;
        }
        let Ok(drop_from_slot) = self.room(slot, to, level, force, space) else { return };
        let Ok(drop_from_to) = self.room(to.slot, back, level, force, space) else { return };
        if let Some(loser) = drop_from_slot {
            self.remove_link(slot, loser, level);
            self.remove_link(loser, slot, level);
        }
        if let Some(loser) = drop_from_to {
            self.remove_link(to.slot, loser, level);
            self.remove_link(loser, to.slot, level);
        }
        self.add_link(slot, to.slot, level);
        self.add_link(to.slot, slot, level);
    }

    /// Which link `slot` gives up for `wanted`: none if there is room. `Err` if it keeps what it has.
    fn room(
        &self,
        slot: u32,
        wanted: Near,
        level: usize,
        force: bool,
        space: &impl Space,
    ) -> Result<Option<u32>, ()> {
        let links = self.links(slot, level);
        if links.len() < self.links_max(level) {
            return Ok(None);
        }
        let mut all: Vec<Near> =
            links.iter().map(|&other| Near { distance: space.distance(slot, other), slot: other }).collect();
        all.push(wanted);
        all.sort_unstable();
        // The farthest that another link leads to as well; or the farthest. One that has few links is not let go.
        let few = self.links_max(level) / 4;
        let may_go = |near: &Near| match near.slot == wanted.slot {
            true => !force,
            false => self.links(near.slot, level).len() > few,
        };
        let redundant = |at: usize| {
            all[..at]
                .iter()
                .take(COMPARED_MAX)
                .any(|nearer| space.distance(nearer.slot, all[at].slot) < all[at].distance)
        };
        let farthest = (0..all.len()).rev().take(COMPARED_MAX);
        let loser = farthest.into_iter().find(|&at| may_go(&all[at]) && redundant(at));
        let loser = loser.or_else(|| (0..all.len()).rev().find(|&at| may_go(&all[at])));
        match loser.map(|at| all[at].slot) {
            Some(loser) if loser != wanted.slot => Ok(Some(loser)),
            _ => Err(()),
        }
    }

    /// Of the nearest those that open ways of their own, filled up with the rest; nearest first.
    fn choose(&self, nearest: &[Near], count: usize, space: &impl Space) -> Vec<Near> {
        let mut chosen: Vec<Near> = Vec::with_capacity(count);
        let mut passed_over = Vec::new();
        for &candidate in nearest {
            if chosen.len() == count {
                break;
            }
            if chosen
                .iter()
                .take(COMPARED_MAX)
                .all(|c| space.distance(c.slot, candidate.slot) > candidate.distance)
            {
                chosen.push(candidate);
            } else {
                passed_over.push(candidate);
            }
        }
        passed_over.truncate(count - chosen.len());
        chosen.extend(passed_over);
        chosen
    }

    /// Goes to the nearest in a layer, as long as a link leads nearer.
    fn descend(&self, mut nearest: Near, level: usize, distance: &impl Fn(u32) -> f32) -> Near {
        loop {
            let links = self.links(nearest.slot, level);
            let best = links.iter().map(|&slot| Near { distance: distance(slot), slot }).min();
            match best {
                Some(best) if best < nearest => nearest = best,
                _ => return nearest,
            }
        }
    }

    /// The `ef` nearest in a layer for which `filter` holds, nearest first. `goes_on` is asked at every node.
    #[expect(
        clippy::too_many_arguments,
        reason = "it is the algorithm's SEARCH-LAYER with a filter and a brake"
    )]
    fn search_layer(
        &self,
        entries: &[Near],
        ef: usize,
        level: usize,
        distance: &impl Fn(u32) -> f32,
        filter: &dyn Fn(u32) -> bool,
        visited: &mut Visited,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Near> {
        visited.begin(self.slots);
        let mut candidates: BinaryHeap<Reverse<Near>> = BinaryHeap::new();
        let mut found: BinaryHeap<Near> = BinaryHeap::new();
        for &entry in entries {
            if visited.first_time(entry.slot) {
                candidates.push(Reverse(entry));
                if filter(entry.slot) {
                    found.push(entry);
                }
            }
        }
        while let Some(Reverse(candidate)) = candidates.pop() {
            let full = found.len() >= ef;
            if (full && found.peek().is_some_and(|worst| candidate.distance > worst.distance)) || !goes_on() {
                break;
            }
            for &slot in self.links(candidate.slot, level) {
                if !visited.first_time(slot) {
                    continue;
                }
                let near = Near { distance: distance(slot), slot };
                if found.len() < ef || found.peek().is_some_and(|worst| near < *worst) {
                    candidates.push(Reverse(near));
                    if filter(slot) {
                        found.push(near);
                        if found.len() > ef {
                            found.pop();
                        }
                    }
                }
            }
        }
        found.into_sorted_vec()
    }

    fn enter(&self, distance: &impl Fn(u32) -> f32) -> Option<Near> {
        let (top, entry) = self.entry()?;
        let mut nearest = Near { distance: distance(entry), slot: entry };
        for layer in (1..=top).rev() {
            nearest = self.descend(nearest, layer, distance);
        }
        Some(nearest)
    }

    /// The `ef` nearest to something whose distances are `distance`, nearest first.
    pub fn search(
        &self,
        ef: usize,
        distance: &impl Fn(u32) -> f32,
        filter: &dyn Fn(u32) -> bool,
        visited: &mut Visited,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Near> {
        match self.enter(distance) {
            Some(nearest) => self.search_layer(&[nearest], ef, 0, distance, filter, visited, goes_on),
            None => Vec::new(),
        }
    }

    /// All that are found within `radius`, by way of nodes within `reach` times as far or nearer than any before.
    pub fn search_radius(
        &self,
        radius: f32,
        reach: f32,
        distance: &impl Fn(u32) -> f32,
        visited: &mut Visited,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Near> {
        let Some(nearest) = self.enter(distance) else { return Vec::new() };
        visited.begin(self.slots);
        visited.first_time(nearest.slot);
        let mut candidates = BinaryHeap::from([Reverse(nearest)]);
        let mut found = Vec::new();
        let mut best = nearest.distance;
        if nearest.distance <= radius {
            found.push(nearest);
        }
        while let Some(Reverse(candidate)) = candidates.pop() {
            let horizon = best.max(radius) * reach;
            if candidate.distance > horizon || !goes_on() {
                break;
            }
            for &slot in self.links(candidate.slot, 0) {
                if visited.first_time(slot) {
                    let near = Near { distance: distance(slot), slot };
                    best = best.min(near.distance);
                    if near.distance <= radius {
                        found.push(near);
                    }
                    if near.distance <= horizon {
                        candidates.push(Reverse(near));
                    }
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Bytes on the heap: an estimate, for a look at every list would take long.
    pub fn memory(&self) -> usize {
        let ground = self.ground.as_ref().map_or(0, Rows::memory);
        let levels_below = usize::from(self.ground.is_some());
        let lists_of =
            |(level, slots): (usize, &RoaringBitmap)| (level + 1 - levels_below) * slots.len() as usize;
        let lists: usize = self.tops.iter().enumerate().map(lists_of).sum();
        // A list that grows by the link has a quarter of its room to spare.
        let lists = lists * size_of::<Vec<u32>>() + self.listed * size_of::<u32>() * 4 / 3;
        let tops: usize = self.tops.iter().map(RoaringBitmap::serialized_size).sum();
        ground + lists + self.lists.memory() + tops
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    struct Points(Vec<(f32, f32)>);

    impl Space for Points {
        fn distance(&self, a: u32, b: u32) -> f32 {
            let (a, b) = (self.0[a as usize], self.0[b as usize]);
            (a.0 - b.0).powi(2) + (a.1 - b.1).powi(2)
        }
    }

    fn check(graph: &Graph, alive: &BTreeSet<u32>) {
        assert_eq!(graph.len(), alive.len());
        let lists = alive.iter().flat_map(|&slot| graph.lists.get(slot)[0].iter());
        assert_eq!(graph.listed, lists.map(Vec::len).sum::<usize>());
        for &slot in alive {
            for (level, links) in graph.layers(slot).enumerate() {
                assert!(links.len() <= graph.links_max(level));
                for &other in links {
                    assert!(other != slot && alive.contains(&other), "{slot} links to {other}");
                    assert!(graph.links(other, level).contains(&slot), "{slot} and {other} are mutual");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn links_stay_mutual_and_searches_find_the_nearest(
            steps in prop::collection::vec((0u32..80, any::<i8>(), any::<i8>()), 1..400),
        ) {
            let mut points = Points(vec![(0.0, 0.0); 80]);
            let mut graph = Graph::new(4, 40, 7);
            let mut visited = Visited::default();
            let mut alive = BTreeSet::new();
            for (slot, x, y) in steps {
                if alive.remove(&slot) {
                    graph.remove(slot, &points);
                } else {
                    points.0[slot as usize] = (f32::from(x), f32::from(y));
                    graph.insert(slot, &points, &mut visited);
                    alive.insert(slot);
                }
            }
            check(&graph, &alive);
            let distance = |slot: u32| points.0[slot as usize].0.powi(2) + points.0[slot as usize].1.powi(2);
            let found = graph.search(80, &distance, &|_| true, &mut visited, &mut || true);
            let best = alive.iter().map(|&slot| Near { distance: distance(slot), slot }).min();
            prop_assert_eq!(found.first().map(|n| n.distance), best.map(|n| n.distance));
        }
    }

    proptest! {
        #[test]
        fn without_gaps_the_same_steps_lead_to_the_same_graph_and_a_saved_one_goes_on_as_the_first(
            steps in prop::collection::vec((0u8..4, 0u32..1000, -50i8..50, -50i8..50), 1..120),
            m in prop::sample::select(vec![2usize, 4, 100]),
        ) {
            let mut points = Points(Vec::new());
            let mut graph = Graph::new(m, 10, 0);
            let mut other = graph.clone();
            let mut visited = Visited::default();
            for (at, &(kind, choice, x, y)) in steps.iter().enumerate() {
                let len = graph.len() as u32;
                if kind == 0 && len > 0 {
                    let slot = choice % len;
                    for graph in [&mut graph, &mut other] {
                        graph.remove(slot, &points);
                        graph.fill(slot);
                    }
                    points.0.swap_remove(slot as usize);
                } else {
                    points.0.push((f32::from(x), f32::from(y)));
                    for graph in [&mut graph, &mut other] {
                        graph.insert_with(len, u64::from(choice), 10, &points, &mut visited);
                    }
                }
                prop_assert!(graph.is_sound());
                if at % 10 == 9 {
                    // As if it had been saved and loaded.
                    let mut loaded = Graph::new(m, 10, 0);
                    for slot in 0..other.len() as u32 {
                        let layers: Vec<Vec<u32>> = other.layers(slot).map(<[u32]>::to_vec).collect();
                        loaded.restore(slot, &layers);
                    }
                    other = loaded;
                }
                let all = |graph: &Graph| {
                    let slots = 0..graph.len() as u32;
                    slots.map(|slot| graph.layers(slot).map(<[u32]>::to_vec).collect()).collect::<Vec<Vec<_>>>()
                };
                prop_assert_eq!(all(&graph), all(&other));
            }
            check(&graph, &(0..graph.len() as u32).collect());
        }
    }

    #[test]
    fn links_that_do_not_fit_together_are_found_out() {
        let sound = |all: &[&[&[u32]]]| {
            let mut graph = Graph::new(4, 10, 0);
            for (slot, layers) in all.iter().enumerate() {
                graph.restore(slot as u32, &layers.iter().map(|links| links.to_vec()).collect::<Vec<_>>());
            }
            graph.is_sound()
        };
        assert!(sound(&[]));
        assert!(sound(&[&[&[1], &[]], &[&[0]]]));
        assert!(sound(&[&[&[1], &[1]], &[&[0], &[0]]]));
        assert!(!sound(&[&[&[1]], &[&[]]]), "not mutual");
        assert!(!sound(&[&[&[1, 1]], &[&[0, 0]]]), "twice");
        assert!(!sound(&[&[&[0]]]), "to itself");
        assert!(!sound(&[&[&[2]], &[&[0]]]), "to nobody");
        assert!(!sound(&[&[&[1], &[1]], &[&[0]]]), "to one that is not in the layer");
    }

    #[test]
    fn memory_is_about_what_is_allocated_whether_the_lowest_layer_has_lists_or_not() {
        let points = Points((0..1000).map(|n| ((n * 37 % 997) as f32, (n * 53 % 887) as f32)).collect());
        for m in [4, 16, FLAT_M_MAX + 1] {
            let mut graph = Graph::new(m, 50, 1);
            let mut visited = Visited::default();
            (0..1000).for_each(|slot| graph.insert(slot, &points, &mut visited));
            (0..500).for_each(|slot| graph.remove(slot, &points));
            let lists = (500..1000).flat_map(|slot| graph.lists.get(slot)[0].iter());
            let lists: usize = lists.map(|links| links.capacity() * 4 + size_of::<Vec<u32>>()).sum();
            let exact = lists + graph.lists.memory() + graph.ground.as_ref().map_or(0, Rows::memory);
            assert!(graph.memory().abs_diff(exact) < exact / 4, "{m}: {} for {exact}", graph.memory());
        }
    }

    #[test]
    fn marks_of_old_searches_are_forgotten_before_their_numbers_come_again() {
        let mut visited = Visited { search: u32::MAX - 1, ..Visited::default() };
        visited.begin(3);
        assert!(visited.first_time(1) && !visited.first_time(1));
        for slots in [3, 100_000] {
            visited.begin(slots);
            assert!(visited.first_time(0) && visited.first_time(1) && visited.first_time(slots as u32 - 1));
        }
        assert_eq!(visited.search, 2);
    }

    #[test]
    fn the_layers_of_a_node_are_the_same_on_every_machine() {
        let levels = |m| {
            let mut counts = [0; LEVEL_MAX + 1];
            (0..100_000).for_each(|seed| counts[level_of(seed, m)] += 1);
            counts
        };
        assert_eq!(levels(16)[..4], [93_707, 5_908, 364, 17]);
        assert!((45_000..55_000).contains(&levels(2)[0]));
    }

    #[test]
    fn the_same_seed_builds_the_same_graph() {
        let build = |seed| {
            let points = Points((0..300).map(|n| ((n * 37 % 101) as f32, (n * 53 % 89) as f32)).collect());
            let mut graph = Graph::new(8, 50, seed);
            (0..300).for_each(|slot| graph.insert(slot, &points, &mut Visited::default()));
            (0..300)
                .flat_map(|slot| graph.layers(slot).map(<[u32]>::to_vec).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        assert_eq!(build(1), build(1));
        assert_ne!(build(1), build(2));
    }
}
