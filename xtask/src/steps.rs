//! Steps that run one after another, each with a headline and its time; the first failure ends them.

use anyhow::{Context, bail};
use std::process::Command;
use std::time::Instant;

/// The steps of one invocation.
pub struct Steps {
    started: Instant,
}

impl Steps {
    pub fn new() -> Steps {
        Steps { started: Instant::now() }
    }

    /// Runs cargo; `remedy` says what to do when it fails.
    pub fn cargo(&mut self, name: &str, args: &[&str], remedy: &str) -> anyhow::Result<()> {
        self.run(name, cargo(args), remedy)
    }

    /// Runs a command with its output shown.
    pub fn run(&mut self, name: &str, mut command: Command, remedy: &str) -> anyhow::Result<()> {
        self.call(name, || {
            let program = command.get_program().to_owned();
            let status = command.status().with_context(|| format!("cannot run {}", program.display()))?;
            if !status.success() {
                bail!("{status}\n    remedy: {remedy}");
            }
            Ok(())
        })
    }

    /// Runs a function.
    pub fn call<T>(&mut self, name: &str, step: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        println!("==> {name}");
        let started = Instant::now();
        let result = step().with_context(|| format!("{name} failed"))?;
        println!("    {name}: {:.1} s", started.elapsed().as_secs_f32());
        Ok(result)
    }

    /// The last line.
    pub fn done(&self, what: &str) {
        println!("==> {what} in {:.0} s", self.started.elapsed().as_secs_f32());
    }
}

/// The cargo that runs this program.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(args);
    command
}
