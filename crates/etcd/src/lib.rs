#![doc = include_str!("../README.md")]

mod backend;
mod codec;
mod config;
mod connection;
mod epoch;
mod error;
mod factory;
mod lease;
mod listing;
mod login;
mod reader;
mod records;
mod session;
mod watch;

pub use backend::Etcd;
pub use codec::instance_key;
pub use config::EtcdConfig;
pub use factory::factory;

/// The registry's type in a configuration and the scheme of its URLs.
pub const TYPE: &str = "etcd";
