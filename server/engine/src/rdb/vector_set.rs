//! Vector sets as Redis's module for them has them, links included: a graph of a million elements takes minutes to build again.
//!
//! Here a slot is written as the node's id, one more than its place in the file. Redis's ids are any; links to them become links to
//! places. Nodes of Redis's may have more links than ours: those too many are left out on both sides.

use std::collections::{HashMap, HashSet};

use cairn_search::vector::graph::LEVEL_MAX;
use cairn_search::vector::quantised::{Quantisation, Quants};
use cairn_search::vector::set::{DIM_MAX, LEN_MAX, M, M_DEFAULT, Normalised};

use super::decode::{expect_module_opcode, module_string};
use super::error::Problem;
use super::format::{VECTOR_SET_MODULE_ID, module};
use super::reader::Reader;
use super::writer::Writer;
use crate::types::VectorSet;
use crate::types::vector_set::{ATTRIBUTES_LEN_MAX, NAME_LEN_MAX, PROJECTION_MAX, Projection};

const HAS_PROJECTION: u64 = 1;
const HAS_ATTRIBUTES: u64 = 2;
/// Versions of a node's parameters that are read. Since 1 each layer has its farthest link, which is nothing to us; 0 is written.
const NODE_VERSION_MAX: u64 = 1;
/// Bytes that a node takes at least: its name, its vector, and three parameters, each with what stands before it.
const NODE_LEN_MIN: usize = 12;
/// Links that a node of Redis's may have in a layer.
const REDIS_LINKS_MAX: u64 = 4 * 4096;

const CODES: [(Quantisation, u64); 3] =
    [(Quantisation::Floats, 0), (Quantisation::Bytes, 1), (Quantisation::Bits, 2)];

/// Writes the value.
pub fn put(writer: &mut Writer<'_>, set: &VectorSet) {
    let slots = set.slots();
    let unsigned = |writer: &mut Writer<'_>, number: u64| {
        writer.number(module::UNSIGNED);
        writer.number(number);
    };
    let string = |writer: &mut Writer<'_>, bytes: &[u8]| {
        writer.number(module::STRING);
        writer.string(bytes);
    };
    writer.number(VECTOR_SET_MODULE_ID);
    unsigned(writer, slots.dim() as u64);
    unsigned(writer, slots.len() as u64);
    let code = CODES.iter().find(|(known, _)| *known == slots.quantisation()).map_or(0, |(_, code)| *code);
    unsigned(writer, code | (slots.m() as u64) << 8);
    let has_attributes = set.with_attributes() > 0;
    let flags = if set.projection().is_some() { HAS_PROJECTION } else { 0 };
    unsigned(writer, flags | if has_attributes { HAS_ATTRIBUTES } else { 0 });
    if let Some(projection) = set.projection() {
        unsigned(writer, projection.from as u64);
        string(writer, &projection.matrix());
    }
    let mut params: Vec<u64> = Vec::new();
    for slot in 0..slots.len() as u32 {
        string(writer, set.name(slot));
        if has_attributes {
            string(writer, set.attributes(slot));
        }
        let quants = slots.quants(slot);
        string(writer, &quants.to_bytes());
        params.clear();
        params.extend([u64::from(slot) + 1, slots.layers(slot).count() as u64 - 1]);
        for (level, links) in slots.layers(slot).enumerate() {
            params.extend([links.len() as u64, slots.links_max(level) as u64]);
            params.extend(links.iter().map(|&link| u64::from(link) + 1));
        }
        let (length, range) = (slots.length(slot).to_bits(), quants.range().to_bits());
        params.push(u64::from(length) | u64::from(range) << 32);
        unsigned(writer, params.len() as u64);
        params.iter().for_each(|&param| unsigned(writer, param));
    }
    writer.number(module::EOF);
}

fn unsigned(reader: &mut Reader<'_>) -> Result<u64, Problem> {
    expect_module_opcode(reader, module::UNSIGNED)?;
    reader.len()
}

/// What stands before the nodes.
struct Head {
    dim: usize,
    count: usize,
    quantisation: Quantisation,
    m: usize,
    projection: Option<Projection>,
    has_attributes: bool,
}

impl Head {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let dim = unsigned(reader)? as usize;
        if !(1..=DIM_MAX).contains(&dim) {
            return Err(Problem::Content("the dimension of a vector set is out of range"));
        }
        expect_module_opcode(reader, module::UNSIGNED)?;
        let count = reader.count(NODE_LEN_MIN)?;
        if count > LEN_MAX {
            return Err(Problem::Content("a vector set has too many elements"));
        }
        let config = unsigned(reader)?;
        let code = CODES.iter().find(|(_, code)| *code == config & 0xff);
        let (quantisation, _) = code.ok_or(Problem::Content("the form of a vector set is not known"))?;
        let m = match (config >> 8 & 0xffff) as usize {
            0 => M_DEFAULT,
            m if M.contains(&m) => m,
            _ => return Err(Problem::Content("the links of a vector set are out of range")),
        };
        let flags = unsigned(reader)?;
        let projection = if flags & HAS_PROJECTION == 0 { None } else { Some(projection(reader, dim)?) };
        let has_attributes = flags & HAS_ATTRIBUTES != 0;
        Ok(Self { dim, count, quantisation: *quantisation, m, projection, has_attributes })
    }
}

fn projection(reader: &mut Reader<'_>, to: usize) -> Result<Projection, Problem> {
    let from = unsigned(reader)? as usize;
    if from > DIM_MAX || to > from || to * from > PROJECTION_MAX {
        return Err(Problem::Content("the projection of a vector set is out of range"));
    }
    let projection = Projection { from, to };
    let known = module_string(reader)?
        .with_bytes(|matrix| matrix.len() == 4 * from * to && matrix == projection.matrix());
    known
        .then_some(projection)
        .ok_or(Problem::Content("the projection of a vector set is not the one that is known"))
}

/// The parameters of a node: its id, and links to ids.
struct Node {
    id: u64,
    /// Of each layer.
    links: Vec<Vec<u64>>,
    length: f32,
    range: f32,
}

impl Node {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        const CUT: Problem = Problem::Content("the parameters of a node end too early");
        expect_module_opcode(reader, module::UNSIGNED)?;
        let mut left = reader.count(2)?;
        let mut next = || {
            left = left.checked_sub(1).ok_or(CUT)?;
            unsigned(reader)
        };
        let (id, shape) = (next()?, next()?);
        let (level, version) = (shape & 0xff, shape >> 24 & 0xff);
        if id == 0 || version > NODE_VERSION_MAX || level > LEVEL_MAX as u64 + 1 {
            return Err(Problem::Content("the parameters of a node are out of range"));
        }
        let mut links = Vec::new();
        for layer in 0..=level {
            let (count, room) = (next()?, next()?);
            if count > room || room > REDIS_LINKS_MAX {
                return Err(Problem::Content("a node has too many links"));
            }
            let of_layer = (0..count).map(|_| next()).collect::<Result<Vec<u64>, Problem>>()?;
            if version >= 1 {
                next()?;
            }
            // Redis has one layer more, if chance has it so once in a few thousand million times.
            if layer <= LEVEL_MAX as u64 {
                links.push(of_layer);
            }
        }
        let scales = next()?;
        if left > 0 {
            return Err(Problem::Content("a node has parameters after its last"));
        }
        let (length, range) = (f32::from_bits(scales as u32), f32::from_bits((scales >> 32) as u32));
        if !length.is_finite() || length < 0.0 {
            return Err(Problem::Content("the length of a vector is out of range"));
        }
        Ok(Self { id, links, length, range })
    }
}

/// Reads the value after its id.
pub fn read(reader: &mut Reader<'_>) -> Result<VectorSet, Problem> {
    let head = Head::read(reader)?;
    if head.count == 0 {
        return Err(Problem::Empty);
    }
    let mut set = VectorSet::new(head.dim, head.projection, head.quantisation, head.m);
    // All ids have to be known before the first link: the nodes are read twice.
    let from = reader.pos();
    let mut ids: Vec<u64> = Vec::new();
    let mut left_out: HashSet<(usize, u64, u64)> = HashSet::new();
    for _ in 0..head.count {
        for _ in 0..2 + usize::from(head.has_attributes) {
            module_string(reader)?;
        }
        let node = Node::read(reader)?;
        for (level, links) in node.links.iter().enumerate() {
            for &link in links.iter().skip(set.slots().links_max(level)) {
                left_out.insert((level, node.id, link));
                left_out.insert((level, link, node.id));
            }
        }
        ids.push(node.id);
    }
    let in_order = ids.iter().enumerate().all(|(at, &id)| id == at as u64 + 1);
    let mut places: HashMap<u64, u32> = HashMap::new();
    if !in_order {
        places = ids.iter().enumerate().map(|(at, &id)| (id, at as u32)).collect();
        if places.len() < ids.len() {
            return Err(Problem::Content("two nodes have the same id"));
        }
    }
    let place = |id: u64| match in_order {
        true => u32::try_from(id.wrapping_sub(1)).ok().filter(|&at| (at as usize) < head.count),
        false => places.get(&id).copied(),
    };
    reader.rewind(from);
    for _ in 0..head.count {
        let name = module_string(reader)?;
        let attributes = if head.has_attributes { Some(module_string(reader)?) } else { None };
        let bytes = module_string(reader)?;
        let node = Node::read(reader)?;
        let mut layers: Vec<Vec<u32>> = Vec::with_capacity(node.links.len());
        for (level, links) in node.links.iter().enumerate() {
            let kept = links.iter().filter(|&&link| !left_out.contains(&(level, node.id, link)));
            let links: Option<Vec<u32>> = kept.map(|&link| place(link)).collect();
            layers.push(links.ok_or(Problem::Content("a node links to one that is not there"))?);
        }
        let quants = bytes.with_bytes(|bytes| {
            let fits = bytes.len() == Quants::len(head.quantisation, head.dim);
            let quants = fits.then(|| Quants::from_bytes(bytes, head.quantisation, head.dim, node.range));
            quants.flatten().ok_or(Problem::Content("a vector is not of its set's form"))
        })?;
        let vector = Normalised { quants, length: node.length };
        let is_new = name.with_bytes(|name| {
            let mut restore = |attributes: &[u8]| {
                let fits = name.len() <= NAME_LEN_MAX && attributes.len() <= ATTRIBUTES_LEN_MAX;
                fits.then(|| set.restore(name, attributes, &vector, &layers))
            };
            match attributes {
                Some(attributes) => attributes.with_bytes(restore),
                None => restore(b""),
            }
        });
        match is_new {
            Some(true) => {}
            Some(false) => return Err(Problem::Content("an element is there twice")),
            None => return Err(Problem::Content("the name or the attributes of an element are too long")),
        }
    }
    expect_module_opcode(reader, module::EOF)?;
    if !set.slots().is_sound() {
        return Err(Problem::Content("the links of a vector set do not fit together"));
    }
    Ok(set)
}
