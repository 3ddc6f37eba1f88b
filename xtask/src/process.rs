//! Commands as values that can be shown, and run with their output kept.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::protoc;
use crate::stopwatch::Stopwatch;

/// How often a running command is looked at: short against any step, long against the cost of looking.
const LOOK: Duration = Duration::from_millis(50);
/// How long output may trail behind the end of a command whose own children still hold its pipes.
const TRAIL: Duration = Duration::from_secs(1);

/// A command to run. Its `Display` can be pasted into a shell: what it leaves out are the folder to run it in, and
/// `PROTOC`, which cargo gets.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    folder: Option<PathBuf>,
    limit: Option<Duration>,
}

impl Invocation {
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: None,
            limit: None,
        }
    }

    pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::new("cargo").with_arguments(arguments)
    }

    pub(crate) fn with_arguments<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub(crate) fn with_variable(self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.with_variables([(name, value)])
    }

    pub(crate) fn with_variables<N: Into<String>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    pub(crate) fn in_folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Kill the command when it runs longer than this.
    pub(crate) fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs the command on this process's own streams.
    pub(crate) fn status(&self) -> Result<ExitStatus> {
        self.command().status().with_context(|| format!("cannot start `{self}`"))
    }

    /// Runs the command, keeping its streams apart.
    pub(crate) fn output(&self) -> Result<process::Output> {
        self.command().output().with_context(|| format!("cannot start `{self}`"))
    }

    /// Runs the command, keeping what it prints on both streams in the order it came; with `echo` it is shown at
    /// once as well.
    pub(crate) fn run(&self, echo: bool) -> Result<Finished> {
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{self}`"))?;
        let (sender, lines) = mpsc::channel();
        forward(child.stdout.take(), &sender);
        forward(child.stderr.take(), &sender);
        let mut output = Capture { text: String::new(), echo };
        // `sender` lives on until the child has ended: without it, a child that closes both streams and goes on
        // running would make the wait below return at once, again and again.
        let end = self.wait(&mut child, &lines, &mut output)?;
        drop(sender);
        while let Ok(line) = lines.recv_timeout(TRAIL) {
            output.push(&line);
        }
        Ok(Finished { end, output: output.text })
    }

    fn wait(&self, child: &mut Child, lines: &Receiver<String>, output: &mut Capture) -> Result<End> {
        let stopwatch = Stopwatch::start();
        loop {
            match lines.recv_timeout(LOOK) {
                Ok(line) => output.push(&line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    if let Some(status) = child.try_wait()? {
                        return Ok(End::Exited(status));
                    }
                }
            }
            if let Some(limit) = self.limit.filter(|limit| stopwatch.elapsed() > *limit) {
                child.kill()?;
                child.wait()?;
                return Ok(End::TimedOut(limit));
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if self.program == "cargo" {
            command.envs(protoc::variable());
        }
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        if io::stdout().is_terminal() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        command
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(f, "{name}={} ", quoted(&value.to_string_lossy()))?;
        }
        f.write_str(&quoted(&self.program.to_string_lossy()))?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(&argument.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Exited(ExitStatus),
    TimedOut(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => match status.code() {
                Some(code) => write!(f, "exited with {code}"),
                None => write!(f, "ended by {status}"),
            },
            Self::TimedOut(limit) => write!(f, "killed after {} s", limit.as_secs()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) end: End,
    pub(crate) output: String,
}

impl Finished {
    pub(crate) fn success(&self) -> bool {
        matches!(self.end, End::Exited(status) if status.success())
    }
}

struct Capture {
    text: String,
    echo: bool,
}

impl Capture {
    fn push(&mut self, line: &str) {
        if self.echo {
            println!("{line}");
        }
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// Sends what comes out of `pipe` line by line, from a thread that ends with the pipe.
fn forward(pipe: Option<impl Read + Send + 'static>, lines: &Sender<String>) {
    let Some(pipe) = pipe else { return };
    let lines = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(io::Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation::new("sh").with_arguments(["-c", script])
    }

    #[test]
    fn an_invocation_is_shown_as_it_would_be_typed() {
        let invocation =
            Invocation::cargo(["clippy", "--", "-D", "warnings"]).with_variable("FLAGS", "-D warnings");
        assert_eq!(invocation.to_string(), "FLAGS='-D warnings' cargo clippy -- -D warnings");
    }

    #[test]
    fn cargo_and_cargo_alone_is_told_where_protoc_is() {
        let told = |invocation: &Invocation| {
            let command = invocation.command();
            let mut set = command.get_envs();
            set.find_map(|(name, value)| value.filter(|_| name == "PROTOC").map(OsStr::to_owned))
        };
        let here = protoc::variable().map(|(_, program)| program.into_os_string());
        assert_eq!(told(&Invocation::cargo(["build"])), here);
        assert_eq!(told(&shell("true")), None);
    }

    #[test]
    fn both_streams_and_the_exit_code_are_kept() {
        let finished = shell("echo out; echo err >&2; exit 3").run(false).unwrap();
        assert!(!finished.success());
        assert_eq!(finished.end.to_string(), "exited with 3");
        assert!(finished.output.contains("out\n") && finished.output.contains("err\n"));
    }

    #[test]
    fn a_command_over_its_limit_is_killed() {
        let finished =
            shell("echo started; exec sleep 60").with_limit(Duration::from_millis(200)).run(false).unwrap();
        assert!(matches!(finished.end, End::TimedOut(_)));
        assert_eq!(finished.output, "started\n");
    }

    #[test]
    fn closed_streams_do_not_end_the_wait() {
        let finished = shell("exec >&- 2>&-; sleep 0.2; exit 4").run(false).unwrap();
        assert_eq!(finished.end.to_string(), "exited with 4");
    }

    #[test]
    fn a_missing_program_is_an_error_that_names_it() {
        let error = Invocation::new("no-such-program").run(false).unwrap_err();
        assert!(error.to_string().contains("`no-such-program`"), "{error}");
    }
}
