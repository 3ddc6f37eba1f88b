#![doc = include_str!("../README.md")]

mod backend;
mod codec;
mod config;
mod epoch;
mod error;
mod factory;
mod lease;
mod reader;
mod records;
mod session;
mod watch;

pub use backend::ZooKeeper;
pub use codec::instance_path;
pub use config::{Acl, Login, ZooKeeperConfig};
pub use factory::factory;

/// The registry's type in a configuration and the scheme of its URLs.
pub const TYPE: &str = "zookeeper";
