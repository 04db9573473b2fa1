//! Files that are there whole or not at all.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use cairn_storage::disk::{Disk, Fault, RealDisk, SimDisk};
use cairn_storage::snapshot::{
    SnapshotDir, parse_snapshot_name, read_file, snapshot_name, write_file_atomically,
};

fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn replace(disk: &SimDisk, content: &[u8]) -> std::io::Result<()> {
    let dir = SnapshotDir::open(shared(disk), Path::new("data")).map_err(std::io::Error::other)?;
    let mut writer = dir.create("dump.rdb")?;
    content.chunks(1000).try_for_each(|chunk| writer.write_all(chunk))?;
    assert_eq!(writer.commit()?, content.len() as u64);
    Ok(())
}

#[test]
fn a_crash_at_any_operation_leaves_the_old_file_or_the_new() {
    let old = vec![1; 700_000];
    let new: Vec<u8> = (0..5_000_000u32).map(|n| (n / 7) as u8).collect();
    let (mut olds, mut news) = (0, 0);
    for seed in 0..3 {
        for cut in 1.. {
            let disk = SimDisk::new(seed << 32 | cut);
            replace(&disk, &old).unwrap();
            disk.cut_at(disk.operations() + cut);
            let done = replace(&disk, &new);
            disk.crash();
            let found = disk.read_file(Path::new("data/dump.rdb")).expect("one of them");
            assert!(found == old || found == new, "seed {seed}, cut at {cut}");
            if done.is_ok() {
                assert!(found == new, "committed and lost: seed {seed}, cut at {cut}");
                break;
            }
            *if found == old { &mut olds } else { &mut news } += 1;
            // What was left unfinished goes with the next opening.
            SnapshotDir::open(shared(&disk), Path::new("data")).unwrap();
            assert_eq!(disk.files(), [Path::new("data/dump.rdb")]);
        }
    }
    assert!(olds > 15 && news > 0, "{olds} {news}");
}

#[test]
fn attaching_leaves_alone_a_file_being_written() {
    let disk = SimDisk::new(1);
    let dir = SnapshotDir::open(shared(&disk), Path::new("data")).unwrap();
    let mut writer = dir.create("dump.rdb").unwrap();
    writer.write_all(b"new").unwrap();
    SnapshotDir::attach(shared(&disk), Path::new("data")).unwrap();
    writer.commit().unwrap();
    assert_eq!(disk.read_file(Path::new("data/dump.rdb")).unwrap(), b"new");
}

#[test]
fn a_writer_that_is_dropped_or_has_failed_leaves_the_old_file() {
    let disk = SimDisk::new(1);
    replace(&disk, b"old").unwrap();
    let dir = SnapshotDir::open(shared(&disk), Path::new("data")).unwrap();
    let mut writer = dir.create("dump.rdb").unwrap();
    writer.write_all(b"half").unwrap();
    assert_eq!(writer.len(), 4);
    drop(writer);
    assert_eq!(disk.files(), [Path::new("data/dump.rdb")]);

    // Once a sync has failed, no later one is believed.
    let mut writer = dir.create("dump.rdb").unwrap();
    writer.write_all(b"new").unwrap();
    disk.fail(disk.operations() + 1, Fault::Full);
    assert_eq!(writer.flush().unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert!(writer.commit().is_err());
    assert_eq!(disk.read_file(Path::new("data/dump.rdb")).unwrap(), b"old");
    assert_eq!(disk.files(), [Path::new("data/dump.rdb")]);
}

#[test]
fn the_latest_snapshot_is_the_one_with_the_greatest_index() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = SnapshotDir::open(Arc::new(RealDisk), &temporary.path().join("snapshots")).unwrap();
    assert_eq!(dir.latest().unwrap(), None);
    for index in [90, 1000, 200] {
        let mut writer = dir.create(&snapshot_name(index)).unwrap();
        write!(writer, "up to {index}").unwrap();
        writer.commit().unwrap();
    }
    let mut writer = dir.create("zzz.rdb").unwrap();
    writer.write_all(b"not one of ours").unwrap();
    writer.commit().unwrap();
    let (index, file) = dir.latest().unwrap().unwrap();
    assert_eq!((index, file.len), (1000, 10));
    let mut text = String::new();
    dir.open_file(&file.name).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "up to 1000");
    assert_eq!(dir.map(&file.name).unwrap(), text);
    dir.remove(&file.name).unwrap();
    assert_eq!(dir.latest().unwrap().unwrap().0, 200);
    assert_eq!(dir.list().unwrap().len(), 3);
    assert_eq!(parse_snapshot_name("snapshot-12.rdb"), None);
}

#[test]
fn a_small_file_is_replaced_whole() {
    let disk = SimDisk::new(1);
    let any = shared(&disk);
    any.create_dir_all(Path::new("data")).unwrap();
    let path = Path::new("data/node.id");
    assert_eq!(read_file(&any, path).unwrap(), None);
    write_file_atomically(&any, path, b"first").unwrap();
    write_file_atomically(&any, path, b"2nd").unwrap();
    disk.crash();
    assert_eq!(read_file(&shared(&disk), path).unwrap().unwrap(), b"2nd");
}
