//! Geohash arithmetic, bit for bit as Redis computes it (`geohash.c`, `geohash_helper.c` of Redis 7.2): the same scores,
//! the same distances, the same cells searched.
//!
//! A rectangle of the world is halved again and again, by longitude and by latitude in turn; a cell is named by the bits
//! that say which halves it lies in:
//!
//! ```text
//!            longitude bits  1 0 1 …        26 of each: 52 bits, which a double holds exactly
//!            latitude bits    0 1 1 …       a cell of fewer steps is a run of scores:
//!            cell            100111…        bits·4^(26-step) ..< (bits+1)·4^(26-step)
//! ```
//!
//! The order of operations in here is part of the behaviour; do not simplify expressions.

use std::f64::consts::PI;

/// Bits of each coordinate in a score.
pub(super) const STEPS: u32 = 26;

/// Redis's radius for distances: the Earth's quadratic mean radius, in metres.
const EARTH_RADIUS_M: f64 = 6_372_797.560856;
/// Half the world's length on a Mercator map, in metres: bounds the size of cells.
const MERCATOR_MAX_M: f64 = 20_037_726.37;
const RADIANS_PER_DEGREE: f64 = PI / 180.0;

const EVEN_BITS: u64 = 0x5555_5555_5555_5555;
const ODD_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// In degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

/// From south-west to north-east, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub min: Point,
    pub max: Point,
}

/// What can be indexed: Mercator's world ends before the poles (EPSG:900913).
pub(super) const WORLD: Area = Area {
    min: Point { longitude: -180.0, latitude: -85.05112878 },
    max: Point { longitude: 180.0, latitude: 85.05112878 },
};

/// The world of standard geohashes.
const WHOLE_WORLD: Area = Area {
    min: Point { longitude: -180.0, latitude: -90.0 },
    max: Point { longitude: 180.0, latitude: 90.0 },
};

impl Area {
    pub fn contains(&self, point: Point) -> bool {
        (self.min.longitude..=self.max.longitude).contains(&point.longitude)
            && (self.min.latitude..=self.max.latitude).contains(&point.latitude)
    }
}

/// A cell of the grid with 2^step cells each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Latitude in the even bits, longitude in the odd ones.
    bits: u64,
    step: u32,
}

impl Cell {
    /// The smallest cell around a point of [`WORLD`].
    pub fn of(point: Point) -> Self {
        Self::at(point, STEPS, &WORLD)
    }

    /// The cell that a score stands for. Any number is one, as in Redis: it has members of any sorted set here.
    pub fn of_score(score: f64) -> Self {
        Self { bits: score as u64, step: STEPS }
    }

    fn at(point: Point, step: u32, world: &Area) -> Self {
        let Area { min, max } = world;
        let latitude = (point.latitude - min.latitude) / (max.latitude - min.latitude);
        let longitude = (point.longitude - min.longitude) / (max.longitude - min.longitude);
        let cells = (1u64 << step) as f64;
        let bits = spread((latitude * cells) as u32) | spread((longitude * cells) as u32) << 1;
        Self { bits, step }
    }

    /// The lowest score in the cell.
    pub fn score(self) -> u64 {
        self.bits << (2 * (STEPS - self.step))
    }

    /// The scores in the cell: from the first up to but not including the second.
    pub fn scores(self) -> (u64, u64) {
        (self.score(), Self { bits: self.bits + 1, ..self }.score())
    }

    pub fn area(self) -> Area {
        let (latitude, longitude) = (gather(self.bits), gather(self.bits >> 1));
        let cells = (1u64 << self.step) as f64;
        let latitude_scale = WORLD.max.latitude - WORLD.min.latitude;
        let longitude_scale = WORLD.max.longitude - WORLD.min.longitude;
        let corner = |latitude: u32, longitude: u32| Point {
            latitude: WORLD.min.latitude + (f64::from(latitude) / cells) * latitude_scale,
            longitude: WORLD.min.longitude + (f64::from(longitude) / cells) * longitude_scale,
        };
        Area {
            min: corner(latitude, longitude),
            max: corner(latitude.wrapping_add(1), longitude.wrapping_add(1)),
        }
    }

    /// The point that the cell stands for.
    pub fn centre(self) -> Point {
        let Area { min, max } = self.area();
        Point {
            longitude: ((min.longitude + max.longitude) / 2.0)
                .clamp(WORLD.min.longitude, WORLD.max.longitude),
            latitude: ((min.latitude + max.latitude) / 2.0).clamp(WORLD.min.latitude, WORLD.max.latitude),
        }
    }

    /// The cell so many cells (-1, 0 or 1) to the east and to the north; around the edge of the world if need be.
    fn neighbour(self, east: i32, north: i32) -> Self {
        let unused = 64 - 2 * self.step;
        let moved = |own: u64, others: u64, by: i32| {
            // With all of the other coordinate's bits set, a carry runs through them.
            let filled = others >> unused;
            let bits = self.bits & own;
            let moved = match by {
                1 => bits.wrapping_add(filled + 1),
                -1 => (bits | filled).wrapping_sub(filled + 1),
                _ => return bits,
            };
            moved & (own >> unused)
        };
        Self { bits: moved(ODD_BITS, EVEN_BITS, east) | moved(EVEN_BITS, ODD_BITS, north), ..self }
    }
}

/// Moves the bits of `value` to the even places.
fn spread(value: u32) -> u64 {
    let mut bits = u64::from(value);
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & EVEN_BITS
}

/// The opposite of [`spread`]; odd places are ignored.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & EVEN_BITS;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}

/// The geohash as the rest of the world writes it: 11 characters of 5 bits, though the last one would need 3 bits more
/// than there are and is always `0`.
pub(super) fn standard_text(point: Point) -> [u8; 11] {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = Cell::at(point, STEPS, &WHOLE_WORLD).bits;
    std::array::from_fn(|i| match i {
        10 => ALPHABET[0],
        _ => ALPHABET[(bits >> (52 - (i + 1) * 5)) as usize & 0x1f],
    })
}

/// The great-circle distance in metres.
pub(super) fn distance(a: Point, b: Point) -> f64 {
    let v = ((radians(b.longitude) - radians(a.longitude)) / 2.0).sin();
    if v == 0.0 {
        return latitude_distance(a.latitude, b.latitude);
    }
    let (latitude_a, latitude_b) = (radians(a.latitude), radians(b.latitude));
    let u = ((latitude_b - latitude_a) / 2.0).sin();
    let haversine = u * u + latitude_a.cos() * latitude_b.cos() * v * v;
    2.0 * EARTH_RADIUS_M * haversine.sqrt().asin()
}

/// The distance in metres of two points on one meridian.
fn latitude_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS_M * (radians(b) - radians(a)).abs()
}

fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / RADIANS_PER_DEGREE
}

/// Where to search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub centre: Point,
    pub extent: Extent,
    /// Of the lengths in `extent`.
    pub metres_per_unit: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    Radius(f64),
    Box { width: f64, height: f64 },
}

impl Shape {
    /// The distance of a point from the centre, if it lies within.
    pub fn distance_within(&self, point: Point) -> Option<f64> {
        match self.extent {
            Extent::Radius(radius) => {
                let distance = distance(self.centre, point);
                (distance <= radius * self.metres_per_unit).then_some(distance)
            }
            Extent::Box { width, height } => {
                let north_south = latitude_distance(point.latitude, self.centre.latitude);
                if north_south > height * self.metres_per_unit / 2.0 {
                    return None;
                }
                let same_latitude = Point { longitude: self.centre.longitude, latitude: point.latitude };
                if distance(point, same_latitude) > width * self.metres_per_unit / 2.0 {
                    return None;
                }
                Some(distance(self.centre, point))
            }
        }
    }

    /// Cells that together hold all of the shape, in the order in which Redis visits them: the centre's and those of
    /// its eight neighbours that can hold something.
    pub fn cells(&self) -> impl Iterator<Item = Cell> {
        let bounds = self.bounds();
        let radius = match self.extent {
            Extent::Radius(radius) => radius,
            Extent::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        let mut step = step_for_radius(radius * self.metres_per_unit, self.centre.latitude);
        let mut centre = Cell::at(self.centre, step, &WORLD);
        // Near the edge of a cell the neighbours may not reach far enough.
        let falls_short = centre.neighbour(0, 1).area().max.latitude < bounds.max.latitude
            || centre.neighbour(0, -1).area().min.latitude > bounds.min.latitude
            || centre.neighbour(1, 0).area().max.longitude < bounds.max.longitude
            || centre.neighbour(-1, 0).area().min.longitude > bounds.min.longitude;
        if step > 1 && falls_short {
            step -= 1;
            centre = Cell::at(self.centre, step, &WORLD);
        }

        let area = centre.area();
        // With fewer steps a neighbour is also the neighbour on the other side.
        let excludes = step >= 2;
        let no_south = excludes && area.min.latitude < bounds.min.latitude;
        let no_north = excludes && area.max.latitude > bounds.max.latitude;
        let no_west = excludes && area.min.longitude < bounds.min.longitude;
        let no_east = excludes && area.max.longitude > bounds.max.longitude;
        let mut previous = None;
        [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]
            .into_iter()
            .enumerate()
            .filter(move |&(_, (east, north))| {
                let excluded = (north < 0 && no_south)
                    || (north > 0 && no_north)
                    || (east < 0 && no_west)
                    || (east > 0 && no_east);
                !excluded
            })
            .filter_map(move |(i, (east, north))| {
                let cell = centre.neighbour(east, north);
                if previous == Some(cell) {
                    return None;
                }
                // Where a cell is its own neighbour; Redis does not compare with the centre's.
                previous = (i > 0).then_some(cell);
                Some(cell)
            })
    }

    /// An area that holds the shape. Its sides east and west follow the longer of the shape's edges.
    fn bounds(&self) -> Area {
        let (width, height) = match self.extent {
            Extent::Radius(radius) => (radius, radius),
            Extent::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let (width, height) = (self.metres_per_unit * width, self.metres_per_unit * height);
        let Point { longitude, latitude } = self.centre;
        let latitude_delta = degrees(height / EARTH_RADIUS_M);
        let edge = if latitude < 0.0 { latitude - latitude_delta } else { latitude + latitude_delta };
        let longitude_delta = degrees(width / EARTH_RADIUS_M / radians(edge).cos());
        Area {
            min: Point { longitude: longitude - longitude_delta, latitude: latitude - latitude_delta },
            max: Point { longitude: longitude + longitude_delta, latitude: latitude + latitude_delta },
        }
    }
}

/// The finest grid of which nine cells hold a circle of this radius, mostly.
fn step_for_radius(radius: f64, latitude: f64) -> u32 {
    if radius == 0.0 {
        return STEPS;
    }
    let mut step = 1;
    let mut range = radius;
    while range < MERCATOR_MAX_M {
        range *= 2.0;
        step += 1;
    }
    step -= 2;
    // Towards the poles a cell covers less ground.
    if latitude.abs() > 66.0 {
        step -= 1;
        if latitude.abs() > 80.0 {
            step -= 1;
        }
    }
    step.clamp(1, STEPS as i32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_manual() {
        let palermo = Point { longitude: 13.361389, latitude: 38.115556 };
        let catania = Point { longitude: 15.087269, latitude: 37.502669 };
        assert_eq!(Cell::of(palermo).score(), 3_479_099_956_230_698);
        assert_eq!(Cell::of(catania).score(), 3_479_447_370_796_909);
        assert_eq!(&standard_text(Cell::of(palermo).centre()), b"sqc8b49rny0");
        let metres = distance(Cell::of(palermo).centre(), Cell::of(catania).centre());
        assert_eq!(format!("{metres:.4}"), "166274.1516");
    }

    #[test]
    fn neighbours_wrap_around_the_world() {
        let corner = Cell::at(WORLD.min, 3, &WORLD);
        assert_eq!(corner.bits, 0);
        assert_eq!(corner.neighbour(-1, 0).bits, 0b101010);
        assert_eq!(corner.neighbour(0, -1).bits, 0b010101);
        assert_eq!(corner.neighbour(1, 1).bits, 0b000011);
        assert_eq!(corner.neighbour(-1, 0).neighbour(1, 0), corner);
    }

    #[test]
    fn spread_and_gather_are_opposites() {
        for value in [0, 1, 0x8000_0001, 0xdead_beef, u32::MAX] {
            assert_eq!(gather(spread(value)), value);
            assert_eq!(gather(spread(value) | ODD_BITS), value);
        }
    }
}
