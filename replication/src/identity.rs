//! Who a node is: a random number, made once, in a file of its data directory.
//!
//! It is not in the configuration and not derived from an address: a node that has lost its disk has to be another node, for
//! it does not remember whom it has voted for.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cairn_storage::disk::Disk;
use cairn_storage::snapshot::{read_file, write_file_atomically};
use rand::RngExt;
use sha1::{Digest, Sha1};

use crate::entry::invalid;
use crate::runtime::chance;
use crate::types::NodeId;

/// Name of the file, in the directory `cluster` of the data directory.
pub const NODE_FILE: &str = "node";

/// The node's id from the file in `dir`; makes one if there is none.
pub fn node_id(disk: &Arc<dyn Disk>, dir: &Path) -> io::Result<NodeId> {
    disk.create_dir_all(dir)?;
    let path = dir.join(NODE_FILE);
    if let Some(content) = read_file(disk, &path)? {
        return parse(&content)
            .ok_or_else(|| invalid(format!("{} does not hold a node's id", path.display())));
    }
    // 0 stands for nobody in some tools.
    let id: NodeId = chance().random_range(1..=NodeId::MAX);
    write_file_atomically(disk, &path, format!("cairn node 1\n{id:016x}\n").as_bytes())?;
    tracing::info!(id = shown(id), "this node has a new id");
    Ok(id)
}

fn parse(content: &[u8]) -> Option<NodeId> {
    let digits = std::str::from_utf8(content).ok()?.strip_prefix("cairn node 1\n")?.strip_suffix('\n')?;
    let plain = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    NodeId::from_str_radix(digits, 16).ok().filter(|&id| plain && id > 0)
}

/// The id as clients see it: 40 hexadecimal digits, as Redis's.
pub fn shown(id: NodeId) -> String {
    Sha1::digest(id.to_be_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use cairn_storage::disk::SimDisk;

    use super::*;

    #[test]
    fn an_id_stays_and_another_directory_has_another() {
        let simulated = SimDisk::new(1);
        let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
        let id = node_id(&disk, "one/cluster".as_ref()).unwrap();
        simulated.crash();
        assert_eq!(node_id(&disk, "one/cluster".as_ref()).unwrap(), id);
        assert_ne!(node_id(&disk, "two/cluster".as_ref()).unwrap(), id);
    }

    #[test]
    fn a_file_with_something_else_is_no_id() {
        for content in
            ["", "cairn node 1\n", "cairn node 1\n0000000000000000\n", "cairn node 1\n+00000000000000a\n"]
        {
            assert_eq!(parse(content.as_bytes()), None, "{content:?}");
        }
        assert_eq!(parse(b"cairn node 1\n00000000000000ff\n"), Some(255));
    }

    #[test]
    fn ids_are_shown_as_forty_digits() {
        assert_eq!(shown(1).len(), 40);
        assert_ne!(shown(1), shown(2));
    }
}
