//! `cargo xtask size`: core, protocol and the firmware built for microcontrollers without std, and
//! their bytes. That they build proves that none of them needs std or alloc. What the agent for
//! devices takes is told of each target that it was built for.

use std::path::Path;
use std::process::Command;

use crate::Task;
use crate::budgets::Budgets;
use crate::cross::{self, Built};
use crate::debian::{self, COMPILER, CORTEX_M3, CORTEX_M4, EMULATOR, LINKER, Needed, SIZES};
use crate::shell::{self, Failure};

pub(crate) const TASK: Task = Task {
    name: "size",
    about: "build core, protocol and the firmware for microcontrollers, hold them to their \
            budgets, and name what takes most, also of agents that `cargo xtask cross` has built",
    run,
};

/// The measured programs of `cross/size`, what they hold, and their budgets.
const PROGRAMS: [(&str, &str, &str); 2] =
    [("core", "core", "core_flash"), ("protocol", "core + protocol", "device_flash")];
/// Functions of the firmware that are named as the largest.
const LARGEST: usize = 10;

/// What building and running programs for a Cortex-M needs.
pub(crate) fn needed() -> Vec<Needed> {
    COMPILER.into_iter().chain([LINKER, EMULATOR, SIZES]).collect()
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    shell::no_arguments(TASK.name, arguments)?;
    debian::install_missing(&needed())?;
    let budgets = Budgets::read()?;
    let built = debian::build_for_cortex("size", CORTEX_M3)?;
    let also = debian::build_for_cortex("size", CORTEX_M4)?;
    let firmware = debian::build_for_cortex("firmware", CORTEX_M3)?.join("landfall-firmware");
    println!("bytes; RAM without the stack");
    let heads = [".text", ".rodata", ".data", ".bss", "flash", "RAM"];
    println!("{:<28}{}", "", heads.map(|head| format!("{head:>9}")).concat());
    let mut measured = Vec::new();
    for (program, holds, budget) in PROGRAMS {
        let sections = Sections::of(&built.join(program))?;
        sections.print(&format!("Cortex-M3, {holds}"));
        measured.push((budget, sections.flash()));
        Sections::of(&also.join(program))?.print(&format!("Cortex-M4, {holds}"));
    }
    let sections = Sections::of(&firmware)?;
    sections.print("Cortex-M3, firmware");
    largest(&firmware)?;
    let agents = cross::built();
    agents.iter().for_each(Built::print);
    println!("\n{:<28}{:>9}{:>9}{:>9}", "budget", "bytes", "most", "goal");
    let ram = sections.data + sections.bss + stack(&firmware)?;
    measured.extend([("firmware_flash", sections.flash()), ("firmware_ram", ram)]);
    measured.extend(agents.iter().map(|agent| (agent.budget, agent.bytes)));
    for (name, bytes) in &measured {
        println!("{}", budgets.check(name, *bytes)?);
    }
    let measured: Vec<_> = measured.iter().map(|(name, _)| *name).collect();
    budgets.others(&measured).iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// Prints the functions of a program that take most.
fn largest(program: &Path) -> Result<(), Failure> {
    let mut nm = Command::new("nm");
    let symbols = shell::output(nm.args(["-CS", "--size-sort", "--reverse-sort"]).arg(program))?;
    println!("\nthe largest functions of the firmware");
    for line in symbols.lines().take(LARGEST) {
        // Address, size, kind, name.
        let mut words = line.splitn(4, ' ').skip(1);
        let bytes = words.next().and_then(|size| u64::from_str_radix(size, 16).ok());
        let name = words.last().unwrap_or_default();
        // What a method is of takes a line by itself, and is mostly the journal.
        let name = name.rsplit_once(">>::").map_or(name, |(_, method)| method);
        println!("{:>8}  {name}", bytes.unwrap_or_default());
    }
    Ok(())
}

/// Lets the firmware fill its flash in an emulator and returns how much stack it ever used.
fn stack(firmware: &Path) -> Result<u64, Failure> {
    let folder = shell::target().join("cross-firmware/run");
    let cannot = |error| Failure::Machine(format!("cannot write {}: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(cannot)?;
    std::fs::write(folder.join("flash.bin"), [0xFF; 65_536]).map_err(cannot)?;
    std::fs::write(folder.join("line.key"), [7; 32]).map_err(cannot)?;
    let mut qemu = Command::new("timeout");
    qemu.args(["120", "qemu-system-arm", "-machine", "lm3s6965evb", "-cpu", "cortex-m3"]);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "null", "-serial", "stdio"]);
    qemu.args(["-semihosting-config", "enable=on,target=native", "-kernel"]);
    qemu.arg(firmware).current_dir(&folder);
    let told = shell::output(&mut qemu)?;
    let line = told.lines().find_map(|line| line.strip_prefix("stack "));
    line.and_then(|bytes| bytes.parse().ok())
        .ok_or_else(|| Failure::Check(format!("the firmware told no stack:\n{told}")))
}

/// The bytes of a linked program's sections.
#[derive(Debug, Default, Eq, PartialEq)]
struct Sections {
    /// With the table of vectors.
    text: u64,
    rodata: u64,
    data: u64,
    bss: u64,
}

impl Sections {
    fn of(program: &Path) -> Result<Self, Failure> {
        Self::parse(&shell::output(Command::new("size").arg("-A").arg(program))?)
    }

    /// Reads what `size -A` prints: a line per section with its name, size and address.
    fn parse(printed: &str) -> Result<Self, Failure> {
        let mut sections = Self::default();
        for line in printed.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(Ok(bytes))) = (words.next(), words.next().map(str::parse)) else {
                continue;
            };
            match name {
                ".vector_table" | ".text" => sections.text += bytes,
                ".rodata" => sections.rodata = bytes,
                ".data" => sections.data = bytes,
                ".bss" => sections.bss = bytes,
                _ => {}
            }
        }
        if sections.text == 0 {
            return Err(Failure::Check(format!("`size -A` names no code:\n{printed}")));
        }
        Ok(sections)
    }

    fn flash(&self) -> u64 {
        self.text + self.rodata + self.data
    }

    /// A line of the table.
    fn print(&self, of: &str) {
        println!("{of:<28}{}", self.columns().map(|bytes| format!("{bytes:>9}")).concat());
    }

    fn columns(&self) -> [u64; 6] {
        let Self { text, rodata, data, bss } = *self;
        [text, rodata, data, bss, self.flash(), data + bss]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_from_what_size_prints() {
        let printed = "core  :\nsection    size        addr\n.text      1200           0\n\
            .rodata      34        1200\n.bss          8   536870912\n.comment    101           0\n\
            Total      1343\n\n";
        let sections = Sections::parse(printed).unwrap();
        assert_eq!(sections, Sections { text: 1200, rodata: 34, data: 0, bss: 8 });
        assert_eq!(sections.columns(), [1200, 34, 0, 8, 1234, 8]);
    }

    #[test]
    fn a_program_without_code_is_an_error() {
        assert!(Sections::parse("core  :\nsection  size  addr\n.comment  101  0\n").is_err());
    }
}
