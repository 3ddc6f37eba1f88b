//! Instances as Consul has them, and back. Pure.
//!
//! | callsign | Consul |
//! |---|---|
//! | namespace and name | `Name`: `orders` in `default`, `shop--orders` in `shop` |
//! | the whole instance key | `ID`: `shop:default:orders:o-1` |
//! | group, version | tags `group=blue`, `version=1.4.0` for others; the group is in the ID |
//! | first endpoint | `Address`, `Port` |
//! | all endpoints, in order | Meta `callsign-e0`; the first of each protocol in `TaggedAddresses`, for others |
//! | pair, status, times, version, locality | Meta `callsign-*` |
//! | weight | `Weights`; 0, which Consul does not take, as Meta `callsign-weight` |
//! | metadata | Meta, where Consul takes key and value; the rest packed into `callsign-x0`, `callsign-x1`, ... |

mod chunks;
mod entry;
mod meta;
mod names;
mod registration;

pub(crate) use entry::{MAINTENANCE, Outcome, decode, is_maintenance};
pub(crate) use meta::{MAX_METADATA, pair_of};
pub(crate) use names::{Place, check_id, check_id_of_probe, group_in, service_named};
pub use names::{instance_id, service_name};
pub(crate) use registration::{Registration, encode};
