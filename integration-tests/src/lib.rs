//! callsign on real servers: started, killed, frozen, wiped and cut off.
//!
//! A server is a process of this crate's own on a loopback address that nobody else has, with its data in a
//! temporary folder, and it is gone when its owner is. You need this when a promise is about a registry and not
//! about our idea of one.

mod address;
mod background;
pub mod binaries;
mod callers;
pub mod consul;
pub mod etcd;
mod folder;
mod keeper;
pub mod nacos;
pub mod pairs;
pub mod pki;
mod pool;
mod process;
pub mod proxy;
pub mod rounds;
mod server;
pub mod zookeeper;

pub use address::Address;
pub use pool::{Lent, Pool, Pooled};
pub use process::{Launch, Process};
pub use server::Server;
