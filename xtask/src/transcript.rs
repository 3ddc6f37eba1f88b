//! What a step has printed so far.

use anyhow::Result;

use crate::process::{Finished, Invocation};

#[derive(Debug)]
pub(crate) struct Transcript {
    text: String,
    echo: bool,
}

impl Transcript {
    pub(crate) fn new(echo: bool) -> Self {
        Self { text: String::new(), echo }
    }

    pub(crate) fn say(&mut self, line: &str) {
        if self.echo {
            println!("{line}");
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Runs a command under a line that shows it.
    pub(crate) fn run(&mut self, invocation: &Invocation) -> Result<Finished> {
        self.say(&format!("$ {invocation}"));
        let finished = invocation.run(self.echo)?;
        self.text.push_str(&finished.output);
        if !finished.success() {
            self.say(&format!("`{invocation}` {}", finished.end));
        }
        Ok(finished)
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}
