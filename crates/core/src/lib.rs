#![doc = include_str!("../README.md")]

mod backend;
mod backoff;
pub mod config;
mod discovery;
mod error;
mod event;
mod factory;
mod interner;
mod model;
mod receipt;
mod registry;
pub mod stored;
pub mod task;
pub mod watch;

pub use async_trait::async_trait;
pub use figment::Figment;
pub use figment::value::Dict;

pub use backend::{Backend, BackendInfo, Capabilities, Probe};
pub use backoff::{Backoff, jitter, spread};
pub use discovery::{Discovery, WatchStream};
pub use error::{Error, ErrorKind, Result, Retry};
pub use event::{Event, EventKind, EventStream, Events, MemberState, SwitchReason};
pub use factory::{Factories, Factory, Members, Registries};
pub use interner::Interner;
pub use model::{
    Authority, Document, Endpoint, Endpoints, Group, Health, Instance, InstanceBuilder, InstanceId,
    InstanceKey, Listing, Locality, Metadata, Namespace, Pair, RESERVED_PREFIX, Read, Record, ServiceKey,
    ServiceName, Skipped, Status, Ttl, Version, WatchEvent, Weight,
};
pub use receipt::{LostSignal, LostTrigger, Receipt};
pub use registry::Registry;
