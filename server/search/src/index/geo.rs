//! Places: 52 bits of interleaved longitude and latitude, as Redis keeps them, and circles over them.
//!
//! What is stored is the cell; distances are measured from its middle, less than a metre from the place that was
//! given. Redis does the same, so both find the same places.

/// The latitudes that have a cell; beyond them the projection ends.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
const LONGITUDE_MAX: f64 = 180.0;
/// Metres.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
const STEPS: u32 = 26;
/// Cells that a circle is covered with, about.
const CELLS_MAX: usize = 64;

/// The cell of a place; none if there is no such place.
pub fn encode(longitude: f64, latitude: f64) -> Option<u64> {
    if !(longitude.abs() <= LONGITUDE_MAX && latitude.abs() <= LATITUDE_MAX) {
        return None;
    }
    let cells = f64::from(1u32 << STEPS);
    let place = |value: f64, max: f64| (((value + max) / (2.0 * max) * cells) as u64).min((1 << STEPS) - 1);
    Some(spread(place(latitude, LATITUDE_MAX)) | spread(place(longitude, LONGITUDE_MAX)) << 1)
}

/// The middle of a cell: longitude, latitude.
pub fn decode(cell: u64) -> (f64, f64) {
    let area = Area { bits: cell, step: STEPS };
    let (west, east) = area.longitudes();
    let (south, north) = area.latitudes();
    let clamp = |value: f64, max: f64| value.clamp(-max, max);
    (clamp(f64::midpoint(west, east), LONGITUDE_MAX), clamp(f64::midpoint(south, north), LATITUDE_MAX))
}

/// Every other bit.
fn spread(value: u64) -> u64 {
    let mut v = value & 0xffff_ffff;
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        v = (v | v << shift) & mask;
    }
    v
}

fn gather(value: u64) -> u64 {
    let mut v = value & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        v = (v | v >> shift) & mask;
    }
    v
}

/// Metres between two places.
pub fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lon_a, lat_a) = (a.0.to_radians(), a.1.to_radians());
    let (lon_b, lat_b) = (b.0.to_radians(), b.1.to_radians());
    let v = ((lon_b - lon_a) / 2.0).sin();
    // As Redis does, which saves itself the other half of the formula here.
    if v == 0.0 {
        return EARTH_RADIUS * (lat_b - lat_a).abs();
    }
    let u = ((lat_b - lat_a) / 2.0).sin();
    let a = u * u + lat_a.cos() * lat_b.cos() * v * v;
    2.0 * EARTH_RADIUS * a.sqrt().asin()
}

/// A unit's metres.
pub fn unit_metres(unit: &[u8]) -> Option<f64> {
    match unit.to_ascii_lowercase().as_slice() {
        b"m" => Some(1.0),
        b"km" => Some(1000.0),
        b"ft" => Some(0.3048),
        b"mi" => Some(1609.34),
        _ => None,
    }
}

/// A circle.
#[derive(Debug, Clone, Copy)]
pub struct Circle {
    pub longitude: f64,
    pub latitude: f64,
    /// Metres.
    pub radius: f64,
}

/// A square of cells: the first `step` pairs of bits are the same.
#[derive(Debug, Clone, Copy)]
struct Area {
    bits: u64,
    step: u32,
}

impl Area {
    fn edges(bits: u64, step: u32, max: f64) -> (f64, f64) {
        let size = 2.0 * max / f64::from(1u32 << step);
        let low = -max + bits as f64 * size;
        (low, low + size)
    }

    fn latitudes(self) -> (f64, f64) {
        Self::edges(gather(self.bits), self.step, LATITUDE_MAX)
    }

    fn longitudes(self) -> (f64, f64) {
        Self::edges(gather(self.bits >> 1), self.step, LONGITUDE_MAX)
    }

    /// Metres that no place of the area is nearer than.
    fn distance_at_least(self, circle: &Circle) -> f64 {
        let (south, north) = self.latitudes();
        let (west, east) = self.longitudes();
        let gap = |low: f64, high: f64, value: f64| (low - value).max(value - high).max(0.0);
        let across = [-360.0, 0.0, 360.0].map(|turn| gap(west, east, circle.longitude + turn));
        let across = across[0].min(across[1]).min(across[2]);
        let up = EARTH_RADIUS * gap(south, north, circle.latitude).to_radians();
        if across == 0.0 {
            return up;
        }
        // The way to the nearest meridian of the area, or over the pole if that is nearer.
        let latitude = circle.latitude.to_radians();
        let over = if across >= 90.0 {
            std::f64::consts::FRAC_PI_2 - latitude.abs()
        } else {
            (latitude.cos() * across.to_radians().sin()).asin()
        };
        // A little less, for the rounding of all this.
        up.max(EARTH_RADIUS * over) * (1.0 - 1e-9)
    }

    fn quarters(self) -> [Self; 4] {
        [0, 1, 2, 3].map(|quarter| Self { bits: self.bits << 2 | quarter, step: self.step + 1 })
    }

    /// The least and the greatest cell.
    fn range(self) -> (u64, u64) {
        let shift = 2 * (STEPS - self.step);
        (self.bits << shift, ((self.bits + 1) << shift) - 1)
    }
}

impl Circle {
    pub fn contains(&self, cell: u64) -> bool {
        distance((self.longitude, self.latitude), decode(cell)) <= self.radius
    }

    /// Ranges of cells that hold every place of the circle, and others near it.
    pub fn cover(&self) -> Vec<(u64, u64)> {
        let mut areas = vec![Area { bits: 0, step: 0 }];
        while areas[0].step < STEPS {
            let finer: Vec<Area> = areas
                .iter()
                .flat_map(|area| area.quarters())
                .filter(|area| area.distance_at_least(self) <= self.radius)
                .collect();
            if finer.is_empty() {
                return Vec::new();
            }
            if finer.len() > CELLS_MAX {
                break;
            }
            areas = finer;
        }
        let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(areas.len());
        for (from, to) in areas.into_iter().map(Area::range) {
            match ranges.last_mut() {
                Some(last) if last.1 + 1 == from => last.1 = to,
                _ => ranges.push((from, to)),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_cell_of_palermo_is_the_one_that_redis_has() {
        // GEOADD's documentation: ZSCORE of Palermo.
        assert_eq!(encode(13.361_389, 38.115_556), Some(3_479_099_956_230_698));
        let (longitude, latitude) = decode(3_479_099_956_230_698);
        assert!((longitude - 13.361_389_338_970_184).abs() < 1e-12, "{longitude}");
        assert!((latitude - 38.115_556_395_496_3).abs() < 1e-12, "{latitude}");
    }

    #[test]
    fn palermo_is_166_km_from_catania() {
        let palermo = decode(encode(13.361_389, 38.115_556).unwrap());
        let catania = decode(encode(15.087_269, 37.502_669).unwrap());
        assert!((distance(palermo, catania) - 166_274.151_6).abs() < 0.001);
    }

    #[test]
    fn there_are_no_places_beyond_the_projection() {
        assert_eq!(encode(180.1, 0.0), None);
        assert_eq!(encode(0.0, 86.0), None);
        assert_eq!(encode(f64::NAN, 0.0), None);
        assert!(encode(180.0, LATITUDE_MAX).is_some() && encode(-180.0, -LATITUDE_MAX).is_some());
    }

    #[test]
    fn a_cover_has_few_ranges() {
        for radius in [0.1, 10.0, 1000.0, 50_000.0, 3_000_000.0, 30_000_000.0] {
            let cover = Circle { longitude: 13.0, latitude: 52.0, radius }.cover();
            assert!(!cover.is_empty() && cover.len() <= CELLS_MAX, "{radius}: {}", cover.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        // Also across the date line and near the poles.
        #[test]
        fn the_cover_of_a_circle_holds_all_of_it(
            lon in -180.0..=180.0f64, lat in -85.0..=85.0f64, exponent in 0.0..7.5f64,
            far_lon in -180.0..=180.0f64, far_lat in -85.0..=85.0f64, near in 0.0..1.0f64,
        ) {
            let circle = Circle { longitude: lon, latitude: lat, radius: 10f64.powf(exponent) };
            let degrees = circle.radius / 111_000.0;
            let wrap = |v: f64| (v + 540.0).rem_euclid(360.0) - 180.0;
            let close = (wrap(lon + degrees * (near - 0.5) * 2.0), (lat + degrees * (far_lat / 85.0)).clamp(-85.0, 85.0));
            for (lon, lat) in [(far_lon, far_lat), close] {
                let cell = encode(lon, lat).unwrap();
                if circle.contains(cell) {
                    prop_assert!(circle.cover().iter().any(|&(from, to)| from <= cell && cell <= to), "{lon} {lat}");
                }
            }
        }
    }
}
