//! Servers start, serve, stop, freeze and start again, and none outlives who has started it.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use callsign_core::ErrorKind;
use callsign_integration_tests::{Launch, Process, Server};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

const SOON: Duration = Duration::from_secs(10);

fn shell(folder: &Path, script: &str) -> Launch {
    Launch {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("DATA".into(), folder.join("data").into())],
        log: folder.join("log"),
    }
}

fn server(folder: &Path, script: &str) -> Server {
    Server::new("a shell", shell(folder, script), folder.join("data"))
}

/// It appends a line to its data at each start, and then stays.
const COUNTS_ITS_STARTS: &str = "mkdir -p \"$DATA\" && echo start >>\"$DATA/starts\" && exec sleep 1000";

async fn has_started(server: &Server, times: usize) {
    let starts = server.data().join("starts");
    let probe = || async {
        match std::fs::read_to_string(&starts).unwrap_or_default().lines().count() {
            count if count == times => Ok(()),
            count => Err(format!("{count} starts instead of {times}")),
        }
    };
    server.serves(SOON, probe).await.unwrap();
}

fn state(process: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

async fn is_gone(process: u32) {
    let until = Instant::now() + SOON;
    while !matches!(state(process), None | Some('Z')) {
        assert!(Instant::now() < until, "process {process} is still there: {:?}", state(process));
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_killed_server_starts_again_with_its_data_and_a_wiped_one_without() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), COUNTS_ITS_STARTS);
    server.start().unwrap();
    has_started(&server, 1).await;
    let first = server.running().unwrap().id();
    server.kill().await.unwrap();
    is_gone(first).await;
    server.start().unwrap();
    has_started(&server, 2).await;
    server.wipe().await.unwrap();
    server.start().unwrap();
    has_started(&server, 1).await;
}

#[tokio::test]
async fn starting_what_runs_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), COUNTS_ITS_STARTS);
    server.start().unwrap();
    has_started(&server, 1).await;
    let process = server.running().unwrap().id();
    server.start().unwrap();
    assert_eq!(server.running().unwrap().id(), process);
}

#[tokio::test]
async fn a_frozen_server_stands_still_thaws_and_can_be_killed() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), COUNTS_ITS_STARTS);
    server.start().unwrap();
    has_started(&server, 1).await;
    let process = server.running().unwrap().id();
    server.freeze().await.unwrap();
    assert_eq!(state(process), Some('T'));
    server.thaw().unwrap();
    let until = Instant::now() + SOON;
    while state(process) == Some('T') {
        assert!(Instant::now() < until, "the process is still frozen");
        sleep(Duration::from_millis(10)).await;
    }
    server.freeze().await.unwrap();
    drop(server);
    is_gone(process).await;
}

#[tokio::test]
async fn a_server_that_ends_in_peace_is_given_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap 'echo goodbye; exit 0' TERM; mkdir -p \"$DATA\"; echo start >\"$DATA/starts\"; \
                  while :; do sleep 0.1; done";
    let server = server(folder.path(), script);
    server.start().unwrap();
    has_started(&server, 1).await;
    server.terminate().await.unwrap();
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("goodbye"), "{log}");
}

#[tokio::test]
async fn a_server_that_dies_early_is_an_error_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "echo 'the port is taken' >&2; exit 3");
    server.start().unwrap();
    let began = Instant::now();
    let error = server.serves(SOON, || async { Err("refused".to_owned()) }).await.unwrap_err();
    assert!(began.elapsed() < SOON, "death is not waited for until the deadline");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains("exit status: 3") && text.contains("the port is taken"), "{text}");
}

#[tokio::test]
async fn a_server_that_never_serves_is_an_error_with_the_last_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), COUNTS_ITS_STARTS);
    server.start().unwrap();
    let probe = || async { Err("connection refused".to_owned()) };
    let error = server.serves(Duration::from_millis(200), probe).await.unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[test]
fn a_panic_takes_the_server_along_and_the_end_of_its_thread_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let launch = shell(folder.path(), "exec sleep 1000");
    // The thread that asks for the process ends at once; the process must not.
    let process = std::thread::spawn(move || Process::start(&launch).unwrap()).join().unwrap();
    let id = process.id();
    assert!(process.ended().is_none());
    let panicked = std::thread::spawn(move || {
        let _process = process;
        panic!("on purpose");
    });
    panicked.join().unwrap_err();
    assert_eq!(state(id), None);
}

/// The test starts itself a second time, with this variable naming the folder; then it is the one to be killed.
const VICTIM: &str = "CALLSIGN_TEST_VICTIM";

#[tokio::test]
async fn a_killed_test_process_leaves_no_server_behind() {
    if let Some(folder) = std::env::var_os(VICTIM).map(PathBuf::from) {
        let process = Process::start(&shell(&folder, "exec sleep 1000")).unwrap();
        println!("\nstarted {}", process.id());
        sleep(SOON * 6).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_test_process_leaves_no_server_behind", "--nocapture"])
        .env(VICTIM, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let server: u32 = lines.find_map(|line| line.unwrap().strip_prefix("started ")?.parse().ok()).unwrap();
    assert!(state(server).is_some());
    victim.kill().unwrap();
    victim.wait().unwrap();
    is_gone(server).await;
}

#[tokio::test]
async fn a_frozen_server_stays_frozen_when_the_shell_that_has_started_the_tests_ends() {
    const NAME: &str = "a_frozen_server_stays_frozen_when_the_shell_that_has_started_the_tests_ends";
    if let Some(folder) = std::env::var_os(VICTIM).map(PathBuf::from) {
        let process = Process::start(&shell(&folder, "exec sleep 1000")).unwrap();
        process.freeze().await.unwrap();
        println!("\nfrozen {} {}", process.id(), std::process::id());
        sleep(SOON * 6).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // As after `nohup`. The kernel continues what is frozen in a group of processes whose leader ends.
    let mut leader = Command::new("/bin/sh")
        .args(["-c", "trap '' HUP; \"$0\" --exact \"$1\" --nocapture & read -r _"])
        .arg(std::env::current_exe().unwrap())
        .arg(NAME)
        .env(VICTIM, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(leader.stdout.take().unwrap()).lines();
    let line = lines.find_map(|line| Some(line.unwrap().strip_prefix("frozen ")?.to_owned())).unwrap();
    let (server, tests) = line.split_once(' ').unwrap();
    let (server, tests): (u32, i32) = (server.parse().unwrap(), tests.parse().unwrap());
    drop(leader.stdin.take());
    leader.wait().unwrap();
    let frozen = state(server);
    kill_process(Pid::from_raw(tests).unwrap(), Signal::KILL).unwrap();
    is_gone(server).await;
    assert_eq!(frozen, Some('T'));
}
