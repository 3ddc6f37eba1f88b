//! The environment of the process, which a test can only give to a child.

use std::process::Command;

use callsign::Callsign;

/// Set for the child alone.
const CHILD: &str = "CALLSIGN_TEST_CHILD";

#[test]
fn the_variables_of_the_process_are_read() {
    if std::env::var_os(CHILD).is_some() {
        let error = Callsign::load().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`registry` in the environment variable `CALLSIGN_REGISTRY`: there is no table `[registries.main]`; \
             configured: none"
        );
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, "yes")
        .env("CALLSIGN_REGISTRY", "main")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}
