#![doc = include_str!("../README.md")]

mod backends;
mod builder;
mod config;
mod environment;
mod file;
mod handle;
mod registry;
mod sources;

pub use builder::CallsignBuilder;
pub use handle::Callsign;

pub use callsign_core as core;

pub use callsign_core::{
    Backend, Endpoint, Error, ErrorKind, Factory, Figment, Group, Health, Instance, InstanceBuilder,
    InstanceId, Locality, Metadata, Namespace, Result, ServiceKey, ServiceName, Status, Ttl, Version, Weight,
};
