// Its example runs on the embedded registry.
#![cfg_attr(feature = "memory", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "memory"),
    doc = "Register services and find them, through the registry that a line of configuration names."
)]

mod backends;
mod builder;
mod config;
mod environment;
mod file;
mod handle;
mod registry;
mod sources;

pub use builder::CallsignBuilder;
#[cfg(feature = "failover")]
pub use callsign_failover as failover;
pub use handle::Callsign;

/// Everything that an application can hold, for what has no name at the root.
pub use callsign_client as client;
/// The model, the traits and the errors, for those who write a registry of their own.
pub use callsign_core as core;

pub use callsign_client::{
    Changes, Client, ClientEvent, Departure, Freshness, Patch, Protection, RegisterOptions, Registration,
    RegistrationState, RoundRobin, ServiceView, Snapshot,
};
pub use callsign_core::{
    Backend, Endpoint, Error, ErrorKind, Factory, Figment, Group, Health, Instance, InstanceBuilder,
    InstanceId, InstanceKey, Locality, Metadata, Namespace, Result, ServiceKey, ServiceName, Status, Ttl,
    Version, Weight,
};

/// Compiles what the project's README shows.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct ProjectReadme;
