//! The table for people.

use crate::measure::Measure;

const HEAD: [&str; 6] = ["measure", "value", "target", "peer", "p99", "N"];

pub(crate) fn table(rows: &[Measure]) -> String {
    let cells: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(cells)).collect();
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let lengths = cells.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or_default()
    });
    let lines = cells.iter().map(|[name, value, target, peer, p99, samples]| {
        let [w0, w1, w2, w3, w4, _] = widths;
        format!("{name:w0$}  {value:>w1$}  {target:<w2$}  {peer:>w3$}  {p99:>w4$}  {samples}\n")
    });
    lines.collect()
}

fn cells(row: &Measure) -> [String; 6] {
    let shown = |value: f64| format!("{} {}", digits(value), row.unit);
    let verdict = if row.ok { "ok" } else { "MISSED" };
    [
        row.name.clone(),
        shown(row.value),
        format!("<= {} {verdict}", shown(row.target)),
        row.peer.map(shown).unwrap_or_default(),
        row.distribution.map(|spread| shown(spread.p99)).unwrap_or_default(),
        row.samples.clone(),
    ]
}

/// As many as mean something.
fn digits(value: f64) -> String {
    if value.fract() == 0.0 || value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Unit;
    use crate::samples::Samples;

    #[test]
    fn columns_stand_below_each_other_and_a_miss_is_loud() {
        let updates = Samples::new([Duration::from_micros(250), Duration::from_micros(900)], "updates");
        let rows = [
            Measure::p50("view.update_10k", &updates, Unit::Milliseconds, 1.0),
            Measure::count("view.snapshot", 23.45, "ns", 20.0, "10 calls").beside(7.0),
        ];
        assert_eq!(
            table(&rows),
            "measure             value  target           peer       p99  N\n\
             view.update_10k  0.250 ms  <= 1 ms ok             0.900 ms  2 updates\n\
             view.snapshot     23.4 ns  <= 20 ns MISSED  7 ns            10 calls\n"
        );
    }
}
