//! What the numbers were measured on.

use std::env::consts;
use std::fs;
use std::thread;

pub(crate) const IS_DEBUG: bool = cfg!(debug_assertions);

/// One line for the head of the table.
pub(crate) fn describe() -> String {
    let build = if IS_DEBUG { "debug" } else { "release" };
    let cores = thread::available_parallelism().map_or_else(|_| "?".to_owned(), |cores| cores.to_string());
    let processor = processor().unwrap_or_else(|| "unknown processor".to_owned());
    let load = load().map_or_else(String::new, |load| format!(", load {load}"));
    format!("{build} build, {cores} cores, {processor}, {} {}{load}", consts::OS, consts::ARCH)
}

fn processor() -> Option<String> {
    let facts = fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = facts.lines().find(|line| line.starts_with("model name"))?;
    Some(model.split_once(':')?.1.trim().to_owned())
}

/// How many threads wanted to run in the last minute: the noise of others, before the measuring starts.
fn load() -> Option<String> {
    let facts = fs::read_to_string("/proc/loadavg").ok()?;
    Some(facts.split(' ').next()?.to_owned())
}
