//! The table for people.

use crate::measure::Measured;

const HEAD: [&str; 6] = ["measure", "value", "target", "peer", "p99", "N"];

pub(crate) fn table(rows: &[Measured]) -> String {
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

fn cells(row: &Measured) -> [String; 6] {
    let measure = &row.measure;
    let shown = |value: f64| format!("{} {}", digits(value), measure.unit);
    let verdict = if measure.ok { "ok" } else { "MISSED" };
    [
        measure.name.clone(),
        shown(measure.value),
        format!("<= {} {verdict}", shown(measure.target)),
        measure.peer.map(shown).unwrap_or_default(),
        row.p99.map(shown).unwrap_or_default(),
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
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_a_miss_is_loud() {
        let rows = [
            Measured { p99: Some(0.9), ..Measured::count("view.update_10k", 0.25, "ms", 1.0, "500 updates") },
            Measured::count("view.snapshot", 23.45, "ns", 20.0, "10 calls").beside(7.0),
        ];
        assert_eq!(
            table(&rows),
            "measure             value  target           peer       p99  N\n\
             view.update_10k  0.250 ms  <= 1 ms ok             0.900 ms  500 updates\n\
             view.snapshot     23.4 ns  <= 20 ns MISSED  7 ns            10 calls\n"
        );
    }
}
