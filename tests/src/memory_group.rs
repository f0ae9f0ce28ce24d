//! A limit on memory that the kernel keeps, by a control group: who takes more is killed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::injection::denied;
use crate::process::Program;

/// A group for the programs of a test. It is removed with the value, once they have ended.
pub struct MemoryGroup {
    at: PathBuf,
    /// The file that counts, and the word before the count.
    kills: (&'static str, &'static str),
    peak: &'static str,
}

static MADE: AtomicU32 = AtomicU32::new(0);
/// How often the removal is tried; a process that has just been killed is in its group for a while.
const REMOVALS_MAX: u32 = 1_000_000;

impl MemoryGroup {
    /// A group that may take so many bytes. None, said loudly, where none can be made: the test is
    /// then skipped.
    pub fn make(test: &str, bytes: u64) -> Option<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("landfall-test-{}-{number}", std::process::id());
        let made =
            Self::first_version(&name, bytes).or_else(|_| Self::second_version(&name, bytes));
        made.inspect_err(|error| denied(test, &format!("no memory group can be made: {error}")))
            .ok()
    }

    fn first_version(name: &str, bytes: u64) -> io::Result<Self> {
        let at = Path::new("/sys/fs/cgroup/memory").join(name);
        let group = Self {
            kills: ("memory.oom_control", "oom_kill "),
            peak: "memory.max_usage_in_bytes",
            at,
        };
        group.limited(&[("memory.limit_in_bytes", bytes), ("memory.swappiness", 0)])
    }

    fn second_version(name: &str, bytes: u64) -> io::Result<Self> {
        let at = Path::new("/sys/fs/cgroup").join(name);
        let group = Self { kills: ("memory.events", "oom_kill "), peak: "memory.peak", at };
        group.limited(&[("memory.max", bytes), ("memory.swap.max", 0)])
    }

    fn limited(self, limits: &[(&str, u64)]) -> io::Result<Self> {
        // Nothing would be limited in a folder that is no group.
        fs::metadata(self.at.with_file_name("cgroup.procs"))?;
        fs::create_dir(&self.at)?;
        for (file, limit) in limits {
            fs::write(self.at.join(file), limit.to_string())?;
        }
        Ok(self)
    }

    /// The same program, in the group.
    pub fn program(&self, program: &Program) -> Program {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.at.display());
        program.under(vec!["sh".into(), "-c".into(), enter])
    }

    /// How often the kernel killed one for its memory.
    pub fn kills(&self) -> u64 {
        let (file, word) = self.kills;
        let text = fs::read_to_string(self.at.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix(word));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// The most that they took at once, with what the system keeps of their files.
    pub fn peak(&self) -> u64 {
        let text = fs::read_to_string(self.at.join(self.peak)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let gone = (0..REMOVALS_MAX).any(|_| {
            std::thread::yield_now();
            fs::remove_dir(&self.at).is_ok() || !self.at.exists()
        });
        assert!(gone || std::thread::panicking(), "{} stays", self.at.display());
    }
}
