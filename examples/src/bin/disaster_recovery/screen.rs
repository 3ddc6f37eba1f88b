//! The table on the screen.

use callsign::ServiceView;
use callsign::failover::Control;
use callsign_examples::{Column, Table};

use crate::calls::Calls;

pub(crate) struct Screen(Table);

impl Screen {
    pub(crate) fn begin(control: &Control, view: &ServiceView) -> Self {
        let _ = (control, view);
        Self(Table::begin([
            Column::text("main", 10),
            Column::text("backup", 10),
            Column::text("read", 6),
            Column::number("seen"),
            Column::number(" calls"),
            Column::number("failed"),
            Column::text("what has happened", 52),
        ]))
    }

    /// How the members are, whom the client sees, and what became of its calls so far.
    pub(crate) fn show(&self, control: &Control, view: &ServiceView, calls: &Calls, what: &str) {
        let state = control.state();
        let [main, backup] =
            [0, 1].map(|nth| state.members.get(nth).map_or_else(String::new, |one| one.state.to_string()));
        let seen = view.snapshot();
        self.0.now(&[
            &main,
            &backup,
            &state.active,
            &seen.routable().len(),
            &calls.made,
            &calls.failed,
            &what,
        ]);
    }
}
