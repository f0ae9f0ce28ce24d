//! The emulator with the firmware in it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running emulator; its serial line is its output.
pub(crate) struct Machine(Child);

/// How it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// Its power was cut.
    Cut,
    /// The flash was full.
    Full,
}

/// What it told before it ended.
#[derive(Debug)]
pub(crate) struct Heard {
    /// The offset at which it went on, if it came so far.
    pub(crate) opened: Option<u64>,
    /// Offset and value of each record that it stored.
    pub(crate) stored: Vec<(u64, u64)>,
    /// How it ended.
    pub(crate) end: End,
}

impl Machine {
    /// Switches it on in a folder that has the flash's image. Its first serial line leads to
    /// `line`, its second one here.
    pub(crate) fn start(firmware: &Path, folder: &Path, line: &str) -> Self {
        let mut command = Command::new("qemu-system-arm");
        command.args(["-machine", "lm3s6965evb", "-cpu", "cortex-m3", "-display", "none"]);
        command.args(["-monitor", "none", "-serial", line, "-serial", "stdio"]);
        command.args(["-semihosting-config", "enable=on,target=native", "-kernel"]);
        command.arg(firmware).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().expect("qemu-system-arm can be started"))
    }

    /// Cuts the power when so many lines were heard, in the middle of whatever it does then. What
    /// it had told by then counts as told.
    pub(crate) fn kill_after(mut self, lines: u64) -> Heard {
        let output = self.0.stdout.take().expect("the output is piped");
        let mut output = BufReader::new(output);
        let mut heard = Heard { opened: None, stored: Vec::new(), end: End::Cut };
        let mut line = String::new();
        for at in 0.. {
            if at == lines {
                self.0.kill().expect("the emulator is ours");
            }
            line.clear();
            let read = output.read_line(&mut line).expect("what it tells is text");
            // The last line may have been cut with the power.
            if read == 0 || !line.ends_with('\n') {
                break;
            }
            heard.take(&line);
        }
        let status = self.0.wait().expect("the emulator ends");
        if status.success() {
            heard.end = End::Full;
        } else {
            assert_eq!(status.code(), None, "it ended by itself: {heard:?}");
        }
        heard
    }
}

impl Heard {
    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| word.parse().expect("a number");
        match words[..] {
            ["opened", next] => self.opened = Some(number(next)),
            ["stored", offset, value] => self.stored.push((number(offset), number(value))),
            ["stack", _] => {}
            _ => panic!("it said {line:?}"),
        }
    }
}
