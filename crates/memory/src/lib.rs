#![doc = include_str!("../README.md")]

mod backend;
mod config;
mod faults;
mod service;
mod store;
mod watch;

pub use backend::Memory;
pub use config::{MemoryConfig, factory};
pub use faults::{Fault, FaultGuard};
pub use store::Store;

/// The registry's type in a configuration and the scheme of its URLs.
pub const TYPE: &str = "memory";
