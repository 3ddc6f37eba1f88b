//! `report.json`: the list of measures that other tools read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::catalogue;
use crate::measure::Measure;

/// The workspace's `target/bench/report.json`, wherever the build goes.
pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/report.json")
}

/// What an earlier run has written; nothing if there was none.
pub(crate) fn read(path: &Path) -> Result<Vec<Measure>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    serde_json::from_str(&text).with_context(|| {
        format!("{} is not a report: remove it, or measure everything, which replaces it", path.display())
    })
}

pub(crate) fn write(path: &Path, measures: &[Measure]) -> Result<()> {
    let write = || -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(measures)?;
        Ok(fs::write(path, text + "\n")?)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Both, in the order of the catalogue; of a name in both, the measure in `new`. Names that the catalogue does not
/// know stay, behind the others.
pub(crate) fn merge(old: Vec<Measure>, new: impl IntoIterator<Item = Measure>) -> Vec<Measure> {
    let mut merged = old;
    for measure in new {
        merged.retain(|known| known.name != measure.name);
        merged.push(measure);
    }
    merged.sort_by_key(|measure| {
        catalogue::names().position(|name| name == measure.name).unwrap_or(usize::MAX)
    });
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Distribution;

    fn measure(name: &str, value: f64) -> Measure {
        Measure::count(name, value, "ms", 1.0, "3 updates")
    }

    #[test]
    fn the_file_is_a_list_of_measures() {
        let distribution = Distribution { n: 3, min: 0.1, p50: 0.5, p90: 0.7, p99: 0.7, max: 0.7 };
        let measure = Measure { distribution: Some(distribution), ..measure("view.update_10k", 0.5) };
        assert_eq!(
            serde_json::to_string(&[measure]).unwrap(),
            concat!(
                r#"[{"name":"view.update_10k","value":0.5,"unit":"ms","target":1.0,"peer":null,"ok":true,"#,
                r#""samples":"3 updates","distribution":{"n":3,"min":0.1,"p50":0.5,"p90":0.7,"p99":0.7,"max":0.7}}]"#
            )
        );
    }

    #[test]
    fn a_new_measure_replaces_the_old_one_of_its_name_and_no_other() {
        let old = vec![
            measure("view.update_10k", 0.5),
            measure("of.somebody_else", 3.0),
            measure("disk.cold_start_10k", 0.7),
        ];
        let new = [measure("pick.round_robin_10", 0.2), measure("view.update_10k", 2.0)];
        assert_eq!(
            merge(old, new),
            [
                measure("view.update_10k", 2.0),
                measure("pick.round_robin_10", 0.2),
                measure("disk.cold_start_10k", 0.7),
                measure("of.somebody_else", 3.0),
            ]
        );
    }

    #[test]
    fn what_was_written_is_read_and_a_missing_file_is_an_empty_report() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench/report.json");
        assert_eq!(read(&path).unwrap(), []);
        let measures = [measure("view.update_10k", 0.5)];
        write(&path, &measures).unwrap();
        assert_eq!(read(&path).unwrap(), measures);
        fs::write(&path, "{}").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("is not a report: remove it"), "{error}");
    }
}
