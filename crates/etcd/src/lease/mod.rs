//! Registrations that share leases.
//!
//! One lease carries up to 256 records of one namespace and one ttl; it is renewed once for all of them, and writes that
//! come together go together. [`Ledger`](ledger::Ledger) decides, [`Leases`] drives it.

mod answers;
mod driver;
mod ledger;
mod member;
mod shard;
#[cfg(test)]
mod tests;
mod txn;
mod upkeep;

pub(crate) use driver::Leases;
