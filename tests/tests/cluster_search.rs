//! Documents, vector sets and indexes on three nodes: all nodes are alike, and each of them answers searches as a look at every
//! product says, whoever leads, after a restart of all, and after a snapshot was installed.

use std::time::Duration;

use anyhow::{Context, ensure};
use cairn_products::shop::{Form, Shop, Vectors};
use cairn_tests::cluster::group::{Cluster, Plan, SETTLE_LIMIT};
use redis::{Client, Connection, Value};

const LIMIT: Duration = Duration::from_secs(60);
const PRODUCTS: usize = 300;
const QUERIES: usize = 25;
const EF_RUNTIME: usize = 300;
/// Elements of the vector set, which has a direction for each.
const DIRECTIONS: u32 = 60;

/// Everything that is written, and what must be found.
struct World {
    shops: [Shop; 2],
    /// What searches in the vector set have found.
    alike: Vec<Value>,
}

#[test]
fn indexes_answer_the_same_whoever_leads() {
    let flags = &["--log-segment-size", "1mb", "--log-retention-size", "0", "--appendfsync", "no"];
    let mut cluster = Cluster::start(&Plan { flags, ..Plan::default() }).unwrap();
    cluster
        .explained(|cluster| {
            let mut world = write(cluster)?;
            judge(cluster, &mut world).context("at first")?;
            cluster.fail_over()?;
            judge(cluster, &mut world).context("after a failover")?;
            change(cluster, &mut world)?;
            judge(cluster, &mut world).context("after changes at the next leader")?;
            cluster.restart_all()?;
            judge(cluster, &mut world).context("after a restart of all")?;
            cluster.lose_a_disk(|_| Ok(()))?;
            judge(cluster, &mut world).context("after a snapshot was installed")?;
            change(cluster, &mut world)?;
            judge(cluster, &mut world).context("after changes")
        })
        .unwrap();
}

/// A client that is not the leader's, most of the time; or the node's own, to look at what it has itself.
fn connect(cluster: &Cluster, node: usize, itself: bool) -> anyhow::Result<Connection> {
    let client = Client::open(format!("redis://{}/?protocol=resp3", cluster.nodes[node].addr))?;
    let mut connection = client.get_connection()?;
    connection.set_read_timeout(Some(LIMIT))?;
    if itself {
        redis::cmd("READONLY").exec(&mut connection)?;
    }
    Ok(connection)
}

fn write(cluster: &mut Cluster) -> anyhow::Result<World> {
    let leader = cluster.await_leader(SETTLE_LIMIT)?;
    let mut connection = connect(cluster, (leader + 1) % 3, false)?;
    let mut shops = [Shop::new(1, Form::Hash, Vectors::Both), Shop::new(2, Form::Json, Vectors::Both)];
    for shop in &mut shops {
        shop.fill(&mut connection, 0..PRODUCTS / 2)?;
        shop.create_index().exec(&mut connection)?;
        shop.fill(&mut connection, PRODUCTS / 2..PRODUCTS)?;
    }
    for direction in 0..DIRECTIONS {
        let (sine, cosine) = (f64::from(direction) / f64::from(DIRECTIONS) * 3.0).sin_cos();
        let mut add = redis::cmd("VADD");
        add.arg("directions").arg("VALUES").arg(2).arg(cosine).arg(sine).arg(direction).arg("NOQUANT");
        add.exec(&mut connection)?;
    }
    let mut world = World { shops, alike: Vec::new() };
    change(cluster, &mut world)?;
    Ok(world)
}

/// Changes of everything, by way of a node that does not lead.
fn change(cluster: &mut Cluster, world: &mut World) -> anyhow::Result<()> {
    let leader = cluster.await_leader(SETTLE_LIMIT)?;
    let mut connection = connect(cluster, (leader + 2) % 3, false)?;
    for shop in &mut world.shops {
        shop.churn(&mut connection, PRODUCTS / 2)?;
    }
    // The probe for a leader, and the vector set.
    let others = 2 + world.shops[1].keys();
    world.shops[0].await_expiry(&mut connection, others, LIMIT)?;
    for direction in [3, 7, 11] {
        redis::cmd("VREM").arg("directions").arg(direction).exec(&mut connection)?;
        let attributes = format!("{{\"of\":{direction}}}");
        redis::cmd("VSETATTR").arg("directions").arg(direction + 1).arg(attributes).exec(&mut connection)?;
    }
    world.alike = alike(&mut connection)?;
    Ok(())
}

/// What is near to some directions in the vector set, and near among those with an attribute.
fn alike(connection: &mut Connection) -> anyhow::Result<Vec<Value>> {
    let mut answers = Vec::new();
    for (cosine, sine) in [(1.0, 0.0), (0.0, 1.0), (0.6, 0.8), (-1.0, 0.1)] {
        let mut near = redis::cmd("VSIM");
        near.arg("directions").arg("VALUES").arg(2).arg(cosine).arg(sine).arg("WITHSCORES");
        near.arg("COUNT").arg(5).arg("EF").arg(DIRECTIONS);
        let all: Value = near.query(connection)?;
        let some: Value = near.arg("FILTER").arg(".of > 3").query(connection)?;
        answers.extend([all, some]);
    }
    Ok(answers)
}

/// All nodes are alike, and each one's own indexes find what is there.
fn judge(cluster: &mut Cluster, world: &mut World) -> anyhow::Result<()> {
    cluster.await_leader(SETTLE_LIMIT)?;
    cluster.await_alike(LIMIT)?;
    for node in 0..3 {
        let mut connection = connect(cluster, node, true)?;
        for shop in &mut world.shops {
            let judged = (|| {
                shop.await_index(&mut connection, LIMIT)?;
                let findings = shop.judge_queries(&mut connection, QUERIES)?;
                ensure!(findings.fruitful > 0, "nothing is found: {findings:?}");
                let recall = shop.judge_nearest(&mut connection, 6, EF_RUNTIME)?;
                ensure!(recall >= 0.95, "HNSW finds {recall}");
                Ok(())
            })();
            judged.with_context(|| format!("node {node}, {:?}", shop.form))?;
        }
        let found = alike(&mut connection)?;
        ensure!(found == world.alike, "node {node}: VSIM finds {found:?} for {:?}", world.alike);
    }
    Ok(())
}
