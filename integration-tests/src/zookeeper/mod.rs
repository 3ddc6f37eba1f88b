//! ZooKeeper: one server or three, with TLS, with SASL.

mod archive;
mod ensemble;
mod faults;
mod harness;
mod keys;
mod member;
mod options;
mod raw;
mod version;

pub use ensemble::ZooKeeper;
pub use harness::{SESSION, ZooKeeperHarness, config};
pub use member::Member;
pub use options::{Options, PASSWORD, USER};
pub use raw::Raw;
pub use version::Version;
