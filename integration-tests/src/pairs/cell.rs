//! Which faults are made on a pair of registries.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{Pair, Stage, availability, owners, partitions};

/// What a cell needs of the first registry.
#[derive(Debug, Clone, Copy)]
struct Needs {
    members: usize,
    /// One of them has to be cut off from the others.
    isolated: bool,
}

const ANY: Needs = Needs { members: 1, isolated: false };
const THREE: Needs = Needs { members: 3, isolated: false };
const ISOLATED: Needs = Needs { members: 3, isolated: true };

/// One fault, and what it has to leave alone.
pub struct Cell {
    /// Its number in the fault matrix.
    pub number: u8,
    /// The fault.
    pub name: &'static str,
    /// The promise.
    pub promise: &'static str,
    needs: Needs,
    pub(super) run: fn(Arc<Stage>) -> BoxFuture<'static, Result<(), String>>,
}

impl Cell {
    /// Whether it takes several servers.
    #[must_use]
    pub fn takes_several(&self) -> bool {
        self.needs.members > 1
    }

    /// Whether it can be made on this pair; what it lacks instead.
    ///
    /// # Errors
    /// What `pair` lacks.
    pub fn can_be_made_on(&self, pair: &Pair) -> Result<(), String> {
        let shape = pair.main.0.shape();
        if shape.members < self.needs.members {
            return Err(format!("it takes {} servers", self.needs.members));
        }
        if self.needs.isolated && !shape.isolates {
            return Err("nobody stands between the servers of this registry".to_owned());
        }
        Ok(())
    }
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("number", &self.number).field("name", &self.name).finish_non_exhaustive()
    }
}

macro_rules! cells {
    ($($number:literal $module:ident :: $name:ident on $needs:ident, $promise:literal;)*) => {
        &[$(Cell {
            number: $number,
            name: stringify!($name),
            promise: $promise,
            needs: $needs,
            run: |stage| Box::pin($module::$name(stage)),
        }),*]
    };
}

/// Everything that can be made on any pair.
pub const CELLS: &[Cell] = cells! {
    1 availability::killed on ANY, "A registry that is killed is left at once, and returned to when it has stayed well.";
    2 availability::frozen on ANY, "A registry that is frozen is left in time, and only once.";
    3 availability::black_hole on ANY, "A registry that swallows everything is left in time.";
    4 availability::answers_lost on ANY, "A registry whose answers are lost makes nobody wait.";
    5 availability::reset on ANY, "A registry that resets connections is left at once.";
    6 availability::slow on ANY, "A registry that is slow is not left again and again.";
    7 partitions::quorum_lost on THREE, "A registry without a quorum is not believed.";
    8 partitions::minority on ISOLATED, "A server that is cut off from the others is not believed.";
    9 availability::restarted_empty on ANY, "A registry that has lost everything takes nobody along.";
    10 availability::rolling_restart on THREE, "A rolling restart is no reason to turn away.";
    12 availability::all_down on ANY, "A process starts from disk while every registry is down.";
    14 owners::crashed_in_the_outage on ANY, "Who has crashed during an outage is gone after it.";
    15 owners::left_in_the_outage on ANY, "Who has left during an outage is not seen again after it.";
    16 owners::restarted_in_the_outage on ANY, "Who was started again during an outage is one.";
    17 owners::emptied on ANY, "An administrator who deletes everything at one registry takes nobody along.";
    18 owners::all_leases_ended on ANY, "Leases that all end at once take nobody along.";
    24 partitions::each_half_reaches_another on ANY, "A fleet of which each half reaches another registry stays whole.";
    27 partitions::silent_watch on ANY, "A watch that says nothing more does not hide what happens.";
};
