//! A table that grows line by line, for people.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use crate::say;

const GAP: &str = "  ";

/// A column of a [`Table`].
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    width: usize,
    right: bool,
}

impl Column {
    /// A column for words.
    #[must_use]
    pub const fn text(title: &'static str, width: usize) -> Self {
        Self { title, width, right: false }
    }

    /// A column as wide as its title, for numbers.
    #[must_use]
    pub const fn number(title: &'static str) -> Self {
        Self { title, width: title.len(), right: true }
    }

    fn pad(&self, cell: &dyn Display) -> String {
        let (cell, width) = (cell.to_string(), self.width);
        if self.right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    }
}

/// A table whose first column says how many seconds have passed since it was begun.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    begun: Instant,
}

impl Table {
    const TIME: Column = Column { title: "time", width: 6, right: true };

    /// Prints the titles, and starts the clock.
    #[must_use]
    pub fn begin(columns: impl IntoIterator<Item = Column>) -> Self {
        let table = Self { columns: columns.into_iter().collect(), begun: Instant::now() };
        let titles: Vec<&dyn Display> = table.columns.iter().map(|column| &column.title as _).collect();
        table.print(&Self::TIME.title, &titles);
        table
    }

    /// Prints a line about now.
    pub fn now(&self, cells: &[&dyn Display]) {
        self.print(&seconds(self.begun.elapsed()), cells);
    }

    /// Prints a line that belongs to the one above.
    pub fn more(&self, cells: &[&dyn Display]) {
        self.print(&"", cells);
    }

    fn print(&self, time: &dyn Display, cells: &[&dyn Display]) {
        let mut line = Self::TIME.pad(time);
        for (column, cell) in self.columns.iter().zip(cells) {
            line += GAP;
            line += &column.pad(cell);
        }
        say(line.trim_end());
    }
}

/// As `1.5s`.
#[must_use]
pub fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}
