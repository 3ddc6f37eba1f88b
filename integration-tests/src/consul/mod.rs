//! Consul: one agent that keeps everything in memory, one server with its data on disk, or three servers and a client.

mod agent;
mod cluster;
mod faults;
mod harness;
mod keys;
mod options;
mod raw;

pub use agent::Agent;
pub use cluster::Consul;
pub use harness::{ConsulHarness, config};
pub use options::{Kind, Options, program};
pub use raw::Raw;
