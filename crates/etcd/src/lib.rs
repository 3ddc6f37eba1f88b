#![doc = include_str!("../README.md")]

mod codec;
mod config;
mod error;

pub use codec::instance_key;
pub use config::EtcdConfig;

/// The registry's type in a configuration and the scheme of its URLs.
pub const TYPE: &str = "etcd";
