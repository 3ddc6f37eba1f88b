#![doc = include_str!("../README.md")]

mod agent;
mod backend;
mod codec;
mod config;
mod epoch;
mod error;
mod factory;
mod presence;
mod reader;
mod records;
mod rights;
mod signs;
mod watch;
mod wire;

pub use backend::Consul;
pub use codec::{instance_id, service_name};
pub use config::{CheckConfig, CheckKind, ConsulConfig, TenancyKind, WatchConfig};
pub use factory::factory;

/// The registry's type in a configuration and the scheme of its URLs.
pub const TYPE: &str = "consul";
