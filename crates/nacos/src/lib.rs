#![doc = include_str!("../README.md")]

mod backend;
mod codec;
mod config;
mod error;
mod factory;
mod login;
mod message;
mod publication;
mod reader;
mod records;
mod session;
mod watch;
mod wire;

pub use backend::Nacos;
pub use codec::{METADATA_FOR_USERS, service_name};
pub use config::{Flavour, Instances, Layout, NacosConfig};
pub use factory::factory;

/// The registry's type in a configuration and the scheme of its URLs.
pub const TYPE: &str = "nacos";
