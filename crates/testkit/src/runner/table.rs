//! The table of what was proved where: a row for each case, a column for each subject.

use std::collections::BTreeMap;
use std::fmt;

use super::board::{Outcome, Place};

const LEGEND: &str = "case x set-up: + passed, F failed, i ignored, . not run";

/// What became of all cases of the subjects of which one has run.
pub(super) struct Table {
    subjects: Vec<(String, Vec<(Place, Outcome)>)>,
}

impl Table {
    pub(super) fn new(mut subjects: Vec<(String, Vec<(Place, Outcome)>)>) -> Self {
        subjects.retain(|(_, cases)| cases.iter().any(|(_, outcome)| *outcome != Outcome::NotRun));
        Self { subjects }
    }

    /// Whether there is more than one subject.
    pub(super) fn has_columns_to_compare(&self) -> bool {
        self.subjects.len() > 1
    }

    /// Whether no case has run.
    pub(super) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// The cases that have run somewhere, in the order in which they were added.
    fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for (place, _) in self.subjects.iter().flat_map(|(_, cases)| cases) {
            if !places.contains(place) && self.marks(*place).contains(['+', 'F', 'i']) {
                places.push(*place);
            }
        }
        // A case that only a later subject has stands with its suite all the same.
        let suites: Vec<_> = places.iter().map(|place| place.suite).collect();
        places.sort_by_key(|place| suites.iter().position(|suite| *suite == place.suite));
        places
    }

    fn marks(&self, place: Place) -> String {
        let mark = |cases: &[(Place, Outcome)]| {
            let outcome = cases.iter().find(|(other, _)| *other == place).map(|(_, outcome)| outcome);
            match outcome {
                None | Some(Outcome::NotRun) => '.',
                Some(Outcome::Passed) => '+',
                Some(Outcome::Failed(_)) => 'F',
                Some(Outcome::Ignored(_)) => 'i',
            }
        };
        self.subjects.iter().map(|(_, cases)| mark(cases)).collect()
    }

    fn grid(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{LEGEND}\n")?;
        for (number, (subject, _)) in (1..).zip(&self.subjects) {
            writeln!(f, "{number:>4} {subject}")?;
        }
        let places = self.places();
        let width = places.iter().map(|place| place.case.len()).max().unwrap_or_default();
        let mut suite = "";
        for place in places {
            if place.suite != suite {
                suite = place.suite;
                write!(f, "\n{suite:<width$}", width = width + 2)?;
                for number in 1..=self.subjects.len() {
                    write!(f, "{number:>3}")?;
                }
                writeln!(f)?;
            }
            write!(f, "  {:<width$}", place.case)?;
            for mark in self.marks(place).chars() {
                write!(f, "  {mark}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut title = "\nfailed\n";
        for (subject, cases) in &self.subjects {
            for (place, outcome) in cases {
                let Outcome::Failed(failure) = outcome else { continue };
                writeln!(f, "{title}  {subject}::{}: {}", place.case, first_line(failure))?;
                title = "";
            }
        }
        Ok(())
    }

    /// One line for each reason: a server that is missing is the same reason for all of its cases.
    fn ignored(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons: BTreeMap<&str, Vec<(&str, Vec<&str>)>> = BTreeMap::new();
        for (subject, cases) in &self.subjects {
            for (place, outcome) in cases {
                let Outcome::Ignored(reason) = outcome else { continue };
                let whose = reasons.entry(first_line(reason)).or_default();
                match whose.last_mut().filter(|(last, _)| last == subject) {
                    Some((_, names)) => names.push(place.case),
                    None => whose.push((subject, vec![place.case])),
                }
            }
        }
        let mut title = "\nignored\n";
        for (reason, whose) in reasons {
            let whose = match &*whose {
                [(subject, names)] if names.len() == 1 => format!("{subject}::{}", names.concat()),
                whose => {
                    let counts = whose.iter().map(|(subject, names)| format!("{subject} ({})", names.len()));
                    counts.collect::<Vec<_>>().join(", ")
                }
            };
            writeln!(f, "{title}  {reason}: {whose}")?;
            title = "";
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.grid(f)?;
        self.failures(f)?;
        self.ignored(f)
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: Place = Place { suite: "backend", case: "lists" };
    const SURVIVES_WIPES: Place = Place { suite: "backend", case: "survives_wipes" };
    const VIEWS: Place = Place { suite: "client", case: "views" };

    #[test]
    fn each_case_is_a_row_each_subject_a_column_and_each_reason_a_line() {
        let missing = || Outcome::Ignored("no server: fetch one".to_owned());
        let table = Table::new(vec![
            (
                "plain".to_owned(),
                vec![
                    (LISTS, Outcome::Passed),
                    (VIEWS, Outcome::Failed("here: empty\n  expected: full".to_owned())),
                ],
            ),
            (
                "tls".to_owned(),
                vec![
                    (LISTS, Outcome::Passed),
                    (SURVIVES_WIPES, Outcome::Ignored("nothing wipes it".to_owned())),
                    (VIEWS, Outcome::NotRun),
                ],
            ),
            ("old".to_owned(), vec![(LISTS, missing()), (SURVIVES_WIPES, missing())]),
        ]);
        let expected = "\
case x set-up: + passed, F failed, i ignored, . not run

   1 plain
   2 tls
   3 old

backend           1  2  3
  lists           +  +  i
  survives_wipes  .  i  i

client            1  2  3
  views           F  .  .

failed
  plain::views: here: empty

ignored
  no server: fetch one: old (2)
  nothing wipes it: tls::survives_wipes
";
        assert_eq!(table.to_string(), expected);
        assert!(!table.is_empty());
    }

    #[test]
    fn what_was_filtered_out_has_no_row() {
        let table = Table::new(vec![("plain".to_owned(), vec![(LISTS, Outcome::NotRun)])]);
        assert!(table.is_empty());
        let table =
            Table::new(vec![("plain".to_owned(), vec![(LISTS, Outcome::NotRun), (VIEWS, Outcome::Passed)])]);
        assert!(!table.to_string().contains("lists"));
    }
}
