//! What is done to machines and network, and when: a plan that a seed makes, carried out between the steps of the simulation.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cairn_engine::rng::Rng;
use turmoil::Sim;

use super::clients::{self, World};
use super::node::{Site, State};
use super::trace;

/// Between two faults, in milliseconds.
const PAUSE_MS: (u64, u64) = (20, 300);
/// How long a fault lasts.
const LASTS_MS: (u64, u64) = (20, 700);
/// How far a wall clock may be off.
const SKEW_MS_MAX: u64 = 20_000;
/// Operations of a disk until it fails, at most.
const FAIL_AFTER_MAX: u64 = 12;
/// A disk that is to fail and is not used is switched off after so long.
const FAIL_LIMIT_MS: u64 = 500;

/// A moment, in milliseconds since the simulation began.
type At = u64;

/// What is undone later.
enum Undo {
    Start(usize),
    /// A disk that was to fail has not been used.
    PowerOff(usize),
    Release(usize, usize),
    Repair(usize, usize),
    RepairOneWay(usize, usize),
    Hasten(usize, usize),
    HastenDisk(usize),
}

/// How often what was done.
#[derive(Default)]
pub struct Counts(pub Vec<(&'static str, u64)>);

/// Does things to a group of nodes.
pub struct Saboteur {
    rng: Rng,
    sites: Vec<Rc<Site>>,
    world: Rc<World>,
    next: At,
    undo: Vec<(At, Undo)>,
    /// Hosts between which the network is disturbed.
    disturbed: Vec<(usize, usize)>,
    /// Messages take up to so long when nothing is wrong.
    latency_max: Duration,
    wiped: bool,
    pub counts: Counts,
}

impl Counts {
    fn count(&mut self, what: &'static str) {
        match self.0.iter_mut().find(|(name, _)| *name == what) {
            Some((_, count)) => *count += 1,
            None => self.0.push((what, 1)),
        }
    }
}

impl Saboteur {
    pub fn new(rng: Rng, sites: &[Rc<Site>], world: &Rc<World>, latency_max: Duration) -> Saboteur {
        Saboteur {
            rng,
            sites: sites.to_vec(),
            world: Rc::clone(world),
            next: 0,
            undo: Vec::new(),
            disturbed: Vec::new(),
            latency_max,
            wiped: false,
            counts: Counts::default(),
        }
    }

    fn between(&self, (from, to): (u64, u64)) -> u64 {
        from + self.rng.below(to - from + 1)
    }

    /// A host's name; the clients' host comes after the nodes.
    fn name(&self, host: usize) -> String {
        self.sites.get(host).map_or_else(|| clients::HOST.to_owned(), |site| site.name.clone())
    }

    /// Looks after machines whose server has ended: a process that is gone is started again, on the disk as a loss of power leaves
    /// it. An end that nothing has led to is an error.
    pub fn tend(&mut self, sim: &mut Sim<'_>, now: At) -> Result<(), String> {
        for node in 0..self.sites.len() {
            let state = self.sites[node].state.borrow().clone();
            let expected = match state {
                State::Off | State::Runs => continue,
                State::Stopped => true,
                State::Aborted => {
                    self.undo.iter().any(|(_, undo)| matches!(undo, Undo::PowerOff(n) if *n == node))
                }
            };
            if !expected {
                return Err(format!("{} has ended by itself", self.name(node)));
            }
            self.undo.retain(|(_, undo)| !matches!(undo, Undo::PowerOff(n) if *n == node));
            let down = self.between(LASTS_MS);
            self.power_off(sim, node, now + down);
        }
        Ok(())
    }

    /// Undoes what is over.
    pub fn undo_due(&mut self, sim: &mut Sim<'_>, now: At) {
        let mut due: Vec<Undo> = Vec::new();
        let (over, later) = std::mem::take(&mut self.undo).into_iter().partition(|(at, _)| *at <= now);
        self.undo = later;
        due.extend(Vec::<(At, Undo)>::into_iter(over).map(|(_, undo)| undo));
        for undo in due {
            self.undo_one(sim, undo, now);
        }
    }

    /// Undoes everything: from here on the world is as it should be.
    pub fn heal(&mut self, sim: &mut Sim<'_>, now: At) {
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.undo_one(sim, undo, now);
        }
        // What was switched off just now is started at once.
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.undo_one(sim, undo, now);
        }
        for site in &self.sites {
            site.skew_ms.set(0);
        }
    }

    fn undo_one(&mut self, sim: &mut Sim<'_>, undo: Undo, now: At) {
        let mut calm = |a: usize, b: usize| self.disturbed.retain(|pair| *pair != (a, b));
        match undo {
            Undo::Start(node) => {
                trace::line(|| format!("{} is switched on", self.name(node)));
                sim.bounce(self.name(node));
            }
            Undo::PowerOff(node) => {
                let down = self.between(LASTS_MS);
                self.power_off(sim, node, now + down);
            }
            Undo::Release(a, b) => {
                calm(a, b);
                trace::line(|| format!("{} and {} hear from each other again", self.name(a), self.name(b)));
                sim.release(self.name(a), self.name(b));
            }
            Undo::Repair(a, b) => {
                calm(a, b);
                trace::line(|| format!("{} and {} are connected again", self.name(a), self.name(b)));
                sim.repair(self.name(a), self.name(b));
            }
            Undo::RepairOneWay(a, b) => {
                calm(a.min(b), a.max(b));
                trace::line(|| format!("{} reaches {} again", self.name(a), self.name(b)));
                sim.repair_oneway(self.name(a), self.name(b));
            }
            Undo::Hasten(a, b) => {
                calm(a, b);
                sim.set_link_max_message_latency(self.name(a), self.name(b), self.latency_max);
            }
            Undo::HastenDisk(node) => {
                self.sites[node].disk_us_max.store(DISK_US_MAX, Relaxed);
            }
        }
    }

    fn power_off(&mut self, sim: &mut Sim<'_>, node: usize, until: At) {
        trace::line(|| format!("{} loses its power", self.name(node)));
        sim.crash(self.name(node));
        self.sites[node].lose_power();
        self.undo.push((until, Undo::Start(node)));
    }

    /// Does what is due, and decides when the next thing is.
    pub fn strike_if_due(&mut self, sim: &mut Sim<'_>, now: At) {
        if now < self.next {
            return;
        }
        self.next = now + self.between(PAUSE_MS);
        let until = now + self.between(LASTS_MS);
        let node = self.rng.below(self.sites.len() as u64) as usize;
        let runs = *self.sites[node].state.borrow() == State::Runs;
        let doomed = self.undo.iter().any(|(_, undo)| matches!(undo, Undo::PowerOff(n) if *n == node));
        match self.rng.below(100) {
            0..15 if runs && !doomed => {
                self.counts.count("power lost");
                self.power_off(sim, node, until);
            }
            15..27 if runs && !doomed => {
                let after = 1 + self.rng.below(FAIL_AFTER_MAX);
                trace::line(|| format!("the disk of {} fails at its {after}. operation", self.name(node)));
                self.counts.count("disk failed");
                self.sites[node].fail_disk_after(after);
                self.undo.push((now + FAIL_LIMIT_MS, Undo::PowerOff(node)));
            }
            27..31 if runs && !doomed && !self.wiped => {
                trace::line(|| format!("{} loses its disk", self.name(node)));
                self.counts.count("disk lost");
                self.wiped = true;
                self.power_off(sim, node, until);
                self.sites[node].wipe();
            }
            31..36 if runs && !doomed => {
                trace::line(|| format!("{} is asked to stop", self.name(node)));
                self.counts.count("stopped");
                self.sites[node].terminate();
            }
            36..44 => {
                self.counts.count("failover");
                self.order_all("FAILOVER");
            }
            44..54 => {
                self.counts.count("snapshot");
                let order = vec!["BGSAVE".to_owned()];
                self.world.orders.borrow_mut().push_back((node, order));
            }
            54..60 => {
                let us = 2000 + self.rng.below(60_000);
                trace::line(|| format!("the disk of {} takes up to {us} us", self.name(node)));
                self.counts.count("disk slow");
                self.sites[node].disk_us_max.store(us, Relaxed);
                self.undo.push((until, Undo::HastenDisk(node)));
            }
            60..64 => {
                let skew = self.rng.below(2 * SKEW_MS_MAX) as i64 - SKEW_MS_MAX as i64;
                trace::line(|| format!("the clock of {} is {skew} ms ahead", self.name(node)));
                self.counts.count("clock off");
                self.sites[node].skew_ms.set(skew);
            }
            64..74 => {
                trace::line(|| format!("{} is cut off from the other nodes", self.name(node)));
                self.counts.count("cut off");
                for other in 0..self.sites.len() {
                    self.disturb(sim, node, other, until);
                }
            }
            // Between two nodes, or between a node and the clients.
            _ => {
                let other = self.rng.below(self.sites.len() as u64 + 1) as usize;
                self.disturb(sim, node, other, until);
            }
        }
    }

    fn order_all(&self, order: &str) {
        for node in 0..self.sites.len() {
            self.world.orders.borrow_mut().push_back((node, vec![order.to_owned()]));
        }
    }

    /// Disturbs the network between two hosts, if it is not disturbed already.
    fn disturb(&mut self, sim: &mut Sim<'_>, one: usize, other: usize, until: At) {
        let (a, b) = (one.min(other), one.max(other));
        if a == b || self.disturbed.contains(&(a, b)) {
            return;
        }
        self.disturbed.push((a, b));
        let (name_a, name_b) = (self.name(a), self.name(b));
        match self.rng.below(4) {
            // What is sent arrives when the cut is over, as with a TCP that sends again.
            0 => {
                trace::line(|| format!("{name_a} and {name_b} do not hear from each other"));
                self.counts.count("messages held");
                sim.hold(name_a, name_b);
                self.undo.push((until, Undo::Release(a, b)));
            }
            // What is sent is lost, and the connections with it.
            1 => {
                trace::line(|| format!("{name_a} and {name_b} are not connected"));
                self.counts.count("messages lost");
                sim.partition(name_a, name_b);
                self.undo.push((until, Undo::Repair(a, b)));
            }
            2 => {
                let (from, to) = if self.rng.below(2) == 0 { (a, b) } else { (b, a) };
                trace::line(|| format!("{} does not reach {}", self.name(from), self.name(to)));
                self.counts.count("one-way cut");
                sim.partition_oneway(self.name(from), self.name(to));
                self.undo.push((until, Undo::RepairOneWay(from, to)));
            }
            _ => {
                let ms = 20 + self.rng.below(130);
                trace::line(|| format!("messages between {name_a} and {name_b} take up to {ms} ms"));
                self.counts.count("messages late");
                sim.set_link_max_message_latency(name_a, name_b, Duration::from_millis(ms));
                self.undo.push((until, Undo::Hasten(a, b)));
            }
        }
    }
}

/// A disk that nothing is wrong with takes up to so long for a group.
pub const DISK_US_MAX: u64 = 1500;
