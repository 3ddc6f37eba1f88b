//! Following services: a recursive watch each, or one on their namespace when there are too many.
//!
//! The watch is set first, and what is there is read after that on the same connection: a server tells of a change before
//! it shows it, so nothing can fall in between. With the connection a watch ends, and everything is begun anew.

mod budget;
mod follower;
mod pump;
mod sink;

pub(crate) use budget::Budget;
pub(crate) use follower::follow;
