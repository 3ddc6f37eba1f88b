#![doc = include_str!("../README.md")]

mod backend;
mod builder;
mod control;
mod factory;
mod group;
mod journal;
mod metrics;
mod prober;
mod read;
mod settings;
mod shared;
mod supervisor;
mod write;

pub use backend::Failover;
pub use builder::FailoverBuilder;
pub use callsign_core::{MemberState, SwitchReason};
pub use control::{Control, Hold, MemberStatus, State};
pub use factory::factory;
pub use settings::{Settings, Topology};

/// The registry's type in a configuration and the scheme of its URLs.
pub const TYPE: &str = "failover";
